//! Reading: from the socket to a complete request.

use std::fmt::Display;
use std::os::fd::AsFd;

use monoceros_http1::{Error, Framing, Head, Method, Progress, Status};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

use crate::body::{Body, BodyDecoder, BodyError, BodyReader, Fed};
use crate::connections::{Class, Connection, Phase};
use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::notice::{Severity, peer_name};
use crate::poller::{Source, Watch};
use crate::reactor::Reactor;
use crate::system;
use crate::tls::Received;
use crate::trust::Contradiction;

/// Reads in one turn; then other connections have theirs, and this one goes on later.
const READS: usize = 4;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl<G: Gateway> Connection<G> {
    /// Sends the 100 that the client waits for, now or when the socket has room: it may have to
    /// read earlier answers first. False: the client is gone.
    pub fn pay_continue(&mut self) -> bool {
        if self.continue_owed > 0
            && let Some(session) = &self.tls
        {
            // What the socket does not take stays sealed in the session and goes out with it.
            self.continue_owed = 0;
            return session.send(self.socket.as_fd(), CONTINUE).is_ok();
        }
        while self.continue_owed > 0 {
            let rest = &CONTINUE[CONTINUE.len() - self.continue_owed..];
            match system::send(&self.socket, rest) {
                Ok(sent) => self.continue_owed -= sent,
                Err(Errno::INTR) => {}
                Err(error) => return error == Errno::AGAIN,
            }
        }
        true
    }

    /// The client waits for a 100, and the app wants its body.
    pub fn owe_continue(&mut self) {
        self.continue_owed = CONTINUE.len();
    }

    /// The client has sent its body without being told to. False: it was told in part, so that no
    /// answer can follow.
    fn forgive_continue(&mut self) -> bool {
        let owed = std::mem::take(&mut self.continue_owed);
        owed == 0 || owed == CONTINUE.len()
    }
}

impl<G: Gateway> Reactor<G> {
    /// Reads what is there. `flags`: what the socket has told. The connection is put back, closed,
    /// or in the exchange (then true).
    pub fn receive(
        &mut self,
        mut connection: Box<Connection<G>>,
        flags: EventFlags,
        exchange: &mut Exchange<G>,
    ) -> bool {
        // The peer has said its last: only the end of the stream ends the reading, because no
        // event will tell of it again.
        let ending = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        let key = connection.key;
        if connection.phase == Phase::Idle && !connection.input.is_empty() {
            // What was pipelined behind the last request comes first.
            match self.parse_input(connection, exchange) {
                Parsed::Ready => {
                    self.connections.note(key, flags);
                    return true;
                }
                Parsed::Gone => return false,
                Parsed::More(same) => connection = same,
            }
        }
        for _ in 0..READS {
            let received = connection.receive(&mut exchange.buffer);
            if connection.phase == Phase::Handshake {
                self.look_at_handshake(&mut connection);
            }
            let (count, emptied) = match received {
                Ok(Received { count: 0, .. }) => {
                    self.hung_up(connection);
                    return false;
                }
                // A read that did not fill the buffer has emptied the socket.
                Ok(Received { count, emptied }) => (count, emptied && !ending),
                Err(Errno::AGAIN) => return self.wait_for_more(connection),
                Err(Errno::INTR) => continue,
                Err(error) => {
                    self.broken(connection, error);
                    return false;
                }
            };
            let parsed = match connection.phase {
                Phase::Body => self.feed(connection, exchange, count),
                _ if connection.awaits_preface => self.receive_preface(connection, exchange, count),
                _ if self.options.uwsgi.is_some() => {
                    self.receive_packet(connection, exchange, count)
                }
                _ if connection.input.is_empty() => self.parse_buffer(connection, exchange, count),
                _ => {
                    connection.input.extend_from_slice(&exchange.buffer[..count]);
                    self.parse_input(connection, exchange)
                }
            };
            match parsed {
                Parsed::Ready => {
                    if !emptied {
                        self.connections.note(key, flags | EventFlags::IN);
                    }
                    return true;
                }
                Parsed::Gone => return false,
                Parsed::More(same) if emptied => return self.wait_for_more(same),
                Parsed::More(same) => connection = same,
            }
        }
        self.events.push_back((Source::Connection(key.token()), flags | EventFlags::IN));
        self.wait_for_more(connection)
    }

