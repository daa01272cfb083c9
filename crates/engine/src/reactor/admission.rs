//! How connections come in: accepted while there is room, left to siblings while there is none.

use super::*;

/// Connections taken from one listener before other events have their turn.
const ACCEPT_BATCH: usize = 16;

impl<G: Gateway> Reactor<G> {
    pub(super) fn on_listener(&mut self, index: usize, exchange: &mut Exchange<G>) -> bool {
        let alone = self.board.fleet() <= 1 || self.draining.is_some();
        for _ in 0..ACCEPT_BATCH {
            if !self.has_room() && self.draining.is_none() {
                self.refuse_connection(index);
                return false;
            }
            match self.listeners.accept(index, self.now) {
                Accepted::Connection(socket, peer) => {
                    let waited = self.waited_in_backlog(&socket);
                    let Some(connection) = self.admit(socket, index, peer) else { continue };
                    let ready =
                        self.greet(connection, exchange) && self.is_in_time(waited, exchange);
                    self.arm_listeners();
                    if !alone {
                        let requeued = self.listeners.requeue(index, &self.poller);
                        self.complain("cannot wait for connections", requeued);
                        return ready;
                    }
                    if ready {
                        self.events.push_back((Source::Listener(index), EventFlags::IN));
                        return true;
                    }
                    // Its request has not come yet: then nobody else has come either, most likely,
                    // and the poller tells if somebody has.
                    if self.draining.is_none() {
                        return false;
                    }
                }
                Accepted::Empty => return false,
                Accepted::Exhausted(error) => {
                    self.exhausted(index, error);
                    self.arm_listeners();
                    return false;
                }
            }
        }
        self.events.push_back((Source::Listener(index), EventFlags::IN));
        false
    }

    /// Takes up a connection that was just accepted. None: it could not be made safe and is closed.
    pub fn admit(
        &mut self,
        socket: OwnedFd,
        listener: usize,
        peer: Option<SocketAddr>,
    ) -> Option<Box<Connection<G>>> {
        let mut connection = Box::new(Connection::new(socket, listener, peer));
        connection.judge(&self.options.trust);
        self.connections.admit(&mut connection);
        if !self.secure(&mut connection) {
            self.close(connection);
            return None;
        }
        Some(connection)
    }

    /// A connection is new: its request may be there. True: it is, and in the exchange.
    fn greet(&mut self, connection: Box<Connection<G>>, exchange: &mut Exchange<G>) -> bool {
        if !self.promptness.expects_a_request() {
            return self.wait_for_more(connection);
        }
        let ready = self.on_event(connection, EventFlags::IN, exchange);
        self.promptness.learn(ready);
        ready
    }

    fn has_room(&self) -> bool {
        !self.is_full() && !self.pauses()
    }

    /// There was no descriptor a moment ago.
    fn pauses(&self) -> bool {
        self.listeners.paused_until() > self.now
    }

    /// Listens when there is room, and leaves connections to siblings when all threads are busy.
    pub fn arm_listeners(&mut self) {
        if self.draining.is_some() || self.listeners.is_empty() {
            return;
        }
        let busy = self.is_busy() && self.board.fleet() > 1;
        let serves = !busy && !self.is_stuck() && !self.pauses();
        let takes = serves && !self.is_full();
        let refuses = self.note_crowd(takes);
        let armed = self.listeners.arm(takes || refuses, &self.poller);
        self.complain("cannot wait for connections", armed);
        self.arm_handoff(serves, takes);
    }

    /// Every app thread is in the app, or nobody takes what is ready.
    pub fn is_busy(&self) -> bool {
        matches!(self.lead, Lead::Sentinel)
            && (self.all_works(|work| work.active)
                || self.hub.as_ref().is_some_and(Hub::is_late)
                || self.options.event_loop.is_some())
    }
}
