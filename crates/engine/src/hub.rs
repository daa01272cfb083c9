//! The thread that runs the app in greenlets, as the reactor sees it.
//!
//! | state   | event                                     | next    |
//! |---------|-------------------------------------------|---------|
//! | Content | there is something for it                 | Called  |
//! | Called  | it has taken all there is                 | Content |
//! | Called  | it has not come for `PATIENCE`            | Late    |
//! | Late    | it comes                                  | Called  |
//! | Called  | every lane is in use, requests wait       | Starved |
//! | Starved | a lane is free                            | Called  |
//!
//! A descriptor is readable while it is called, so that an event loop can wait for it. It is late
//! when a greenlet does not let go of the thread: then connections are left to other workers.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use crate::clock::{Moment, Span};

/// What a loop may need for a turn in which nobody blocks it.
const PATIENCE: Span = Span::from_millis(10);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Content,
    Called { since: Moment },
    Late,
    Starved,
}

pub struct Hub {
    state: State,
    event: OwnedFd,
}

impl Hub {
    pub fn new() -> Result<Hub, Errno> {
        let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Hub { state: State::Content, event })
    }

    /// Readable while the hub is called.
    pub fn event(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// There is something for it: `requests` only, or something that needs no lane.
    pub fn call(&mut self, now: Moment, requests_only: bool) {
        match self.state {
            State::Starved if requests_only => {}
            State::Content | State::Starved => {
                self.state = State::Called { since: now };
                let result = rustix::io::write(&self.event, &1u64.to_ne_bytes());
                debug_assert!(matches!(result, Ok(8) | Err(Errno::AGAIN)));
            }
            State::Called { .. } | State::Late => {}
        }
    }

    /// It is here, and takes something.
    pub fn comes(&mut self, now: Moment) {
        if matches!(self.state, State::Called { .. } | State::Late) {
            self.state = State::Called { since: now };
        }
    }

    /// It has taken all there is; `starved`: all but requests, for which it has no lane.
    pub fn goes(&mut self, starved: bool) {
        self.state = if starved { State::Starved } else { State::Content };
        let result = rustix::io::read(&self.event, &mut [0u8; 8]);
        debug_assert!(matches!(result, Ok(8) | Err(Errno::AGAIN)));
    }

    /// A lane is free. True: requests wait for one.
    pub fn has_lane(&mut self) -> bool {
        let starved = self.state == State::Starved;
        if starved {
            self.state = State::Content;
        }
        starved
    }

    /// Looks at the clock. True when it has just become late.
    pub fn becomes_late(&mut self, now: Moment) -> bool {
        match self.state {
            State::Called { since } if since.after(PATIENCE) <= now => {
                self.state = State::Late;
                true
            }
            _ => false,
        }
    }

    pub fn is_late(&self) -> bool {
        self.state == State::Late
    }

    /// When it will be late unless it comes.
    pub fn late_from(&self) -> Moment {
        match self.state {
            State::Called { since } => since.after(PATIENCE),
            _ => Moment::NEVER,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_readable(hub: &Hub) -> bool {
        let mut count = [0u8; 8];
        let readable = rustix::io::read(&hub.event, &mut count) == Ok(8);
        if readable {
            assert_eq!(rustix::io::write(&hub.event, &count), Ok(8));
        }
        readable
    }

    #[test]
    fn it_is_called_until_it_has_taken_all() {
        let mut hub = Hub::new().unwrap();
        assert!(!is_readable(&hub));
        hub.call(Moment(1), true);
        hub.call(Moment(2), true);
        assert!(is_readable(&hub));
        hub.comes(Moment(3));
        assert!(is_readable(&hub), "there may be more");
        hub.goes(false);
        assert!(!is_readable(&hub));
        hub.call(Moment(4), true);
        assert!(is_readable(&hub));
    }

    #[test]
    fn it_is_late_when_it_does_not_come() {
        let mut hub = Hub::new().unwrap();
        assert_eq!(hub.late_from(), Moment::NEVER);
        hub.call(Moment(1), true);
        assert!(!hub.becomes_late(Moment(PATIENCE.0)));
        assert!(hub.becomes_late(Moment(1 + PATIENCE.0)));
        assert!(!hub.becomes_late(Moment(2 + PATIENCE.0)), "told once");
        assert!(hub.is_late());
        hub.comes(Moment(3 + PATIENCE.0));
        assert!(!hub.is_late());
        assert_eq!(hub.late_from(), Moment(3 + 2 * PATIENCE.0));
    }

    #[test]
    fn without_a_lane_it_is_called_for_other_things_only() {
        let mut hub = Hub::new().unwrap();
        hub.call(Moment(1), true);
        hub.goes(true);
        hub.call(Moment(2), true);
        assert!(!is_readable(&hub));
        hub.call(Moment(3), false);
        assert!(is_readable(&hub));
        hub.goes(true);
        assert!(hub.has_lane());
        assert!(!hub.has_lane());
        hub.call(Moment(4), true);
        assert!(is_readable(&hub));
    }
}
