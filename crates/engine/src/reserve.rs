//! A descriptor that is kept for the moment in which there is no other.
//!
//! A process without descriptors cannot even tell a client so: it cannot accept. Giving up the
//! spare one makes room for one connection, which is answered and closed at once.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, open};

#[derive(Debug)]
pub struct Reserve(Option<OwnedFd>);

impl Reserve {
    /// Without a free descriptor there is none in reserve either, until `lend` finds one.
    pub fn new() -> Reserve {
        Reserve(spare())
    }

    /// What is in reserve: it leads to /dev/null.
    pub fn null(&mut self) -> Option<BorrowedFd<'_>> {
        if self.0.is_none() {
            self.0 = spare();
        }
        self.0.as_ref().map(AsFd::as_fd)
    }

    /// Calls `with` while one more descriptor is free, which it may use up. `None`:
    /// there was none to give up.
    pub fn lend<T>(&mut self, with: impl FnOnce() -> T) -> Option<T> {
        if self.0.is_none() {
            self.0 = spare();
        }
        drop(self.0.take()?);
        let result = with();
        self.0 = spare();
        Some(result)
    }
}

fn spare() -> Option<OwnedFd> {
    open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
}
