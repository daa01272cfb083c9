//! Response heads.

use crate::{Name, Status, Version};

/// Ends a chunk.
pub const CHUNK_SUFFIX: &[u8] = b"\r\n";

/// Ends a chunked body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Facts gathered while a response head is written.
#[derive(Clone, Debug)]
pub struct ResponseHead {}

/// What the server knows when it finishes a response head.
#[derive(Clone, Copy, Debug)]
pub struct Finish<'a> {
    /// The current date, see [`DateCache`](crate::DateCache).
    pub date: &'a [u8; 29],
    /// The value of the Server field; empty for no such field.
    pub server: &'a [u8],
    /// The request was HEAD: fields as for GET, no body.
    pub head_request: bool,
    /// What the client speaks: decides between chunked and close-delimited bodies.
    pub request_version: Version,
    /// What server and client agree on so far.
    pub keep_alive: bool,
    /// The length of the body when all of it is at hand.
    pub known_length: Option<u64>,
}

/// How the body that follows is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyFraming {
    /// The way its end is told.
    pub mode: BodyMode,
    /// Whether the connection may serve another request: the final word.
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

/// What is wrong with a status or field that an app wants to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldError {
    /// The status is not three digits, a space and a reason.
    BadStatus,
    /// The name is no token.
    BadName,
    /// The value has a control character.
    BadValue,
    /// The field is the server's to send.
    HopByHop(Name),
    /// Content-Length is not a number in digits.
    BadLength,
    /// A second Content-Length.
    DuplicateLength,
}

impl ResponseHead {
    /// Writes the status line.
    pub fn begin(
        _out: &mut Vec<u8>,
        _version: Version,
        _status: &[u8],
    ) -> Result<ResponseHead, FieldError> {
        unimplemented!("under way")
    }

    /// Writes a field of the app.
    pub fn field(
        &mut self,
        _out: &mut Vec<u8>,
        _name: &[u8],
        _value: &[u8],
    ) -> Result<(), FieldError> {
        unimplemented!("under way")
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        unimplemented!("under way")
    }

    /// The app's Content-Length.
    pub fn content_length(&self) -> Option<u64> {
        unimplemented!("under way")
    }

    /// The app asked to close the connection.
    pub fn asks_close(&self) -> bool {
        unimplemented!("under way")
    }

    /// The app sent both Upgrade and `Connection: upgrade`.
    pub fn upgrades(&self) -> bool {
        unimplemented!("under way")
    }

    /// Whether the status allows a body.
    pub fn has_body(&self) -> bool {
        unimplemented!("under way")
    }

    /// Writes the server's fields and the empty line.
    pub fn finish(self, _out: &mut Vec<u8>, _finish: &Finish) -> BodyFraming {
        unimplemented!("under way")
    }
}

/// Writes the line before the data of a chunk of `len` bytes.
pub fn chunk_prefix(_out: &mut Vec<u8>, _len: usize) {
    unimplemented!("under way")
}

/// Writes a whole error response.
pub fn error_response(
    _out: &mut Vec<u8>,
    _status: Status,
    _date: &[u8; 29],
    _head_request: bool,
    _extra: &[(&str, &str)],
) {
    unimplemented!("under way")
}
