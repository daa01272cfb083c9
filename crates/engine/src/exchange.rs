//! A request and its response, in the hands of an app thread.
//!
//! Every app thread has one exchange and uses it again for every request: the read buffer, the
//! parsed head and the output keep their room. While an app runs, the desk says which request it
//! is; the reactor may answer it with 504 when its deadline passes. Who is first to change the
//! desk from Running owns the socket's output: the app thread (Sending) or the reactor (Overdue).

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{
    AtomicU8,
    Ordering::{AcqRel, Acquire, Release},
};
use std::sync::{Arc, Mutex};

use monoceros_http1::Head;
use monoceros_proxy::proxy_protocol::Header;
use monoceros_uwsgi::Variables;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::body::{Body, BodyDecoder};
use crate::clock::{Moment, Span};
use crate::connections::Connection;
use crate::gateway::Gateway;
use crate::lines::Lines;
use crate::output::{Output, Payload, Written, unacknowledged};
use crate::seats::Seat;
use crate::tls::Session;
use crate::trust::Origin;

/// One read takes at most this much: a socket buffer's usual fill, and a browser's largest head.
pub const READ_BUFFER: usize = 64 * 1024;

const IDLE: u8 = 0;
const RUNNING: u8 = 1;
const SENDING: u8 = 2;
const OVERDUE: u8 = 3;

/// What an app thread is at: Idle -> Running -> Sending -> Idle, or Running -> Overdue -> Idle.
#[derive(Default)]
pub struct Desk(AtomicU8);

impl Desk {
    pub fn begin(&self) {
        self.0.store(RUNNING, Release);
    }

    pub fn end(&self) {
        self.0.store(IDLE, Release);
    }

    /// The app thread wants to send. False: the client has had its 504.
    pub fn claim_for_sending(&self) -> bool {
        match self.0.compare_exchange(RUNNING, SENDING, AcqRel, Acquire) {
            Ok(_) => true,
            Err(state) => state != OVERDUE,
        }
    }

    /// The reactor wants to send the 504. False: something has been sent.
    pub fn claim_for_timeout(&self) -> bool {
        self.0.compare_exchange(RUNNING, OVERDUE, AcqRel, Acquire).is_ok()
    }

    pub fn is_overdue(&self) -> bool {
        self.0.load(Acquire) == OVERDUE
    }

    pub fn is_sending(&self) -> bool {
        self.0.load(Acquire) == SENDING
    }
}

/// The socket takes no more of this response.
#[derive(Debug, PartialEq, Eq)]
pub struct PeerGone;

pub struct Exchange<G: Gateway> {
    pub(crate) buffer: Box<[u8]>,
    pub(crate) connection: Option<Box<Connection<G>>>,
    pub(crate) head: Box<Head>,
    /// The head, where it is not in the buffer.
    pub(crate) bytes: Option<Vec<u8>>,
    pub(crate) body: Body,
    /// In an event loop: the body has not come whole yet, and this finds the rest of it.
    pub(crate) incoming: Option<Box<BodyDecoder>>,
    pub(crate) output: Output,
    pub(crate) keep_alive: bool,
    pub(crate) status: u16,
    pub(crate) sent: u64,
    pub(crate) since: Moment,
    pub(crate) id: u64,
    /// In an event loop: where the reactor knows it.
    pub(crate) seat: Option<Seat>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) write_timeout: Span,
    /// Log lines of this thread; written before it waits, or when its app is slow.
    pub lines: Arc<Mutex<Lines>>,
}

impl<G: Gateway> Exchange<G> {
    pub(crate) fn new(desk: Arc<Desk>, write_timeout: Span) -> Exchange<G> {
        Exchange::with_buffer(READ_BUFFER, desk, write_timeout)
    }

    /// For a lane, which gets requests that have been read elsewhere.
    pub(crate) fn without_buffer(desk: Arc<Desk>, write_timeout: Span) -> Exchange<G> {
        Exchange::with_buffer(0, desk, write_timeout)
    }

