//! The calls to the kernel on which a request depends: to receive, to send, to accept, to spool.
//!
//! They stand together so that there is one place to look at what the kernel can answer. Nothing
//! here decides what follows from it.

use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketAddrAny, SocketFlags};

/// What is there for us, into `buffer`; 0 at the end of the stream.
#[inline]
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    rustix::net::recv(socket, buffer, RecvFlags::empty()).map(|(count, _)| count)
}

/// Bytes that the socket has taken of these. Never waits: an app that has the socket may have made
/// it a blocking one.
#[inline]
pub fn send(socket: impl AsFd, bytes: &[u8]) -> Result<usize, Errno> {
    // A peer that is gone shows itself by the error: no signal has to tell of it.
    rustix::net::send(socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
}

/// The same for several slices; writev has no flag against SIGPIPE, which CPython ignores.
#[inline]
pub fn send_slices(socket: impl AsFd, slices: &[IoSlice<'_>]) -> Result<usize, Errno> {
    rustix::io::writev(socket, slices)
}

/// Bytes that the socket has taken of a file, from `offset` on, which moves along.
#[inline]
pub fn send_file(
    socket: impl AsFd,
    file: impl AsFd,
    offset: &mut u64,
    most: usize,
) -> Result<usize, Errno> {
    rustix::fs::sendfile(socket, file, Some(offset), most)
}

/// A connection that waits at a listener, non-blocking, with its peer's address.
#[inline]
pub fn accept(listener: impl AsFd) -> Result<(OwnedFd, Option<SocketAddrAny>), Errno> {
    rustix::net::acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)
}

/// Bytes of a file from `offset` on; 0 at its end.
#[inline]
pub fn read_at(file: impl AsFd, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
    rustix::io::pread(file, buffer, offset)
}

/// Bytes that a file has taken at `offset`.
#[inline]
pub fn write_at(file: impl AsFd, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
    rustix::io::pwrite(file, bytes, offset)
}
