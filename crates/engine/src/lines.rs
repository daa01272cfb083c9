//! Log lines on their way to a file: collected while there is work, written before a thread waits.
//!
//! Lines of several workers share a file. A write to a regular file opened for appending is
//! atomic whatever its size; to a pipe only up to PIPE_BUF (man 7 pipe). Lines are never split.

use std::os::fd::{BorrowedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, write};

/// Written earlier than at the next wait when there is more than this.
const FULL: usize = 32 * 1024;
const PIPE_BUF: usize = 4096;

#[derive(Default)]
pub struct Lines {
    file: Option<RawFd>,
    whole: bool,
    bytes: Vec<u8>,
}

impl Lines {
    /// `file` must stay open as long as the process lives; it may be replaced by another under
    /// the same number (dup2) at any time.
    pub fn to(file: RawFd) -> Lines {
        // SAFETY: open by the promise above.
        let stat = fstat(unsafe { BorrowedFd::borrow_raw(file) });
        let kind = stat.map(|stat| FileType::from_raw_mode(stat.st_mode));
        Lines { file: Some(file), whole: kind == Ok(FileType::RegularFile), bytes: Vec::new() }
    }

    /// Where to append a line with its end.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether they have to be written before the next request; `at_once`: all there are.
    pub fn is_due(&self, at_once: bool) -> bool {
        self.bytes.len() > if at_once { 0 } else { FULL }
    }

    /// Writes everything. What the system refuses is lost, and the reason comes back.
    pub fn flush(&mut self) -> Result<(), Errno> {
        let Some(file) = self.file else { return Ok(()) };
        // SAFETY: open by the promise of `to`.
        let file = unsafe { BorrowedFd::borrow_raw(file) };
        let mut rest = &self.bytes[..];
        let mut result = Ok(());
        while !rest.is_empty() && result.is_ok() {
            let end = if self.whole { rest.len() } else { whole_lines(rest, PIPE_BUF) };
            match write(file, &rest[..end]) {
                Ok(written) => rest = &rest[written..],
                Err(Errno::INTR) => {}
                Err(error) => result = Err(error),
            }
        }
        self.bytes.clear();
        result
    }
}

/// Lines of a thread, which another one may have to write.
pub fn locked(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How much of `bytes` is whole lines within `most`; the first line in any case.
fn whole_lines(bytes: &[u8], most: usize) -> usize {
    if bytes.len() <= most {
        return bytes.len();
    }
    match memchr::memrchr(b'\n', &bytes[..most]) {
        Some(end) => end + 1,
        None => memchr::memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::whole_lines;

    #[test]
    fn lines_are_never_split() {
        assert_eq!(whole_lines(b"aa\nbb\ncc\n", 7), 6);
        assert_eq!(whole_lines(b"aa\nbb\n", 6), 6);
        assert_eq!(whole_lines(b"aaaaaaaa\nb\n", 4), 9);
    }
}
