//! A response on its way to the socket: bytes of ours, bytes that somebody else owns, files.

mod sealed;

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;

use crate::spool::Spool;
use crate::system;

/// Bytes owned elsewhere that are sent without a copy.
pub trait Payload: AsRef<[u8]> + Send {
    /// Somebody else keeps these bytes in memory anyway: letting go of them would free nothing.
    fn is_shared(&self) -> bool;
}

/// Slices for one writev; more segments than this wait for the next.
const SLICES: usize = 16;
/// Room for bytes that is kept from one response to the next; a large one is paid for once.
const ROOM_KEPT: usize = 64 * 1024;
/// Bytes for one peer before others have their turn: it may read as fast as we write.
const TURN: u64 = 1024 * 1024;
/// The kernel takes no more at once (man 2 sendfile).
const SENDFILE_MOST: u64 = 0x7fff_f000;

enum Segment {
    Bytes { bytes: Vec<u8>, sent: usize },
    Payload { payload: Box<dyn Payload>, sent: usize },
    File { file: OwnedFd, offset: u64, left: u64 },
}

impl Segment {
    fn memory(&self) -> Option<&[u8]> {
        match self {
            Segment::Bytes { bytes, sent } => Some(&bytes[*sent..]),
            Segment::Payload { payload, sent } => Some(&payload.as_ref().as_ref()[*sent..]),
            Segment::File { .. } => None,
        }
    }

    fn is_shared(&self) -> bool {
        matches!(self, Segment::Payload { payload, .. } if payload.is_shared())
    }
}

/// Segments in order. `bytes` goes first and is kept for reuse: most responses need nothing else.
#[derive(Default)]
pub struct Output {
    bytes: Vec<u8>,
    sent: usize,
    segments: VecDeque<Segment>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Written {
    /// Nothing is left.
    All,
    /// The socket takes no more now.
    Blocked,
    /// It may take more, and will not tell so again: others have their turn first.
    TurnOver,
}

impl Output {
    pub fn is_empty(&self) -> bool {
        self.bytes.len() == self.sent && self.segments.is_empty()
    }

    /// Where to append bytes that follow all that is there.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        if self.segments.is_empty() {
            return &mut self.bytes;
        }
        if !matches!(self.segments.back(), Some(Segment::Bytes { .. })) {
            self.segments.push_back(Segment::Bytes { bytes: Vec::new(), sent: 0 });
        }
        match self.segments.back_mut() {
            Some(Segment::Bytes { bytes, .. }) => bytes,
            _ => &mut self.bytes,
        }
    }

    pub fn push_payload(&mut self, payload: Box<dyn Payload>) {
        self.segments.push_back(Segment::Payload { payload, sent: 0 });
    }

    pub fn push_file(&mut self, file: OwnedFd, offset: u64, left: u64) {
        if left > 0 {
            self.segments.push_back(Segment::File { file, offset, left });
        }
    }

    /// Bytes that are held in memory for nobody else.
    pub fn in_memory(&self) -> usize {
        let own = self.segments.iter().filter(|segment| !segment.is_shared());
        let segments: usize = own.filter_map(Segment::memory).map(<[u8]>::len).sum();
        self.bytes.len() - self.sent + segments
    }

    /// Bytes that wait, whoever else keeps them in memory; files are not among them.
    pub fn waiting(&self) -> usize {
        let segments: usize =
            self.segments.iter().filter_map(Segment::memory).map(<[u8]>::len).sum();
        self.bytes.len() - self.sent + segments
    }

    /// Forget everything, keep the room that usual responses need.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(ROOM_KEPT);
        self.sent = 0;
        self.segments.clear();
    }

    /// Moves what is in memory to a file: a peer that does not read shall not cost memory.
    pub fn spill(&mut self, directory: &Path) -> Result<(), Errno> {
        // Everything is on disk before anything is let go: a full disk must not cost bytes.
        let mut full = Vec::new();
        let mut spool = Spool::new(directory)?;
        spool.append(&self.bytes[self.sent..])?;
        for segment in &self.segments {
            match segment.memory() {
                Some(bytes) => spool.append(bytes)?,
                None => full.push(std::mem::replace(&mut spool, Spool::new(directory)?)),
            }
        }
        let files = self.segments.drain(..).filter(|segment| segment.memory().is_none());
        let mut segments: VecDeque<Segment> = full
            .into_iter()
            .zip(files)
            .flat_map(|(spool, file)| [file_segment(spool), file])
            .collect();
        segments.push_back(file_segment(spool));
        segments.retain(|segment| !matches!(segment, Segment::File { left: 0, .. }));
        self.bytes = Vec::new();
        self.sent = 0;
        self.segments = segments;
        Ok(())
    }

    /// Sends as much as the socket takes in one turn. Adds to `total`. An error means that the
    /// peer is gone, or that a file has become shorter than it was said to be.
    fn write_plain(&mut self, socket: BorrowedFd<'_>, total: &mut u64) -> Result<Written, Errno> {
        let end = total.saturating_add(TURN);
        loop {
            if *total >= end && !self.is_empty() {
                return Ok(Written::TurnOver);
            }
            let head = &self.bytes[self.sent..];
            let result = match self.segments.front_mut() {
                None if head.is_empty() => {
                    self.clear();
                    return Ok(Written::All);
                }
                None => system::send(socket, head),
                Some(Segment::File { file, offset, left }) if head.is_empty() => {
                    let most = (*left).min(SENDFILE_MOST).min(end - *total) as usize;
                    match system::send_file(socket, &*file, offset, most) {
                        Ok(0) => Err(Errno::IO),
                        Ok(sent) => {
                            *total += sent as u64;
                            *left -= sent as u64;
                            if *left == 0 {
                                self.segments.pop_front();
                            }
                            continue;
                        }
                        Err(error) => Err(error),
                    }
                }
                Some(_) => {
                    let mut slices = [IoSlice::new(&[]); SLICES];
                    let count = self.gather(&mut slices);
                    if count == 0 {
                        self.segments.pop_front();
                        continue;
                    }
                    system::send_slices(socket, &slices[..count])
                }
            };
            match result {
                Ok(sent) => {
                    *total += sent as u64;
                    self.advance(sent);
                }
                Err(Errno::AGAIN) => return Ok(Written::Blocked),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What is in memory up to the next file, as slices: how many.
    fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES]) -> usize {
        let mut count = 0;
        let memory = self.segments.iter().map_while(Segment::memory);
        for bytes in std::iter::once(&self.bytes[self.sent..]).chain(memory).take(SLICES) {
            if !bytes.is_empty() {
                slices[count] = IoSlice::new(bytes);
                count += 1;
            }
        }
        count
    }

    fn advance(&mut self, mut count: usize) {
        let own = count.min(self.bytes.len() - self.sent);
        self.sent += own;
        count -= own;
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
        }
        while count > 0 {
            let Some(front) = self.segments.front_mut() else { return };
            let left = front.memory().map_or(0, <[u8]>::len);
            if left <= count {
                count -= left;
                self.segments.pop_front();
                continue;
            }
            match front {
                Segment::Bytes { sent, .. } | Segment::Payload { sent, .. } => *sent += count,
                Segment::File { .. } => {}
            }
            return;
        }
    }
}

