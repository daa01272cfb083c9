//! A server of the engine with a toy gateway, and clients that wait with a bound.
//!
//! The gateway answers by the request's path:
//! - `/hold`: waits until the test opens the gate, then answers;
//! - `/chunks/N/SIZE`: N chunks of SIZE bytes, each of another letter, pausing when blocked;
//! - `/finish/SIZE`: SIZE bytes at once, with something to be released when they are written;
//! - `/slow/MILLISECONDS/...`: answers after that time, as an app that computes;
//! - `/file/SIZE`: SIZE zeros from a file;
//! - `/payloads/COUNT/SIZE`: as `/chunks`, all at once and without a copy;
//! - `/abort`: half of a response, then a failure;
//! - anything else: the target, and behind it the request's body.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use monoceros_engine::clock::Span;
use monoceros_engine::scoreboard::Scoreboard;
use monoceros_engine::{
    AppThread, Body, Engine, Exchange, Gateway, Next, Options, Outcome, Payload, Refusal, Severity,
    Written,
};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

/// What must happen happens within this.
pub const BOUND: Duration = Duration::from_secs(10);

/// Waits until `condition` holds. Panics with `what` when it does not in time.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + BOUND;
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

pub struct Toy;

/// A response that pauses; counts how often it is dropped.
pub struct Chunks {
    next: usize,
    count: usize,
    size: usize,
    record: Arc<Record>,
}

impl Drop for Chunks {
    fn drop(&mut self) {
        self.record.dropped.fetch_add(1, SeqCst);
    }
}

impl Gateway for Toy {
    type Peer = ();
    type Paused = Chunks;
}

/// What the gateway has seen.
#[derive(Default)]
pub struct Record {
    pub called: AtomicUsize,
    pub holding: AtomicUsize,
    pub paused: AtomicUsize,
    pub resumed: AtomicUsize,
    /// Paused responses that have been let go of, for whatever reason.
    pub dropped: AtomicUsize,
    pub notices: Mutex<Vec<(Severity, String)>>,
    pub refusals: Mutex<Vec<Refusal>>,
    gate: Mutex<bool>,
    opened: Condvar,
}

impl Record {
    /// Lets every request that holds, and each that will, go on.
    pub fn open(&self) {
        *self.gate.lock().unwrap() = true;
        self.opened.notify_all();
    }

    pub fn shut(&self) {
        *self.gate.lock().unwrap() = false;
    }

    fn hold(&self) {
        self.holding.fetch_add(1, SeqCst);
        let gate = self.gate.lock().unwrap();
        let (gate, waited) =
            self.opened.wait_timeout_while(gate, 2 * BOUND, |open| !*open).unwrap();
        drop(gate);
        assert!(!waited.timed_out(), "nobody has opened the gate");
        self.holding.fetch_sub(1, SeqCst);
    }

    pub fn wait_for_holding(&self, count: usize) {
        wait_until("requests that hold", || self.holding.load(SeqCst) == count);
    }
}

pub struct Server {
    pub address: SocketAddr,
    pub engine: Arc<Engine<Toy>>,
    pub board: Arc<Scoreboard>,
    pub record: Arc<Record>,
    threads: Vec<JoinHandle<()>>,
    _listener: TcpListener,
}

impl Server {
    pub fn start(options: Options) -> Server {
        Server::start_with_slots(options, 1)
    }

    /// With a scoreboard that has room for siblings, which the test plays.
    pub fn start_with_slots(options: Options, slots: usize) -> Server {
        let board = Arc::new(Scoreboard::new(slots, options.threads).unwrap());
        board.set_fleet(slots as u32);
        Server::start_in(options, board, 0)
    }

    /// In a slot of a scoreboard that servers share.
    pub fn start_in(options: Options, board: Arc<Scoreboard>, slot: usize) -> Server {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let count = options.threads;
        let engine =
            Engine::<Toy>::new(&[listener.as_raw_fd()], options, Arc::clone(&board), slot).unwrap();
        let engine = Arc::new(engine);
        let record = Arc::new(Record::default());
        let threads = (0..count)
            .map(|index| {
                let engine = Arc::clone(&engine);
                let record = Arc::clone(&record);
                thread::spawn(move || run(&engine, &record, index == 0))
            })
            .collect();
        Server { address, engine, board, record, threads, _listener: listener }
    }

