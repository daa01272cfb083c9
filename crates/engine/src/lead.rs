//! Who runs the reactor.
//!
//! One thread at a time holds the lead: it waits for events and handles them. App threads lead in
//! turn; each calls the app itself when it finds a complete request, without letting go of the
//! lead. The sentinel, which never touches Python, watches:
//!
//! | state               | event                                   | next                        |
//! |---------------------|-----------------------------------------|-----------------------------|
//! | Nobody              | an app thread has nothing to do         | Thread                      |
//! | Thread, here        | it leaves for the app                   | Thread, away                |
//! | Thread, away        | it comes back                           | Thread, here                |
//! | Thread, away        | a tick passes, another thread is parked | the parked Thread, here     |
//! | Thread, away        | a tick passes, none is parked           | Sentinel                    |
//! | Thread, here        | apps have lately been slow, it leaves   | a parked Thread or Sentinel |
//! | Sentinel            | there is work and a thread is parked    | that Thread                 |
//!
//! A thread that comes back and finds the lead gone writes its response all the same, gives its
//! connection back, serves what waits, and parks when nothing does. `turns` is odd while the
//! leader is away; the sentinel reads it without the lock. While the worker is idle, or quick, the
//! sentinel sleeps.
//!
//! In a cooperative worker the sentinel leads from the first to the last, and the one thread that
//! runs the app comes for what is ready (`lanes.rs`): it could be in any greenlet when a socket has
//! news, and for any time.

mod finish;
mod lanes;
mod sentinel;
mod streams;
mod turn;

pub use turn::Step;

