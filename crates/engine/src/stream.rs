//! A request in an event loop: its body comes and its response goes as the app asks for it.
//!
//! | who has the connection | from                  | until                        |
//! |------------------------|-----------------------|------------------------------|
//! | the reactor            |                       | its request's head is there  |
//! | a stream               | `Engine::adopt`       | `Engine::end`                |
//! | the reactor            | `Engine::end`         |                              |
//!
//! While a stream has it the connection is out: the reactor notes what happens to its socket and
//! tells the loop (`News`). Rules:
//! - Nobody reads ahead of the app: what it does not take stays in the kernel, and the peer waits.
//! - Events are edges. What was told and not acted upon is kept in `noted`, and goes back with the
//!   connection, whose next request it may be.
//! - Nothing here waits.

use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};

use monoceros_http1::Status;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

use crate::body::BodyError;
use crate::clock::{Moment, Span};
use crate::connections::{Connection, Key};
use crate::exchange::{Desk, Exchange};
use crate::gateway::Gateway;
use crate::lines::Lines;
use crate::notice::peer_name;
use crate::options::Options;
use crate::output::Written;
use crate::reactor::WRITE_LOOKS;
use crate::tls::Received;

pub struct Stream<G: Gateway> {
    pub exchange: Exchange<G>,
    /// What has happened to the socket and was not acted upon.
    noted: EventFlags,
    /// The client waits for a 100 before it sends its body.
    owes_continue: bool,
}

/// What a look at the socket has brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrived {
    /// So many bytes more.
    Bytes(usize),
    /// Nothing now; an event will tell.
    Nothing,
    /// There is no more: the body is whole.
    End,
}

/// Why no more can be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Broken {
    /// The peer has gone, or has said its last.
    Gone,
    /// What it sends is wrong: the status, and the text for the log, that follow.
    Refused(Status, String),
}

/// How far the output has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    Sent,
    /// So many bytes are left in memory, because the peer is slow to read.
    Blocked(usize),
    Gone,
}

impl<G: Gateway> Stream<G> {
    /// What all streams of a loop have in common is given: there may be thousands.
    pub(crate) fn new(desk: Arc<Desk>, lines: Arc<Mutex<Lines>>, write_timeout: Span) -> Stream<G> {
        Stream {
            exchange: Exchange::in_a_loop(desk, lines, write_timeout),
            noted: EventFlags::empty(),
            owes_continue: false,
        }
    }

    /// Takes over the request in `from`, and copies its head; its body has been taken before.
    pub(crate) fn adopt(&mut self, from: &mut Exchange<G>) {
        let own = &mut self.exchange;
        own.connection = from.connection.take();
        std::mem::swap(&mut own.head, &mut from.head);
        own.bytes = match from.bytes.take() {
            Some(bytes) => Some(bytes),
            None => Some(from.buffer[..own.head.length].to_vec()),
        };
        own.body = crate::body::Body::Empty;
        own.incoming = from.incoming.take();
        own.keep_alive = from.keep_alive;
        own.status = 0;
        own.sent = 0;
        own.since = from.since;
        own.id = from.id;
        own.seat = from.seat.take();
        own.output.clear();
        self.noted = EventFlags::empty();
        self.owes_continue = own.incoming.is_some() && own.head.expect_continue;
    }

    fn connection(&mut self) -> Option<&mut Box<Connection<G>>> {
        self.exchange.connection.as_mut()
    }

    pub fn key(&self) -> Option<Key> {
        self.exchange.connection.as_ref().map(|connection| connection.key)
    }

    /// The connection has not been given back.
    pub fn is_open(&self) -> bool {
        self.exchange.connection.is_some()
    }

    /// More of the request's body is to come.
    pub fn has_incoming(&self) -> bool {
        self.exchange.incoming.is_some()
    }

