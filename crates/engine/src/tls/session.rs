//! One connection's TLS, over a socket that never waits. The only file that drives rustls.
//!
//! What is received is decrypted at once and whole: after each call the session holds no bytes for
//! the app and at most a part of one record. So the rules for edges (see `reactor`) are those of a
//! plain socket: a read from it that was not filled has emptied it.
//!
//! What is sent is sealed when the socket has taken all that was sealed before, at most `BATCH` at
//! a time: a client that does not read costs no more than that.
//!
//! A session is shared by whoever holds its connection and, while an app runs, by the reactor,
//! which may have to answer in the app's place (see `exchange`: who has claimed the desk sends).

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustls::{ServerConfig, ServerConnection};

use crate::output::Written;
use crate::system;
use crate::tls::material::ClientAuthentication;

/// Bytes sealed at once: four records, for one system call.
pub const BATCH: usize = 64 * 1024;
/// The read buffer takes what was received from here on; what it decrypts to is written from the
/// buffer's start. A record that was begun before adds 16 KiB at most, so the one never reaches
/// the other.
const RECEIVED_FROM: usize = 24 * 1024;

/// What a read has brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// Bytes in the buffer; 0: the peer sends no more.
    pub count: usize,
    /// There is no more now: the next event tells of more.
    pub emptied: bool,
}

/// Why a session has failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Complaint {
    /// The peer speaks HTTP without TLS.
    Plain,
    /// In words for a log.
    Failed(String),
}

enum End {
    /// The peer has said that it sends no more.
    Closed,
    /// The stream has ended without a word: somebody may have cut it.
    Truncated,
    Failed(Complaint),
}

pub struct Session {
    line: Mutex<Line>,
    authentication: ClientAuthentication,
}

/// A session in use.
pub struct Line {
    connection: ServerConnection,
    /// What was read from the socket before the session was there.
    early: Vec<u8>,
    end: Option<End>,
    /// Something has been received.
    begun: bool,
}

impl Session {
    pub fn new(
        config: Arc<ServerConfig>,
        authentication: ClientAuthentication,
    ) -> Result<Session, String> {
        let mut connection = ServerConnection::new(config).map_err(|error| error.to_string())?;
        connection.set_buffer_limit(Some(BATCH));
        let line = Line { connection, early: Vec::new(), end: None, begun: false };
        Ok(Session { line: Mutex::new(line), authentication })
    }

    pub fn lock(&self) -> MutexGuard<'_, Line> {
        // A panic elsewhere has ended that request, not the keys.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Clients are asked for certificates here.
    pub fn asks_for_certificate(&self) -> bool {
        self.authentication != ClientAuthentication::None
    }

    /// Both sides know the keys.
    pub fn is_established(&self) -> bool {
        !self.lock().connection.is_handshaking()
    }

    /// Something is sealed that the socket has not taken.
    pub fn owes(&self) -> bool {
        self.lock().connection.wants_write()
    }

    pub fn complaint(&self) -> Option<Complaint> {
        match &self.lock().end {
            Some(End::Failed(complaint)) => Some(complaint.clone()),
            _ => None,
        }
    }

    /// The peer's stream has ended without a word.
    pub fn is_truncated(&self) -> bool {
        matches!(self.lock().end, Some(End::Truncated))
    }

    /// What the peer has shown, its own certificate first, DER; it has been verified.
    pub fn peer_certificates(&self) -> Vec<Vec<u8>> {
        let line = self.lock();
        let shown = line.connection.peer_certificates().unwrap_or_default();
        shown.iter().map(|der| der.to_vec()).collect()
    }

    /// As OpenSSL calls it.
    pub fn version(&self) -> Option<&'static str> {
        match self.lock().connection.protocol_version()? {
            rustls::ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
            rustls::ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
            _ => None,
        }
    }

    /// The suite as the standard calls it, and the length of its key in bits.
    pub fn cipher(&self) -> Option<(String, u16)> {
        let suite = self.lock().connection.negotiated_cipher_suite()?.suite();
        let name = format!("{suite:?}").replacen("TLS13_", "TLS_", 1);
        let bits = if name.contains("AES_128") { 128 } else { 256 };
        Some((name, bits))
    }

    pub fn application_protocol(&self) -> Option<String> {
        let line = self.lock();
        let name = line.connection.alpn_protocol()?;
        Some(String::from_utf8_lossy(name).into_owned())
    }

    /// These bytes were read from the socket before the session was there: they come first.
    pub fn take_early(&self, bytes: Vec<u8>) {
        self.lock().early = bytes;
    }

    /// What is there for us. As `system::receive`; Err(INTR): nothing for us yet, and the socket
    /// may have more, or its end. Err(PROTO): the session has failed, see `complaint`; what has to
    /// be told of it to the peer is on its way.
    pub fn receive(&self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Received, Errno> {
        self.lock().receive(socket, buffer)
    }

    /// Says that nothing follows.
    pub fn end(&self, socket: BorrowedFd<'_>) -> Result<Written, Errno> {
        let mut line = self.lock();
        line.connection.send_close_notify();
        line.flush(socket)
    }

    /// Sends a few bytes between two others, such as `100 Continue`.
    pub fn send(&self, socket: BorrowedFd<'_>, bytes: &[u8]) -> Result<(), Errno> {
        let mut line = self.lock();
        line.seal(&[IoSlice::new(bytes)])?;
        // What the socket does not take now goes out before the next.
        line.flush(socket).map(drop)
    }
}

