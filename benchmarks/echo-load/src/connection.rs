//! One WebSocket of the load: opened, then a message out and its answer in, over and over.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;

use crate::frames::{Opcode, Parser, Piece, Wrong};

/// How long the opening of a connection may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of a response head beyond which a server is not believed.
const LONGEST_HEAD: usize = 16 * 1024;

/// What the first connection keeps for the check: some hundred of the largest answers.
const RECORD: usize = 8 * 1024 * 1024;

/// What is sent, and what has to come back.
pub struct Script {
    pub upgrade: Vec<u8>,
    pub frame: Vec<u8>,
    pub payload: Vec<u8>,
}

pub struct Connection {
    socket: TcpStream,
    parser: Parser,
    /// Bytes of the frame that the socket has taken; all of them while an answer is awaited.
    sent: usize,
    sent_at: Instant,
    /// Pongs that are still to be sent.
    pongs: Vec<u8>,
    /// The message that is being received.
    answer: Answer,
    ping: Vec<u8>,
    record: Vec<u8>,
    recording: bool,
    watching_output: bool,
    watched_output: bool,
}

#[derive(Default)]
struct Answer {
    begun: bool,
    compressed: bool,
    length: usize,
}

impl Connection {
    /// Connects and does the opening handshake, waiting for both.
    pub fn open(port: u16, script: &Script, record: bool) -> io::Result<Self> {
        let mut socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.write_all(&script.upgrade)?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            // Byte by byte: what follows the head is the parser's.
            let mut byte = [0];
            if socket.read(&mut byte)? == 0 || head.len() > LONGEST_HEAD {
                return Err(io::Error::other("the server did not answer the opening handshake"));
            }
            head.extend(byte);
        }
        if !head.starts_with(b"HTTP/1.1 101 ") {
            let text = String::from_utf8_lossy(&head);
            let line = text.lines().next().unwrap_or_default();
            return Err(io::Error::other(format!("the server answered {line:?} instead of 101")));
        }
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            parser: Parser::default(),
            sent: 0,
            sent_at: Instant::now(),
            pongs: Vec::new(),
            answer: Answer::default(),
            ping: Vec::new(),
            record: Vec::new(),
            recording: record,
            watching_output: false,
            watched_output: false,
        })
    }

    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// What the poller shall tell of.
    pub fn interest(&self) -> EventFlags {
        if self.watching_output { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN }
    }

    /// Whether `interest` is another one than at the last time that this was asked.
    pub fn interest_has_changed(&mut self) -> bool {
        let changed = self.watching_output != self.watched_output;
        self.watched_output = self.watching_output;
        changed
    }

    /// The first bytes that were received after the handshake, where they were to be kept.
    pub fn recorded(&self) -> &[u8] {
        &self.record
    }

    /// Sends the first message.
    pub fn begin(&mut self, script: &Script) -> io::Result<()> {
        self.sent = 0;
        self.sent_at = Instant::now();
        self.send(script)
    }

    /// Sends what is left, and reads once; answers that are complete are answered by the next
    /// message, and how long they took is added to `latencies`.
    pub fn turn(
        &mut self,
        script: &Script,
        buffer: &mut [u8],
        latencies: &mut Vec<Duration>,
    ) -> io::Result<()> {
        if self.watching_output {
            self.send(script)?;
        }
        let count = match self.socket.read(buffer) {
            Ok(0) => return Err(io::Error::other("the server closed a connection")),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        // The record ends for good where it is full: what comes after a gap means nothing.
        self.recording &= self.record.len() + count <= RECORD;
        if self.recording {
            self.record.extend_from_slice(&buffer[..count]);
        }
        let mut input = &buffer[..count];
        while let Some(piece) = self.parser.next(&mut input).map_err(io::Error::other)? {
            if self.take(piece, script).map_err(io::Error::other)? {
                latencies.push(self.sent_at.elapsed());
                self.begin(script)?;
            }
        }
        if !self.pongs.is_empty() {
            self.send(script)?;
        }
        Ok(())
    }

    /// Takes a piece of a frame. Returns whether an answer is complete.
    fn take(&mut self, piece: Piece<'_>, script: &Script) -> Result<bool, Wrong> {
        match piece {
            Piece::Begin(header) if header.opcode.is_control() => self.ping.clear(),
            Piece::Begin(header) => {
                if self.answer.begun != (header.opcode == Opcode::Continuation) {
                    return Err(Wrong("a message's frames are out of order"));
                }
                if self.sent < script.frame.len() {
                    return Err(Wrong("an answer came before its message was sent"));
                }
                if !self.answer.begun {
                    self.answer = Answer { begun: true, compressed: header.compressed, length: 0 };
                }
            }
            Piece::Payload(header, bytes) if header.opcode.is_control() => {
                self.ping.extend_from_slice(bytes);
            }
            Piece::Payload(_, bytes) => {
                let from = self.answer.length;
                self.answer.length += bytes.len();
                if !self.answer.compressed
                    && script.payload.get(from..self.answer.length) != Some(bytes)
                {
                    return Err(Wrong("an answer is not what was sent"));
                }
            }
            Piece::End(header) => match header.opcode {
                Opcode::Close => return Err(Wrong("the server closed a WebSocket")),
                Opcode::Ping => {
                    // A mask of zeros: the payload as it is.
                    self.pongs.extend([0x8A, 0x80 | self.ping.len() as u8, 0, 0, 0, 0]);
                    self.pongs.append(&mut self.ping);
                }
                Opcode::Pong => {}
                Opcode::Continuation | Opcode::Text | Opcode::Binary if header.finished => {
                    self.answer.begun = false;
                    if !self.answer.compressed && self.answer.length != script.payload.len() {
                        return Err(Wrong("an answer is shorter than what was sent"));
                    }
                    return Ok(true);
                }
                Opcode::Continuation | Opcode::Text | Opcode::Binary => {}
            },
        }
        Ok(false)
    }

    /// Writes as much as the socket takes. Pongs go between two messages.
    fn send(&mut self, script: &Script) -> io::Result<()> {
        self.watching_output = false;
        if self.sent > 0 && !self.send_frame(script)? {
            return Ok(());
        }
        while !self.pongs.is_empty() {
            match self.socket.write(&self.pongs) {
                Ok(count) => drop(self.pongs.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.watching_output = true;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        self.send_frame(script)?;
        Ok(())
    }

    /// Writes what is left of the message. Returns whether the socket has taken it all.
    fn send_frame(&mut self, script: &Script) -> io::Result<bool> {
        while self.sent < script.frame.len() {
            match self.socket.write(&script.frame[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.watching_output = true;
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