    pub fn wait_for_more(&mut self, mut connection: Box<Connection<G>>) -> bool {
        let unregistered = connection.watch == Watch::Nothing;
        // TLS may have something to say before there is a request.
        let wanted = if connection.owes() { Watch::Both } else { Watch::Input };
        if !self.watch(&mut connection, wanted) {
            self.close(connection);
            return false;
        }
        if unregistered && connection.phase == Phase::Idle {
            self.connections.set_deadline(connection.key, Class::Silent, self.now);
        }
        self.connections.put(connection);
        false
    }

    /// The peer sends no more. What it had begun never reaches the app.
    fn hung_up(&mut self, connection: Box<Connection<G>>) {
        if connection.phase == Phase::Body {
            let peer = peer_name(connection.client());
            self.notices.push(Severity::Debug, || {
                format!("{peer} closed its connection before the request body was complete")
            });
        }
        self.close(connection);
    }

    /// The beginning of a request lies in the read buffer.
    fn parse_buffer(
        &mut self,
        mut connection: Box<Connection<G>>,
        exchange: &mut Exchange<G>,
        count: usize,
    ) -> Parsed<G> {
        let options = &self.options;
        let Exchange { buffer, head, .. } = exchange;
        let input = &buffer[..count];
        connection.parser.reset();
        let policy = options.policy_for(connection.trusted);
        match connection.parser.parse(input, head, &options.limits, policy) {
            Ok(Progress::Complete) => self.on_head(connection, exchange, count),
            Ok(Progress::Partial) => {
                connection.input.extend_from_slice(input);
                if connection.parser.is_idle(input) {
                    connection.parser.reset();
                    return Parsed::More(connection);
                }
                connection.head = Some(std::mem::replace(head, Box::new(Head::new())));
                connection.phase = Phase::Head;
                self.connections.set_deadline(connection.key, Class::Head, self.now);
                Parsed::More(connection)
            }
            Err(error) => {
                self.keep_line(&mut connection, input);
                self.refuse(connection, error)
            }
        }
    }

    /// The request so far lies in the connection's own buffer.
    pub(crate) fn parse_input(
        &mut self,
        mut connection: Box<Connection<G>>,
        exchange: &mut Exchange<G>,
    ) -> Parsed<G> {
        if connection.phase == Phase::Idle {
            connection.parser.reset();
        }
        let mut head = connection.head.take().unwrap_or_else(|| Box::new(Head::new()));
        let options = &self.options;
        let policy = options.policy_for(connection.trusted);
        let Connection { parser, input, .. } = &mut *connection;
        match parser.parse(input, &mut head, &options.limits, policy) {
            Ok(Progress::Complete) => {
                let mut bytes = std::mem::take(&mut connection.input);
                let rest = bytes.split_off(head.length);
                exchange.head = head;
                exchange.bytes = Some(bytes);
                self.on_owned_head(connection, exchange, rest)
            }
            Ok(Progress::Partial) => {
                connection.head = Some(head);
                if connection.phase == Phase::Idle && !connection.parser.is_idle(&connection.input)
                {
                    connection.phase = Phase::Head;
                    self.connections.set_deadline(connection.key, Class::Head, self.now);
                }
                Parsed::More(connection)
            }
            Err(error) => self.refuse(connection, error),
        }
    }

    /// A complete head lies in the read buffer, with `count - head.length` bytes behind it.
    fn on_head(
        &mut self,
        mut connection: Box<Connection<G>>,
        exchange: &mut Exchange<G>,
        count: usize,
    ) -> Parsed<G> {
        let start = exchange.head.length;
        let body = match exchange.head.framing {
            Framing::None => Some(0),
            Framing::Length(length) if length > self.options.limit_request_body => {
                self.keep_line(&mut connection, &exchange.buffer[..start]);
                return self.too_large(connection);
            }
            Framing::Length(length) if length <= (count - start) as u64 => Some(length as usize),
            Framing::Length(_) | Framing::Chunked => None,
        };
        if let Some(length) = body
            && exchange.head.amendments.is_empty()
        {
            let end = start + length;
            exchange.bytes = None;
            let (head, bytes) = exchange.head();
            if let Err(wrong) = self.note_origin(&mut connection, head, bytes) {
                self.keep_line(&mut connection, exchange.head_bytes());
                return self.refuse_as(connection, Status::BAD_REQUEST, &wrong, wrong.rule());
            }
            exchange.body = if length == 0 { Body::Empty } else { Body::Beside { start, end } };
            if end < count {
                connection.input.extend_from_slice(&exchange.buffer[end..count]);
            }
            return self.ready(connection, exchange);
        }
        let rest = exchange.buffer[start..count].to_vec();
        exchange.bytes = Some(exchange.buffer[..start].to_vec());
        self.on_owned_head(connection, exchange, rest)
    }

