//! A worker's slot and the cells of its writers.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::clock::{Moment, Span};

/// A worker's life: Empty -> Booting -> Ready -> Draining -> Empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum State {
    Empty = 0,
    Booting = 1,
    Ready = 2,
    Draining = 3,
}

impl State {
    pub fn from_number(number: u32) -> Option<State> {
        match number {
            0 => Some(State::Empty),
            1 => Some(State::Booting),
            2 => Some(State::Ready),
            3 => Some(State::Draining),
            _ => None,
        }
    }
}

#[repr(C, align(128))]
#[derive(Default)]
pub struct Slot {
    pid: AtomicU32,
    age: AtomicU32,
    state: AtomicU32,
    recycle: AtomicU32,
    hurry: AtomicU32,
    /// The app is an ASGI app, which nobody but its worker can know.
    asgi: AtomicU32,
    connections: AtomicU32,
    idle: AtomicU32,
    opened_at: AtomicU64,
    ready_at: AtomicU64,
    engine_beat: AtomicU64,
    python_beat: AtomicU64,
    crowded_since: AtomicU64,
    exhausted_at: AtomicU64,
    /// The exchange in which it takes part; 0: none.
    handoff: AtomicU64,
    /// It takes connections of siblings.
    has_room: AtomicU32,
    /// A bit for each of the first 64 listeners that nobody serves after this worker.
    given_up: AtomicU64,
}

impl Slot {
    pub(super) fn open(&self, age: u32, now: u64) {
        self.age.store(age, Relaxed);
        self.opened_at.store(now, Relaxed);
        self.state.store(State::Booting as u32, Relaxed);
    }

    pub(super) fn wipe(&self) {
        for field in [
            &self.state,
            &self.pid,
            &self.age,
            &self.recycle,
            &self.hurry,
            &self.asgi,
            &self.connections,
            &self.idle,
            &self.has_room,
        ] {
            field.store(0, Relaxed);
        }
        for field in [
            &self.opened_at,
            &self.ready_at,
            &self.engine_beat,
            &self.python_beat,
            &self.crowded_since,
            &self.exhausted_at,
            &self.handoff,
            &self.given_up,
        ] {
            field.store(0, Relaxed);
        }
    }

    pub fn pid(&self) -> u32 {
        self.pid.load(Relaxed)
    }

    pub fn set_pid(&self, pid: u32) {
        self.pid.store(pid, Relaxed);
    }

    pub fn age(&self) -> u32 {
        self.age.load(Relaxed)
    }

    pub fn state(&self) -> State {
        State::from_number(self.state.load(Relaxed)).unwrap_or(State::Empty)
    }

    /// Ready also notes the moment of the first time.
    pub fn set_state(&self, state: State) {
        if state == State::Ready && self.ready_at.load(Relaxed) == 0 {
            self.ready_at.store(Moment::now().0, Relaxed);
        }
        self.state.store(state as u32, Relaxed);
    }

    pub fn opened_at(&self) -> Moment {
        Moment(self.opened_at.load(Relaxed))
    }

    pub fn ready_at(&self) -> Moment {
        Moment(self.ready_at.load(Relaxed))
    }

    pub fn engine_beat(&self) -> Moment {
        Moment(self.engine_beat.load(Relaxed))
    }

    pub fn beat_engine(&self, now: Moment) {
        self.engine_beat.store(now.0, Relaxed);
    }

    pub fn python_beat(&self) -> Moment {
        Moment(self.python_beat.load(Relaxed))
    }

    pub fn beat_python(&self, now: Moment) {
        self.python_beat.store(now.0, Relaxed);
    }

    /// Since when this worker takes no connections; zero while it does.
    pub fn crowded_since(&self) -> Moment {
        Moment(self.crowded_since.load(Relaxed))
    }

    pub fn set_crowded_since(&self, since: Moment) {
        self.crowded_since.store(since.0, Relaxed);
    }

    /// When this worker last had no descriptor for a connection; zero: never.
    pub fn exhausted_at(&self) -> Moment {
        Moment(self.exhausted_at.load(Relaxed))
    }

    pub fn set_exhausted_at(&self, now: Moment) {
        self.exhausted_at.store(now.0, Relaxed);
    }

    /// The exchange by which this worker's connections move; 0 where they do not.
    pub fn handoff(&self) -> u64 {
        self.handoff.load(Relaxed)
    }

    pub fn set_handoff(&self, number: u64) {
        self.handoff.store(number, Relaxed);
    }

    /// Whether an app thread is free, as far as a millisecond later can tell.
    pub fn has_room(&self) -> bool {
        self.has_room.load(Relaxed) != 0
    }

    pub fn set_has_room(&self, has_room: bool) {
        self.has_room.store(u32::from(has_room), Relaxed);
    }

    pub fn wants_recycling(&self) -> bool {
        self.recycle.load(Relaxed) != 0
    }

    pub fn ask_for_recycling(&self) {
        self.recycle.store(1, Relaxed);
    }

    pub fn hurried(&self) -> bool {
        self.hurry.load(Relaxed) != 0
    }

    pub fn hurry(&self) {
        self.hurry.store(1, Relaxed);
    }

    pub fn serves_asgi(&self) -> bool {
        self.asgi.load(Relaxed) != 0
    }

    pub fn set_asgi(&self) {
        self.asgi.store(1, Relaxed);
    }

