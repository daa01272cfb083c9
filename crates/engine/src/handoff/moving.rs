//! Who sends connections on, and when.
//!
//! Nothing of this is on the way of a worker that is not full: the scoreboard is looked at when a
//! request has waited for `PATIENCE`, while what was sent is under way, or by a worker that drains
//! or is stuck.

use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::io::Errno;

use super::Handoff;
use super::message::{MOST, Message, Waiting};
use crate::body::Body;
use crate::clock::{Moment, Span};
use crate::connections::{Connection, Found, Key, Paused, Phase, Request};
use crate::drain::LAST_CALL;
use crate::gateway::Gateway;
use crate::lead::Lead;
use crate::poller::Watch;
use crate::reactor::Reactor;
use crate::scoreboard::State;

/// A request that has waited this long goes to a sibling that has room. To move costs both workers
/// together some tens of microseconds: an app that is quicker than this is done sooner by itself.
const PATIENCE: Span = Span::from_millis(4);
/// Who has found no room for what waits looks again so much later: a hundred looks a second at the
/// scoreboard cost a thousandth of a core.
const LOOK_AGAIN: Span = Span::from_millis(10);
/// The same where there was room, and enough under way for it.
const LOOK_SOON: Span = Span::from_millis(1);

/// Enough is under way when it takes this much memory for each sibling with room: a message takes
/// a kilobyte at least. What is under way is served by who has room first, us among them; but a
/// sibling may have its own requests to serve before.
const REQUESTS_UNDER_WAY: u64 = 8 * 1024;
/// The same for idle connections, which are no work. They may be more than a sibling wants to have
/// (`worker_connections`) by so many.
const IDLE_UNDER_WAY: u64 = 64 * 1024;

/// A worker's side of the exchange.
pub(crate) struct Moves {
    pub(super) handoff: Arc<Handoff>,
    /// Registered with the poller.
    pub(super) armed: bool,
    /// As the scoreboard shows it.
    pub(super) has_room: bool,
    /// When the exchange is read next although requests of our own wait.
    pub(super) next_peek: Moment,
    /// Room for one message; none before the first.
    pub(super) buffer: Vec<u8>,
    /// There may be something to do at `look_at`.
    pending: bool,
    look_at: Moment,
    /// A sibling is there that can take over what this worker has.
    heir: bool,
    /// Requests have been sent, and may be under way still.
    sent: bool,
}

impl Moves {
    pub fn new(handoff: Arc<Handoff>) -> Moves {
        Moves {
            handoff,
            armed: false,
            has_room: false,
            next_peek: Moment(0),
            buffer: Vec::new(),
            pending: false,
            look_at: Moment(0),
            heir: false,
            sent: false,
        }
    }
}

/// Siblings that take part in the same exchange and serve.
#[derive(Clone, Copy, Default)]
struct Siblings {
    ready: u64,
    with_room: u64,
}

/// Why a connection was not sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stays {
    /// There is something of it that does not go into a message.
    AsItIs,
    /// There is no more room in the exchange now.
    ForNow,
}

impl<G: Gateway> Reactor<G> {
    /// This worker takes part, where its connections can be moved; others read it from the
    /// scoreboard.
    pub fn join_handoff(&mut self) {
        let options = &self.options;
        if let Some(handoff) = &options.handoff
            && options.tls.is_none()
            && options.uwsgi.is_none()
        {
            self.board.slot(self.slot).set_handoff(handoff.number());
            self.moves = Some(Moves::new(Arc::clone(handoff)));
        }
    }

    /// This worker begins to drain.
    pub fn leave_handoff(&mut self) {
        self.arm_handoff(false, false);
        let heir = !self.board.stopping() && self.has_siblings();
        if let Some(moves) = &mut self.moves {
            moves.heir = heir;
            moves.look_at = Moment(0);
        }
    }

    /// This worker has become stuck, and will be killed.
    pub fn move_soon(&mut self) {
        if let Some(moves) = &mut self.moves {
            moves.look_at = Moment(0);
        }
    }

