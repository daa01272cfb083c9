//! The calls to the kernel on which a request depends: to receive, to send, to accept, to spool,
//! and what time it is.
//!
//! They stand together so that there is one place to look at what the kernel can answer. Nothing
//! here decides what follows from it. A build with the feature `testing` lets them fail on order,
//! see [`faults`](crate::faults).

use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketAddrAny, SocketFlags};
use rustix::time::{ClockId, Timespec, clock_gettime};

#[cfg(feature = "testing")]
use crate::faults;

/// What is there for us, into `buffer`; 0 at the end of the stream.
#[inline]
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    #[cfg(feature = "testing")]
    let buffer = faults::receive(socket.as_fd(), buffer)?;
    rustix::net::recv(socket, buffer, RecvFlags::empty()).map(|(count, _)| count)
}

/// Bytes that the socket has taken of these. Never waits: an app that has the socket may have made
/// it a blocking one.
#[inline]
pub fn send(socket: impl AsFd, bytes: &[u8]) -> Result<usize, Errno> {
    #[cfg(feature = "testing")]
    let bytes = faults::send(socket.as_fd(), bytes)?;
    // A peer that is gone shows itself by the error: no signal has to tell of it.
    rustix::net::send(socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
}

/// The same for several slices; writev has no flag against SIGPIPE, which CPython ignores.
#[inline]
pub fn send_slices(socket: impl AsFd, slices: &[IoSlice<'_>]) -> Result<usize, Errno> {
    #[cfg(feature = "testing")]
    let slices = faults::send_slices(socket.as_fd(), slices)?;
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
    #[cfg(feature = "testing")]
    let most = faults::send_file(socket.as_fd(), most)?;
    rustix::fs::sendfile(socket, file, Some(offset), most)
}

/// A connection that waits at a listener, non-blocking, with its peer's address.
#[inline]
pub fn accept(listener: impl AsFd) -> Result<(OwnedFd, Option<SocketAddrAny>), Errno> {
    #[cfg(feature = "testing")]
    faults::accept()?;
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
    #[cfg(feature = "testing")]
    let bytes = faults::write_at(bytes)?;
    rustix::io::pwrite(file, bytes, offset)
}

/// The clock of deadlines.
#[inline]
pub fn monotonic() -> Timespec {
    let time = clock_gettime(ClockId::Monotonic);
    #[cfg(feature = "testing")]
    let time = faults::monotonic(time);
    time
}

/// The clock on the wall, exact to some milliseconds: that costs a few instructions.
#[inline]
pub fn wall() -> Timespec {
    let time = clock_gettime(ClockId::RealtimeCoarse);
    #[cfg(feature = "testing")]
    let time = faults::wall(time);
    time
}

/// How long ago the peer's last bytes came; since when it is connected where none came. `None`
/// where the kernel does not know, as for unix sockets.
pub fn silent_for(socket: impl AsFd) -> Option<std::time::Duration> {
    let mut size = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: a structure of numbers, for which zero is a value.
    let mut information: libc::tcp_info = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes no more than `size` bytes into the structure.
    let result = unsafe {
        libc::getsockopt(
            std::os::fd::AsRawFd::as_raw_fd(&socket.as_fd()),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            std::ptr::from_mut(&mut information).cast(),
            &mut size,
        )
    };
    let millis = information.tcpi_last_data_recv;
    (result == 0).then(|| std::time::Duration::from_millis(millis.into()))
}