/// Bytes that the kernel holds for the peer: sent by us, not acknowledged by it.
pub fn unacknowledged(socket: BorrowedFd<'_>) -> u64 {
    /// man 7 tcp, SIOCOUTQ; the same number for unix sockets.
    const SIOCOUTQ: rustix::ioctl::Opcode = 0x5411;
    // SAFETY: SIOCOUTQ writes one int.
    let asked = unsafe {
        let getter = rustix::ioctl::Getter::<SIOCOUTQ, std::ffi::c_int>::new();
        rustix::ioctl::ioctl(socket, getter)
    };
    asked.map_or(0, |bytes| bytes.max(0) as u64)
}

fn file_segment(spool: Spool) -> Segment {
    let (file, left) = spool.into_file();
    Segment::File { file, offset: 0, left }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    use rustix::fs::{MemfdFlags, memfd_create};
    use rustix::io::pwrite;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, recv, socketpair};

    struct Words(&'static [u8]);

    impl AsRef<[u8]> for Words {
        fn as_ref(&self) -> &[u8] {
            self.0
        }
    }

    impl Payload for Words {
        fn is_shared(&self) -> bool {
            false
        }
    }

    fn output() -> Output {
        let mut output = Output::default();
        output.tail().extend_from_slice(b"head ");
        output.push_payload(Box::new(Words(b"payload ")));
        let file = memfd_create("file", MemfdFlags::CLOEXEC).unwrap();
        pwrite(&file, b"a file ", 0).unwrap();
        output.push_file(file, 2, 5);
        output.tail().extend_from_slice(b"tail");
        output
    }

    fn sent(output: &mut Output) -> Vec<u8> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, peer) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        let mut total = 0;
        let written = output.write_to(None, ours.as_fd(), &mut total);
        assert_eq!(written, Ok(Written::All));
        let mut bytes = vec![0; total as usize + 1];
        let count = recv(&peer, &mut bytes[..], rustix::net::RecvFlags::empty()).unwrap().0;
        bytes.truncate(count);
        assert_eq!(count as u64, total);
        bytes
    }

    #[test]
    fn what_is_spilled_keeps_its_order() {
        let mut output = output();
        output.spill(&std::env::temp_dir()).unwrap();
        assert_eq!(output.in_memory(), 0);
        assert_eq!(sent(&mut output), b"head payload file tail");
    }

    #[test]
    fn a_peer_that_reads_fast_has_turns() {
        const SIZE: u64 = 256 << 20;
        let (ours, peer) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .unwrap();
        rustix::io::ioctl_fionbio(&ours, true).unwrap();
        let reader = std::thread::spawn(move || {
            let mut block = vec![0; 1 << 20];
            while recv(&peer, &mut block[..], rustix::net::RecvFlags::empty()).unwrap().0 > 0 {}
        });
        let file = memfd_create("zeros", MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&file, SIZE).unwrap();
        let mut output = Output::default();
        output.push_file(file, 0, SIZE);
        let mut total = 0;
        let mut longest = 0;
        loop {
            let before = total;
            let written = output.write_to(None, ours.as_fd(), &mut total).unwrap();
            longest = longest.max(total - before);
            if written == Written::All {
                break;
            }
            std::thread::yield_now();
        }
        drop(ours);
        reader.join().unwrap();
        assert_eq!(total, SIZE);
        assert!(longest <= TURN, "{longest} bytes in one turn");
    }

    #[test]
    fn the_room_of_a_large_response_is_given_back() {
        let mut output = Output::default();
        output.tail().resize(10 << 20, 0);
        output.clear();
        assert!(output.bytes.capacity() <= ROOM_KEPT);
    }
}
