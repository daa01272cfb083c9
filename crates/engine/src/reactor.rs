//! The reactor: everything that one thread at a time may touch, under one lock.
//!
//! Who holds the lead (`lead.rs`) waits for events and hands them to `handle`. A request that is
//! complete ends up in the leader's exchange; the leader serves it, or queues it when it is the
//! sentinel. A connection that leaves the reactor does so through `Connections::take` and comes
//! back through `returned`.

mod admission;
mod ending;
mod secure;
mod time;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use monoceros_http1::{DateCache, Status, error_response};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_linger;
use rustix::net::{Shutdown, shutdown};

use crate::clock::{Moment, Span, unix_seconds};
use crate::connections::{Class, Connection, Connections, Found, Key, Paused, Phase, Request};
use crate::exchange::{Desk, Exchange};
use crate::gateway::Gateway;
use crate::handoff::Moves;
use crate::hub::Hub;
use crate::lead::{HELD_WITHOUT_DISK, Lead};
use crate::lines::Lines;
use crate::listeners::{Accepted, Listeners};
use crate::notice::{Notices, Severity, Throttle, peer_name};
use crate::options::Options;
use crate::output::{Output, Written, unacknowledged};
use crate::overload::Overload;
use crate::poller::{Alarm, Poller, Source, Watch};
use crate::promptness::Promptness;
use crate::scoreboard::{Cell, Scoreboard};
use crate::seats::{Reminder, Seats};
use crate::system;
use crate::tls;
use crate::work::Work;

/// How long we read on, so that a peer can read our last words before the reset (RFC 9112, 9.6).
const LINGER: Span = Span::from_secs(2);
/// A peer that is in the middle of an upload is given so many of these.
const LINGER_LOOKS: u32 = 5;
/// How much we read in all, and in one turn.
const LINGER_BYTES: usize = 64 * 1024 * 1024;
const LINGER_TURN: usize = 1024 * 1024;
/// A peer that takes nothing is looked at so often within `write_timeout` before it is cut.
pub(crate) const WRITE_LOOKS: u32 = 4;
/// How often the scoreboard is told that the engine lives.
pub const BEAT: Span = Span::from_secs(1);
/// What an event loop has to know of a connection that it has out.
#[derive(Clone, Copy, Debug)]
pub enum News {
    /// Something has happened to its socket.
    Socket(Key, EventFlags),
    /// A deadline has passed that was set for it.
    Deadline(Key, Class),
    /// Its request runs for longer than it may.
    Overdue(Key),
    /// Its request is slow, and goes on.
    Slow(Key),
}

/// While requests have deadlines and threads are out, nobody waits longer than this: they do not
/// wake the leader when they begin more work.
const WATCH: Span = Span::from_millis(100);

pub struct Draining {
    pub until: Moment,
    /// Idle connections are closed then: until then a client that was just sending is served.
    pub idle_until: Moment,
}

