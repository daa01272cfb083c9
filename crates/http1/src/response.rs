//! Response heads: what an app hands over is checked and written, what is the server's is added.
//!
//! Rules of this module:
//! - What is wrong is an error and nothing of it is written; nothing of the app's is dropped in
//!   silence.
//! - No value can end its line: CR, LF, NUL and the other controls are refused.
//! - How the body ends is decided in one place, [`ResponseHead::finish`] (RFC 9112, section 6.3).

use std::fmt;

use crate::fields::read_length;
use crate::scan;
use crate::{Name, Status, Version};

/// What follows the data of a chunk.
pub const CHUNK_SUFFIX: &[u8] = b"\r\n";

/// What ends a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A response head that is being written, and the facts gathered so far.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    status: Status,
    content_length: Option<u64>,
    asks_close: bool,
    /// Connection lists `upgrade`.
    upgrade_listed: bool,
    /// There is an Upgrade field.
    upgrade: bool,
    date: bool,
    server: bool,
}

/// What the server knows when it finishes a response head.
#[derive(Clone, Copy, Debug)]
pub struct Finish<'a> {
    /// The current date, see [`DateCache`](crate::DateCache).
    pub date: &'a [u8; 29],
    /// The value of the Server field; empty for no such field.
    pub server: &'a [u8],
    /// The request was HEAD: fields as for GET, no body.
    pub head_request: bool,
    /// What the client speaks: only HTTP/1.1 knows chunks.
    pub request_version: Version,
    /// What server and client agree on so far.
    pub keep_alive: bool,
    /// The length of the body when all of it is at hand. A Content-Length of the app precedes it.
    pub known_length: Option<u64>,
}

/// How the body that follows a head is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyFraming {
    /// The way in which its end is told.
    pub mode: BodyMode,
    /// Whether the connection may serve another request: the final word. False after 1xx, which
    /// is no answer; who sends an interim response looks at it after the final one.
    pub keep_alive: bool,
}

/// The ways in which the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyMode {
    /// No body follows: HEAD, 1xx, 204, 304.
    NoBody,
    /// Exactly so many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// The connection's end.
    UntilClose,
}

/// What is wrong with a status or field that an app wants to send. The app's fault: 500.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldError {
    /// The status is not three digits from 100 to 999, optionally with a space and a reason.
    BadStatus,
    /// The name is no token.
    BadName,
    /// The value has a control character.
    BadValue,
    /// The field, or a token of Connection, is the server's to send.
    HopByHop(Name),
    /// Content-Length is not a number in digits, at most 2^63 - 1.
    BadLength,
    /// A second Content-Length.
    DuplicateLength,
}

impl fmt::Display for FieldError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            FieldError::BadStatus => {
                "the status is not three digits, optionally followed by a space and a reason \
                 without control characters"
            }
            FieldError::BadName => "the name of a header is no token (RFC 9110, 5.1)",
            FieldError::BadValue => {
                "the value of a header has a control character such as CR, LF or NUL (RFC 9110, 5.5)"
            }
            FieldError::HopByHop(name) => {
                return write!(
                    formatter,
                    "the header {} speaks about the connection, which is the server's \
                     (PEP 3333; RFC 9110, 7.6.1)",
                    name.as_str()
                );
            }
            FieldError::BadLength => {
                "the value of Content-Length is not a number in digits (RFC 9110, 8.6)"
            }
            FieldError::DuplicateLength => "more than one Content-Length (RFC 9110, 8.6)",
        })
    }
}

impl std::error::Error for FieldError {}

impl ResponseHead {
    /// Writes the status line, such as `HTTP/1.1 200 OK`. `status` is the app's: three digits from
    /// 100 to 999, then nothing, or a space and a reason (PEP 3333; RFC 9112, section 4).
    ///
    /// # Errors
    /// [`FieldError::BadStatus`]; nothing is written then.
    #[inline]
    pub fn begin(
        out: &mut Vec<u8>,
        version: Version,
        status: &[u8],
    ) -> Result<ResponseHead, FieldError> {
        let (digits, rest) = status.split_first_chunk::<3>().ok_or(FieldError::BadStatus)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(FieldError::BadStatus);
        }
        let code = digits.iter().fold(0, |code, digit| code * 10 + (digit - b'0') as u16);
        let code = Status::new(code).ok_or(FieldError::BadStatus)?;
        let reason = match rest {
            [] => b"",
            [b' ', reason @ ..] if scan::all(reason, scan::VALUE) => reason,
            _ => return Err(FieldError::BadStatus),
        };
        out.reserve(256);
        out.extend_from_slice(version.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(digits);
        out.push(b' ');
        out.extend_from_slice(reason);
        out.extend_from_slice(b"\r\n");
        Ok(ResponseHead {
            status: code,
            content_length: None,
            asks_close: false,
            upgrade_listed: false,
            upgrade: false,
            date: false,
            server: false,
        })
    }