    /// A complete head lies in `exchange.bytes`; `rest` was read behind it.
    fn on_owned_head(
        &mut self,
        mut connection: Box<Connection<G>>,
        exchange: &mut Exchange<G>,
        rest: Vec<u8>,
    ) -> Parsed<G> {
        let Exchange { head, bytes, .. } = &mut *exchange;
        if let Some(bytes) = bytes
            && !head.amendments.is_empty()
        {
            head.amend(bytes);
        }
        let (head, bytes) = exchange.head();
        if let Err(wrong) = self.note_origin(&mut connection, head, bytes) {
            self.keep_line(&mut connection, exchange.head_bytes());
            return self.refuse_as(connection, Status::BAD_REQUEST, &wrong, wrong.rule());
        }
        self.begin_body(connection, exchange, rest)
    }

    /// A head lies in the exchange, and all that is told about it is known; `rest` was read behind
    /// it.
    pub(crate) fn begin_body(
        &mut self,
        mut connection: Box<Connection<G>>,
        exchange: &mut Exchange<G>,
        rest: Vec<u8>,
    ) -> Parsed<G> {
        match exchange.head.framing {
            Framing::None | Framing::Length(0) => {
                exchange.body = Body::Empty;
                connection.input = rest;
                return self.ready(connection, exchange);
            }
            Framing::Length(length) if length > self.options.limit_request_body => {
                self.keep_line(&mut connection, exchange.head_bytes());
                exchange.bytes = None;
                return self.too_large(connection);
            }
            Framing::Length(_) | Framing::Chunked => {}
        }
        if self.options.event_loop.is_some() {
            // The app takes the body as it comes, and whoever waits for a 100 hears it then.
            let decoder = BodyDecoder::new(exchange.head.framing, &self.options, self.now);
            exchange.incoming = Some(Box::new(decoder));
            connection.input = rest;
            return self.ready(connection, exchange);
        }
        let reader = BodyReader::new(exchange.head.framing, &self.options, self.now);
        connection.body = Some(Box::new(reader));
        connection.head_bytes = exchange.bytes.take().unwrap_or_default();
        let expects = exchange.head.expect_continue;
        connection.head = Some(std::mem::replace(&mut exchange.head, Box::new(Head::new())));
        connection.phase = Phase::Body;
        self.connections.set_deadline(connection.key, Class::Body, self.now);
        match self.feed_bytes(connection, exchange, &rest) {
            Parsed::More(mut connection) => {
                // The buffer wants the body now. A client that is gone shows itself at the read.
                if expects && rest.is_empty() {
                    connection.continue_owed = CONTINUE.len();
                }
                if !connection.pay_continue() {
                    self.close(connection);
                    return Parsed::Gone;
                }
                Parsed::More(connection)
            }
            other => other,
        }
    }

    /// Takes up what a trusted proxy says about the request with this head.
    #[inline]
    pub(crate) fn note_origin(
        &self,
        connection: &mut Connection<G>,
        head: &Head,
        bytes: &[u8],
    ) -> Result<(), Contradiction> {
        if connection.trusted {
            let trust = &self.options.trust;
            if head.forwarded || trust.searches_all() {
                connection.origin = trust.origin(head, bytes)?;
            }
        }
        Ok(())
    }

    /// Body bytes lie in the read buffer.
    fn feed(
        &mut self,
        connection: Box<Connection<G>>,
        exchange: &mut Exchange<G>,
        count: usize,
    ) -> Parsed<G> {
        // Taken out for the call, so that both can be borrowed; no bytes are copied.
        let buffer = std::mem::take(&mut exchange.buffer);
        self.connections.set_deadline(connection.key, Class::Body, self.now);
        let parsed = self.feed_bytes(connection, exchange, &buffer[..count]);
        exchange.buffer = buffer;
        match parsed {
            Parsed::More(connection) => self.keep_pace(connection, count),
            done => done,
        }
    }