pub struct Reactor<G: Gateway> {
    pub options: Arc<Options>,
    pub poller: Arc<Poller>,
    pub board: Arc<Scoreboard>,
    pub slot: usize,
    pub now: Moment,
    pub connections: Connections<G>,
    pub(crate) tls: Option<tls::Server>,
    /// Connections in their TLS handshake.
    handshakes: usize,
    pub listeners: Listeners,
    pub events: VecDeque<(Source, EventFlags)>,
    /// Complete requests that wait for an app thread.
    pub ready: VecDeque<Key>,
    /// Paused responses whose output has been written.
    pub resumable: VecDeque<Key>,
    /// What has to be released on an app thread.
    pub released: Vec<G::Paused>,
    pub notices: Notices,
    pub signals: bool,
    pub works: Vec<Work>,
    pub lead: Lead,
    /// App threads that have nothing to do.
    pub parked: Vec<usize>,
    /// The leader sits in the poller.
    pub waiting: bool,
    /// Requests in greenlets that have been reported and shall be explained.
    pub unexplained: Vec<u64>,
    /// Works that run without a cell of their own.
    pub crowd: usize,
    /// When it leaves the poller at the latest.
    pub waiting_until: Moment,
    /// Who runs the app, where that is cooperative.
    pub(crate) hub: Option<Hub>,
    /// What connects this worker with its siblings, where connections move.
    pub(crate) moves: Option<Moves>,
    /// For an event loop: what has happened to what it has out.
    pub(crate) news: VecDeque<News>,
    pub(crate) seats: Seats,
    /// The desk at which all requests of an event loop are.
    pub(crate) loop_desk: Arc<Desk>,
    /// Log lines of all requests of an event loop.
    pub(crate) loop_lines: Arc<Mutex<Lines>>,
    /// The event loop's own descriptors have news.
    pub(crate) loop_is_called: bool,
    /// The event loop's thread wants the lead back.
    pub(crate) reclaimed: bool,
    pub(crate) alarm: Option<Alarm>,
    /// The event loop knows that this worker drains.
    pub(crate) drain_told: bool,
    pub draining: Option<Draining>,
    pub ended: bool,
    /// App threads that close what the end has left over.
    pub closing: usize,
    pub cut: Vec<String>,
    pub served: u64,
    /// Bytes of blocked responses that all connections of this worker hold in memory.
    pub held: Arc<AtomicUsize>,
    pub overload: Overload,
    pub disk_told: Throttle,
    pub spill_told: Throttle,
    pub lines_told: Throttle,
    pub(crate) date: DateCache,
    pub(crate) next_beat: Moment,
    promptness: Promptness,
}

impl<G: Gateway> Reactor<G> {
    pub fn new(
        options: Arc<Options>,
        poller: Arc<Poller>,
        board: Arc<Scoreboard>,
        slot: usize,
        listeners: Listeners,
        held: Arc<AtomicUsize>,
    ) -> Reactor<G> {
        let connections = Connections::new([
            // A connection that never spoke is as cheap as an idle one and is kept as long.
            options.keepalive.max(options.header_timeout),
            options.keepalive,
            options.header_timeout,
            options.body_timeout,
            Span(options.write_timeout.0 / WRITE_LOOKS as u64),
            LINGER,
            options.handshake_timeout,
            options.ping_interval,
            options.ping_timeout,
        ]);
        // Lanes of a cooperative worker come as they are needed; requests in an event loop have
        // seats instead.
        let threads = match options.event_loop {
            None if !options.cooperative => options.threads,
            _ => 0,
        };
        Reactor {
            works: (0..threads).map(|_| Work::new()).collect(),
            news: VecDeque::new(),
            seats: Seats::new(options.slow_after, options.request_deadline),
            loop_desk: Arc::default(),
            loop_lines: Arc::default(),
            loop_is_called: false,
            reclaimed: false,
            alarm: None,
            drain_told: false,
            connections,
            tls: options.tls.clone(),
            handshakes: 0,
            listeners,
            options,
            poller,
            board,
            slot,
            now: Moment::now(),
            events: VecDeque::new(),
            ready: VecDeque::new(),
            resumable: VecDeque::new(),
            released: Vec::new(),
            notices: Notices::default(),
            signals: false,
            lead: Lead::Nobody,
            parked: Vec::new(),
            waiting: false,
            waiting_until: Moment(0),
            crowd: 0,
            unexplained: Vec::new(),
            hub: None,
            moves: None,
            draining: None,
            ended: false,
            closing: 0,
            cut: Vec::new(),
            served: 0,
            held,
            overload: Overload::default(),
            disk_told: Throttle::default(),
            spill_told: Throttle::default(),
            lines_told: Throttle::default(),
            date: DateCache::new(),
            next_beat: Moment(0),
            promptness: Promptness::default(),
        }
    }

    /// There is something that only an app thread can do.
    pub fn has_work(&self) -> bool {
        !(self.ready.is_empty()
            && self.resumable.is_empty()
            && self.released.is_empty()
            && self.notices.is_empty()
            && self.news.is_empty())
    }

    /// After the end: a response that was waiting, and that nobody will go on with.
    pub fn abandoned(&mut self) -> Option<G::Paused> {
        self.released.pop().or_else(|| self.connections.take_paused())
    }

    /// It has ended, and nothing is left that app threads would have to close.
    pub fn is_over(&self) -> bool {
        self.ended
            && self.closing == 0
            && self.released.is_empty()
            && !self.connections.here().any(Connection::is_paused)
    }

