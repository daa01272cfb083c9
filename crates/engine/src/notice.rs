//! What the engine has to say in the error log. It writes no log itself: an app thread does, as
//! soon as one is free.

use std::net::SocketAddr;

use crate::clock::{Moment, Span};
use crate::refusal::{Refusal, Refusals};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    Debug,
    Info,
    Warning,
    Error,
}

#[derive(Debug)]
pub struct Notice {
    pub severity: Severity,
    pub text: String,
}

/// What goes on for long is said no more often than this.
const PERIOD: Span = Span::from_secs(60);

/// Something that happens again and again and is worth a line once in a while.
#[derive(Default)]
pub struct Throttle {
    next: Moment,
    untold: u64,
}

impl Throttle {
    /// It has happened `count` more times. When it is time to say so: how often since the last
    /// time.
    pub fn tell(&mut self, now: Moment, count: u64) -> Option<u64> {
        self.untold += count;
        if now < self.next {
            return None;
        }
        self.next = now.after(PERIOD);
        Some(std::mem::take(&mut self.untold))
    }
}

/// More than this at once helps nobody: an attacker shall not fill the disk or the memory.
const MOST: usize = 100;

#[derive(Default)]
pub struct Notices {
    notices: Vec<Notice>,
    dropped: usize,
    pub refusals: Refusals,
}

/// What an app thread has to write: into the error log, and into the access log.
#[derive(Debug, Default)]
pub struct Report {
    pub notices: Vec<Notice>,
    pub refusals: Vec<Refusal>,
}

impl Notices {
    pub fn push(&mut self, severity: Severity, text: impl FnOnce() -> String) {
        if self.notices.len() < MOST {
            self.notices.push(Notice { severity, text: text() });
        } else {
            self.dropped += 1;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.notices.is_empty() && self.refusals.is_empty()
    }

    pub fn take(&mut self) -> Report {
        let mut notices = std::mem::take(&mut self.notices);
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            let text = format!("{dropped} more messages of this kind were left out");
            notices.push(Notice { severity: Severity::Warning, text });
        }
        let (refusals, untold) = self.refusals.take();
        if untold > 0 {
            let text = format!("{untold} refused requests are not in the access log: too many");
            notices.push(Notice { severity: Severity::Warning, text });
        }
        Report { notices, refusals }
    }
}

/// How messages name a client.
pub fn peer_name(peer: Option<SocketAddr>) -> String {
    peer.map_or_else(|| "unix".into(), |address| address.ip().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_told_once_in_a_while() {
        let mut throttle = Throttle::default();
        let start = Moment(1);
        assert_eq!(throttle.tell(start, 1), Some(1));
        assert_eq!(throttle.tell(start, 1), None);
        assert_eq!(throttle.tell(start.after(Span::from_secs(59)), 2), None);
        assert_eq!(throttle.tell(start.after(Span::from_secs(61)), 1), Some(4));
    }
}
