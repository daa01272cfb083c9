//! What follows when an app has returned: its response goes out, its connection comes back.

use super::*;

impl<G: Gateway> Shared<G> {
    pub(super) fn finish(&self, thread: &mut AppThread<G>, outcome: Outcome<G::Paused>) {
        let exchange = &mut thread.exchange;
        let written = match outcome {
            Outcome::Abort => None,
            _ => exchange.flush_down_to(HELD_MOST.saturating_sub(self.held.load(Relaxed))).ok(),
        };
        let Some(mut connection) = exchange.connection.take() else { return };
        let mut held = 0;
        let mut unspilled = None;
        if matches!(written, Some(Written::Blocked | Written::TurnOver)) {
            held = exchange.output.in_memory();
            if self.held.load(Relaxed) + held > HELD_MOST {
                match exchange.output.spill(&self.options.spool_dir) {
                    Ok(()) => held = 0,
                    Err(error) => unspilled = Some(error),
                }
            }
            self.held.fetch_add(held, Relaxed);
        }
        let mut guard = self.lock();
        // Asked under the lock, so that it does not become so behind our back.
        let overdue = exchange.is_overdue();
        let reactor = &mut *guard;
        let now = Moment::now();
        reactor.now = reactor.now.max(now);
        if let Some(error) = unspilled {
            reactor.make_room_in_memory(error);
        }
        let took = now.since(exchange.since);
        self.note_duration(took);
        let all_were_busy = reactor.all_works(|work| work.active);
        let unsent = reactor.works[thread.index].end();
        let cell = reactor.board.cell(reactor.slot, thread.index.min(reactor.cells()));
        if thread.index >= reactor.cells() {
            reactor.crowd -= 1;
        }
        cell.end(took, reactor.crowd == 0 || thread.index < reactor.cells());
        connection.keep_alive = exchange.keep_alive;
        connection.status = exchange.status;
        connection.sent = exchange.sent;
        connection.held = held;
        match (written, outcome) {
            (Some(Written::All), Outcome::Complete) => {
                cell.count(connection.status, exchange.head.length as u64, connection.sent);
                connection.status = 0;
                reactor.answered(connection);
            }
            (Some(Written::All), Outcome::CompleteThen(paused)) => {
                cell.count(connection.status, exchange.head.length as u64, connection.sent);
                connection.status = 0;
                reactor.released.push(paused);
                reactor.answered(connection);
            }
            (Some(Written::All), Outcome::Pause(paused)) => {
                connection.paused = Paused::Resume(paused);
                connection.phase = crate::connections::Phase::Writing;
                connection.head_bytes = reactor.works[thread.index].shown().to_vec();
                let key = connection.key;
                reactor.connections.put(connection);
                reactor.resumable.push_back(key);
            }
            (Some(written), outcome) => {
                if written == Written::TurnOver {
                    reactor.write_later(connection.key);
                }
                connection.paused = match outcome {
                    Outcome::Pause(paused) => {
                        connection.head_bytes = reactor.works[thread.index].shown().to_vec();
                        Paused::Resume(paused)
                    }
                    Outcome::CompleteThen(paused) => Paused::Release(paused),
                    Outcome::Complete | Outcome::Abort => Paused::Nothing,
                };
                connection.output = std::mem::take(&mut exchange.output);
                reactor.blocked(connection);
            }
            (None, outcome) => {
                if let Outcome::Pause(paused) | Outcome::CompleteThen(paused) = outcome {
                    reactor.released.push(paused);
                }
                exchange.output.clear();
                if overdue {
                    // The 504 has been sent, as far as the socket took it.
                    connection.output = unsent.map(|rest| *rest).unwrap_or_default();
                    reactor.linger(connection);
                } else {
                    reactor.abort(connection);
                }
            }
        }
        exchange.bytes = None;
        exchange.body = crate::body::Body::Empty;
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
}
