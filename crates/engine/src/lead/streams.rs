//! What an event loop asks of the reactor for a request that it has out.

use super::*;
use crate::connections::Class;
use crate::lines::Lines;
use crate::poller::Watch;
use crate::scoreboard::IncidentKind;
use crate::stream::{Arrived, Broken, Stream};

impl<G: Gateway> Engine<G> {
    /// Where a request can be; used again for others.
    pub fn new_stream(&self) -> Stream<G> {
        let reactor = self.shared.lock();
        let (desk, lines) = (Arc::clone(&reactor.loop_desk), Arc::clone(&reactor.loop_lines));
        Stream::new(desk, lines, self.shared.options.write_timeout)
    }

    /// Log lines of all requests: written before the loop waits, or when something blocks it.
    pub fn loop_lines(&self) -> Arc<Mutex<Lines>> {
        Arc::clone(&self.shared.lock().loop_lines)
    }

    /// The request of the turn goes on in a stream of its own.
    pub fn adopt(&self, thread: &mut AppThread<G>, stream: &mut Stream<G>) {
        stream.adopt(&mut thread.exchange);
    }

    /// Body bytes, behind what is in `into`. Arms and clears the deadline for the body.
    pub fn read_body(
        &self,
        stream: &mut Stream<G>,
        scratch: &mut [u8],
        into: &mut Vec<u8>,
    ) -> Result<Arrived, Broken> {
        let arrived = stream.read_body(&self.shared.options, scratch, into)?;
        if arrived == Arrived::Nothing && !self.expect(stream, Class::Body) {
            return Err(Broken::Gone);
        }
        Ok(arrived)
    }

    /// The app waits for the peer: it is told when the socket has news, or the deadline passes.
    /// False: that is not possible, and the connection is of no use.
    pub fn expect(&self, stream: &mut Stream<G>, class: Class) -> bool {
        let wanted = if class == Class::Write { Watch::Both } else { Watch::Input };
        if class == Class::Write {
            stream.look_at_progress();
        }
        let Some(connection) = &mut stream.exchange.connection else { return false };
        let mut reactor = self.shared.lock();
        reactor.set_loop_deadline(connection.key, class);
        reactor.watch(connection, wanted)
    }

    /// The loop goes on to other things and has to hear what happens to the socket meanwhile.
    pub fn watch(&self, stream: &mut Stream<G>) -> bool {
        let Some(connection) = &mut stream.exchange.connection else { return false };
        connection.watch >= Watch::Input || self.shared.lock().watch(connection, Watch::Input)
    }

    /// Whether the deadline that runs for it is of this class.
    pub fn has_deadline(&self, stream: &Stream<G>, class: Class) -> bool {
        stream.key().is_some_and(|key| self.shared.lock().connections.has_deadline(key, class))
    }

    /// The worker accepts no more and finishes what it has.
    pub fn is_draining(&self) -> bool {
        self.shared.lock().draining.is_some()
    }

    /// What the app waited for has come.
    pub fn unexpect(&self, stream: &Stream<G>) {
        if let Some(key) = stream.key() {
            self.shared.lock().connections.clear_deadline(key);
        }
    }

    /// The deadline for output has passed. True: the peer has taken nothing for too long.
    pub fn has_stalled(&self, stream: &mut Stream<G>) -> bool {
        if stream.has_stalled() {
            return true;
        }
        if let Some(key) = stream.key() {
            self.shared.lock().set_loop_deadline(key, Class::Write);
        }
        false
    }

    /// The request has become a connection of another protocol: what holds for requests holds no
    /// more.
    pub fn upgrade(&self, stream: &mut Stream<G>) {
        let mut reactor = self.shared.lock();
        if let Some(seat) = stream.exchange.seat.take() {
            reactor.leave_seat(seat, stream.exchange.since);
        }
        reactor.own_cell().count(101, stream.exchange.head.length as u64, stream.exchange.sent);
        drop(reactor);
        stream.exchange.status = 0;
        stream.forget_head();
    }

    /// Tells the arbiter of a request that has become slow or overdue.
    pub fn report(&self, stream: &Stream<G>, kind: IncidentKind, writing: bool, answered: bool) {
        let mut reactor = self.shared.lock();
        let now = reactor.now;
        if let Some(seat) = stream.exchange.seat {
            reactor.seats.report(seat, kind, now, writing, answered);
        }
    }

    /// The response is complete, or shall be seen not to be: the connection goes back.
    pub fn end(&self, stream: &mut Stream<G>, outcome: Outcome<G::Paused>) {
        let noted = stream.take_noted();
        let exchange = &mut stream.exchange;
        let (seat, since) = (exchange.seat.take(), exchange.since);
        let unread = exchange.incoming.take().is_some();
        let pushed = self.shared.push_out(exchange, &outcome);
        let mut guard = self.shared.lock();
        let reactor = &mut *guard;
        reactor.now = reactor.now.max(Moment::now());
        if let Some(seat) = seat {
            reactor.leave_seat(seat, since);
        }
        let Some((mut connection, pushed)) = pushed else { return };
        if unread {
            // What the client still sends is no request.
            connection.keep_alive = false;
            connection.linger = true;
            connection.input = Vec::new();
        }
        reactor.connections.clear_deadline(connection.key);
        reactor.connections.note(connection.key, noted);
        let counted = seat.map_or(reactor.cells(), |seat| seat.index());
        reactor.give_back(connection, exchange, pushed, outcome, counted, None);
        self.shared.call_loop(reactor);
    }
}