    /// Every app thread runs a request that is past its deadline.
    pub fn is_stuck(&self) -> bool {
        self.all_works(|work| work.active && work.overdue)
    }

    /// Whether there is no work left of which `test` is not true.
    pub fn all_works(&self, test: impl Fn(&Work) -> bool) -> bool {
        self.works.len() == self.options.threads && self.works.iter().all(test)
    }

    /// The cell where work `index` is shown and counted. A cooperative worker may have more works
    /// than the scoreboard has cells: the others are counted with the reactor's own.
    pub fn cell(&self, index: usize) -> &Cell {
        self.board.cell(self.slot, index.min(self.cells()))
    }

    /// The reactor's own cell.
    pub fn own_cell(&self) -> &Cell {
        self.board.cell(self.slot, self.cells())
    }

    /// How many works have a cell of their own.
    pub fn cells(&self) -> usize {
        self.options.threads.min(self.board.threads())
    }

    /// True: `exchange` holds a complete request.
    pub fn handle(
        &mut self,
        source: Source,
        flags: EventFlags,
        exchange: &mut Exchange<G>,
    ) -> bool {
        match source {
            Source::Connection(token) => match self.connections.take(Key::from_token(token)) {
                Found::Here(connection) => self.on_event(connection, flags, exchange),
                Found::Out => {
                    let key = Key::from_token(token);
                    if self.connections.note(key, flags) && self.options.event_loop.is_some() {
                        self.news.push_back(News::Socket(key, EventFlags::empty()));
                    }
                    false
                }
                Found::Gone => false,
            },
            Source::Listener(index) => self.on_listener(index, exchange),
            Source::Handoff => {
                self.on_handoff();
                false
            }
            Source::Kick => {
                self.poller.take_kick();
                false
            }
            Source::Signal => {
                self.on_signals();
                false
            }
            Source::Loop => {
                self.loop_is_called = true;
                false
            }
            Source::Alarm => {
                if let Some(alarm) = &mut self.alarm {
                    alarm.take();
                }
                false
            }
            Source::Lifeline => {
                // The arbiter is gone: nobody would replace, stop or explain this worker.
                let killed = rustix::process::kill_process(
                    rustix::process::getpid(),
                    rustix::process::Signal::KILL,
                );
                debug_assert!(killed.is_ok());
                false
            }
        }
    }

    fn on_signals(&mut self) {
        const INT: u8 = 2;
        const QUIT: u8 = 3;
        const TERM: u8 = 15;
        for signal in self.poller.take_signals() {
            self.signals = true;
            match signal {
                TERM => self.drain(self.options.graceful_timeout),
                INT | QUIT => self.end(),
                _ => {}
            }
        }
    }

    pub(crate) fn complain(&mut self, what: &str, result: Result<(), Errno>) {
        if let Err(error) = result {
            self.notices.push(Severity::Error, || format!("{what}: {error}"));
        }
    }

    /// Something happened to the socket of a connection that was here. It is now either put back,
    /// gone, or in the exchange (then true).
    pub fn on_event(
        &mut self,
        mut connection: Box<Connection<G>>,
        flags: EventFlags,
        exchange: &mut Exchange<G>,
    ) -> bool {
        let readable = EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        let broken = EventFlags::HUP | EventFlags::ERR;
        match connection.phase {
            Phase::Handshake | Phase::Idle | Phase::Head | Phase::Body => {
                if connection.continue_owed > 0 && !connection.pay_continue() {
                    self.close(connection);
                    return false;
                }
                if flags.intersects(readable) || !connection.input.is_empty() || connection.owes() {
                    return self.receive(connection, flags, exchange);
                }
                self.connections.put(connection);
            }
            Phase::Ready => {
                if flags.intersects(broken) {
                    // Its client has left: the app need not know.
                    self.close(connection);
                } else {
                    self.connections.note(connection.key, flags);
                    self.connections.put(connection);
                }
            }
            Phase::Writing => {
                if flags.intersects(EventFlags::IN | EventFlags::RDHUP) {
                    self.connections.note(connection.key, flags);
                }
                if !connection.owes() {
                    // It waits for an app thread; to be resumed twice would mix up its bytes.
                    if flags.intersects(broken) {
                        self.close(connection);
                    } else {
                        self.connections.put(connection);
                    }
                } else if flags.intersects(EventFlags::OUT | broken) {
                    self.write(connection);
                } else {
                    self.connections.put(connection);
                }
            }
            Phase::Lingering => {
                if !connection.owes() {
                    self.discard(connection, exchange);
                } else if !self.write_last_words(&mut connection) {
                    self.close(connection);
                } else if !connection.owes() {
                    self.discard(connection, exchange);
                } else {
                    self.connections.put(connection);
                }
            }
        }
        false
    }