    /// Whether nobody serves this listener after the worker: the server gives up its address.
    pub fn gives_up(&self, listener: usize) -> bool {
        listener < 64 && self.given_up.load(Relaxed) & (1 << listener) != 0
    }

    pub fn set_given_up(&self, listeners: u64) {
        self.given_up.store(listeners, Relaxed);
    }

    pub fn connections(&self) -> u32 {
        self.connections.load(Relaxed)
    }

    pub fn idle(&self) -> u32 {
        self.idle.load(Relaxed)
    }

    pub fn set_connections(&self, open: u32, idle: u32) {
        self.connections.store(open, Relaxed);
        self.idle.store(idle, Relaxed);
    }
}

/// Doublings of a microsecond: bucket 0 is below 2 us, the last one from about half a second.
pub const LATENCY_BUCKETS: usize = 20;

/// Enough of method and target to recognise a request by; 15 words.
const REQUEST_WORDS: usize = 15;

/// What one writer notes: the request that it runs, and what it has counted.
#[repr(C, align(128))]
#[derive(Default)]
pub struct Cell {
    /// When the running request began; 0: none runs.
    since: AtomicU64,
    overdue: AtomicU32,
    length: AtomicU32,
    request: [AtomicU64; REQUEST_WORDS],
    requests: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    statuses: [AtomicU64; 5],
    latencies: [AtomicU64; LATENCY_BUCKETS],
    queue_times: [AtomicU64; LATENCY_BUCKETS],
}

/// A request that runs, as another process sees it.
pub struct Running {
    pub since: Moment,
    pub request: Vec<u8>,
    pub overdue: bool,
}

/// For counters with one writer: cheaper than a locked instruction.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(more), Relaxed);
}

fn bucket(span: Span) -> usize {
    let micros = span.as_micros() | 1;
    (micros.ilog2() as usize).min(LATENCY_BUCKETS - 1)
}

impl Cell {
    pub(super) fn wipe(&self) {
        self.since.store(0, Relaxed);
        self.overdue.store(0, Relaxed);
        self.length.store(0, Relaxed);
        self.counters().for_each(|counter| counter.store(0, Relaxed));
    }

    fn counters(&self) -> impl Iterator<Item = &AtomicU64> {
        [&self.requests, &self.bytes_in, &self.bytes_out]
            .into_iter()
            .chain(&self.statuses)
            .chain(&self.latencies)
            .chain(&self.queue_times)
    }

    /// A request begins to run. Method and target are kept truncated, in whole words.
    pub fn begin(&self, now: Moment, method: &[u8], target: &[u8]) {
        const ROOM: usize = REQUEST_WORDS * 8;
        let mut text = [0u8; ROOM];
        let method = &method[..method.len().min(ROOM - 1)];
        text[..method.len()].copy_from_slice(method);
        text[method.len()] = b' ';
        let start = method.len() + 1;
        let target = &target[..target.len().min(ROOM - start)];
        text[start..start + target.len()].copy_from_slice(target);
        let length = start + target.len();
        self.length.store(length as u32, Relaxed);
        for (word, bytes) in self.request.iter().zip(text.chunks_exact(8)).take(length.div_ceil(8))
        {
            word.store(u64::from_ne_bytes(bytes.try_into().unwrap_or_default()), Relaxed);
        }
        self.since.store(now.0, Relaxed);
    }

    /// A request has been answered, or given up; `none_runs`: it was the last one of this cell.
    pub fn end(&self, took: Span, none_runs: bool) {
        if none_runs {
            self.since.store(0, Relaxed);
            self.overdue.store(0, Relaxed);
        }
        add(&self.latencies[bucket(took)], 1);
    }

    pub fn queued(&self, waited: Span) {
        add(&self.queue_times[bucket(waited)], 1);
    }

    pub fn set_overdue(&self) {
        self.overdue.store(1, Relaxed);
    }

    /// A response of this status went out.
    pub fn count(&self, status: u16, bytes_in: u64, bytes_out: u64) {
        add(&self.requests, 1);
        add(&self.bytes_in, bytes_in);
        add(&self.bytes_out, bytes_out);
        if let Some(class) = self.statuses.get((status as usize / 100).wrapping_sub(1)) {
            add(class, 1);
        }
    }

    pub fn running(&self) -> Option<Running> {
        let since = self.since.load(Relaxed);
        if since == 0 {
            return None;
        }
        let length = (self.length.load(Relaxed) as usize).min(REQUEST_WORDS * 8);
        let mut request: Vec<u8> =
            self.request.iter().flat_map(|word| word.load(Relaxed).to_ne_bytes()).collect();
        request.truncate(length);
        Some(Running { since: Moment(since), request, overdue: self.overdue.load(Relaxed) != 0 })
    }

    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    pub fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Relaxed)
    }

    pub fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Relaxed)
    }

    pub fn statuses(&self) -> [u64; 5] {
        std::array::from_fn(|class| self.statuses[class].load(Relaxed))
    }

    pub fn latencies(&self) -> [u64; LATENCY_BUCKETS] {
        std::array::from_fn(|index| self.latencies[index].load(Relaxed))
    }

    pub fn queue_times(&self) -> [u64; LATENCY_BUCKETS] {
        std::array::from_fn(|index| self.queue_times[index].load(Relaxed))
    }
}
