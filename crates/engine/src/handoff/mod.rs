//! Connections move: the exchange of all workers of a server.
//!
//! A connection belongs to the server, not to the worker that has accepted it. The exchange is a
//! pair of unix sockets that was made before the first fork. A message is one connection: its
//! descriptor, what has been read of it, and what is known of its peer ([`message`]). The kernel's
//! queue of that socket is the server's queue of ready requests: who has room reads from it.
//!
//! Where a connection is:
//!
//! | state     | event                                                       | next      |
//! |-----------|-------------------------------------------------------------|-----------|
//! | in a worker | its request waits, the worker is busy, a sibling has room | under way |
//! | in a worker | it is idle, the worker drains or is stuck, a sibling has room | under way |
//! | under way | a worker with room reads it                                 | in a worker |
//! | under way | nobody has room any more                                    | in the worker that had sent it |
//! | under way | nobody is ready, and a worker that drains is about to end   | in that worker |
//! | under way | no worker is left, and none will come                       | refused by the arbiter |
//!
//! Rules:
//! - What is under way is in the kernel's hands: no worker's death loses it, because the arbiter
//!   holds both sockets. Who reads it and is killed loses what it serves, as ever.
//! - A worker that drains looks here before it ends. Whoever stops being ready last finds nobody
//!   else ready, so that nothing is left behind, whatever the order of the others' ends.
//! - Who reads takes, with room or without: to be woken and to leave it there would leave it to
//!   nobody. What it cannot serve it sends on.
//! - A full exchange is no error: a connection stays where it is.
//! - What is half read, spooled or larger than a message, what has output under way, and what has
//!   a session (TLS) or a front end's variables (uwsgi) stays.
//! - Workers share an exchange when they have the same listeners in the same order: a message names
//!   a listener by its number.

mod message;
mod moving;
mod taking;

pub(crate) use moving::Moves;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use monoceros_http1::{DateCache, Status, error_response};
use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::clock::unix_seconds;
use crate::listeners::last_words;
use crate::output::unacknowledged;
use crate::system::{self, Delivery};
use message::Message;

/// What the exchange may hold, as far as the kernel grants it (net.core.wmem_max).
const ROOM: usize = 1 << 20;

/// Made by the arbiter; every worker has both ends.
#[derive(Debug)]
pub struct Handoff {
    entrance: OwnedFd,
    exit: OwnedFd,
    number: u64,
}

impl Handoff {
    pub fn new() -> Result<Handoff, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (entrance, exit) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        set_socket_send_buffer_size(&entrance, ROOM)?;
        let number = fstat(&exit)?.st_ino;
        Ok(Handoff { entrance, exit, number })
    }

    /// Its name on the scoreboard; never zero, and no other exchange's while this one is there.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Readable while connections are under way.
    pub(crate) fn exit(&self) -> BorrowedFd<'_> {
        self.exit.as_fd()
    }

    /// Bytes of memory that what is under way takes.
    pub fn under_way(&self) -> u64 {
        unacknowledged(self.entrance.as_fd())
    }

    fn send(&self, message: &[u8], connection: BorrowedFd<'_>) -> Result<(), Errno> {
        system::deliver(&self.entrance, message, connection)
    }

    fn receive(&self, buffer: &mut [u8]) -> Result<Delivery, Errno> {
        system::take_delivery(&self.exit, buffer)
    }

    /// For the arbiter, when no worker is left that could serve them: answers the requests that are
    /// under way with 503, and closes what is idle. How many requests there were.
    pub fn turn_away(&self) -> usize {
        let mut buffer = vec![0; message::MOST];
        let mut words = Vec::new();
        let mut count = 0;
        loop {
            let delivery = match self.receive(&mut buffer) {
                Ok(delivery) => delivery,
                Err(Errno::INTR) => continue,
                Err(_) => return count,
            };
            let Delivery::Connection { length, socket } = delivery else { continue };
            if Message::decode(&buffer[..length]).is_ok_and(|message| message.request.is_some()) {
                if words.is_empty() {
                    let (mut date, status) = (DateCache::new(), Status::SERVICE_UNAVAILABLE);
                    let date = date.at(unix_seconds());
                    error_response(&mut words, status, date, false, &[("Retry-After", "1")]);
                }
                last_words(&socket, &words);
                count += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use message::Waiting;

    fn pair() -> (OwnedFd, OwnedFd) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap()
    }

    fn encoded(request: bool) -> Vec<u8> {
        let head = &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..];
        let waiting = Waiting { since: Moment(1), head, body: b"", pipelined: b"" };
        let message = Message {
            listener: 0,
            requests: 1,
            peer: None,
            proxied: None,
            awaits_preface: false,
            request: request.then_some(waiting),
        };
        let mut bytes = Vec::new();
        assert!(message.encode(&mut bytes));
        bytes
    }

    #[test]
    fn a_connection_arrives_with_what_is_known_of_it() {
        let handoff = Handoff::new().unwrap();
        assert_ne!(handoff.number(), Handoff::new().unwrap().number());
        let mut buffer = [0; message::MOST];
        assert!(matches!(handoff.receive(&mut buffer), Err(Errno::AGAIN)));
        assert_eq!(handoff.under_way(), 0);
        let (client, server) = pair();
        let sent = encoded(true);
        handoff.send(&sent, server.as_fd()).unwrap();
        drop(server);
        assert!(handoff.under_way() > 0);
        let Ok(Delivery::Connection { length, socket }) = handoff.receive(&mut buffer) else {
            panic!("nothing has come");
        };
        assert_eq!(buffer[..length], sent);
        assert_eq!(system::send(&socket, b"x"), Ok(1));
        assert_eq!(system::receive(&client, &mut buffer), Ok(1));
        assert_eq!(handoff.under_way(), 0);
    }

    #[test]
    fn a_full_exchange_says_so_and_empties() {
        let handoff = Handoff::new().unwrap();
        let (client, server) = pair();
        let idle = encoded(false);
        let mut sent = 0;
        let full = loop {
            match handoff.send(&idle, server.as_fd()) {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(full, Errno::AGAIN | Errno::TOOMANYREFS), "{full}");
        assert!(sent > 100, "{sent}");
        assert_eq!(handoff.turn_away(), 0, "no request was among them");
        drop(server);
        assert_eq!(system::receive(&client, &mut [0; 1]), Ok(0), "none is left open");
        handoff.send(&idle, client.as_fd()).unwrap();
    }

    #[test]
    fn who_is_turned_away_hears_why() {
        let handoff = Handoff::new().unwrap();
        let (client, server) = pair();
        handoff.send(&encoded(true), server.as_fd()).unwrap();
        handoff.send(&encoded(false), server.as_fd()).unwrap();
        drop(server);
        assert_eq!(handoff.turn_away(), 1);
        let mut answer = [0; 1024];
        let length = system::receive(&client, &mut answer).unwrap();
        assert!(answer[..length].starts_with(b"HTTP/1.1 503 "));
        assert_eq!(system::receive(&client, &mut answer), Ok(0));
    }
}