    fn siblings(&self) -> Siblings {
        let Some(moves) = &self.moves else { return Siblings::default() };
        let number = moves.handoff.number();
        let mut siblings = Siblings::default();
        for index in (0..self.board.slots()).filter(|index| *index != self.slot) {
            let slot = self.board.slot(index);
            if slot.state() == State::Ready && slot.handoff() == number {
                siblings.ready += 1;
                siblings.with_room += u64::from(slot.has_room());
            }
        }
        siblings
    }

    /// There is a sibling in the same exchange that serves.
    pub(super) fn has_siblings(&self) -> bool {
        self.siblings().ready > 0
    }

    /// Connections may be kept after an answer: this worker does not end, or others take them.
    #[inline]
    pub fn keeps_connections(&self) -> bool {
        self.draining.is_none() || self.moves.as_ref().is_some_and(|moves| moves.heir)
    }

    /// Sends on what has waited too long here, and what a worker that ends has no use for. To be
    /// called before every wait.
    pub fn move_connections(&mut self) {
        let Some(moves) = &self.moves else { return };
        let stuck = matches!(self.lead, Lead::Sentinel) && self.is_stuck();
        let leaves = self.draining.is_some() || stuck;
        let waits = !self.ready.is_empty() && self.is_busy() && self.next_move() <= self.now;
        if !leaves && !waits && !moves.sent {
            return;
        }
        if self.now < moves.look_at {
            self.set_pending(true);
            return;
        }
        let siblings = self.siblings();
        let idle = leaves && !self.board.stopping();
        let heir = idle && siblings.ready > 0;
        let had_heir = moves.heir;
        let mut left = false;
        if siblings.with_room > 0 {
            left |= waits && self.send_requests(siblings.with_room * REQUESTS_UNDER_WAY);
            left |= idle && self.send_idle(siblings.with_room * IDLE_UNDER_WAY);
        } else if siblings.ready == 0 && self.draining.is_some() {
            self.take_leftovers();
        } else if moves.sent {
            // Whoever had room has none by now: here they have a queue, and its deadline.
            self.recall();
        }
        let keep_until = self.now.after(LAST_CALL);
        if let Some(draining) = &mut self.draining
            && (heir || had_heir)
        {
            // They were promised to be kept: nobody is closed because there was no room just now.
            draining.idle_until = draining.idle_until.max(keep_until).min(draining.until);
        }
        let pause = if left { LOOK_SOON } else { LOOK_AGAIN };
        let more = left || heir && self.connections.here().any(|it| it.phase == Phase::Idle);
        let now = self.now;
        if let Some(moves) = &mut self.moves {
            moves.sent &= moves.handoff.under_way() > 0;
            let more = more || moves.sent;
            moves.heir = heir;
            moves.look_at = now.after(pause);
            moves.pending = more;
        }
    }

    fn set_pending(&mut self, pending: bool) {
        if let Some(moves) = &mut self.moves {
            moves.pending = pending;
        }
    }

    /// When the request that has waited longest has waited too long, whoever has room.
    fn next_move(&self) -> Moment {
        // An entry whose connection is gone is dropped at once.
        self.ready.front().map_or(Moment::NEVER, |key| {
            let request = self.connections.look(*key).and_then(|it| it.request.as_ref());
            request.map_or(Moment(0), |request| request.since.after(PATIENCE))
        })
    }

    /// When `move_connections` has something to do next.
    pub fn next_look(&self) -> Moment {
        let Some(moves) = &self.moves else { return Moment::NEVER };
        if moves.pending {
            return moves.look_at;
        }
        if !self.ready.is_empty() && self.is_busy() {
            return self.next_move().max(moves.look_at);
        }
        Moment::NEVER
    }

    /// Sends requests that have waited too long. True: there are more.
    fn send_requests(&mut self, enough: u64) -> bool {
        let mut index = 0;
        while let Some(&key) = self.ready.get(index) {
            let request = self.connections.look(key).and_then(|it| it.request.as_ref());
            if request.is_some_and(|request| request.since.after(PATIENCE) > self.now) {
                return false;
            }
            match self.send(key, enough) {
                Ok(()) => {
                    self.ready.remove(index);
                    self.note_sent();
                }
                Err(Stays::ForNow) => return true,
                Err(Stays::AsItIs) => index += 1,
            }
        }
        false
    }

