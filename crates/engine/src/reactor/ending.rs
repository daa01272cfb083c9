//! How a connection ends: with last words that the peer can read, at once, or so that it cannot take
//! what it got for the whole.

use super::*;
use crate::refusal::{Refusal, request_line};

impl<G: Gateway> Reactor<G> {
    /// Ours is said; the peer may still send, and has to be able to read.
    pub fn linger(&mut self, mut connection: Box<Connection<G>>) {
        connection.phase = Phase::Lingering;
        connection.stalls = 0;
        if !self.watch(&mut connection, Watch::Input) || !self.write_last_words(&mut connection) {
            return self.close(connection);
        }
        let key = connection.key;
        self.connections.set_deadline(key, Class::Linger, self.now);
        // What the peer has sent already is thrown away now: no event will tell of it.
        self.events.push_back((Source::Connection(key.token()), EventFlags::IN));
        self.connections.put(connection);
    }

    pub(super) fn write_last_words(&mut self, connection: &mut Connection<G>) -> bool {
        match connection.write().and_then(|written| match &connection.tls {
            Some(session) if written == Written::All => session.end(connection.socket.as_fd()),
            _ => Ok(written),
        }) {
            Ok(Written::All) => shutdown(connection.socket.as_fd(), Shutdown::Write).is_ok(),
            Ok(Written::Blocked) => self.watch(connection, Watch::Both),
            Ok(Written::TurnOver) => {
                self.write_later(connection.key);
                true
            }
            Err(_) => false,
        }
    }

    pub(super) fn discard(
        &mut self,
        mut connection: Box<Connection<G>>,
        exchange: &mut Exchange<G>,
    ) {
        let turn = connection.discarded + LINGER_TURN;
        loop {
            match system::receive(&connection.socket, &mut exchange.buffer) {
                Ok(0) => return self.close(connection),
                Ok(count) => {
                    connection.discarded += count;
                    if connection.discarded > LINGER_BYTES {
                        return self.close(connection);
                    }
                    if connection.discarded > turn {
                        let token = connection.key.token();
                        self.events.push_back((Source::Connection(token), EventFlags::IN));
                        return self.connections.put(connection);
                    }
                }
                Err(Errno::AGAIN) => return self.connections.put(connection),
                Err(Errno::INTR) => {}
                Err(_) => return self.close(connection),
            }
        }
    }

    /// Refuses what the peer sent, in words that it can read.
    pub fn reject(
        &mut self,
        mut connection: Box<Connection<G>>,
        status: Status,
        extra: &[(&str, &str)],
    ) {
        self.tell_of_refusal(&connection, status);
        let date = self.date.at(unix_seconds());
        connection.output.clear();
        connection.continue_owed = 0;
        error_response(connection.output.tail(), status, date, false, extra);
        connection.input = Vec::new();
        connection.head = None;
        connection.head_bytes = Vec::new();
        connection.body = None;
        connection.request = None;
        self.own_cell().count(status.code(), 0, 0);
        self.linger(connection);
    }

    /// Keeps the beginning of a request that is about to be refused and lies elsewhere.
    #[cold]
    pub fn keep_line(&self, connection: &mut Connection<G>, bytes: &[u8]) {
        if self.options.tells_refusals {
            connection.head_bytes = request_line(bytes).to_vec();
        }
    }

    fn tell_of_refusal(&mut self, connection: &Connection<G>, status: Status) {
        if !self.options.tells_refusals {
            return;
        }
        let bytes = match &connection.request {
            Some(request) => &request.bytes,
            None if connection.head_bytes.is_empty() => &connection.input,
            None => &connection.head_bytes,
        };
        self.notices.refusals.push(Refusal {
            client: connection.client(),
            line: request_line(bytes).to_vec(),
            status: status.code(),
        });
    }

    /// There is no thread left that could answer, and no sibling: say so instead of letting clients
    /// wait.
    pub fn refuse_waiting(&mut self) {
        while let Some(key) = self.ready.pop_front() {
            if let Found::Here(connection) = self.connections.take(key) {
                if connection.phase == Phase::Ready {
                    let Some(connection) = self.send_away(connection) else { continue };
                    self.reject(connection, Status::SERVICE_UNAVAILABLE, &[("Retry-After", "1")]);
                } else {
                    self.connections.put(connection);
                }
            }
        }
    }

    pub fn close(&mut self, mut connection: Box<Connection<G>>) {
        // What was cut must not end as if it were meant.
        let whole = connection.output.is_empty() && !matches!(connection.paused, Paused::Resume(_));
        let said = match &connection.tls {
            Some(session) if whole => session.end(connection.socket.as_fd()),
            _ => Ok(Written::All),
        };
        // A peer that has not read all that came before shall hear it in the end (RFC 8446, 6.1).
        let ending = matches!(connection.phase, Phase::Lingering | Phase::Handshake);
        if said == Ok(Written::Blocked) && !ending {
            return self.linger(connection);
        }
        self.let_go_of_memory(&mut connection);
        self.released.extend(connection.take_paused());
        let was_full = self.is_full();
        self.forget_refusal(&connection);
        if connection.tls.is_some() {
            self.leave_handshake(&connection);
        }
        self.connections.retire(connection.key);
        drop(connection);
        if was_full {
            self.arm_listeners();
        }
    }

    /// Ends a connection so that the peer cannot take what it got for the whole.
    pub fn abort(&mut self, mut connection: Box<Connection<G>>) {
        // No word of TLS that the end is meant, either.
        connection.tls = None;
        // A reset, where the socket allows it; a unix socket's peer sees the missing end.
        let reset = set_socket_linger(&connection.socket, Some(std::time::Duration::ZERO));
        debug_assert!(reset.is_ok());
        self.close(connection);
    }
}