    /// For a stream. Nobody but the loop sends there, so that one desk does for all.
    pub(crate) fn in_a_loop(
        desk: Arc<Desk>,
        lines: Arc<Mutex<Lines>>,
        write_timeout: Span,
    ) -> Exchange<G> {
        let mut exchange = Exchange::with_buffer(0, desk, write_timeout);
        exchange.lines = lines;
        exchange
    }

    fn with_buffer(size: usize, desk: Arc<Desk>, write_timeout: Span) -> Exchange<G> {
        Exchange {
            buffer: vec![0; size].into_boxed_slice(),
            connection: None,
            head: Box::new(Head::new()),
            bytes: None,
            body: Body::Empty,
            incoming: None,
            output: Output::default(),
            keep_alive: false,
            status: 0,
            sent: 0,
            since: Moment::default(),
            id: 0,
            seat: None,
            desk,
            write_timeout,
            lines: Arc::default(),
        }
    }

    /// The parsed head and the bytes that its spans point into.
    pub fn head(&self) -> (&Head, &[u8]) {
        (&self.head, self.bytes.as_deref().unwrap_or(&self.buffer))
    }

    /// The head as it was received.
    pub fn head_bytes(&self) -> &[u8] {
        let (head, bytes) = self.head();
        &bytes[..head.length.min(bytes.len())]
    }

    /// The body; an empty one from the second time on.
    pub fn take_body(&mut self) -> Body {
        std::mem::take(&mut self.body)
    }

    /// Bytes of the buffer that a `Body::Beside` names.
    pub fn beside(&self, start: usize, end: usize) -> &[u8] {
        &self.bytes.as_deref().unwrap_or(&self.buffer)[start..end]
    }