    /// The socket may take more of a response.
    fn write(&mut self, mut connection: Box<Connection<G>>) {
        let before = connection.sent;
        match connection.write() {
            Ok(written @ (Written::Blocked | Written::TurnOver)) => {
                if written == Written::TurnOver {
                    self.write_later(connection.key);
                }
                if connection.sent > before {
                    connection.stalls = 0;
                    self.connections.set_deadline(connection.key, Class::Write, self.now);
                }
                self.connections.put(connection);
            }
            Ok(Written::All) => {
                connection.output = Output::default();
                self.let_go_of_memory(&mut connection);
                match std::mem::replace(&mut connection.paused, Paused::Nothing) {
                    Paused::Resume(paused) => {
                        connection.paused = Paused::Resume(paused);
                        self.connections.clear_deadline(connection.key);
                        self.resumable.push_back(connection.key);
                        self.connections.put(connection);
                    }
                    Paused::Release(paused) => {
                        self.released.push(paused);
                        self.answered(connection);
                    }
                    Paused::Nothing => self.answered(connection),
                }
            }
            Err(_) => self.close(connection),
        }
    }

    /// More of the response goes out when others have had their turn.
    pub fn write_later(&mut self, key: Key) {
        self.events.push_back((Source::Connection(key.token()), EventFlags::OUT));
    }

    fn let_go_of_memory(&mut self, connection: &mut Connection<G>) {
        if connection.held > 0 {
            self.held.fetch_sub(connection.held, Relaxed);
            connection.held = 0;
        }
    }

    /// Responses could not go to disk. Beyond a bound the memory comes from those whose clients
    /// have not read for longest; what has just been blocked is not among them.
    pub fn make_room_in_memory(&mut self, error: Errno) {
        let mut cut = 0;
        while self.held.load(Relaxed) > HELD_WITHOUT_DISK
            && let Some(key) = self.connections.slowest_holder()
            && let Found::Here(connection) = self.connections.take(key)
        {
            self.abort(connection);
            cut += 1;
        }
        if let Some(cut) = self.spill_told.tell(self.now, cut) {
            let directory = self.options.spool_dir.display().to_string();
            self.notices.push(Severity::Error, || {
                format!(
                    "cannot spool responses that clients are slow to read in {directory}: {error}; \
                     they stay in memory, and {cut} that were too much have been cut; make room \
                     there or set spool_dir"
                )
            });
        }
    }

