//! Temporary files for what is too large for memory. They have no name from the start, so that
//! nothing is left behind however the process ends.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustix::fs::{Mode, OFlags, open, unlink};
use rustix::io::Errno;
use rustix::process::getpid;

use crate::system;

#[derive(Debug)]
pub struct Spool {
    file: OwnedFd,
    size: u64,
}

impl Spool {
    pub fn new(directory: &Path) -> Result<Spool, Errno> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        match open(directory, flags | OFlags::TMPFILE, mode) {
            Ok(file) => Ok(Spool { file, size: 0 }),
            // Some file systems (overlay on old kernels, NFS) have no nameless files.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                Spool::unlinked(directory, flags, mode)
            }
            Err(error) => Err(error),
        }
    }

    fn unlinked(directory: &Path, flags: OFlags, mode: Mode) -> Result<Spool, Errno> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let serial = SERIAL.fetch_add(1, Relaxed);
        let name = format!(".monoceros-{}-{serial}", getpid().as_raw_nonzero());
        let path = directory.join(name);
        let file = open(&path, flags | OFlags::CREATE | OFlags::EXCL, mode)?;
        unlink(&path)?;
        Ok(Spool { file, size: 0 })
    }

    pub fn append(&mut self, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() {
            match system::write_at(&self.file, bytes, self.size) {
                Ok(0) => return Err(Errno::NOSPC),
                Ok(written) => {
                    self.size += written as u64;
                    bytes = &bytes[written..];
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn into_file(self) -> (OwnedFd, u64) {
        (self.file, self.size)
    }
}
