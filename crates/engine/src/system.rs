//! The calls to the kernel on which a request depends: to receive, to send, to accept, to spool,
//! to hand a connection to another process, and what time it is.
//!
//! They stand together so that there is one place to look at what the kernel can answer. Nothing
//! here decides what follows from it. A build with the feature `testing` lets them fail on order,
//! see [`faults`](crate::faults).

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrAny, SocketFlags,
};
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

/// Sends a message and a descriptor; all of it or nothing.
pub fn deliver(
    entrance: impl AsFd,
    message: &[u8],
    descriptor: BorrowedFd<'_>,
) -> Result<(), Errno> {
    #[cfg(feature = "testing")]
    faults::exchange(entrance.as_fd())?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [descriptor];
    let fits = control.push(SendAncillaryMessage::ScmRights(&descriptors));
    debug_assert!(fits);
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    rustix::net::sendmsg(entrance, &[IoSlice::new(message)], &mut control, flags).map(drop)
}

/// What another process has sent.
pub enum Delivery {
    Connection {
        length: usize,
        socket: OwnedFd,
    },
    /// There was no descriptor free for what came, and the kernel has closed it (man 7 unix,
    /// MSG_CTRUNC).
    Lost,
}

/// The next message, into `buffer`, and its descriptor.
pub fn take_delivery(exit: impl AsFd, buffer: &mut [u8]) -> Result<Delivery, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = rustix::net::recvmsg(exit, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
    let socket = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(match socket {
        Some(socket) => Delivery::Connection { length: received.bytes, socket },
        None => Delivery::Lost,
    })
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
