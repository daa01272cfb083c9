//! Time, in nanoseconds on CLOCK_MONOTONIC: the same clock as Python's `time.monotonic()`, so
//! that arbiter and engine can compare what they note on the scoreboard.

use crate::system;

/// A moment on the monotonic clock. Zero never occurs and stands for "not yet".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Moment(pub u64);

impl Moment {
    pub const NEVER: Moment = Moment(u64::MAX);

    pub fn now() -> Moment {
        let time = system::monotonic();
        Moment(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }

    pub fn after(self, span: Span) -> Moment {
        Moment(self.0.saturating_add(span.0))
    }

    pub fn since(self, earlier: Moment) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }

    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

/// A length of time in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Span(pub u64);

impl Span {
    pub const ZERO: Span = Span(0);
    /// Longer than any process lives; for deadlines that are switched off.
    pub const FOREVER: Span = Span(u64::MAX);

    pub const fn from_millis(millis: u64) -> Span {
        Span(millis * 1_000_000)
    }

    pub const fn from_secs(secs: u64) -> Span {
        Span(secs * 1_000_000_000)
    }

    /// Seconds as operators give them; zero and below mean "off".
    pub fn from_setting(seconds: f64) -> Span {
        if seconds > 0.0 && seconds < 1e9 { Span((seconds * 1e9) as u64) } else { Span::FOREVER }
    }

    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }

    pub fn as_micros(self) -> u64 {
        self.0 / 1000
    }
}

/// Seconds and milliseconds since 1970, of the same moment.
pub fn unix_time() -> (u64, u32) {
    let time = system::wall();
    (time.tv_sec as u64, (time.tv_nsec / 1_000_000) as u32)
}

/// Seconds since 1970, for `Date`.
pub fn unix_seconds() -> u64 {
    system::wall().tv_sec as u64
}
