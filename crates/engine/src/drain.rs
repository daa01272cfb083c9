//! The end of a worker.
//!
//! Serving -> Draining -> Ended, or Serving -> Ended. A draining worker accepts no more (when the
//! whole server stops, or gives up an address, it first takes what the kernel has accepted),
//! answers what it has, and hands its connections to siblings that serve (`handoff`). Where there
//! are none it answers with `Connection: close`, and closes idle connections only after a while: a
//! client that was just sending never meets a reset. When the grace is over, the rest is cut, and
//! listed.

use rustix::event::epoll::EventFlags;

use crate::clock::Span;
use crate::connections::{Found, Phase};
use crate::gateway::Gateway;
use crate::listeners::Accepted;
use crate::notice::Severity;
use crate::poller::Source;
use crate::reactor::{Draining, Reactor};

/// How long idle connections of a worker that has no successor may still bring a request.
pub(crate) const LAST_CALL: Span = Span::from_secs(2);

impl<G: Gateway> Reactor<G> {
    /// Begins to drain. When it has begun already, a shorter grace counts.
    pub fn drain(&mut self, grace: Span) {
        if self.ended {
            return;
        }
        let until = self.now.after(grace);
        if let Some(draining) = &mut self.draining {
            draining.until = draining.until.min(until);
            return;
        }
        self.board.slot(self.slot).set_state(crate::scoreboard::State::Draining);
        let idle_until = self.now.after(self.options.keepalive).min(until);
        self.draining = Some(Draining { until, idle_until });
        self.leave_handoff();
        for index in 0..self.listeners.len() {
            if self.board.stopping() || self.board.slot(self.slot).gives_up(index) {
                self.take_backlog(index);
            }
        }
        if let Err(error) = self.listeners.close(&self.poller) {
            self.notices.push(Severity::Error, || format!("cannot close a listener: {error}"));
        }
    }

    /// Takes what the kernel has accepted for this server; what it brings is read as usual.
    fn take_backlog(&mut self, index: usize) {
        while let Accepted::Connection(socket, peer) = self.listeners.accept(index, self.now) {
            let Some(connection) = self.admit(socket, index, peer) else { continue };
            let token = connection.key.token();
            self.connections.put(connection);
            self.events.push_back((Source::Connection(token), EventFlags::IN));
        }
    }

    /// Ends now.
    pub fn end(&mut self) {
        self.ended = true;
        if let Err(error) = self.listeners.close(&self.poller) {
            self.notices.push(Severity::Error, || format!("cannot close a listener: {error}"));
        }
    }

    /// Looks how far draining has come.
    pub fn tick_drain(&mut self) {
        let Some(draining) = &mut self.draining else { return };
        let slot = self.board.slot(self.slot);
        if self.board.stopping() || slot.hurried() {
            draining.idle_until = draining.idle_until.min(self.now.after(LAST_CALL));
        }
        let (until, idle_until) = (draining.until, draining.idle_until);
        if self.now >= idle_until && self.events.is_empty() {
            for key in self.connections.keys_in(Phase::Idle) {
                if let Found::Here(connection) = self.connections.take(key) {
                    self.close(connection);
                }
            }
        }
        let working = self.works.iter().any(|work| work.active);
        if self.connections.is_empty() && !working && !self.has_work() && self.events.is_empty() {
            self.ended = !self.take_leftovers();
        } else if self.now >= until {
            self.note_what_is_cut();
            self.ended = true;
        }
    }

    fn note_what_is_cut(&mut self) {
        let running = self.works.iter().filter(|work| work.active).map(|work| work.title());
        self.cut.extend(running);
        self.cut.extend(self.seats.titles());
        let mut unfinished = 0;
        for connection in self.connections.here() {
            match &connection.request {
                Some(request) => {
                    let method = request.head.method_span.of(&request.bytes);
                    let target = request.head.target.of(&request.bytes);
                    let method = String::from_utf8_lossy(method);
                    let target = String::from_utf8_lossy(target);
                    self.cut.push(format!("{method} {target} (waiting)"));
                }
                None if matches!(connection.phase, Phase::Head | Phase::Body | Phase::Writing) => {
                    unfinished += 1;
                }
                None => {}
            }
        }
        if unfinished > 0 {
            self.cut.push(format!("{unfinished} connections in the middle of a transfer"));
        }
    }
}