    /// Writes a field of the app, its value stripped of SP and TAB.
    ///
    /// Of Connection, `close`, `keep-alive` and `upgrade` are understood and not copied: the server
    /// sends its own. Upgrade is copied. Content-Length is left out where it is forbidden (1xx,
    /// 204). Date and Server replace the server's.
    ///
    /// # Errors
    /// A [`FieldError`]; nothing is written then, and the head is of no more use.
    #[inline]
    pub fn field(
        &mut self,
        out: &mut Vec<u8>,
        name: &[u8],
        value: &[u8],
    ) -> Result<(), FieldError> {
        let known = Name::find(name);
        if known == Name::Unknown && !scan::is_token(name) {
            return Err(FieldError::BadName);
        }
        let value = scan::trim(value);
        if scan::value_end(value, 0) != value.len() {
            return Err(FieldError::BadValue);
        }
        match known {
            Name::Unknown | Name::ContentType => {}
            Name::ContentLength => self.take_length(value)?,
            Name::Connection => return self.take_connection(value),
            Name::Upgrade => self.upgrade = true,
            Name::Date => self.date = true,
            Name::Server => self.server = true,
            _ if known.is_hop_by_hop() => return Err(FieldError::HopByHop(known)),
            _ => {}
        }
        if known != Name::ContentLength || !self.status.forbids_length() {
            write_field(out, name, value);
        }
        Ok(())
    }

    fn take_length(&mut self, value: &[u8]) -> Result<(), FieldError> {
        let length = read_length(value).map_err(|_| FieldError::BadLength)?;
        if self.content_length.replace(length).is_some() {
            return Err(FieldError::DuplicateLength);
        }
        Ok(())
    }

    fn take_connection(&mut self, value: &[u8]) -> Result<(), FieldError> {
        for option in value.split(|&byte| byte == b',').map(scan::trim) {
            if option.eq_ignore_ascii_case(b"close") {
                self.asks_close = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade_listed = true;
            } else if !option.is_empty() && !option.eq_ignore_ascii_case(b"keep-alive") {
                return Err(FieldError::HopByHop(Name::Connection));
            }
        }
        Ok(())
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status.code()
    }

    /// The app's Content-Length.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// Whether the app asked to close the connection.
    pub fn asks_close(&self) -> bool {
        self.asks_close
    }

    /// Whether the app sent both Upgrade and `Connection: upgrade`. With 101 the connection changes
    /// its protocol after this head; with another status the field only tells what is on offer.
    pub fn upgrades(&self) -> bool {
        self.upgrade && self.upgrade_listed
    }

    /// Whether the status allows a body: not 1xx, 204 and 304.
    pub fn has_body(&self) -> bool {
        self.status.allows_body()
    }

    /// Writes the server's fields and the empty line, and decides how the body is framed.
    ///
    /// Added are Server and Date, unless the app sent them; Content-Length, or Transfer-Encoding
    /// where the length is not known and the client speaks HTTP/1.1; and Connection: `close` when
    /// the connection ends, `keep-alive` for HTTP/1.0 clients when it does not, `upgrade` beside
    /// Upgrade. Interim responses (1xx but 101) get none of these.
    #[inline]
    pub fn finish(self, out: &mut Vec<u8>, finish: &Finish) -> BodyFraming {
        let framing = self.framing(finish);
        let interim = self.status.code() < 200 && self.status != Status::SWITCHING_PROTOCOLS;
        if !interim {
            if !self.server && !finish.server.is_empty() {
                write_field(out, b"Server", finish.server);
            }
            if !self.date {
                write_field(out, b"Date", finish.date);
            }
            self.write_connection(out, framing.keep_alive, finish.request_version);
            self.write_framing(out, &framing, finish);
        }
        out.extend_from_slice(b"\r\n");
        framing
    }

