//! Who takes connections over.
//!
//! A worker listens at the exchange while an app thread is free, one connection at a time, as it
//! does at its listeners. A request goes into its queue, at the place that its age gives it.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use monoceros_http1::{Head, Method, Progress};
use rustix::io::Errno;

use super::message::{MOST, Message, Nonsense, Waiting};
use crate::body::Body;
use crate::clock::{Moment, Span};
use crate::connections::{Class, Connection, Phase, Request};
use crate::drain::LAST_CALL;
use crate::gateway::Gateway;
use crate::notice::Severity;
use crate::poller::Watch;
use crate::reactor::Reactor;
use crate::system::Delivery;

/// A worker whose own queue never gets empty never listens at the exchange; it looks there so
/// often, so that nobody waits for ever.
const PEEK: Span = Span::from_millis(5);

impl<G: Gateway> Reactor<G> {
    /// Listens at the exchange, or leaves it to others; and tells them whether to send.
    pub fn arm_handoff(&mut self, reads: bool, has_room: bool) {
        let Some(moves) = &mut self.moves else { return };
        if moves.has_room != has_room {
            moves.has_room = has_room;
            self.board.slot(self.slot).set_has_room(has_room);
        }
        if moves.armed != reads {
            let exit = moves.handoff.exit();
            let done =
                if reads { self.poller.add_exchange(exit) } else { self.poller.remove(exit) };
            moves.armed = reads == done.is_ok();
            self.complain("cannot wait for connections of other workers", done);
        }
    }

    /// A connection is under way.
    pub fn on_handoff(&mut self) {
        self.take_over();
        let Some(moves) = &self.moves else { return };
        if moves.armed {
            // To the end of the kernel's queue of workers.
            let exit = moves.handoff.exit();
            let requeued = self.poller.remove(exit).and_then(|()| self.poller.add_exchange(exit));
            self.complain("cannot wait for connections of other workers", requeued);
        }
    }

    /// Once in a while, with the beat: who was woken for a connection and died before it came has
    /// woken nobody else.
    pub fn peek_when_idle(&mut self) {
        if self.moves.as_ref().is_some_and(|moves| moves.armed) {
            self.peek();
        }
    }

    /// Requests of our own wait. Those under way have waited, too.
    pub fn peek_when_busy(&mut self) {
        let now = self.now;
        if let Some(moves) = &mut self.moves
            && moves.next_peek <= now
            && self.draining.is_none()
        {
            moves.next_peek = now.after(PEEK);
            self.peek();
        }
    }

    fn peek(&mut self) {
        if self.moves.as_ref().is_some_and(|moves| moves.handoff.under_way() > 0) {
            self.take_over();
        }
    }

    /// This worker drains, and there is nobody to whom to leave what is under way. True: there was
    /// something.
    pub fn take_leftovers(&mut self) -> bool {
        let under_way = self.moves.as_ref().map_or(0, |moves| moves.handoff.under_way());
        if under_way == 0 || self.has_siblings() {
            return false;
        }
        let mut taken = false;
        while self.take_over() {
            taken = true;
        }
        let until = self.now.after(LAST_CALL);
        if let Some(draining) = &mut self.draining
            && taken
        {
            draining.idle_until = draining.idle_until.max(until).min(draining.until);
        }
        taken
    }

    /// Takes back what is under way.
    pub(super) fn recall(&mut self) {
        while self.take_over() {}
    }