    /// More of a body has come, and it is not complete: a client that drips is cut.
    fn keep_pace(&mut self, mut connection: Box<Connection<G>>, count: usize) -> Parsed<G> {
        let (rate, stretch) = (self.options.body_min_rate, self.options.body_timeout);
        let body = connection.body.as_mut();
        if body.is_none_or(|body| body.decoder.pace.keeps_up(count, rate, stretch, self.now)) {
            return Parsed::More(connection);
        }
        let peer = peer_name(connection.peer);
        self.notices.push(Severity::Info, || {
            format!("request body from {peer} comes at less than {rate} bytes/s: 408")
        });
        self.reject(connection, Status::REQUEST_TIMEOUT, &[]);
        Parsed::Gone
    }

    fn feed_bytes(
        &mut self,
        mut connection: Box<Connection<G>>,
        exchange: &mut Exchange<G>,
        input: &[u8],
    ) -> Parsed<G> {
        let Some(reader) = &mut connection.body else {
            self.close(connection);
            return Parsed::Gone;
        };
        match reader.feed(input, &self.options.limits, &self.options.spool_dir) {
            Ok(Fed { complete: false, .. }) => Parsed::More(connection),
            Ok(Fed { consumed, complete: true }) => {
                exchange.body =
                    connection.body.take().map_or(Body::Empty, |reader| reader.finish());
                exchange.bytes = Some(std::mem::take(&mut connection.head_bytes));
                if let Some(head) = connection.head.take() {
                    exchange.head = head;
                }
                connection.input = input[consumed..].to_vec();
                self.ready(connection, exchange)
            }
            Err(BodyError::Peer(error)) => self.refuse(connection, error),
            Err(BodyError::TooLarge) => self.too_large(connection),
            Err(BodyError::Disk(error)) => {
                if let Some(count) = self.disk_told.tell(self.now, 1) {
                    let directory = self.options.spool_dir.display().to_string();
                    self.notices.push(Severity::Error, || {
                        format!(
                            "cannot spool request bodies in {directory}: {error}; {count} answered \
                             with 507; make room there or set spool_dir"
                        )
                    });
                }
                self.reject(connection, Status::INSUFFICIENT_STORAGE, &[]);
                Parsed::Gone
            }
        }
    }

    /// The request is complete: from here on it belongs to the exchange.
    fn ready(
        &mut self,
        mut connection: Box<Connection<G>>,
        exchange: &mut Exchange<G>,
    ) -> Parsed<G> {
        self.connections.clear_deadline(connection.key);
        if !connection.forgive_continue() {
            self.close(connection);
            return Parsed::Gone;
        }
        connection.requests = connection.requests.saturating_add(1);
        // A client that asked for the end gets it at once; another may be sending already.
        connection.linger = exchange.head.persistent || !connection.input.is_empty();
        exchange.keep_alive = exchange.head.persistent
            && exchange.head.method != Method::Connect
            && self.options.keepalive.0 > 0
            && self.keeps_connections();
        exchange.status = 0;
        exchange.sent = 0;
        exchange.connection = Some(connection);
        Parsed::Ready
    }

    /// Before any of the body is asked for, where its length was told.
    fn too_large(&mut self, connection: Box<Connection<G>>) -> Parsed<G> {
        let (peer, limit) = (peer_name(connection.client()), self.options.limit_request_body);
        self.notices.push(Severity::Warning, || {
            format!(
                "Invalid request from ip={peer}: the body is larger than {limit} bytes \
                 (limit_request_body): 413"
            )
        });
        self.reject(connection, Status::CONTENT_TOO_LARGE, &[]);
        Parsed::Gone
    }

    pub(crate) fn refuse(&mut self, connection: Box<Connection<G>>, error: Error) -> Parsed<G> {
        self.refuse_as(connection, error.status(), &error, error.rule())
    }

    /// The peer broke a rule; `text` says which, for the log.
    #[cold]
    pub(crate) fn refuse_as(
        &mut self,
        connection: Box<Connection<G>>,
        status: Status,
        text: &dyn Display,
        rule: &str,
    ) -> Parsed<G> {
        let peer = peer_name(connection.client());
        self.notices
            .push(Severity::Warning, || format!("Invalid request from ip={peer}: {text} ({rule})"));
        self.reject(connection, status, &[]);
        Parsed::Gone
    }
}

/// Where a connection is after a step of reading.
pub(crate) enum Parsed<G: Gateway> {
    /// In the exchange, with a complete request.
    Ready,
    /// Closed, or lingering.
    Gone,
    /// It needs more bytes.
    More(Box<Connection<G>>),
}