    fn note_sent(&mut self) {
        if let Some(moves) = &mut self.moves {
            moves.sent = true;
        }
    }

    /// Sends idle connections. True: there are more.
    fn send_idle(&mut self, enough: u64) -> bool {
        self.connections
            .keys_in(Phase::Idle)
            .into_iter()
            .any(|key| self.send(key, enough) == Err(Stays::ForNow))
    }

    /// A request that this worker will not serve in time, in the hands of the caller. None: it is
    /// a sibling's now.
    pub fn send_away(&mut self, connection: Box<Connection<G>>) -> Option<Box<Connection<G>>> {
        if !self.has_siblings() {
            return Some(connection);
        }
        let key = connection.key;
        self.connections.put(connection);
        if self.send(key, u64::MAX).is_ok() {
            return None;
        }
        match self.connections.take(key) {
            Found::Here(connection) => Some(connection),
            Found::Out | Found::Gone => None,
        }
    }

    /// Sends the connection, when it can be moved and less than `enough` is under way.
    fn send(&mut self, key: Key, enough: u64) -> Result<(), Stays> {
        let Some(moves) = &self.moves else { return Err(Stays::AsItIs) };
        let connection = self.connections.look(key).ok_or(Stays::AsItIs)?;
        let mut message = Vec::new();
        if !encode(connection, &mut message) {
            return Err(Stays::AsItIs);
        }
        if moves.handoff.under_way() >= enough {
            return Err(Stays::ForNow);
        }
        match moves.handoff.send(&message, connection.socket.as_fd()) {
            Ok(()) => {}
            Err(Errno::MSGSIZE) => return Err(Stays::AsItIs),
            // Full: of bytes, or of descriptors (man 7 unix, ETOOMANYREFS).
            Err(_) => return Err(Stays::ForNow),
        }
        if let Found::Here(connection) = self.connections.take(key) {
            self.depart(connection);
        }
        Ok(())
    }

    /// The connection is another worker's.
    fn depart(&mut self, connection: Box<Connection<G>>) {
        if connection.watch != Watch::Nothing {
            // The socket lives on elsewhere, so that closing ours does not end its registration.
            let removed = self.poller.remove(connection.socket.as_fd());
            self.complain("cannot forget a connection", removed);
        }
        let was_full = self.is_full();
        self.connections.retire(connection.key);
        drop(connection);
        if was_full {
            self.arm_listeners();
        }
    }
}

/// Appends the connection as a message. False: it cannot be moved as it is.
fn encode<G: Gateway>(connection: &Connection<G>, out: &mut Vec<u8>) -> bool {
    let settled = connection.tls.is_none()
        && connection.variables.is_none()
        && connection.continue_owed == 0
        && connection.output.is_empty()
        && matches!(connection.paused, Paused::Nothing);
    let request = match (connection.phase, &connection.request) {
        (Phase::Idle, None) if connection.input.is_empty() => None,
        (Phase::Ready, Some(request)) => match waiting(request, &connection.input) {
            Some(request) => Some(request),
            None => return false,
        },
        _ => return false,
    };
    let Ok(listener) = u16::try_from(connection.listener) else { return false };
    let message = Message {
        listener,
        requests: connection.requests,
        peer: connection.peer,
        proxied: connection.proxied.as_deref().copied(),
        awaits_preface: connection.awaits_preface,
        request,
    };
    settled && message.encode(out)
}

fn waiting<'a>(request: &'a Request, pipelined: &'a [u8]) -> Option<Waiting<'a>> {
    if request.incoming.is_some() {
        return None;
    }
    let body = match &request.body {
        Body::Empty => &[],
        Body::Beside { start, end } => &request.bytes[*start..*end],
        Body::Memory(bytes) => bytes.as_slice(),
        Body::Spooled(_) => return None,
    };
    let head = &request.bytes[..request.head.length];
    // Copied for nothing otherwise.
    let fits = head.len() + body.len() + pipelined.len() <= MOST;
    fits.then_some(Waiting { since: request.since, head, body, pipelined })
}
