//! The least rate of a request body.
//!
//! A deadline without progress alone is no bound: a client that sends a byte just before it has
//! another whole deadline. So every byte buys a little time, at the rate that is asked for, and
//! nobody can hold more than a deadline's worth of it: over any such stretch of time the body has
//! to come at the rate, while pauses within it are all right.

use crate::clock::{Moment, Span};

#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Until when the bytes so far have bought time.
    bought: Moment,
}

impl Pace {
    /// A body begins.
    pub fn new(now: Moment, stretch: Span) -> Pace {
        Pace { bought: now.after(stretch) }
    }

    /// For so long nobody asked the peer for more.
    pub fn forgive(&mut self, pause: Span) {
        self.bought = self.bought.after(pause);
    }

    /// `bytes` have come. False: the body comes at less than `rate` bytes a second, measured over
    /// `stretch`; a rate of 0 is always kept.
    pub fn keeps_up(&mut self, bytes: usize, rate: u64, stretch: Span, now: Moment) -> bool {
        if rate == 0 {
            return true;
        }
        let time = Span((bytes as u64).saturating_mul(1_000_000_000) / rate);
        self.bought = self.bought.after(time).min(now.after(stretch));
        now <= self.bought
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRETCH: Span = Span::from_secs(30);
    const RATE: u64 = 100;

    fn at(seconds: u64) -> Moment {
        Moment(1).after(Span::from_secs(seconds))
    }

    #[test]
    fn a_byte_every_29_seconds_is_too_slow() {
        let mut pace = Pace::new(at(0), STRETCH);
        assert!(pace.keeps_up(1, RATE, STRETCH, at(29)));
        assert!(!pace.keeps_up(1, RATE, STRETCH, at(58)));
    }

    #[test]
    fn pauses_are_all_right_while_the_rate_is_kept() {
        let mut pace = Pace::new(at(0), STRETCH);
        for burst in 1..100 {
            assert!(pace.keeps_up(30 * RATE as usize, RATE, STRETCH, at(burst * 29)));
        }
    }

    /// What came quickly in the beginning pays for no more than one stretch of dripping.
    #[test]
    fn a_quick_start_does_not_pay_for_a_slow_end() {
        let mut pace = Pace::new(at(0), STRETCH);
        assert!(pace.keeps_up(100_000_000, RATE, STRETCH, at(1)));
        assert!(pace.keeps_up(1, RATE, STRETCH, at(30)));
        assert!(!pace.keeps_up(1, RATE, STRETCH, at(59)));
    }

    /// Bytes that had arrived before we could look count before the time does.
    #[test]
    fn a_server_that_looks_late_blames_nobody() {
        let mut pace = Pace::new(at(0), STRETCH);
        assert!(pace.keeps_up(60 * RATE as usize, RATE, STRETCH, at(80)));
    }

    #[test]
    fn without_a_rate_nobody_is_too_slow() {
        let mut pace = Pace::new(at(0), STRETCH);
        assert!(pace.keeps_up(1, 0, STRETCH, at(10_000)));
        let mut pace = Pace::new(at(0), Span::FOREVER);
        assert!(pace.keeps_up(1, RATE, Span::FOREVER, at(10_000)));
    }
}