impl Line {
    /// Bytes that were sealed; they go out with the next `flush`.
    pub fn seal(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, Errno> {
        self.connection.writer().write_vectored(slices).map_err(errno)
    }

    /// Sends what is sealed, as far as the socket takes it.
    pub fn flush(&mut self, socket: BorrowedFd<'_>) -> Result<Written, Errno> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut Socket(socket)).map_err(errno) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Written::Blocked),
                Err(error) => return Err(error),
            }
        }
        Ok(Written::All)
    }

    fn receive(&mut self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Received, Errno> {
        if let Some(end) = &self.end {
            return end.told();
        }
        // The socket may take again what it did not.
        self.flush(socket)?;
        let early = self.early_into(&mut buffer[RECEIVED_FROM..]);
        let count = match early {
            0 => system::receive(socket, &mut buffer[RECEIVED_FROM..])?,
            early => early,
        };
        if count == 0 {
            return self.end.insert(End::Truncated).told();
        }
        let received = RECEIVED_FROM + count;
        let emptied = received < buffer.len() && early == 0;
        if !std::mem::replace(&mut self.begun, true) && buffer[RECEIVED_FROM].is_ascii_uppercase() {
            // No record begins with a letter; a method does.
            return self.end.insert(End::Failed(Complaint::Plain)).told();
        }
        let decrypted = self.decrypt(buffer, received);
        if decrypted > 0 {
            // What we owe (session tickets) goes out with the answer.
            return Ok(Received { count: decrypted, emptied: emptied && self.end.is_none() });
        }
        let flushed = self.flush(socket);
        match &self.end {
            Some(end) => end.told(),
            None => flushed.and(Err(Errno::INTR)),
        }
    }

    /// Moves what fits of the early bytes: how many.
    fn early_into(&mut self, room: &mut [u8]) -> usize {
        let count = self.early.len().min(room.len());
        room[..count].copy_from_slice(&self.early[..count]);
        self.early.drain(..count);
        count
    }

    /// From `buffer[RECEIVED_FROM..received]` to the buffer's start: how many bytes it came to.
    fn decrypt(&mut self, buffer: &mut [u8], received: usize) -> usize {
        let mut from = RECEIVED_FROM;
        let mut to = 0;
        while from < received && self.end.is_none() {
            match self.connection.read_tls(&mut &buffer[from..received]) {
                Ok(0) => self.end = Some(End::Closed),
                Ok(count) => from += count,
                Err(error) => {
                    self.end = Some(End::Failed(Complaint::Failed(error.to_string())));
                    break;
                }
            }
            match self.connection.process_new_packets() {
                Ok(state) => {
                    let mut waiting = state.plaintext_bytes_to_read();
                    while waiting > 0 {
                        match self.connection.reader().read(&mut buffer[to..from]) {
                            Ok(count) if count > 0 => {
                                to += count;
                                waiting -= count.min(waiting);
                            }
                            _ => break,
                        }
                    }
                    if state.peer_has_closed() {
                        self.end = Some(End::Closed);
                    }
                }
                Err(error) => {
                    self.end = Some(End::Failed(Complaint::Failed(error.to_string())));
                }
            }
        }
        to
    }
}

impl End {
    fn told(&self) -> Result<Received, Errno> {
        match self {
            End::Closed | End::Truncated => Ok(Received { count: 0, emptied: true }),
            End::Failed(_) => Err(Errno::PROTO),
        }
    }
}

/// Where rustls writes to.
struct Socket<'a>(BorrowedFd<'a>);

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(system::send(self.0, bytes)?)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match slices {
            [one] => self.write(one),
            several => Ok(system::send_slices(self.0, several)?),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(match error.kind() {
        ErrorKind::WouldBlock => Errno::AGAIN,
        ErrorKind::Interrupted => Errno::INTR,
        _ => Errno::PROTO,
    })
}