use std::os::fd::{BorrowedFd, RawFd};
use std::sync::atomic::{
    AtomicBool, AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use rustix::io::Errno;

use crate::clock::{Moment, Span};
use crate::connections::Paused;
use crate::exchange::Exchange;
use crate::gateway::{Gateway, Outcome};
use crate::hub::Hub;
use crate::lines::locked;
use crate::listeners::Listeners;
use crate::notice::{Report, Severity};
use crate::options::{EventLoop, Options};
use crate::output::Written;
use crate::poller::{Events, Poller};
use crate::reactor::Reactor;
use crate::scoreboard::Scoreboard;

/// How long an app may keep the lead.
const TICK: Duration = Duration::from_millis(1);
/// A worker that has called its app more often than this within a tick is quick and busy: then
/// every tick costs what requests could have had, and a longer one is enough.
const QUICK_CALLS: u64 = 8;
const LONG_TICK: Duration = Duration::from_millis(4);
/// How long an event loop may be away while something waits for it: what a loop may need for a turn
/// in which nobody blocks it.
const LOOP_TICK: Duration = Duration::from_millis(10);
/// From here on a request is slow.
const SLOW: Span = Span::from_millis(1);
/// Quiet ticks after which the sentinel goes to sleep: waking it costs a system call.
const QUIET_TICKS: u32 = 3;
/// Weight of the newest request in the average of slow ones: one in eight.
const SLOWNESS_SHIFT: u32 = 3;
const SLOWNESS_FULL: u32 = 1 << 16;
/// Blocked responses beyond this go to disk: clients that do not read cost no memory.
const HELD_MOST: usize = 16 << 20;
/// Where the disk takes none, this is the end: clients that have taken nothing for longest are cut.
pub(crate) const HELD_WITHOUT_DISK: usize = 64 << 20;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lead {
    Nobody,
    Thread(usize),
    Sentinel,
}

/// What an app thread has to do next.
pub enum Next<G: Gateway> {
    /// The exchange holds a request: call the app.
    Serve,
    /// The exchange holds a connection that takes more of this response.
    Resume(G::Paused),
    /// Nobody wants this any more: close what it holds.
    Release(G::Paused),
    /// Signals have arrived: let Python look.
    Signals,
    /// Write these to the logs.
    Notices(Report),
    /// The request of this number has been reported and is in a greenlet that others cannot see.
    Explain(u64),
    /// The engine has ended.
    Done,
}

/// An app thread's own things.
pub struct AppThread<G: Gateway> {
    index: usize,
    /// It is the main thread, where signal handlers run.
    main: bool,
    pub exchange: Exchange<G>,
    events: Events,
    /// It closes what the end has left over; the process waits for that.
    closing: bool,
}

struct Shared<G: Gateway> {
    options: Arc<Options>,
    poller: Arc<Poller>,
    reactor: Mutex<Reactor<G>>,
    /// One per app thread, for parking.
    wakes: Vec<Condvar>,
    /// For a main thread that is not an app thread.
    main_wake: Condvar,
    held: Arc<AtomicUsize>,
    turns: AtomicU64,
    sentinel_asleep: AtomicBool,
    /// The sentinel has work to do beyond watching; without the lock, see `watch`.
    sentinel_called: AtomicBool,
    sentinel: OnceLock<Thread>,
    threads_begun: AtomicUsize,
    /// How many of the last requests were slow, of SLOWNESS_FULL; written under the lock.
    slowness: AtomicU64,
    drain_grace: AtomicU64,
    stop: AtomicBool,
}

pub struct Engine<G: Gateway> {
    shared: Arc<Shared<G>>,
    sentinel: Option<JoinHandle<()>>,
}

impl<G: Gateway> Engine<G> {
    /// Starts the sentinel: to be called after the last fork.
    pub fn new(
        given: &[RawFd],
        options: Options,
        board: Arc<Scoreboard>,
        slot: usize,
    ) -> Result<Engine<G>, Errno> {
        let options = Arc::new(options);
        let poller = Arc::new(Poller::new()?);
        if let Some(lifeline) = options.lifeline {
            // SAFETY: the worker keeps its end of the lifeline open as long as it lives.
            poller.add_lifeline(unsafe { BorrowedFd::borrow_raw(lifeline) })?;
        }
        let listeners = Listeners::new(given)?;
        let held = Arc::new(AtomicUsize::new(0));
        let mut reactor = Reactor::new(
            Arc::clone(&options),
            Arc::clone(&poller),
            board,
            slot,
            listeners,
            Arc::clone(&held),
        );
        reactor.join_handoff();
        let cooperative = options.cooperative;
        if cooperative {
            reactor.hub = Some(Hub::new()?);
            reactor.lead = Lead::Sentinel;
        }
        if let Some(event_loop) = options.event_loop {
            reactor.join_loop(event_loop)?;
        }
        let shared = Arc::new(Shared {
            wakes: (0..reactor.works.len().max(1)).map(|_| Condvar::new()).collect(),
            options,
            poller,
            reactor: Mutex::new(reactor),
            main_wake: Condvar::new(),
            held,
            turns: AtomicU64::new(0),
            sentinel_asleep: AtomicBool::new(false),
            sentinel_called: AtomicBool::new(cooperative),
            sentinel: OnceLock::new(),
            threads_begun: AtomicUsize::new(0),
            slowness: AtomicU64::new(0),
            drain_grace: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let watched = Arc::clone(&shared);
        let sentinel = thread::Builder::new()
            .name("monoceros-sentinel".into())
            .spawn(move || watched.watch())
            .map_err(|_| Errno::AGAIN)?;
        shared.sentinel.get_or_init(|| sentinel.thread().clone());
        Ok(Engine { shared, sentinel: Some(sentinel) })
    }

    /// One more app thread; None when there are as many as the options say.
    pub fn app_thread(&self, main: bool) -> Option<AppThread<G>> {
        let index = self.shared.threads_begun.fetch_add(1, Relaxed);
        let reactor = self.shared.lock();
        let work = reactor.works.get(index)?;
        let mut exchange = Exchange::new(Arc::clone(&work.desk), self.shared.options.write_timeout);
        exchange.lines = Arc::clone(&work.lines);
        Some(AppThread { index, main, exchange, events: Events::new(), closing: false })
    }

    /// Waits for something to do.
    pub fn next(&self, thread: &mut AppThread<G>) -> Next<G> {
        self.shared.next(thread)
    }

    /// The app has returned.
    pub fn finish(&self, thread: &mut AppThread<G>, outcome: Outcome<G::Paused>) {
        self.shared.finish(thread, outcome);
    }

    /// For a main thread that is not an app thread. True: the engine has ended.
    pub fn wait(&self, timeout: Span) -> bool {
        let reactor = self.shared.lock();
        let pause = Duration::from_nanos(timeout.0);
        let idle = |reactor: &mut Reactor<G>| !reactor.is_over() && !reactor.signals;
        let waited = self.shared.main_wake.wait_timeout_while(reactor, pause, idle);
        let mut reactor = waited.unwrap_or_else(PoisonError::into_inner).0;
        reactor.signals = false;
        reactor.is_over()
    }

    /// Begins to drain; callable from a signal handler's thread at any time.
    pub fn drain(&self, grace: Span) {
        self.shared.drain_grace.store(grace.0.max(1), SeqCst);
        self.shared.poller.kick();
    }

    /// Ends without waiting for anything.
    pub fn stop(&self) {
        self.shared.stop.store(true, SeqCst);
        self.shared.poller.kick();
    }

    pub fn signal_writer(&self) -> BorrowedFd<'_> {
        self.shared.poller.signal_writer()
    }

    /// It has drained or stopped.
    pub fn has_ended(&self) -> bool {
        self.shared.lock().ended
    }

    /// What was cut when the engine ended.
    pub fn cut(&self) -> Vec<String> {
        self.shared.lock().cut.clone()
    }
}

impl<G: Gateway> Drop for Engine<G> {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.sentinel.take() {
            self.shared.wake_sentinel();
            let joined = thread.join();
            debug_assert!(joined.is_ok());
        }
    }
}

impl<G: Gateway> Shared<G> {
    fn lock(&self) -> MutexGuard<'_, Reactor<G>> {
        // A panic elsewhere left no half-made change that matters more than serving on.
        self.reactor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_sentinel(&self) {
        if let Some(sentinel) = self.sentinel.get() {
            sentinel.unpark();
        }
    }

    fn next(&self, thread: &mut AppThread<G>) -> Next<G> {
        let me = Lead::Thread(thread.index);
        let mut reactor = self.lock();
        if reactor.lead == me {
            self.come_back();
        }
        if std::mem::take(&mut thread.closing) {
            reactor.closing -= 1;
        }
        loop {
            self.take_requests_of_others(&mut reactor);
            if !reactor.notices.is_empty() {
                let report = reactor.notices.take();
                self.leave(&mut reactor, thread.index, false);
                return Next::Notices(report);
            }
            if reactor.ended {
                self.spread_the_end(&mut reactor);
                // What an app has returned is closed, however the end came (PEP 3333).
                if let Some(paused) = reactor.abandoned() {
                    thread.closing = true;
                    reactor.closing += 1;
                    return Next::Release(paused);
                }
                reactor = self.write_lines(reactor, thread);
                drop(reactor);
                return Next::Done;
            }
            // Where apps are slow the next one may keep the lines for long.
            if locked(&thread.exchange.lines).is_due(self.is_slow()) {
                reactor = self.write_lines(reactor, thread);
            }
            if thread.main && std::mem::take(&mut reactor.signals) {
                self.leave(&mut reactor, thread.index, false);
                return Next::Signals;
            }
            if let Some(paused) = reactor.released.pop() {
                self.leave(&mut reactor, thread.index, false);
                return Next::Release(paused);
            }
            if let Some(paused) = reactor.resume(&mut thread.exchange) {
                self.begin(&mut reactor, thread, true);
                return Next::Resume(paused);
            }
            if reactor.dequeue(&mut thread.exchange, thread.index) {
                self.begin(&mut reactor, thread, false);
                return Next::Serve;
            }
            let has_events = reactor.lead == me && !reactor.events.is_empty();
            if !has_events && !locked(&thread.exchange.lines).is_empty() {
                reactor = self.write_lines(reactor, thread);
                continue;
            }
            match reactor.lead {
                lead if lead == me => {}
                Lead::Nobody => reactor.lead = me,
                lead => {
                    if lead == Lead::Sentinel {
                        // There is a thread without work.
                        reactor.arm_listeners();
                    }
                    reactor.parked.push(thread.index);
                    let wake = &self.wakes[thread.index];
                    reactor = wake.wait(reactor).unwrap_or_else(PoisonError::into_inner);
                    reactor.parked.retain(|index| *index != thread.index);
                    continue;
                }
            }
            if let Some((source, flags)) = reactor.events.pop_front() {
                if reactor.handle(source, flags, &mut thread.exchange) {
                    self.begin(&mut reactor, thread, false);
                    return Next::Serve;
                }
                continue;
            }
            reactor.tick();
            if reactor.has_work() || !reactor.events.is_empty() || reactor.ended {
                continue;
            }
            let (guard, interrupted) = self.poll(reactor, &mut thread.events);
            reactor = guard;
            reactor.signals |= interrupted && thread.main;
        }
    }

    /// Writes the thread's log lines, without the lock: a file that blocks stops this thread only.
    fn write_lines<'a>(
        &'a self,
        mut reactor: MutexGuard<'a, Reactor<G>>,
        thread: &mut AppThread<G>,
    ) -> MutexGuard<'a, Reactor<G>> {
        self.leave(&mut reactor, thread.index, false);
        drop(reactor);
        let written = locked(&thread.exchange.lines).flush();
        let mut reactor = self.lock();
        if reactor.lead == Lead::Thread(thread.index) {
            self.come_back();
        }
        self.complain_of_lines(&mut reactor, written);
        reactor
    }

    fn complain_of_lines(&self, reactor: &mut Reactor<G>, written: Result<(), Errno>) {
        let Err(error) = written else { return };
        let now = reactor.now;
        if let Some(count) = reactor.lines_told.tell(now, 1) {
            reactor.notices.push(Severity::Error, || {
                format!(
                    "access log lines are lost: {error}; writes that have failed: {count}; look \
                     at where the log goes"
                )
            });
        }
    }

    /// Waits for events, without the lock. True: a signal has interrupted the wait.
    fn poll<'a>(
        &'a self,
        mut reactor: MutexGuard<'a, Reactor<G>>,
        events: &mut Events,
    ) -> (MutexGuard<'a, Reactor<G>>, bool) {
        let patience = reactor.patience();
        reactor.waiting = true;
        reactor.waiting_until = reactor.now.after(patience);
        drop(reactor);
        let waited = self.poller.wait(events, patience);
        let mut reactor = self.lock();
        reactor.waiting = false;
        reactor.now = Moment::now();
        reactor.events.extend(events.iter());
        (reactor, waited == Err(Errno::INTR))
    }

    /// What signal handlers and other threads have asked for.
    fn take_requests_of_others(&self, reactor: &mut Reactor<G>) {
        if self.stop.load(Relaxed) && !reactor.ended {
            reactor.end();
        }
        if self.drain_grace.load(Relaxed) != 0 {
            let grace = self.drain_grace.swap(0, SeqCst);
            reactor.drain(Span(grace));
        }
        if reactor.signals && !reactor.waiting {
            self.tell_main(reactor);
        }
    }

    /// Signals are for the main thread: wake it, wherever it waits.
    fn tell_main(&self, reactor: &mut Reactor<G>) {
        self.main_wake.notify_all();
        if reactor.parked.contains(&0) {
            self.wakes[0].notify_one();
        }
    }

    fn spread_the_end(&self, reactor: &mut Reactor<G>) {
        self.wakes.iter().for_each(Condvar::notify_all);
        self.main_wake.notify_all();
        if !matches!(reactor.lead, Lead::Sentinel) {
            reactor.lead = Lead::Nobody;
        }
        self.call_hub(reactor);
        self.sentinel_called.store(true, SeqCst);
        self.wake_sentinel();
    }

    /// The exchange holds work: note it, and leave.
    fn begin(&self, reactor: &mut Reactor<G>, thread: &mut AppThread<G>, resumed: bool) {
        let exchange = &mut thread.exchange;
        exchange.since = reactor.now;
        if !resumed {
            reactor.served += 1;
            exchange.id = reactor.served;
            if reactor.served == reactor.options.max_requests {
                reactor.board.slot(reactor.slot).ask_for_recycling();
                reactor.board.notify();
            }
        }
        let options = &reactor.options;
        let watched =
            options.request_deadline != Span::FOREVER || options.slow_after != Span::FOREVER;
        let cells = reactor.cells();
        let cell = reactor.board.cell(reactor.slot, thread.index.min(cells));
        let work = &mut reactor.works[thread.index];
        if resumed {
            let head = exchange.bytes.take().unwrap_or_default();
            work.begin(exchange, &head, true);
            // The head has gone out: there is no 504 to send any more.
            work.desk.claim_for_sending();
            let title = work.title();
            let (method, target) = title.split_once(' ').unwrap_or((&title, ""));
            cell.begin(reactor.now, method.as_bytes(), target.as_bytes());
        } else {
            work.begin(exchange, exchange.head_bytes(), watched);
            if thread.index < cells {
                let (head, bytes) = exchange.head();
                cell.begin(reactor.now, head.method_span.of(bytes), head.target.of(bytes));
            } else {
                reactor.crowd += 1;
                cell.begin(reactor.now, b"further", b"requests");
            }
        }
        if reactor.hub.is_some() {
            let options = &reactor.options;
            let work = &reactor.works[thread.index];
            let deadline = work.next_deadline(options.request_deadline, options.slow_after);
            if reactor.waiting && deadline < reactor.waiting_until {
                self.poller.kick();
            }
        }
        self.leave(reactor, thread.index, true);
    }

    /// A thread leaves the reactor. When it leads, others must be able to take over.
    fn leave(&self, reactor: &mut Reactor<G>, index: usize, for_the_app: bool) {
        if reactor.lead != Lead::Thread(index) {
            if reactor.lead == Lead::Sentinel {
                reactor.arm_listeners();
            }
            return;
        }
        if for_the_app && self.is_slow() {
            self.hand_over(reactor);
            return;
        }
        let turn = self.turns.load(Relaxed) | 1;
        self.turns.store(turn, SeqCst);
        if self.sentinel_asleep.load(SeqCst) && self.sentinel_asleep.swap(false, SeqCst) {
            self.wake_sentinel();
        }
    }

    /// The leader is here again and has not been replaced.
    fn come_back(&self) {
        let turn = self.turns.load(Relaxed);
        self.turns.store(turn + (turn & 1), Relaxed);
    }

    /// The lead goes to a parked app thread, or to the sentinel.
    fn hand_over(&self, reactor: &mut Reactor<G>) {
        self.come_back();
        if let Some(next) = reactor.parked.pop() {
            reactor.lead = Lead::Thread(next);
            self.wakes[next].notify_one();
        } else {
            reactor.lead = Lead::Sentinel;
            reactor.show_loop(false);
            self.sentinel_called.store(true, SeqCst);
            self.sentinel_asleep.store(false, SeqCst);
            self.wake_sentinel();
            reactor.arm_listeners();
        }
    }

    fn is_slow(&self) -> bool {
        self.slowness.load(Relaxed) > SLOWNESS_FULL as u64 / 2
    }

    fn note_duration(&self, took: Span) {
        let sample = if took >= SLOW { SLOWNESS_FULL as u64 } else { 0 };
        let average = self.slowness.load(Relaxed);
        let next = average - (average >> SLOWNESS_SHIFT) + (sample >> SLOWNESS_SHIFT);
        self.slowness.store(next, Relaxed);
    }
}
