//! The scoreboard: shared memory in which workers note what they do and the arbiter reads it.
//!
//! Rules:
//! - made by the arbiter before the first fork, anonymous, never resized;
//! - every field is an atomic, read and written relaxed: a reader sees each field whole, not the
//!   slot as a whole;
//! - counters have one writer each (an app thread, or the reactor), so adding is a load and a
//!   store, never a locked instruction.

mod incident;
mod slot;

pub use incident::{Incident, IncidentCell, IncidentKind};
pub use slot::{Cell, LATENCY_BUCKETS, Running, Slot, State};

use std::mem::size_of;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// What all workers share.
#[repr(C, align(128))]
struct Header {
    fleet: AtomicU32,
    stopping: AtomicBool,
}

pub struct Scoreboard {
    base: NonNull<u8>,
    size: usize,
    slots: usize,
    threads: usize,
    /// Readable when a worker has something to tell; inherited by every worker.
    event: OwnedFd,
}

// SAFETY: the mapping holds atomics only and lives as long as this value.
unsafe impl Send for Scoreboard {}
// SAFETY: as above; shared access to atomics is what they are for.
unsafe impl Sync for Scoreboard {}

impl Scoreboard {
    /// `slots` workers of `threads` app threads each. Fails when the kernel has no memory.
    pub fn new(slots: usize, threads: usize) -> Result<Scoreboard, Errno> {
        let slots = slots.max(1);
        let threads = threads.max(1);
        let size = size_of::<Header>() + slots * slot_stride(threads);
        // SAFETY: an anonymous mapping at an address of the kernel's choosing aliases nothing.
        let base = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                size,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
            )?
        };
        let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let base = NonNull::new(base.cast::<u8>()).ok_or(Errno::NOMEM)?;
        Ok(Scoreboard { base, size, slots, threads, event })
    }

    pub fn slots(&self) -> usize {
        self.slots
    }

    pub fn threads(&self) -> usize {
        self.threads
    }

    fn header(&self) -> &Header {
        // SAFETY: the mapping starts with a header, is zeroed (valid for atomics) and page-aligned.
        unsafe { self.base.cast::<Header>().as_ref() }
    }

    fn slot_base(&self, slot: usize) -> *mut u8 {
        assert!(slot < self.slots, "the scoreboard has no slot {slot}");
        // SAFETY: slot is in bounds, so the offset stays within the mapping.
        unsafe { self.base.as_ptr().add(size_of::<Header>() + slot * slot_stride(self.threads)) }
    }

    /// Panics when there is no such slot.
    pub fn slot(&self, slot: usize) -> &Slot {
        // SAFETY: every slot starts with a Slot; atomics are valid when zeroed; the alignment is
        // kept by the stride, a multiple of 128.
        unsafe { &*self.slot_base(slot).cast::<Slot>() }
    }

    /// What one writer of a slot notes: cells 0..threads belong to app threads, the last one to
    /// the reactor.
    pub fn cell(&self, slot: usize, cell: usize) -> &Cell {
        assert!(cell <= self.threads, "slot {slot} has no cell {cell}");
        // SAFETY: cells follow the Slot; the index is in bounds.
        unsafe { &*self.slot_base(slot).add(size_of::<Slot>()).cast::<Cell>().add(cell) }
    }

    pub fn cells(&self, slot: usize) -> impl Iterator<Item = &Cell> {
        (0..=self.threads).map(move |cell| self.cell(slot, cell))
    }

    /// Where the engine reports about app thread `thread`.
    pub fn incident_cell(&self, slot: usize, thread: usize) -> &IncidentCell {
        assert!(thread < self.threads, "slot {slot} has no thread {thread}");
        let offset = size_of::<Slot>() + (self.threads + 1) * size_of::<Cell>();
        // SAFETY: incident cells follow the cells; the index is in bounds.
        unsafe { &*self.slot_base(slot).add(offset).cast::<IncidentCell>().add(thread) }
    }

    /// Wipe a slot for the worker that is about to be forked.
    pub fn open(&self, slot: usize, age: u32, now: u64) {
        self.close(slot);
        self.slot(slot).open(age, now);
    }

    /// The worker of this slot is gone.
    pub fn close(&self, slot: usize) {
        self.slot(slot).wipe();
        self.cells(slot).for_each(Cell::wipe);
        (0..self.threads).for_each(|thread| self.incident_cell(slot, thread).wipe());
    }

    /// How many workers share the listeners.
    pub fn fleet(&self) -> u32 {
        self.header().fleet.load(Relaxed)
    }

    pub fn set_fleet(&self, workers: u32) {
        self.header().fleet.store(workers, Relaxed);
    }

    pub fn stopping(&self) -> bool {
        self.header().stopping.load(Relaxed)
    }

    pub fn set_stopping(&self, stopping: bool) {
        self.header().stopping.store(stopping, Relaxed);
    }

    pub fn event(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// Wake the arbiter. A full counter is already readable, so that error means success.
    pub fn notify(&self) {
        let result = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        debug_assert!(matches!(result, Ok(8) | Err(Errno::AGAIN)));
    }

    /// Make the eventfd unreadable again; when nobody had written that is no error.
    pub fn acknowledge(&self) {
        let mut count = [0u8; 8];
        let result = rustix::io::read(&self.event, &mut count);
        debug_assert!(matches!(result, Ok(8) | Err(Errno::AGAIN)));
    }
}