    #[inline]
    fn framing(&self, finish: &Finish) -> BodyFraming {
        let mode = if finish.head_request || !self.has_body() {
            BodyMode::NoBody
        } else if let Some(length) = self.content_length.or(finish.known_length) {
            BodyMode::Length(length)
        } else if finish.request_version == Version::Http11 {
            BodyMode::Chunked
        } else {
            BodyMode::UntilClose
        };
        let keep_alive = finish.keep_alive
            && !self.asks_close
            && mode != BodyMode::UntilClose
            && self.status.code() >= 200;
        BodyFraming { mode, keep_alive }
    }

    #[inline]
    fn write_connection(&self, out: &mut Vec<u8>, keep_alive: bool, request_version: Version) {
        let line: &[u8] = match (self.status, keep_alive, request_version) {
            (Status::SWITCHING_PROTOCOLS, ..) if self.upgrade => b"Connection: Upgrade\r\n",
            (Status::SWITCHING_PROTOCOLS, ..) => b"",
            (_, true, Version::Http11) if self.upgrade => b"Connection: Upgrade\r\n",
            (_, true, Version::Http11) => b"",
            (_, true, Version::Http10) if self.upgrade => b"Connection: keep-alive, Upgrade\r\n",
            (_, true, Version::Http10) => b"Connection: keep-alive\r\n",
            (_, false, _) if self.upgrade => b"Connection: close, Upgrade\r\n",
            (_, false, _) => b"Connection: close\r\n",
        };
        out.extend_from_slice(line);
    }

    #[inline]
    fn write_framing(&self, out: &mut Vec<u8>, framing: &BodyFraming, finish: &Finish) {
        match framing.mode {
            BodyMode::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            BodyMode::Length(length) if self.content_length.is_none() => write_length(out, length),
            // What GET would have told. An empty body says nothing here: apps return one to HEAD.
            BodyMode::NoBody if self.has_body() && self.content_length.is_none() => {
                if let Some(length) = finish.known_length.filter(|&length| length > 0) {
                    write_length(out, length);
                }
            }
            BodyMode::NoBody | BodyMode::Length(_) | BodyMode::UntilClose => {}
        }
    }
}

#[inline]
fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[inline]
fn write_length(out: &mut Vec<u8>, length: u64) {
    let mut digits = itoa::Buffer::new();
    write_field(out, b"Content-Length", digits.format(length).as_bytes());
}

/// Writes the line before the data of a chunk of `len` bytes, which are at least one: a chunk
/// without data would end the body.
#[inline]
pub fn chunk_prefix(out: &mut Vec<u8>, len: usize) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    debug_assert!(len > 0, "a chunk without data ends the body");
    let mut digits = [0; 2 * size_of::<usize>()];
    let mut start = digits.len();
    let mut rest = len;
    loop {
        start -= 1;
        digits[start] = DIGITS[rest % 16];
        rest /= 16;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
    out.extend_from_slice(b"\r\n");
}

/// Writes a whole answer of the server's own, after which the connection is closed: a line of plain
/// text with the reason, nothing about the request and nothing about the server. `extra` are
/// further fields, such as Retry-After.
///
/// # Panics
/// When a field of `extra` is malformed: they are the server's own.
pub fn error_response(
    out: &mut Vec<u8>,
    status: Status,
    date: &[u8; 29],
    head_request: bool,
    extra: &[(&str, &str)],
) {
    let mut digits = itoa::Buffer::new();
    let code = digits.format(status.code());
    let reason = status.reason();
    let text = if reason.is_empty() { code } else { reason };

    out.extend_from_slice(Version::Http11.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(code.as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
    write_field(out, b"Date", date);
    write_field(out, b"Connection", b"close");
    for (name, value) in extra {
        let (name, value) = (name.as_bytes(), value.as_bytes());
        assert!(
            scan::is_token(name) && scan::value_end(value, 0) == value.len(),
            "a malformed field of the server's own"
        );
        write_field(out, name, value);
    }
    if status.allows_body() {
        write_field(out, b"Content-Type", b"text/plain; charset=utf-8");
        write_length(out, text.len() as u64 + 1);
    }
    out.extend_from_slice(b"\r\n");
    if status.allows_body() && !head_request {
        out.extend_from_slice(text.as_bytes());
        out.push(b'\n');
    }
}
