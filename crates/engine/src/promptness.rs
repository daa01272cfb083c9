//! A guess: has a new connection brought its request along?
//!
//! On a busy worker it has, and to read at once spares a registration. On a quicker worker than its
//! clients it has not, and a read that finds nothing is a system call for nothing. The last
//! connections tell what to expect of the next.

/// After so many that had brought nothing, the next ones are not asked.
const MISSES: u8 = 4;
/// But one in so many is, so that a change is noticed.
const ASKED: u8 = 16;

#[derive(Default)]
pub struct Promptness {
    /// Connections in a row that had brought nothing, as far as they were asked.
    misses: u8,
    unasked: u8,
}

impl Promptness {
    /// Whether to read from a new connection at once.
    pub fn expects_a_request(&mut self) -> bool {
        if self.misses < MISSES {
            return true;
        }
        self.unasked = (self.unasked + 1) % ASKED;
        self.unasked == 0
    }

    /// What one that was asked had brought.
    pub fn learn(&mut self, had_a_request: bool) {
        self.misses = if had_a_request { 0 } else { (self.misses + 1).min(MISSES) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_rarely_where_nothing_comes_and_always_where_something_does() {
        let mut promptness = Promptness::default();
        for _ in 0..MISSES {
            assert!(promptness.expects_a_request());
            promptness.learn(false);
        }
        let asked = (0..10 * ASKED).filter(|_| {
            let asked = promptness.expects_a_request();
            if asked {
                promptness.learn(false);
            }
            asked
        });
        assert_eq!(asked.count(), 10);
        while !promptness.expects_a_request() {}
        promptness.learn(true);
        assert!((0..100).all(|_| promptness.expects_a_request()));
    }
}
