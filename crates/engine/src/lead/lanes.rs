//! A cooperative worker: one thread runs the app in greenlets, as many requests at once as there
//! are lanes.
//!
//! A lane is an app thread to the rest of the engine: it has an exchange, a work and a desk. It
//! never leads, waits or parks. The sentinel reads, writes and keeps the deadlines, whatever a
//! greenlet does to the thread; what is ready waits until the thread takes it, and nothing that the
//! thread calls here waits.

use std::os::fd::AsRawFd;

use super::*;
use crate::lines::Lines;
use crate::work::Work;

impl<G: Gateway> Engine<G> {
    /// One more lane; None when there are as many as the options say.
    pub fn lane(&self) -> Option<AppThread<G>> {
        let mut reactor = self.shared.lock();
        let index = reactor.works.len();
        if index == reactor.options.threads {
            return None;
        }
        let mut work = Work::new();
        if let Some(first) = reactor.works.first() {
            // One thread writes the lines of all lanes.
            work.lines = Arc::clone(&first.lines);
        }
        let write_timeout = self.shared.options.write_timeout;
        let mut exchange = Exchange::without_buffer(Arc::clone(&work.desk), write_timeout);
        exchange.lines = Arc::clone(&work.lines);
        reactor.works.push(work);
        Some(AppThread { index, main: true, exchange, events: Events::new(), closing: false })
    }

    /// What there is to do now: `Serve` with a request in the lane, or something else that needs
    /// no lane. None: nothing, or nothing without a lane; the descriptor tells when to come again.
    pub fn take(&self, lane: Option<&mut AppThread<G>>) -> Option<Next<G>> {
        self.shared.take(lane)
    }

    /// Readable when there is something to take.
    pub fn hub_event(&self) -> Option<RawFd> {
        self.shared.lock().hub.as_ref().map(|hub| hub.event().as_raw_fd())
    }

    /// Writes access lines that wait: all of them when no request runs or `all` says so, else
    /// those that have become many.
    pub fn write_lines_of_lanes(&self, lines: &Mutex<Lines>, all: bool) {
        if locked(lines).is_empty() {
            return;
        }
        let all = all || !self.shared.lock().works.iter().any(|work| work.active);
        let mut lines = locked(lines);
        if lines.is_due(all) {
            let written = lines.flush();
            self.shared.complain_of_lines(&mut self.shared.lock(), written);
        }
    }
}

impl<G: Gateway> AppThread<G> {
    /// Lanes with low numbers are taken first, so that there is no more to look through than runs.
    pub fn index(&self) -> usize {
        self.index
    }
}

impl<G: Gateway> Shared<G> {
    fn take(&self, lane: Option<&mut AppThread<G>>) -> Option<Next<G>> {
        let mut guard = self.lock();
        let reactor = &mut *guard;
        reactor.now = Moment::now();
        if let Some(hub) = &mut reactor.hub {
            let was_late = hub.is_late();
            hub.comes(reactor.now);
            if was_late {
                reactor.arm_listeners();
            }
        }
        if reactor.ended {
            // What an app has returned is closed, however the end came (PEP 3333).
            return Some(reactor.abandoned().map_or(Next::Done, Next::Release));
        }
        if std::mem::take(&mut reactor.signals) {
            return Some(Next::Signals);
        }
        if let Some(paused) = reactor.released.pop() {
            return Some(Next::Release(paused));
        }
        if let Some(request) = reactor.unexplained.pop() {
            return Some(Next::Explain(request));
        }
        if !reactor.notices.is_empty() {
            return Some(Next::Notices(reactor.notices.take()));
        }
        let starved = match lane {
            Some(lane) => {
                if reactor.dequeue(&mut lane.exchange, lane.index) {
                    self.begin(reactor, lane, false);
                    return Some(Next::Serve);
                }
                false
            }
            None => !reactor.ready.is_empty(),
        };
        if let Some(hub) = &mut reactor.hub {
            hub.goes(starved);
        }
        None
    }

    /// Calls the hub when there is something for it.
    pub(super) fn call_hub(&self, reactor: &mut Reactor<G>) {
        let others = reactor.signals
            || reactor.ended
            || !reactor.released.is_empty()
            || !reactor.unexplained.is_empty()
            || !reactor.notices.is_empty();
        let requests = !reactor.ready.is_empty();
        let now = reactor.now;
        let Some(hub) = &mut reactor.hub else { return };
        if others || requests {
            hub.call(now, !others);
        }
        if hub.becomes_late(now) {
            reactor.arm_listeners();
        }
    }

    /// A lane has finished its request.
    pub(super) fn lane_is_free(&self, reactor: &mut Reactor<G>) {
        if let Some(hub) = &mut reactor.hub {
            hub.has_lane();
            self.call_hub(reactor);
        }
    }
}
