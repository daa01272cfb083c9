//! epoll, and what wakes it.
//!
//! Connections are registered edge-triggered, for input: no system call between requests. Only one
//! whose socket has once refused output is told of room for more; others would be told that they
//! have room as soon as they are registered, which nobody asked. Listeners are level-triggered and exclusive: one worker wakes per connection.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use crate::clock::{Moment, Span};

/// Events per wait: enough to spread its cost, few enough that one round is short.
const BATCH: usize = 128;

/// Tokens above this are not connections.
const SPECIAL: u64 = u64::MAX - 0xffff;
const KICK: u64 = SPECIAL;
const SIGNAL: u64 = SPECIAL + 1;
const LIFELINE: u64 = SPECIAL + 2;
const HANDOFF: u64 = SPECIAL + 5;
const LOOP: u64 = SPECIAL + 3;
const ALARM: u64 = SPECIAL + 4;
const LISTENER: u64 = SPECIAL + 0x100;

/// Whose event it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    Connection(u64),
    Listener(usize),
    /// Another thread has changed something.
    Kick,
    Signal,
    Lifeline,
    /// A connection comes from another worker.
    Handoff,
    /// Descriptors of the event loop that waits in here.
    Loop,
    /// The time has come that was set.
    Alarm,
}

impl Source {
    fn of(token: u64) -> Source {
        match token {
            token if token < SPECIAL => Source::Connection(token),
            KICK => Source::Kick,
            SIGNAL => Source::Signal,
            LIFELINE => Source::Lifeline,
            HANDOFF => Source::Handoff,
            LOOP => Source::Loop,
            ALARM => Source::Alarm,
            token => Source::Listener((token - LISTENER) as usize),
        }
    }
}

/// What the poller tells of a connection; it only ever becomes more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Watch {
    Nothing,
    /// Input, and the peer's end.
    Input,
    /// Room for output as well.
    Both,
}

/// Room for what one wait brings.
pub struct Events(Vec<Event>);

// SAFETY: the kernel gives back the numbers that we registered; the pointer that the type could
// hold as well is never used.
unsafe impl Send for Events {}

impl Events {
    pub fn new() -> Events {
        Events(Vec::with_capacity(BATCH))
    }

    pub fn iter(&self) -> impl Iterator<Item = (Source, EventFlags)> {
        self.0.iter().map(|event| (Source::of(event.data.u64()), event.flags))
    }
}

pub struct Poller {
    epoll: OwnedFd,
    kick: OwnedFd,
    /// It has been written to since it was read.
    kicked: AtomicBool,
    signal_read: OwnedFd,
    signal_write: OwnedFd,
}

impl Poller {
    pub fn new() -> Result<Poller, Errno> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let kick = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let (signal_read, signal_write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        epoll::add(&epoll, &kick, EventData::new_u64(KICK), EventFlags::IN)?;
        epoll::add(&epoll, &signal_read, EventData::new_u64(SIGNAL), EventFlags::IN)?;
        Ok(Poller { epoll, kick, kicked: AtomicBool::new(false), signal_read, signal_write })
    }

    pub fn add_lifeline(&self, lifeline: BorrowedFd<'_>) -> Result<(), Errno> {
        let flags = EventFlags::IN | EventFlags::RDHUP;
        epoll::add(&self.epoll, lifeline, EventData::new_u64(LIFELINE), flags)
    }

    pub fn add_listener(&self, listener: BorrowedFd<'_>, index: usize) -> Result<(), Errno> {
        let data = EventData::new_u64(LISTENER + index as u64);
        epoll::add(&self.epoll, listener, data, EventFlags::IN | EventFlags::EXCLUSIVE)
    }

    /// As for a listener: one worker wakes per connection.
    pub fn add_exchange(&self, exit: BorrowedFd<'_>) -> Result<(), Errno> {
        let flags = EventFlags::IN | EventFlags::EXCLUSIVE;
        epoll::add(&self.epoll, exit, EventData::new_u64(HANDOFF), flags)
    }