    /// A response has gone out whole.
    pub fn answered(&mut self, mut connection: Box<Connection<G>>) {
        if connection.status != 0 {
            let cell = self.own_cell();
            cell.count(connection.status, 0, connection.sent);
            connection.status = 0;
        }
        // What was promised is kept, while draining too: an idle connection has its last call.
        if !connection.keep_alive {
            if connection.linger {
                self.linger(connection);
            } else {
                self.close(connection);
            }
            return;
        }
        connection.phase = Phase::Idle;
        connection.origin = None;
        if !self.watch(&mut connection, Watch::Input) {
            return self.close(connection);
        }
        let key = connection.key;
        let pending = self.connections.take_pending(key);
        if !connection.input.is_empty() {
            // What was pipelined comes first; what happened since is looked at after it.
            self.connections.note(key, pending);
            self.events.push_back((Source::Connection(key.token()), EventFlags::empty()));
        } else if pending
            .intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR)
        {
            self.events.push_back((Source::Connection(key.token()), pending));
        }
        self.connections.set_deadline(key, Class::Idle, self.now);
        self.connections.put(connection);
    }

    /// The socket's events reach us from now on. Late, because most short connections end without.
    pub fn watch(&mut self, connection: &mut Connection<G>, wanted: Watch) -> bool {
        if connection.watch >= wanted {
            return true;
        }
        let (socket, token) = (connection.socket.as_fd(), connection.key.token());
        let result = self.poller.watch_connection(socket, token, connection.watch, wanted);
        if result.is_ok() {
            connection.watch = wanted;
        }
        self.complain("cannot watch a connection", result);
        connection.watch >= wanted
    }

    /// A connection comes back with output that the socket did not take yet.
    pub fn blocked(&mut self, mut connection: Box<Connection<G>>) {
        connection.phase = Phase::Writing;
        if !self.watch(&mut connection, Watch::Both) {
            return self.close(connection);
        }
        let key = connection.key;
        connection.unacknowledged = unacknowledged(connection.socket.as_fd());
        connection.stalls = 0;
        self.connections.set_deadline(key, Class::Write, self.now);
        let pending = self.connections.take_pending(key);
        if !pending.is_empty() {
            self.events.push_back((Source::Connection(key.token()), pending));
        }
        self.connections.put(connection);
    }

    /// A complete request, from the exchange into the queue.
    pub fn queue(&mut self, exchange: &mut Exchange<G>) {
        let Some(mut connection) = exchange.connection.take() else { return };
        let (bytes, body) = match exchange.bytes.take() {
            Some(bytes) => (bytes, exchange.take_body()),
            None => exchange.copy_out(),
        };
        let head = std::mem::replace(&mut exchange.head, Box::new(monoceros_http1::Head::new()));
        connection.phase = Phase::Ready;
        connection.keep_alive = exchange.keep_alive;
        let incoming = exchange.incoming.take();
        connection.request = Some(Request { head, bytes, body, incoming, since: self.now });
        let key = connection.key;
        if !self.watch(&mut connection, Watch::Input) {
            return self.close(connection);
        }
        if self.is_stuck() {
            let Some(connection) = self.send_away(connection) else { return };
            return self.reject(connection, Status::SERVICE_UNAVAILABLE, &[("Retry-After", "1")]);
        }
        self.connections.clear_deadline(key);
        self.connections.put(connection);
        self.ready.push_back(key);
    }

    /// The next request of the queue, into the exchange. False when there is none.
    pub fn dequeue(&mut self, exchange: &mut Exchange<G>, thread: usize) -> bool {
        if !self.ready.is_empty() {
            self.peek_when_busy();
        }
        while let Some(key) = self.ready.pop_front() {
            let Found::Here(mut connection) = self.connections.take(key) else { continue };
            match connection.request.take() {
                Some(request) if connection.phase == Phase::Ready => {
                    let waited = self.now.since(request.since);
                    if waited > self.options.queue_timeout {
                        connection.request = Some(request);
                        self.connections.put(connection);
                        self.ready.push_front(key);
                        self.refuse_late();
                        continue;
                    }
                    self.cell(thread).queued(waited);
                    exchange.head = request.head;
                    exchange.bytes = Some(request.bytes);
                    exchange.body = request.body;
                    exchange.incoming = request.incoming;
                    exchange.keep_alive = connection.keep_alive && self.keeps_connections();
                    exchange.status = 0;
                    exchange.sent = 0;
                    exchange.connection = Some(connection);
                    return true;
                }
                _ => self.connections.put(connection),
            }
        }
        false
    }

    /// The next paused response that can go on, into the exchange.
    pub fn resume(&mut self, exchange: &mut Exchange<G>) -> Option<G::Paused> {
        while let Some(key) = self.resumable.pop_front() {
            let Found::Here(mut connection) = self.connections.take(key) else { continue };
            match std::mem::replace(&mut connection.paused, Paused::Nothing) {
                Paused::Resume(paused) => {
                    exchange.keep_alive = connection.keep_alive;
                    exchange.status = connection.status;
                    exchange.sent = connection.sent;
                    exchange.bytes = Some(std::mem::take(&mut connection.head_bytes));
                    exchange.connection = Some(connection);
                    return Some(paused);
                }
                other => {
                    connection.paused = other;
                    self.connections.put(connection);
                }
            }
        }
        None
    }
}
