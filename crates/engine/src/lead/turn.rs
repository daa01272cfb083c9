//! An event loop's thread.
//!
//! | state            | event                                          | next             |
//! |------------------|------------------------------------------------|------------------|
//! | Thread, away     | the loop begins a turn                         | Thread, here     |
//! | Thread, here     | there is something for the app, or the turn ends | Thread, away   |
//! | Thread, away     | something waits, and it does not come for a tick | Sentinel       |
//! | Sentinel         | the loop begins a turn and wants the lead back | Thread, here     |
//!
//! In a turn the thread leads: it reads, and calls the app as soon as a request is there. Between
//! turns the loop runs what else it has. While something blocks the loop the sentinel reads,
//! writes and keeps deadlines in its place, and leaves new connections to siblings.

use std::os::fd::AsRawFd;

use rustix::event::epoll::EventFlags;

use super::*;
use crate::connections::{Class, Key};
use crate::reactor::News;
use crate::seats::Seat;

/// What an event loop's thread has to do next.
pub enum Step<G: Gateway> {
    /// The exchange holds a request: call the app.
    Serve,
    News(News),
    Signals,
    Notices(Report),
    /// This is for nobody any more.
    Release(G::Paused),
    /// The worker has begun to drain.
    Drains,
    /// Nothing: wait for events, for so long at most.
    Wait(Span),
    /// The sentinel leads: claim the lead back.
    Claim,
    /// The engine has ended.
    Done,
}

impl<G: Gateway> Engine<G> {
    /// The event loop's own things. There is one such thread.
    pub fn loop_thread(&self) -> AppThread<G> {
        let exchange = Exchange::new(Arc::default(), self.shared.options.write_timeout);
        AppThread { index: 0, main: true, exchange, events: Events::new(), closing: false }
    }

    /// What there is to do now. Never waits for events.
    pub fn step(&self, thread: &mut AppThread<G>) -> Step<G> {
        self.shared.step(thread)
    }

    /// Waits for events after `Step::Wait`; `patience` at most. Detach from the interpreter for it.
    pub fn wait_for_events(&self, thread: &mut AppThread<G>, patience: Span) {
        let shared = &self.shared;
        let mut reactor = shared.lock();
        if reactor.lead != Lead::Thread(thread.index) {
            return;
        }
        shared.come_back();
        reactor.waiting = true;
        drop(reactor);
        let waited = shared.poller.wait(&mut thread.events, patience);
        let mut reactor = shared.lock();
        reactor.waiting = false;
        reactor.now = Moment::now();
        reactor.events.extend(thread.events.iter());
        reactor.signals |= waited == Err(Errno::INTR);
    }

    /// Takes the lead back from the sentinel, and waits until it gives it. Detach for it.
    pub fn claim(&self, thread: &mut AppThread<G>) {
        let shared = &self.shared;
        let mut reactor = shared.lock();
        let me = Lead::Thread(thread.index);
        reactor.reclaimed = true;
        reactor.parked.push(thread.index);
        while reactor.lead != me && !reactor.ended {
            if reactor.waiting {
                shared.poller.kick();
            }
            let wake = &shared.wakes[thread.index];
            reactor = wake.wait(reactor).unwrap_or_else(PoisonError::into_inner);
        }
        reactor.parked.clear();
        reactor.reclaimed = false;
        reactor.show_loop(true);
        reactor.arm_listeners();
    }

    /// The turn is over; true: the loop's own descriptors have news.
    pub fn end_turn(&self, thread: &AppThread<G>) -> bool {
        let mut reactor = self.shared.lock();
        if reactor.lead != Lead::Thread(thread.index) {
            return true;
        }
        reactor.set_alarm();
        self.shared.call_loop(&reactor);
        self.shared.leave(&mut reactor, thread.index, false);
        std::mem::take(&mut reactor.loop_is_called)
    }

    /// Readable when a turn would have something to do.
    pub fn descriptor(&self) -> RawFd {
        self.shared.poller.descriptor().as_raw_fd()
    }

    /// Whether the whole server stops, and not only this worker.
    pub fn server_stops(&self) -> bool {
        self.shared.lock().board.stopping()
    }
}

impl<G: Gateway> Shared<G> {
    fn step(&self, thread: &mut AppThread<G>) -> Step<G> {
        let me = Lead::Thread(thread.index);
        let mut guard = self.lock();
        let reactor = &mut *guard;
        match reactor.lead {
            lead if lead == me => self.come_back(),
            Lead::Nobody if !reactor.ended => reactor.lead = me,
            Lead::Sentinel if !reactor.ended => return Step::Claim,
            _ => {}
        }
        let step = self.next_step(reactor, thread);
        if !matches!(step, Step::Wait(_)) {
            self.leave(reactor, thread.index, false);
        }
        step
    }

