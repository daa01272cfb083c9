//! How the engine tells the arbiter of a request that takes too long.
//!
//! One cell per app thread, with room for one incident. It is Free until the engine reports,
//! Full until the arbiter takes it; a report into a full cell is refused and tried again later.

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use crate::clock::Span;

/// Method, target and the headers that explain a request fit; a page of log is enough.
const HEAD_WORDS: usize = 2048 / 8;
/// The longest text of an IPv6 address with scope.
const PEER_WORDS: usize = 64 / 8;

const FREE: u32 = 0;
const FULL: u32 = 1;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum IncidentKind {
    /// The request passed its deadline.
    Overdue = 1,
    /// It ran longer than is usual here, and goes on.
    Slow = 2,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Incident {
    pub kind: IncidentKind,
    /// The number of the request in its worker, from 1.
    pub id: u64,
    pub thread: usize,
    pub elapsed: Span,
    /// The response had begun.
    pub writing: bool,
    /// The client was sent a 504.
    pub answered: bool,
    pub peer: String,
    pub head: Vec<u8>,
}

#[repr(C, align(128))]
pub struct IncidentCell {
    state: AtomicU32,
    kind: AtomicU32,
    flags: AtomicU32,
    peer_length: AtomicU32,
    head_length: AtomicU32,
    id: AtomicU64,
    elapsed: AtomicU64,
    peer: [AtomicU64; PEER_WORDS],
    head: [AtomicU64; HEAD_WORDS],
}

const WRITING: u32 = 1;
const ANSWERED: u32 = 2;

impl IncidentCell {
    pub(super) fn wipe(&self) {
        self.state.store(FREE, Release);
    }

    /// False when the arbiter has not taken the last one yet.
    pub fn report(&self, incident: &Incident) -> bool {
        if self.state.load(Acquire) != FREE {
            return false;
        }
        self.kind.store(incident.kind as u32, Relaxed);
        self.id.store(incident.id, Relaxed);
        self.elapsed.store(incident.elapsed.0, Relaxed);
        let writing = if incident.writing { WRITING } else { 0 };
        let answered = if incident.answered { ANSWERED } else { 0 };
        self.flags.store(writing | answered, Relaxed);
        store_bytes(&self.peer, &self.peer_length, incident.peer.as_bytes());
        store_bytes(&self.head, &self.head_length, &incident.head);
        self.state.store(FULL, Release);
        true
    }

    pub fn take(&self, thread: usize) -> Option<Incident> {
        if self.state.load(Acquire) != FULL {
            return None;
        }
        let flags = self.flags.load(Relaxed);
        let kind = if self.kind.load(Relaxed) == IncidentKind::Slow as u32 {
            IncidentKind::Slow
        } else {
            IncidentKind::Overdue
        };
        let incident = Incident {
            kind,
            id: self.id.load(Relaxed),
            thread,
            elapsed: Span(self.elapsed.load(Relaxed)),
            writing: flags & WRITING != 0,
            answered: flags & ANSWERED != 0,
            peer: String::from_utf8_lossy(&load_bytes(&self.peer, &self.peer_length)).into_owned(),
            head: load_bytes(&self.head, &self.head_length),
        };
        self.state.store(FREE, Release);
        Some(incident)
    }
}

fn store_bytes(words: &[AtomicU64], length: &AtomicU32, bytes: &[u8]) {
    let kept = &bytes[..bytes.len().min(words.len() * 8)];
    for (word, chunk) in words.iter().zip(kept.chunks(8)) {
        let mut padded = [0u8; 8];
        padded[..chunk.len()].copy_from_slice(chunk);
        word.store(u64::from_ne_bytes(padded), Relaxed);
    }
    length.store(kept.len() as u32, Relaxed);
}

fn load_bytes(words: &[AtomicU64], length: &AtomicU32) -> Vec<u8> {
    let length = (length.load(Relaxed) as usize).min(words.len() * 8);
    let mut bytes: Vec<u8> =
        words.iter().flat_map(|word| word.load(Relaxed).to_ne_bytes()).collect();
    bytes.truncate(length);
    bytes
}
