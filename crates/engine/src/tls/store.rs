//! Shared memory from the arbiter to its workers: what they need for TLS, always whole.
//!
//! One writer, the arbiter; any number of readers. A version that is odd means that something is
//! being written. A reader that has met two equal even versions around its copy has a whole one.

use std::ptr::{self, NonNull};
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Room for some hundred certificate chains. Pages that nobody has written cost nothing.
const CAPACITY: usize = 4 << 20;
const WORD: usize = size_of::<AtomicU64>();
/// Version and length.
const HEADER: usize = 2;
/// Copies in vain after which a reader goes on with what it has: writing takes microseconds.
const TRIES: u32 = 1000;

/// More certificates than the store has room for.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLarge {
    pub bytes: usize,
    pub room: usize,
}

pub struct Store {
    base: NonNull<AtomicU64>,
}

// SAFETY: the mapping holds atomics only and lives as long as this value.
unsafe impl Send for Store {}
// SAFETY: as above; shared access to atomics is what they are for.
unsafe impl Sync for Store {}

impl std::fmt::Debug for Store {
    /// Keys are nobody's to see.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Store").field("version", &self.version()).finish_non_exhaustive()
    }
}

impl Store {
    /// Empty; to be made before the workers are forked.
    pub fn new() -> Result<Store, Errno> {
        // SAFETY: an anonymous mapping at an address of the kernel's choosing aliases nothing.
        let base = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                CAPACITY,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::NORESERVE,
            )?
        };
        Ok(Store { base: NonNull::new(base.cast()).ok_or(Errno::NOMEM)? })
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is that large, page-aligned, and zeroed or written as atomics.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), CAPACITY / WORD) }
    }

    /// Changes with every publication; 0 before the first.
    pub fn version(&self) -> u64 {
        self.words()[0].load(Acquire)
    }

    /// Replaces what is there. Only the arbiter calls this.
    pub fn publish(&self, bytes: &[u8]) -> Result<(), TooLarge> {
        let [version, length, content @ ..] = self.words() else {
            return Err(TooLarge { bytes: bytes.len(), room: 0 });
        };
        let room = content.len() * WORD;
        if bytes.len() > room {
            return Err(TooLarge { bytes: bytes.len(), room });
        }
        let before = version.load(Relaxed);
        version.store(before + 1, Relaxed);
        fence(Release);
        length.store(bytes.len() as u64, Relaxed);
        for (word, part) in content.iter().zip(bytes.chunks(WORD)) {
            let mut filled = [0; WORD];
            filled[..part.len()].copy_from_slice(part);
            word.store(u64::from_ne_bytes(filled), Relaxed);
        }
        version.store(before + 2, Release);
        Ok(())
    }

    /// A whole copy and its version; None when nothing was ever published, or when the writer did
    /// not come to an end.
    pub fn read(&self) -> Option<(u64, Vec<u8>)> {
        let words = self.words();
        for _ in 0..TRIES {
            let before = words[0].load(Acquire);
            if before == 0 {
                return None;
            }
            if before.is_multiple_of(2) {
                let length = (words[1].load(Relaxed) as usize).min(CAPACITY - HEADER * WORD);
                let mut bytes = Vec::with_capacity(length + WORD);
                for word in &words[HEADER..HEADER + length.div_ceil(WORD)] {
                    bytes.extend(word.load(Relaxed).to_ne_bytes());
                }
                bytes.truncate(length);
                fence(Acquire);
                if words[0].load(Relaxed) == before {
                    return Some((before, bytes));
                }
            }
            std::thread::yield_now();
        }
        None
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: ours, and nothing refers to it any more.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), CAPACITY) };
        debug_assert!(unmapped.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_store_gives_back_what_was_published_last() {
        let store = Store::new().unwrap();
        assert!(store.read().is_none());
        store.publish(b"0123456789").unwrap();
        let (first, bytes) = store.read().unwrap();
        assert_eq!((first, &bytes[..]), (store.version(), &b"0123456789"[..]));
        store.publish(b"").unwrap();
        assert_ne!(store.version(), first);
        assert_eq!(store.read().unwrap().1, b"");
        let room = CAPACITY - HEADER * WORD;
        assert_eq!(store.publish(&vec![0; room + 1]), Err(TooLarge { bytes: room + 1, room }));
        assert_eq!(store.read().unwrap().1, b"");
    }

    #[test]
    fn a_reader_never_meets_halves() {
        let store = Arc::new(Store::new().unwrap());
        store.publish(&[0; 999]).unwrap();
        let writer = {
            let store = Arc::clone(&store);
            std::thread::spawn(move || {
                for byte in 0..2000u32 {
                    store.publish(&vec![byte as u8; 500 + byte as usize % 500]).unwrap();
                }
            })
        };
        while !writer.is_finished() {
            let Some((_, bytes)) = store.read() else { continue };
            assert!(bytes.len() >= 500 && bytes.iter().all(|byte| *byte == bytes[0]));
        }
        writer.join().unwrap();
    }
}