    pub fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, read: Vec::new(), taken: 0 }
    }

    /// A request that has reached the app and stays there until `Record::open`.
    pub fn hold(&self) -> Client {
        let before = self.record.holding.load(SeqCst);
        let mut client = self.connect();
        client.send(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
        self.record.wait_for_holding(before + 1);
        client
    }

    /// All app threads have come back because the engine has ended.
    pub fn wait_for_the_end(&mut self) {
        let threads = std::mem::take(&mut self.threads);
        wait_until("the end of the app threads", || threads.iter().all(JoinHandle::is_finished));
        for thread in threads {
            thread.join().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.record.open();
        self.engine.stop();
        if !thread::panicking() {
            self.wait_for_the_end();
        }
    }
}

fn run(engine: &Engine<Toy>, record: &Arc<Record>, main: bool) {
    let mut thread = engine.app_thread(main).unwrap();
    loop {
        match engine.next(&mut thread) {
            Next::Serve => {
                record.called.fetch_add(1, SeqCst);
                let outcome = serve(&mut thread, record);
                engine.finish(&mut thread, outcome);
            }
            Next::Resume(chunks) => {
                record.resumed.fetch_add(1, SeqCst);
                let outcome = pump(&mut thread.exchange, chunks);
                engine.finish(&mut thread, outcome);
            }
            Next::Release(chunks) => drop(chunks),
            Next::Signals => {}
            Next::Notices(report) => {
                record.refusals.lock().unwrap().extend(report.refusals);
                let mut kept = record.notices.lock().unwrap();
                kept.extend(
                    report.notices.into_iter().map(|notice| (notice.severity, notice.text)),
                );
            }
            Next::Explain(_) => unreachable!("only lanes are explained"),
            Next::Done => return,
        }
    }
}

fn serve(thread: &mut AppThread<Toy>, record: &Arc<Record>) -> Outcome<Chunks> {
    let exchange = &mut thread.exchange;
    let (head, bytes) = exchange.head();
    let target = String::from_utf8_lossy(head.target.of(bytes)).into_owned();
    let words: Vec<&str> = target.split('/').skip(1).collect();
    match words[..] {
        ["chunks", count, size] => {
            let (count, size) = (count.parse().unwrap(), size.parse().unwrap());
            begin(exchange, count * size);
            pump(exchange, Chunks { next: 0, count, size, record: Arc::clone(record) })
        }
        ["finish", size] => {
            let size = size.parse().unwrap();
            begin(exchange, size);
            exchange.tail().resize_with_letter(size);
            Outcome::CompleteThen(Chunks { next: 0, count: 0, size: 0, record: Arc::clone(record) })
        }
        ["file", size] => {
            let size: u64 = size.parse().unwrap();
            begin(exchange, size as usize);
            let file = memfd_create("zeros", MemfdFlags::CLOEXEC).unwrap();
            ftruncate(&file, size).unwrap();
            exchange.push_file(file, 0, size);
            Outcome::Complete
        }
        ["payloads", count, size] => {
            let (count, size): (usize, usize) = (count.parse().unwrap(), size.parse().unwrap());
            begin(exchange, count * size);
            for number in 0..count {
                exchange.push_payload(Box::new(Letter(vec![letter(number); size])));
            }
            Outcome::Complete
        }
        ["abort"] => {
            begin(exchange, 1000);
            exchange.tail().extend_from_slice(&[b'x'; 500]);
            assert_eq!(exchange.flush_waiting(), Ok(()));
            Outcome::Abort
        }
        _ => {
            match words[..] {
                ["hold"] => record.hold(),
                ["slow", millis, ..] => {
                    thread::sleep(Duration::from_millis(millis.parse().unwrap()))
                }
                _ => {}
            }
            let body = match exchange.take_body() {
                Body::Empty => Vec::new(),
                Body::Beside { start, end } => exchange.beside(start, end).to_vec(),
                Body::Memory(bytes) => bytes,
                Body::Spooled(spool) => {
                    let (file, size) = spool.into_file();
                    let mut bytes = Vec::new();
                    std::fs::File::from(file).read_to_end(&mut bytes).unwrap();
                    assert_eq!(bytes.len() as u64, size);
                    bytes
                }
            };
            begin(exchange, target.len() + body.len());
            exchange.tail().extend_from_slice(target.as_bytes());
            exchange.tail().extend_from_slice(&body);
            Outcome::Complete
        }
    }
}

struct Letter(Vec<u8>);

impl AsRef<[u8]> for Letter {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Payload for Letter {
    fn is_shared(&self) -> bool {
        false
    }
}

trait Letters {
    fn resize_with_letter(&mut self, more: usize);
}

impl Letters for Vec<u8> {
    fn resize_with_letter(&mut self, more: usize) {
        self.resize(self.len() + more, b'f');
    }
}

fn begin(exchange: &mut Exchange<Toy>, length: usize) {
    let connection = if exchange.keep_alive() { "keep-alive" } else { "close" };
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: {connection}\r\n\r\n");
    exchange.set_status(200);
    exchange.tail().extend_from_slice(head.as_bytes());
}

/// Chunk `number` is made of one letter.
pub fn letter(number: usize) -> u8 {
    b'a' + (number % 26) as u8
}

fn pump(exchange: &mut Exchange<Toy>, mut chunks: Chunks) -> Outcome<Chunks> {
    while chunks.next < chunks.count {
        let tail = exchange.tail();
        tail.resize(tail.len() + chunks.size, letter(chunks.next));
        chunks.next += 1;
        match exchange.flush() {
            Ok(Written::All) => {}
            Ok(Written::Blocked | Written::TurnOver) => {
                chunks.record.paused.fetch_add(1, SeqCst);
                return Outcome::Pause(chunks);
            }
            Err(_) => return Outcome::Abort,
        }
    }
    Outcome::Complete
}

/// What `/chunks/COUNT/SIZE` answers.
pub fn chunks(count: usize, size: usize) -> Vec<u8> {
    let mut all = Vec::with_capacity(count * size);
    for number in 0..count {
        all.resize(all.len() + size, letter(number));
    }
    all
}

#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub close: bool,
    pub body: Vec<u8>,
}

pub struct Client {
    pub stream: TcpStream,
    read: Vec<u8>,
    /// Bytes of the answers that were read whole.
    pub taken: usize,
}

impl Client {
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub fn get(&mut self, target: &str) -> Answer {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        self.answer()
    }

    pub fn shut_write(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Reads one whole answer. Panics when the connection ends before.
    pub fn answer(&mut self) -> Answer {
        self.try_answer().expect("a whole answer")
    }

    /// None when the connection ends, or fails, before the answer is complete.
    pub fn try_answer(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.more()?;
        };
        let head = String::from_utf8(self.read[..end].to_vec()).unwrap();
        let length: usize = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok()
            })
            .expect("Content-Length");
        while self.read.len() < end + length {
            self.more()?;
        }
        let body = self.read[end..end + length].to_vec();
        self.read.drain(..end + length);
        self.taken += end + length;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let close = head.to_ascii_lowercase().contains("connection: close");
        Some(Answer { status, close, body })
    }

    /// Whether anything has come that was not read yet.
    pub fn has_bytes(&mut self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        !self.read.is_empty() || peeked.is_ok()
    }

    fn more(&mut self) -> Option<()> {
        let mut block = [0; 65536];
        let count = match self.stream.read(&mut block) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("reading an answer: {error}"),
        };
        self.read.extend_from_slice(&block[..count]);
        (count > 0).then_some(())
    }

    /// True: the server has closed the connection and sent nothing more.
    pub fn is_closed(&mut self) -> bool {
        assert!(self.read.is_empty(), "more than was asked for: {:?}", self.read);
        self.more().is_none()
    }
}

/// Options for a quick test.
pub fn options(threads: usize) -> Options {
    Options { threads, request_deadline: Span::from_secs(30), ..Options::default() }
}

/// Open descriptors of this process.
pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// CPU time of this process.
pub fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after = stat.rsplit(')').next().unwrap();
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

impl Server {
    /// The engine has handled everything that happened before: it refuses what is no request by
    /// itself, in its turn, also while every app thread is busy.
    pub fn settle(&self) {
        let mut client = self.connect();
        client.send(b"nonsense\r\n\r\n");
        assert_eq!(client.answer().status, 400);
    }
}

impl Client {
    /// At most so many bytes of what has been read and is no part of an answer yet.
    pub fn take_read(&mut self, most: usize) -> Vec<u8> {
        self.read.drain(..most.min(self.read.len())).collect()
    }

    /// Puts back what the test has taken from the stream by itself.
    pub fn unread(&mut self, mut bytes: Vec<u8>) {
        bytes.append(&mut self.read);
        self.read = bytes;
    }
}
