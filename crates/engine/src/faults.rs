//! What the kernel may answer and seldom does, on order.
//!
//! The environment variable `MONOCEROS_FAULTS` orders, words separated by commas, some with a
//! number behind `=`:
//!
//! - `short`: calls receive and send less than they could;
//! - `again`: every third call on a socket says that it would block;
//! - `accept=N`: every N-th accept fails because there is no descriptor left;
//! - `disk=N`: every N-th write to a spool file fails because the disk is full;
//! - `aborted=N`: every N-th accept finds that its client has gone;
//! - `clock=N`: the clock of deadlines jumps N seconds ahead, the one on the wall N seconds back;
//! - `jump_at=M`: when they do, seconds on the clock of deadlines, so that all processes that are
//!   given the same moment jump together. Without it, each jumps two seconds after its first look.
//!
//! Which call is hit follows from how many there were before, so that a run can be repeated. The
//! engine relies on edges, and so does the kernel's promise: after a read that was cut short, and
//! after "would block", there is an event. What is faked here keeps that promise by registering
//! the socket anew with what it was registered with.

use std::collections::HashMap;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::Timespec;

/// How it is ordered.
pub const VARIABLE: &str = "MONOCEROS_FAULTS";

/// The clocks jump so many seconds after the first look at them, where no moment is given.
const JUMP_AFTER: i64 = 2;

#[derive(Debug, Default)]
struct Orders {
    short: bool,
    again: bool,
    accept: Option<u64>,
    disk: Option<u64>,
    aborted: Option<u64>,
    clock: Option<u64>,
    jump_at: Option<u64>,
}

fn orders() -> &'static Orders {
    static ORDERS: OnceLock<Orders> = OnceLock::new();
    ORDERS.get_or_init(|| read(&std::env::var(VARIABLE).unwrap_or_default()))
}

fn read(text: &str) -> Orders {
    let mut orders = Orders::default();
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let (name, number) = word.split_once('=').unwrap_or((word, "2"));
        let number = number.parse().ok().filter(|number| *number > 0);
        match name {
            "short" => orders.short = true,
            "again" => orders.again = true,
            "accept" => orders.accept = number,
            "disk" => orders.disk = number,
            "aborted" => orders.aborted = number,
            "clock" => orders.clock = number,
            "jump_at" => orders.jump_at = number,
            _ => panic!("{VARIABLE} orders {word:?}, which is no fault"),
        }
    }
    orders
}

static CALLS: AtomicU64 = AtomicU64::new(0);
static INJECTED: AtomicU64 = AtomicU64::new(0);

/// How many faults there have been in this process.
pub fn injected() -> u64 {
    INJECTED.load(Relaxed)
}

