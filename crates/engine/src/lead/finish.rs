//! What follows when an app has returned: its response goes out, its connection comes back.

use super::*;
use crate::connections::{Connection, Phase};
use crate::output::Output;

impl<G: Gateway> Shared<G> {
    pub(super) fn finish(&self, thread: &mut AppThread<G>, outcome: Outcome<G::Paused>) {
        let exchange = &mut thread.exchange;
        let Some((mut connection, pushed)) = self.push_out(exchange, &outcome) else { return };
        let mut guard = self.lock();
        // Asked under the lock, so that it does not become so behind our back.
        let overdue = exchange.is_overdue();
        let reactor = &mut *guard;
        let now = Moment::now();
        reactor.now = reactor.now.max(now);
        let took = now.since(exchange.since);
        self.note_duration(took);
        let all_were_busy = reactor.all_works(|work| work.active);
        let unsent = reactor.works[thread.index].end();
        let cell = reactor.board.cell(reactor.slot, thread.index.min(reactor.cells()));
        if thread.index >= reactor.cells() {
            reactor.crowd -= 1;
        }
        cell.end(took, reactor.crowd == 0 || thread.index < reactor.cells());
        if matches!(outcome, Outcome::Pause(_)) {
            connection.head_bytes = reactor.works[thread.index].shown().to_vec();
        }
        let timed_out = overdue.then(|| unsent.map(|rest| *rest).unwrap_or_default());
        reactor.give_back(connection, exchange, pushed, outcome, thread.index, timed_out);
        exchange.bytes = None;
        exchange.desk.end();
        self.lane_is_free(reactor);
        if reactor.lead != Lead::Thread(thread.index) {
            if all_were_busy && reactor.ready.is_empty() {
                reactor.arm_listeners();
            }
            // The leader does not see what we have just added.
            if reactor.waiting && (!reactor.events.is_empty() || reactor.draining.is_some()) {
                self.poller.kick();
            }
        }
    }

    /// Writes what the socket takes. What it does not take counts against the memory for blocked
    /// responses, or goes to disk. None: there is no connection.
    pub(super) fn push_out(
        &self,
        exchange: &mut Exchange<G>,
        outcome: &Outcome<G::Paused>,
    ) -> Option<(Box<Connection<G>>, Pushed)> {
        let written = match outcome {
            Outcome::Abort => None,
            _ => exchange.flush_down_to(HELD_MOST.saturating_sub(self.held.load(Relaxed))).ok(),
        };
        let mut connection = exchange.connection.take()?;
        let mut unspilled = None;
        if matches!(written, Some(Written::Blocked | Written::TurnOver)) {
            let mut held = exchange.output.in_memory();
            if self.held.load(Relaxed) + held > HELD_MOST {
                match exchange.output.spill(&self.options.spool_dir) {
                    Ok(()) => held = 0,
                    Err(error) => unspilled = Some(error),
                }
            }
            self.held.fetch_add(held, Relaxed);
            connection.held = held;
        }
        connection.keep_alive = exchange.keep_alive;
        connection.status = exchange.status;
        connection.sent = exchange.sent;
        Some((connection, Pushed { written, unspilled }))
    }
}

/// How far a response has come when its app has returned.
pub(super) struct Pushed {
    /// None: the peer is gone, or shall see that the response is not whole.
    written: Option<Written>,
    unspilled: Option<Errno>,
}

impl<G: Gateway> Reactor<G> {
    /// A connection comes back from the app. `counted`: the number of the cell that counts it;
    /// `timed_out`: the client has been sent a 504, of which this is left.
    pub(super) fn give_back(
        &mut self,
        mut connection: Box<Connection<G>>,
        exchange: &mut Exchange<G>,
        pushed: Pushed,
        outcome: Outcome<G::Paused>,
        counted: usize,
        timed_out: Option<Output>,
    ) {
        if let Some(error) = pushed.unspilled {
            self.make_room_in_memory(error);
        }
        if pushed.written == Some(Written::All)
            && matches!(outcome, Outcome::Complete | Outcome::CompleteThen(_))
        {
            // What has been upgraded was counted then.
            let status = std::mem::take(&mut connection.status);
            if status != 0 {
                self.cell(counted).count(status, exchange.head.length as u64, connection.sent);
            }
        }
        match (pushed.written, outcome) {
            (Some(Written::All), Outcome::CompleteThen(paused)) => {
                self.released.push(paused);
                self.answered(connection);
            }
            (Some(Written::All), Outcome::Pause(paused)) => {
                connection.paused = Paused::Resume(paused);
                connection.phase = Phase::Writing;
                let key = connection.key;
                self.connections.put(connection);
                self.resumable.push_back(key);
            }
            (Some(Written::All), Outcome::Complete | Outcome::Abort) => self.answered(connection),
            (Some(written), outcome) => {
                if written == Written::TurnOver {
                    self.write_later(connection.key);
                }
                connection.paused = match outcome {
                    Outcome::Pause(paused) => Paused::Resume(paused),
                    Outcome::CompleteThen(paused) => Paused::Release(paused),
                    Outcome::Complete | Outcome::Abort => Paused::Nothing,
                };
                connection.output = std::mem::take(&mut exchange.output);
                self.blocked(connection);
            }
            (None, outcome) => {
                if let Outcome::Pause(paused) | Outcome::CompleteThen(paused) = outcome {
                    self.released.push(paused);
                }
                exchange.output.clear();
                match timed_out {
                    // The 504 has been sent, as far as the socket took it.
                    Some(unsent) => {
                        connection.output = unsent;
                        self.linger(connection);
                    }
                    None => self.abort(connection),
                }
            }
        }
        exchange.body = crate::body::Body::Empty;
    }
}
