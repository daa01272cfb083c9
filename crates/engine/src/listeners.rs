//! The listening sockets of this worker.
//!
//! A worker registers a listener for one connection at a time when it has siblings: taking the
//! registration away and adding it again puts the worker at the end of the kernel's queue of
//! waiters, so that connections go round. A worker without room takes it away altogether.

use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{Errno, dup2, fcntl_dupfd_cloexec};
use rustix::net::sockopt::set_tcp_nodelay;
use rustix::net::{Shutdown, shutdown};

use crate::clock::{Moment, Span};
use crate::poller::Poller;
use crate::reserve::Reserve;
use crate::system;

/// After the process ran out of descriptors, accepting is tried again this much later.
const ACCEPT_PAUSE: Span = Span::from_millis(100);

/// Connections that are turned away at a time while there are no descriptors.
const TURNED_AWAY_MOST: usize = 128;
/// What such a client has sent by then is taken note of up to this size, so that closing the
/// socket is no reset that destroys our answer.
const LAST_READ: usize = 64 * 1024;

struct Listener {
    socket: OwnedFd,
    /// The descriptor that we were given; Python's socket object still knows it.
    given: RawFd,
    armed: bool,
}

pub enum Accepted {
    Connection(OwnedFd, Option<SocketAddr>),
    /// Nobody waits.
    Empty,
    /// Out of descriptors or memory: accepting pauses.
    Exhausted(Errno),
}

pub struct Listeners {
    listeners: Vec<Listener>,
    paused_until: Moment,
    reserve: Reserve,
}

impl Listeners {
    /// Duplicates the descriptors. TCP_NODELAY on a listener is inherited by its connections.
    pub fn new(given: &[RawFd]) -> Result<Listeners, Errno> {
        let listeners = given.iter().map(|&given| {
            // SAFETY: the caller holds these sockets open while the engine is made.
            let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(given) };
            let socket = fcntl_dupfd_cloexec(borrowed, 0)?;
            match set_tcp_nodelay(&socket, true) {
                // A unix socket has no such option.
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOPROTOOPT) => {}
                Err(error) => return Err(error),
            }
            Ok(Listener { socket, given, armed: false })
        });
        Ok(Listeners {
            listeners: listeners.collect::<Result<_, _>>()?,
            paused_until: Moment(0),
            reserve: Reserve::new(),
        })
    }

    pub fn is_empty(&self) -> bool {
        self.listeners.is_empty()
    }

    pub fn len(&self) -> usize {
        self.listeners.len()
    }

    /// Listen (again), or stop listening for a while.
    pub fn arm(&mut self, armed: bool, poller: &Poller) -> Result<(), Errno> {
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            if listener.armed == armed {
                continue;
            }
            if armed {
                poller.add_listener(listener.socket.as_fd(), index)?;
            } else {
                poller.remove(listener.socket.as_fd())?;
            }
            listener.armed = armed;
        }
        Ok(())
    }

    /// Go to the end of the kernel's queue of workers.
    pub fn requeue(&mut self, index: usize, poller: &Poller) -> Result<(), Errno> {
        match self.listeners.get(index) {
            Some(listener) if listener.armed => {
                poller.remove(listener.socket.as_fd())?;
                poller.add_listener(listener.socket.as_fd(), index)
            }
            _ => Ok(()),
        }
    }

    pub fn accept(&mut self, index: usize, now: Moment) -> Accepted {
        let Some(listener) = self.listeners.get(index) else { return Accepted::Empty };
        loop {
            match system::accept(&listener.socket) {
                Ok((socket, address)) => {
                    let peer = address.and_then(|address| SocketAddr::try_from(address).ok());
                    return Accepted::Connection(socket, peer);
                }
                Err(Errno::AGAIN) => return Accepted::Empty,
                // The client left before we came (man 2 accept): the next one may be there.
                Err(Errno::INTR | Errno::CONNABORTED | Errno::PROTO) => {}
                // Errors of the network that the new connection met (man 2 accept, "Error
                // handling"): the poller tells when there is another.
                Err(
                    Errno::NETDOWN
                    | Errno::NOPROTOOPT
                    | Errno::HOSTDOWN
                    | Errno::NONET
                    | Errno::HOSTUNREACH
                    | Errno::OPNOTSUPP
                    | Errno::NETUNREACH
                    | Errno::PERM,
                ) => return Accepted::Empty,
                Err(error) => {
                    self.pause(now);
                    return Accepted::Exhausted(error);
                }
            }
        }
    }

    /// Answers connections that wait with `words` and closes them, by the reserved descriptor.
    /// How many there were.
    pub fn turn_away(&mut self, index: usize, words: &[u8]) -> usize {
        let Some(listener) = self.listeners.get(index) else { return 0 };
        let mut count = 0;
        while count < TURNED_AWAY_MOST {
            let told = self.reserve.lend(|| {
                let (socket, _) = system::accept(&listener.socket).ok()?;
                last_words(&socket, words);
                Some(())
            });
            match told {
                Some(Some(())) => count += 1,
                _ => break,
            }
        }
        count
    }

    /// Calls `with` while one more descriptor is free than there would be.
    pub fn lend<T>(&mut self, with: impl FnOnce() -> T) -> Option<T> {
        self.reserve.lend(with)
    }

    /// There was no descriptor: nothing is accepted for a while.
    pub fn pause(&mut self, now: Moment) {
        self.paused_until = now.after(ACCEPT_PAUSE);
    }

    /// True once after each pause.
    pub fn pause_is_over(&mut self, now: Moment) -> bool {
        let over = self.paused_until != Moment(0) && self.paused_until <= now;
        if over {
            self.paused_until = Moment(0);
        }
        over
    }

    /// Until when accepting pauses; in the past when it does not.
    pub fn paused_until(&self) -> Moment {
        self.paused_until
    }

    /// Closes the listeners in this process, also those that Python's sockets hold: a backlog
    /// that nobody accepts from must not look alive.
    pub fn close(&mut self, poller: &Poller) -> Result<(), Errno> {
        self.arm(false, poller)?;
        for listener in self.listeners.drain(..) {
            // From the reserve: a worker without descriptors has to be able to end.
            let null = self.reserve.null().ok_or(Errno::MFILE)?;
            // SAFETY: the number stays open and keeps its owner; only what it names changes.
            let mut given = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(listener.given) });
            dup2(null, &mut given)?;
        }
        Ok(())
    }
}

/// A client that is gone, or that hears nothing, is none the worse for it.
pub(crate) fn last_words(socket: &OwnedFd, words: &[u8]) {
    if system::send(socket, words) != Ok(words.len()) || shutdown(socket, Shutdown::Write).is_err()
    {
        return;
    }
    let (mut block, mut read) = ([0; 4096], 0);
    while read < LAST_READ {
        match system::receive(socket, &mut block) {
            Ok(0) => return,
            Ok(count) => read += count,
            Err(_) => return,
        }
    }
}