    /// Takes note of an event. True: the peer has gone, or has said its last.
    pub fn note(&mut self, flags: EventFlags) -> bool {
        self.noted |= flags;
        flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR)
    }

    /// The socket cannot be written to any more.
    pub fn is_broken(&self) -> bool {
        self.noted.intersects(EventFlags::HUP | EventFlags::ERR)
    }

    fn peer_has_ended(&self) -> bool {
        self.noted.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR)
    }

    /// Reads once from the socket. `None`: nothing is there.
    fn receive(&mut self, scratch: &mut [u8]) -> Result<Option<usize>, Broken> {
        let ending = self.peer_has_ended();
        let Some(connection) = self.connection() else { return Err(Broken::Gone) };
        loop {
            return match connection.receive(scratch) {
                Ok(Received { count: 0, .. }) => Err(Broken::Gone),
                Ok(Received { count, emptied }) => {
                    if emptied && !ending {
                        self.noted.remove(EventFlags::IN);
                    } else {
                        self.noted |= EventFlags::IN;
                    }
                    Ok(Some(count))
                }
                Err(Errno::AGAIN) => {
                    self.noted.remove(EventFlags::IN);
                    Ok(None)
                }
                Err(Errno::INTR) => continue,
                Err(_) => Err(Broken::Gone),
            };
        }
    }

    /// Body bytes, behind what is in `into`, about as many as `scratch` has room for at most.
    pub(crate) fn read_body(
        &mut self,
        options: &Options,
        scratch: &mut [u8],
        into: &mut Vec<u8>,
    ) -> Result<Arrived, Broken> {
        let now = Moment::now();
        let before = into.len();
        while let Some(decoder) = &mut self.exchange.incoming {
            decoder.resume(now);
            let Some(connection) = &mut self.exchange.connection else { return Err(Broken::Gone) };
            let mut input = std::mem::take(&mut connection.input);
            if input.is_empty() {
                if std::mem::take(&mut self.owes_continue) {
                    connection.owe_continue();
                }
                if !connection.pay_continue() {
                    return Err(Broken::Gone);
                }
                match self.receive(scratch)? {
                    Some(count) => input.extend_from_slice(&scratch[..count]),
                    None => return Ok(Arrived::Nothing),
                }
            }
            // A client that sends without having been asked does not wait for a 100.
            self.owes_continue = false;
            self.feed(options, input, into)?;
            let count = into.len() - before;
            if let Some(decoder) = &mut self.exchange.incoming {
                if !decoder.pace.keeps_up(count, options.body_min_rate, options.body_timeout, now) {
                    let rate = options.body_min_rate;
                    let text = format!("the body comes at less than {rate} bytes/s");
                    return Err(Broken::Refused(Status::REQUEST_TIMEOUT, text));
                }
                if count > 0 {
                    decoder.rest(now);
                    return Ok(Arrived::Bytes(count));
                }
            }
        }
        Ok(Arrived::End)
    }

    /// Decodes what was read; what lies behind the body goes back to the connection.
    fn feed(
        &mut self,
        options: &Options,
        mut input: Vec<u8>,
        into: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        let Some(decoder) = &mut self.exchange.incoming else { return Ok(()) };
        let sink = |bytes: &[u8]| {
            into.extend_from_slice(bytes);
            Ok(())
        };
        let fed = decoder.decode(&input, &options.limits, sink).map_err(|error| match error {
            BodyError::Peer(error) => {
                Broken::Refused(error.status(), format!("{error} ({})", error.rule()))
            }
            BodyError::TooLarge => {
                let limit = options.limit_request_body;
                let text = format!("the body is larger than {limit} bytes (limit_request_body)");
                Broken::Refused(Status::CONTENT_TOO_LARGE, text)
            }
            BodyError::Disk(_) => Broken::Gone,
        })?;
        if fed.complete {
            self.exchange.incoming = None;
            input.drain(..fed.consumed);
            if let Some(connection) = &mut self.exchange.connection {
                connection.input = input;
            }
        }
        Ok(())
    }

    /// Bytes of an upgraded connection, into `scratch`.
    pub fn read_raw(&mut self, scratch: &mut [u8]) -> Result<Arrived, Broken> {
        let Some(connection) = self.connection() else { return Err(Broken::Gone) };
        if !connection.input.is_empty() {
            let count = connection.input.len().min(scratch.len());
            scratch[..count].copy_from_slice(&connection.input[..count]);
            connection.input.drain(..count);
            if connection.input.is_empty() {
                connection.input = Vec::new();
            }
            return Ok(Arrived::Bytes(count));
        }
        Ok(self.receive(scratch)?.map_or(Arrived::Nothing, Arrived::Bytes))
    }

    /// There may be more to read, without another event.
    pub fn has_more(&self) -> bool {
        self.noted.contains(EventFlags::IN)
            || self.peer_has_ended()
            || self.exchange.connection.as_ref().is_some_and(|it| !it.input.is_empty())
    }

    /// Writes what the socket takes.
    pub fn flush(&mut self) -> Flow {
        loop {
            let before = self.exchange.sent;
            match self.exchange.flush() {
                Ok(Written::All) => return Flow::Sent,
                Ok(Written::Blocked) => {
                    if self.exchange.sent > before
                        && let Some(connection) = self.connection()
                    {
                        connection.stalls = 0;
                    }
                    return Flow::Blocked(self.exchange.output.waiting());
                }
                Ok(Written::TurnOver) => {}
                Err(_) => return Flow::Gone,
            }
        }
    }

    /// It is a WebSocket, say, from now on: the head is no longer needed.
    pub fn forget_head(&mut self) {
        self.exchange.bytes = None;
        *self.exchange.head = monoceros_http1::Head::default();
    }

    /// The peer may still have to read when the connection is given back.
    pub fn linger(&mut self) {
        if let Some(connection) = self.connection() {
            connection.linger = true;
        }
    }

    /// Names the peer, for people.
    pub fn peer_name(&self) -> String {
        peer_name(self.exchange.connected())
    }

    /// The events that the socket still owes an answer to.
    pub(crate) fn take_noted(&mut self) -> EventFlags {
        std::mem::replace(&mut self.noted, EventFlags::empty())
    }

    /// The peer has taken nothing for the whole of `write_timeout`.
    pub(crate) fn has_stalled(&mut self) -> bool {
        self.connection()
            .is_some_and(|connection| connection.looks_without_progress() >= WRITE_LOOKS)
    }

    /// From here on it is looked at whether the peer takes something.
    pub(crate) fn look_at_progress(&mut self) {
        if let Some(connection) = self.connection() {
            connection.unacknowledged = crate::output::unacknowledged(connection.socket.as_fd());
            connection.stalls = 0;
        }
    }
}