    /// Tells of what happens to the connection's socket from now on, and of what is so already.
    pub fn watch_connection(
        &self,
        socket: BorrowedFd<'_>,
        token: u64,
        before: Watch,
        now: Watch,
    ) -> Result<(), Errno> {
        let input = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        let flags = match now {
            Watch::Nothing => return Ok(()),
            Watch::Input => input,
            Watch::Both => input | EventFlags::OUT,
        };
        let data = EventData::new_u64(token);
        match before {
            Watch::Nothing => epoll::add(&self.epoll, socket, data, flags)?,
            Watch::Input | Watch::Both => epoll::modify(&self.epoll, socket, data, flags)?,
        }
        #[cfg(feature = "testing")]
        crate::faults::watched(self.epoll.as_fd(), socket, token, flags);
        Ok(())
    }

    pub fn remove(&self, descriptor: BorrowedFd<'_>) -> Result<(), Errno> {
        epoll::delete(&self.epoll, descriptor)
    }

    /// Tells, level-triggered, when an event loop's own epoll has news; `watched` false: no more.
    pub fn watch_loop(&self, descriptors: BorrowedFd<'_>, watched: bool) -> Result<(), Errno> {
        if watched {
            epoll::add(&self.epoll, descriptors, EventData::new_u64(LOOP), EventFlags::IN)
        } else {
            epoll::delete(&self.epoll, descriptors)
        }
    }

    /// For an event loop that waits for this poller.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// Something has happened that a wait would tell. Takes nothing away.
    pub fn has_news(&self) -> bool {
        let mut descriptors = [PollFd::new(&self.epoll, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut descriptors, Some(&now)), Ok(1))
    }

    pub fn new_alarm(&self) -> Result<Alarm, Errno> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        epoll::add(&self.epoll, &timer, EventData::new_u64(ALARM), EventFlags::IN)?;
        Ok(Alarm { timer, at: Moment::NEVER })
    }

    /// Fills `events`; an interrupted wait is one with no events and `Err(INTR)`.
    pub fn wait(&self, events: &mut Events, timeout: Span) -> Result<(), Errno> {
        let timeout = Timespec {
            tv_sec: (timeout.0 / 1_000_000_000) as i64,
            tv_nsec: (timeout.0 % 1_000_000_000) as i64,
        };
        events.0.clear();
        epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events.0), Some(&timeout))?;
        Ok(())
    }

    /// Makes the thread that waits look around.
    pub fn kick(&self) {
        if self.kicked.swap(true, SeqCst) {
            return;
        }
        let result = rustix::io::write(&self.kick, &1u64.to_ne_bytes());
        debug_assert!(matches!(result, Ok(8) | Err(Errno::AGAIN)));
    }

    /// Whoever takes it looks around afterwards, so that a kick which was left out because of this
    /// one is not missed. Read first: what is kicked in between would be read, and not be told.
    pub fn take_kick(&self) {
        let result = rustix::io::read(&self.kick, &mut [0u8; 8]);
        self.kicked.store(false, SeqCst);
        debug_assert!(matches!(result, Ok(8) | Err(Errno::AGAIN)));
    }

    /// Numbers of the signals that have arrived.
    pub fn take_signals(&self) -> Vec<u8> {
        let mut numbers = [0u8; 64];
        match rustix::io::read(&self.signal_read, &mut numbers) {
            Ok(count) => numbers[..count].to_vec(),
            Err(_) => Vec::new(),
        }
    }

    /// Where a signal handler writes the number of its signal.
    pub fn signal_writer(&self) -> BorrowedFd<'_> {
        self.signal_write.as_fd()
    }
}

/// Makes the poller readable at a moment, for who does not wait in it.
pub struct Alarm {
    timer: OwnedFd,
    at: Moment,
}

impl Alarm {
    /// At `moment` or earlier. Deadlines mostly move into the future: one that is set stays.
    pub fn set(&mut self, moment: Moment) -> Result<(), Errno> {
        if self.at <= moment {
            return Ok(());
        }
        let value = Timespec {
            tv_sec: (moment.0 / 1_000_000_000).min(i64::MAX as u64) as i64,
            tv_nsec: (moment.0 % 1_000_000_000) as i64,
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once)?;
        self.at = moment;
        Ok(())
    }

    /// It has told.
    pub fn take(&mut self) {
        let result = rustix::io::read(&self.timer, &mut [0u8; 8]);
        debug_assert!(matches!(result, Ok(8) | Err(Errno::AGAIN)));
        self.at = Moment::NEVER;
    }
}
