//! A response on its way through TLS. The kernel cannot send a file by itself then: it is read
//! and sealed piece by piece.

use super::*;
use crate::tls::{BATCH, Session};

impl Output {
    /// Sends what the socket takes in one turn (see `write_plain`), through a session where there
    /// is one. `total` counts what was sealed; All means that the socket has taken it.
    pub fn write_to(
        &mut self,
        session: Option<&Session>,
        socket: BorrowedFd<'_>,
        total: &mut u64,
    ) -> Result<Written, Errno> {
        match session {
            None => self.write_plain(socket, total),
            Some(session) => self.write_sealed(session, socket, total),
        }
    }

    fn write_sealed(
        &mut self,
        session: &Session,
        socket: BorrowedFd<'_>,
        total: &mut u64,
    ) -> Result<Written, Errno> {
        let end = total.saturating_add(TURN);
        let mut line = session.lock();
        let mut block = Vec::new();
        loop {
            if line.flush(socket)? == Written::Blocked {
                return Ok(Written::Blocked);
            }
            if self.is_empty() {
                self.clear();
                return Ok(Written::All);
            }
            if *total >= end {
                return Ok(Written::TurnOver);
            }
            let head = &self.bytes[self.sent..];
            if let (true, Some(Segment::File { file, offset, left })) =
                (head.is_empty(), self.segments.front_mut())
            {
                block.resize(BATCH, 0);
                let most = (*left).min(BATCH as u64) as usize;
                let count = match system::read_at(&*file, &mut block[..most], *offset) {
                    // Shorter than it was said to be.
                    Ok(0) => return Err(Errno::IO),
                    Ok(count) => count,
                    Err(Errno::INTR) => continue,
                    Err(error) => return Err(error),
                };
                let sealed = line.seal(&[IoSlice::new(&block[..count])])?;
                *total += sealed as u64;
                *offset += sealed as u64;
                *left -= sealed as u64;
                if *left == 0 {
                    self.segments.pop_front();
                }
                continue;
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.gather(&mut slices);
            if count == 0 {
                self.segments.pop_front();
                continue;
            }
            let sealed = line.seal(&slices[..count])?;
            *total += sealed as u64;
            self.advance(sealed);
        }
    }
}