    /// The peer of the socket; None for a unix socket.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.connection.as_ref().and_then(|connection| connection.peer)
    }

    /// Who is connected: whom a PROXY protocol header has named, else the socket's peer.
    pub fn connected(&self) -> Option<SocketAddr> {
        self.connection.as_ref().and_then(|connection| connection.client())
    }

    /// Whose request this is, as far as anybody who is trusted has told; port 0 when nobody has
    /// told the port.
    pub fn client(&self) -> Option<SocketAddr> {
        match self.origin().and_then(|origin| origin.client) {
            Some(node) => Some(node.socket_address()),
            None => self.connected(),
        }
    }

    /// What a PROXY protocol header has said.
    pub fn proxied(&self) -> Option<&Header> {
        self.connection.as_ref().and_then(|connection| connection.proxied.as_deref())
    }

    /// What trusted proxies say about this request.
    #[inline]
    pub fn origin(&self) -> Option<&Origin> {
        self.connection.as_ref().and_then(|connection| connection.origin.as_deref())
    }

    /// What a front end tells about this request that speaks uwsgi. It reads no interim answers
    /// and no chunks.
    #[inline]
    pub fn variables(&self) -> Option<&Variables> {
        self.connection.as_ref().and_then(|connection| connection.variables.as_deref())
    }

    pub fn peer_cache(&mut self) -> &mut Option<G::Peer> {
        &mut self.connection_mut().peer_cache
    }

    /// Which of the listeners accepted this connection.
    pub fn listener(&self) -> usize {
        self.connection.as_ref().map_or(0, |connection| connection.listener)
    }

    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.connection.as_ref().map(|connection| connection.socket.as_fd())
    }

    /// The connection's TLS, where it has one.
    pub fn tls(&self) -> Option<&Arc<Session>> {
        self.connection.as_ref().and_then(|connection| connection.tls.as_ref())
    }

    /// The number of this request on its connection, from 1.
    pub fn request_number(&self) -> u32 {
        self.connection.as_ref().map_or(0, |connection| connection.requests)
    }

    /// The number of this request in its worker, from 1.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// When the request was complete and the app could be called.
    pub fn since(&self) -> Moment {
        self.since
    }

    /// What client and server have agreed on so far about keeping the connection.
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// The final word, from who wrote the response head.
    pub fn set_keep_alive(&mut self, keep_alive: bool) {
        self.keep_alive = keep_alive;
    }

    /// For the scoreboard and the access log.
    pub fn set_status(&mut self, status: u16) {
        self.status = status;
    }

    pub fn status(&self) -> u16 {
        self.status
    }

    /// Bytes that the socket has taken, the head included.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// The client has been answered by the reactor: 504.
    pub fn is_overdue(&self) -> bool {
        self.desk.is_overdue()
    }

    /// Where to append the response.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        self.output.tail()
    }

    pub fn push_payload(&mut self, payload: Box<dyn Payload>) {
        self.output.push_payload(payload);
    }

    pub fn push_file(&mut self, file: OwnedFd, offset: u64, length: u64) {
        self.output.push_file(file, offset, length);
    }

    /// Forget what has been appended and not sent.
    pub fn clear_output(&mut self) {
        self.output.clear();
    }

    /// Bytes of the output that the socket has not taken; files are not among them.
    pub fn waiting(&self) -> usize {
        self.output.waiting()
    }

    /// There is output that the socket has not taken.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Lets go of memory that an idle connection does not need.
    pub fn release(&mut self) {
        if self.output.is_empty() {
            self.output = Output::default();
        }
    }

    /// Sends what the socket takes in one turn, without waiting.
    pub fn flush(&mut self) -> Result<Written, PeerGone> {
        if !self.desk.claim_for_sending() {
            return Err(PeerGone);
        }
        let Some(connection) = &self.connection else { return Err(PeerGone) };
        let socket = connection.socket.as_fd();
        self.output
            .write_to(connection.tls.as_deref(), socket, &mut self.sent)
            .map_err(|_| PeerGone)
    }

    /// The same, but a turn ends only when no more than `most` bytes are left in memory: what a
    /// peer takes now need not go to disk.
    pub(crate) fn flush_down_to(&mut self, most: usize) -> Result<Written, PeerGone> {
        loop {
            let written = self.flush()?;
            if written != Written::TurnOver || self.output.in_memory() <= most {
                return Ok(written);
            }
        }
    }

    /// How long a peer may take nothing.
    pub fn write_timeout(&self) -> Span {
        self.write_timeout
    }

    /// What the peer has not taken yet of what the socket has; None without a connection.
    pub fn unacknowledged(&self) -> Option<u64> {
        self.socket().map(unacknowledged)
    }

    /// Sends everything, waiting for the socket: for apps that push instead of being asked.
    pub fn flush_waiting(&mut self) -> Result<(), PeerGone> {
        loop {
            match self.flush()? {
                Written::All => return Ok(()),
                Written::TurnOver => continue,
                Written::Blocked => {}
            }
            let Some(connection) = &self.connection else { return Err(PeerGone) };
            if !wait_writable(connection.socket.as_fd(), self.write_timeout) {
                return Err(PeerGone);
            }
        }
    }

    /// Copies head and body out of the read buffer, for a request that has to wait.
    pub(crate) fn copy_out(&mut self) -> (Vec<u8>, Body) {
        let end = match self.body {
            Body::Beside { end, .. } => end,
            _ => self.head.length,
        };
        (self.buffer[..end].to_vec(), self.take_body())
    }

    fn connection_mut(&mut self) -> &mut Connection<G> {
        match &mut self.connection {
            Some(connection) => connection,
            None => unreachable!("an exchange is only served with a connection"),
        }
    }
}

/// False when the time is up or the socket is broken.
fn wait_writable(socket: BorrowedFd<'_>, patience: Span) -> bool {
    let timeout = Timespec {
        tv_sec: (patience.0 / 1_000_000_000).min(i64::MAX as u64) as i64,
        tv_nsec: (patience.0 % 1_000_000_000) as i64,
    };
    let mut descriptors = [PollFd::from_borrowed_fd(socket, PollFlags::OUT)];
    loop {
        match poll(&mut descriptors, Some(&timeout)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}