impl Drop for Scoreboard {
    fn drop(&mut self) {
        // SAFETY: this value made the mapping, and no reference into it outlives this value.
        let result = unsafe { munmap(self.base.as_ptr().cast(), self.size) };
        debug_assert!(result.is_ok());
    }
}

const fn slot_stride(threads: usize) -> usize {
    size_of::<Slot>() + (threads + 1) * size_of::<Cell>() + threads * size_of::<IncidentCell>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Moment, Span};

    #[test]
    fn a_slot_is_wiped_when_opened() {
        let board = Scoreboard::new(2, 3).unwrap();
        board.cell(1, 2).begin(Moment(5), b"GET", b"/x");
        board.cell(1, 3).count(200, 1, 2);
        board.slot(1).set_state(State::Ready);
        board.open(1, 9, 77);
        assert_eq!(board.slot(1).state(), State::Booting);
        assert_eq!(board.slot(1).age(), 9);
        assert!(board.cells(1).all(|cell| cell.running().is_none() && cell.requests() == 0));
        assert_eq!(board.slot(0).state(), State::Empty);
    }

    #[test]
    fn running_shows_method_and_target_truncated() {
        let board = Scoreboard::new(1, 1).unwrap();
        let long = vec![b'a'; 500];
        board.cell(0, 0).begin(Moment(1), b"POST", &long);
        let running = board.cell(0, 0).running().unwrap();
        assert!(running.request.starts_with(b"POST aaa"));
        assert_eq!(running.request.len(), 120);
        board.cell(0, 0).begin(Moment(1), b"GET", b"/");
        assert_eq!(board.cell(0, 0).running().unwrap().request, b"GET /");
        board.cell(0, 0).end(Span(1500), true);
        assert!(board.cell(0, 0).running().is_none());
        assert_eq!(board.cell(0, 0).latencies().iter().sum::<u64>(), 1);
    }

    #[test]
    fn incidents_are_taken_once() {
        let board = Scoreboard::new(1, 1).unwrap();
        let cell = board.incident_cell(0, 0);
        let incident = Incident {
            kind: IncidentKind::Overdue,
            id: 7,
            thread: 0,
            elapsed: Span(3),
            writing: false,
            answered: true,
            peer: "127.0.0.1".into(),
            head: b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        };
        assert!(cell.report(&incident));
        assert!(!cell.report(&incident), "not overwritten before it was read");
        assert_eq!(cell.take(0), Some(incident));
        assert_eq!(cell.take(0), None);
    }
}