/// A number that looks random and depends on nothing but how many were drawn before.
fn draw() -> u64 {
    // splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
    let mut mixed = (CALLS.fetch_add(1, Relaxed) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// True at every `each`-th call.
fn is_due(count: &AtomicU64, each: Option<u64>) -> bool {
    let due = each.is_some_and(|each| count.fetch_add(1, Relaxed) % each == each - 1);
    if due {
        INJECTED.fetch_add(1, Relaxed);
    }
    due
}

/// How much of `length` bytes a call moves: at least one, often all.
fn cut(length: usize) -> usize {
    if !orders().short || length < 2 {
        return length;
    }
    let number = draw();
    let most = match number % 4 {
        0 => 1,
        1 => 1 + (number >> 8) as usize % 100,
        2 => length / 2,
        _ => return length,
    };
    INJECTED.fetch_add(1, Relaxed);
    most.min(length)
}

fn would_block(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    if orders().again && draw().is_multiple_of(3) {
        INJECTED.fetch_add(1, Relaxed);
        announce(socket);
        return Err(Errno::AGAIN);
    }
    Ok(())
}

/// A connection goes to another process.
pub(crate) fn exchange(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    would_block(socket)
}

struct Watch {
    poller: RawFd,
    token: u64,
    flags: EventFlags,
}

static WATCHES: Mutex<Option<HashMap<RawFd, Watch>>> = Mutex::new(None);

/// A socket has been registered with a poller.
pub(crate) fn watched(
    poller: BorrowedFd<'_>,
    socket: BorrowedFd<'_>,
    token: u64,
    flags: EventFlags,
) {
    let watch = Watch { poller: poller.as_raw_fd(), token, flags };
    let mut watches = WATCHES.lock().unwrap_or_else(PoisonError::into_inner);
    watches.get_or_insert_default().insert(socket.as_raw_fd(), watch);
}

/// Lets the poller tell once more what the socket is ready for. One that is not registered yet
/// will be, which tells as well.
fn announce(socket: BorrowedFd<'_>) {
    let watches = WATCHES.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(watch) = watches.as_ref().and_then(|all| all.get(&socket.as_raw_fd())) else { return };
    // SAFETY: used for one call only; a number that names something else by now is refused by it.
    let poller = unsafe { BorrowedFd::borrow_raw(watch.poller) };
    let told = epoll::modify(poller, socket, EventData::new_u64(watch.token), watch.flags);
    debug_assert!(matches!(told, Ok(()) | Err(Errno::NOENT | Errno::INVAL | Errno::BADF)));
}

pub(crate) fn receive<'a>(
    socket: BorrowedFd<'_>,
    buffer: &'a mut [u8],
) -> Result<&'a mut [u8], Errno> {
    would_block(socket)?;
    let most = cut(buffer.len());
    if most < buffer.len() {
        announce(socket);
    }
    Ok(&mut buffer[..most])
}

pub(crate) fn send<'a>(socket: BorrowedFd<'_>, bytes: &'a [u8]) -> Result<&'a [u8], Errno> {
    would_block(socket)?;
    Ok(&bytes[..cut(bytes.len())])
}

pub(crate) fn send_slices<'a, 'b>(
    socket: BorrowedFd<'_>,
    slices: &'a [IoSlice<'b>],
) -> Result<&'a [IoSlice<'b>], Errno> {
    would_block(socket)?;
    Ok(&slices[..cut(slices.len())])
}

pub(crate) fn send_file(socket: BorrowedFd<'_>, most: usize) -> Result<usize, Errno> {
    would_block(socket)?;
    Ok(cut(most))
}

pub(crate) fn accept() -> Result<(), Errno> {
    static ACCEPTS: AtomicU64 = AtomicU64::new(0);
    static ABORTS: AtomicU64 = AtomicU64::new(0);
    if is_due(&ACCEPTS, orders().accept) {
        return Err(Errno::MFILE);
    }
    if is_due(&ABORTS, orders().aborted) { Err(Errno::CONNABORTED) } else { Ok(()) }
}

pub(crate) fn write_at(bytes: &[u8]) -> Result<&[u8], Errno> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    if is_due(&COUNT, orders().disk) { Err(Errno::NOSPC) } else { Ok(&bytes[..cut(bytes.len())]) }
}

/// How far the clocks have jumped, seconds, when the clock of deadlines would be at `now`.
fn jump(now: Timespec) -> i64 {
    static FIRST_LOOK: OnceLock<i64> = OnceLock::new();
    let Some(seconds) = orders().clock else { return 0 };
    let due = match orders().jump_at {
        Some(moment) => moment as i64,
        None => *FIRST_LOOK.get_or_init(|| now.tv_sec) + JUMP_AFTER,
    };
    if now.tv_sec < due {
        return 0;
    }
    INJECTED.fetch_add(1, Relaxed);
    seconds as i64
}

pub(crate) fn monotonic(time: Timespec) -> Timespec {
    Timespec { tv_sec: time.tv_sec + jump(time), ..time }
}

pub(crate) fn wall(time: Timespec) -> Timespec {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Timespec { tv_sec: time.tv_sec - jump(now), ..time }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read() {
        let orders = read("short, accept=3,disk");
        assert!(orders.short && !orders.again);
        assert_eq!((orders.accept, orders.disk, orders.clock), (Some(3), Some(2), None));
    }

    #[test]
    #[should_panic(expected = "which is no fault")]
    fn what_is_no_fault_is_told() {
        read("sort");
    }
}