    /// Takes what is under way, one connection. False: there is none.
    fn take_over(&mut self) -> bool {
        let Some(moves) = &mut self.moves else { return false };
        let handoff = Arc::clone(&moves.handoff);
        let mut buffer = std::mem::take(&mut moves.buffer);
        buffer.resize(MOST, 0);
        // The kernel drops a connection for which there is no descriptor: there has to be one.
        let delivered = loop {
            match self.listeners.lend(|| handoff.receive(&mut buffer)) {
                Some(Err(Errno::INTR)) => {}
                Some(delivered) => break delivered,
                None => break Err(Errno::MFILE),
            }
        };
        let taken = match delivered {
            Ok(Delivery::Connection { length, socket }) => {
                if self.adopt(&buffer[..length], socket).is_err() {
                    self.notices.push(Severity::Error, || {
                        "a connection that another worker has sent is not understood and closed: \
                         this is a bug of the server"
                            .into()
                    });
                }
                true
            }
            Ok(Delivery::Lost) => {
                self.notices.push(Severity::Error, || {
                    "a connection that another worker has sent is lost: this process has no free \
                     descriptor; raise the limit of open files (ulimit -n)"
                        .into()
                });
                true
            }
            Err(Errno::AGAIN) => false,
            Err(error) => {
                self.listeners.pause(self.now);
                self.arm_listeners();
                self.notices.push(Severity::Debug, || {
                    format!("connections of other workers are left to others: {error}")
                });
                false
            }
        };
        if let Some(moves) = &mut self.moves {
            moves.buffer = buffer;
        }
        taken
    }

    /// Makes a connection of ours of what has come.
    fn adopt(&mut self, bytes: &[u8], socket: OwnedFd) -> Result<(), Nonsense> {
        let message = Message::decode(bytes)?;
        let mut connection =
            Box::new(Connection::new(socket, usize::from(message.listener), message.peer));
        connection.judge(&self.options.trust);
        connection.awaits_preface &= message.awaits_preface;
        if let Some(header) = message.proxied {
            connection.trusted = self.options.trust.counts_behind(&header, message.peer);
            connection.proxied = Some(Box::new(header));
        }
        connection.requests = message.requests;
        self.connections.admit(&mut connection);
        match message.request {
            Some(request) => self.adopt_request(connection, &request),
            None => {
                self.adopt_idle(connection);
                Ok(())
            }
        }
    }

    fn adopt_idle(&mut self, mut connection: Box<Connection<G>>) {
        if !self.watch(&mut connection, Watch::Input) {
            return self.close(connection);
        }
        let class = if connection.requests == 0 { Class::Silent } else { Class::Idle };
        self.connections.set_deadline(connection.key, class, self.now);
        self.connections.put(connection);
    }

    /// The head is read anew: it was right for a worker whose settings may have been others.
    fn adopt_request(
        &mut self,
        mut connection: Box<Connection<G>>,
        request: &Waiting<'_>,
    ) -> Result<(), Nonsense> {
        let start = request.head.len();
        let mut bytes = Vec::with_capacity(start + request.body.len());
        bytes.extend_from_slice(request.head);
        bytes.extend_from_slice(request.body);
        let mut head = Box::new(Head::new());
        let options = &self.options;
        let policy = options.policy_for(connection.trusted);
        match connection.parser.parse(&bytes[..start], &mut head, &options.limits, policy) {
            Ok(Progress::Complete) if head.length == start => {}
            Ok(_) => {
                self.close(connection);
                return Err(Nonsense);
            }
            Err(error) => {
                self.keep_line(&mut connection, &bytes);
                self.refuse(connection, error);
                return Ok(());
            }
        }
        head.amend(&mut bytes[..start]);
        if let Err(wrong) = self.note_origin(&mut connection, &head, &bytes) {
            self.keep_line(&mut connection, &bytes);
            self.refuse_as(connection, monoceros_http1::Status::BAD_REQUEST, &wrong, wrong.rule());
            return Ok(());
        }
        connection.input.extend_from_slice(request.pipelined);
        connection.linger = head.persistent || !connection.input.is_empty();
        connection.keep_alive =
            head.persistent && head.method != Method::Connect && self.options.keepalive.0 > 0;
        let body = match bytes.len() {
            end if end == start => Body::Empty,
            end => Body::Beside { start, end },
        };
        connection.phase = Phase::Ready;
        let since = request.since;
        connection.request = Some(Request { head, bytes, body, incoming: None, since });
        if !self.watch(&mut connection, Watch::Input) {
            self.close(connection);
            return Ok(());
        }
        let key = connection.key;
        self.connections.put(connection);
        let place = self.ready.iter().position(|key| {
            let waits = self.connections.look(*key).and_then(|it| it.request.as_ref());
            waits.map_or(Moment(0), |waits| waits.since) > request.since
        });
        self.ready.insert(place.unwrap_or(self.ready.len()), key);
        Ok(())
    }
}