    fn next_step(&self, reactor: &mut Reactor<G>, thread: &mut AppThread<G>) -> Step<G> {
        loop {
            self.take_requests_of_others(reactor);
            if !reactor.notices.is_empty() {
                return Step::Notices(reactor.notices.take());
            }
            if reactor.ended {
                self.spread_the_end(reactor);
                return match reactor.abandoned() {
                    Some(paused) => Step::Release(paused),
                    None => Step::Done,
                };
            }
            if std::mem::take(&mut reactor.signals) {
                return Step::Signals;
            }
            if reactor.draining.is_some() && !std::mem::replace(&mut reactor.drain_told, true) {
                return Step::Drains;
            }
            if let Some(paused) = reactor.released.pop() {
                return Step::Release(paused);
            }
            if let Some(news) = reactor.next_news() {
                return Step::News(news);
            }
            if reactor.dequeue(&mut thread.exchange, 0) {
                reactor.begin_in_loop(&mut thread.exchange);
                return Step::Serve;
            }
            if let Some((source, flags)) = reactor.events.pop_front() {
                if reactor.handle(source, flags, &mut thread.exchange) {
                    reactor.begin_in_loop(&mut thread.exchange);
                    return Step::Serve;
                }
                continue;
            }
            reactor.tick();
            if !(reactor.has_work() || !reactor.events.is_empty() || reactor.ended) {
                return Step::Wait(reactor.patience());
            }
        }
    }

    /// Something was added that no event of the kernel tells of: who waits has to look around, and a
    /// loop that waits around us has to come.
    pub(super) fn call_loop(&self, reactor: &Reactor<G>) {
        let around = self.options.event_loop == Some(EventLoop::Around);
        if reactor.waiting || around && (!reactor.events.is_empty() || reactor.has_work()) {
            self.poller.kick();
        }
    }

    /// Whether an event loop that is away is missed; a thread always is.
    pub(super) fn is_missed(&self, reactor: &mut Reactor<G>) -> bool {
        if self.options.event_loop.is_none() {
            return true;
        }
        reactor.now = Moment::now();
        reactor.has_work() || reactor.patience() == Span::ZERO || self.poller.has_news()
    }
}

impl<G: Gateway> Reactor<G> {
    /// The engine and an event loop wait together from now on.
    pub(super) fn join_loop(&mut self, event_loop: EventLoop) -> Result<(), Errno> {
        match event_loop {
            EventLoop::Around => self.alarm = Some(self.poller.new_alarm()?),
            EventLoop::Within(_) => self.show_loop(true),
        }
        Ok(())
    }

    /// The loop's own descriptors wake who waits in the poller. They would wake the sentinel
    /// for ever, who cannot serve them.
    pub(super) fn show_loop(&mut self, shown: bool) {
        if let Some(EventLoop::Within(descriptors)) = self.options.event_loop {
            // SAFETY: the worker closes its loop after the engine.
            let descriptors = unsafe { BorrowedFd::borrow_raw(descriptors) };
            let result = match self.poller.watch_loop(descriptors, shown) {
                Err(Errno::EXIST | Errno::NOENT) => Ok(()),
                other => other,
            };
            self.complain("cannot watch the event loop's descriptors", result);
        }
    }

    /// Where the loop waits around us: it has to come when a deadline passes.
    fn set_alarm(&mut self) {
        if self.alarm.is_some() {
            let patience = self.patience();
            let until = self.now.after(patience);
            if let Some(alarm) = &mut self.alarm {
                let result = alarm.set(until);
                self.complain("cannot set an alarm", result);
            }
        }
    }

    /// What has happened to what the loop has out, and is still so.
    fn next_news(&mut self) -> Option<News> {
        while let Some(news) = self.news.pop_front() {
            let key = match news {
                News::Socket(key, _)
                | News::Deadline(key, _)
                | News::Overdue(key)
                | News::Slow(key) => key,
            };
            if !self.connections.is_out(key) {
                continue;
            }
            match news {
                News::Socket(..) => {
                    let flags = self.connections.take_pending(key);
                    if !flags.is_empty() {
                        return Some(News::Socket(key, flags));
                    }
                }
                other => return Some(other),
            }
        }
        None
    }

    /// The exchange holds a request that an event loop is about to begin.
    fn begin_in_loop(&mut self, exchange: &mut Exchange<G>) {
        exchange.since = self.now;
        self.served += 1;
        exchange.id = self.served;
        if self.served == self.options.max_requests {
            self.board.slot(self.slot).ask_for_recycling();
            self.board.notify();
        }
        let Some(connection) = &exchange.connection else { return };
        let (key, client) = (connection.key, exchange.client());
        let seat = self.seats.take(key, exchange.id, self.now, client, exchange.head_bytes());
        if seat.index() < self.cells() {
            let (head, bytes) = exchange.head();
            let cell = self.cell(seat.index());
            cell.begin(self.now, head.method_span.of(bytes), head.target.of(bytes));
        } else {
            self.crowd += 1;
            self.own_cell().begin(self.now, b"further", b"requests");
        }
        exchange.seat = Some(seat);
        if self.connections.has_pending(key) {
            // It was told of before: no other event will call for the loop.
            self.news.push_back(News::Socket(key, EventFlags::empty()));
        }
    }

    /// The request in this seat is over, or goes on under other rules.
    pub(crate) fn leave_seat(&mut self, seat: Seat, since: Moment) {
        self.seats.leave(seat);
        let among_cells = seat.index() < self.cells();
        if !among_cells {
            self.crowd -= 1;
        }
        let took = self.now.since(since);
        self.cell(seat.index()).end(took, among_cells || self.crowd == 0);
    }

    /// A deadline of a connection that the loop has out.
    pub(crate) fn set_loop_deadline(&mut self, key: Key, class: Class) {
        self.connections.set_deadline(key, class, self.now);
    }
}
