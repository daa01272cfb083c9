//! The request head parser.

use crate::{Error, Head, Limits, Policy};

/// How far the parser has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The head is not complete: call again when the buffer has grown.
    Partial,
    /// The head is complete.
    Complete,
}

/// Parses request heads, resumable at any byte.
#[derive(Clone, Debug, Default)]
pub struct HeadParser {}

impl HeadParser {
    /// A parser at the start of a request.
    pub fn new() -> HeadParser {
        HeadParser::default()
    }

    /// Back to the start of a request.
    pub fn reset(&mut self) {
        *self = HeadParser::default();
    }

    /// Parses what is there of a head.
    ///
    /// `buffer` starts at the first byte of this request and only ever grows between calls.
    pub fn parse(
        &mut self,
        _buffer: &[u8],
        _head: &mut Head,
        _limits: &Limits,
        _policy: &Policy,
    ) -> Result<Progress, Error> {
        unimplemented!("under way")
    }

    /// Whether nothing of a request has come yet: a leading CRLF alone counts as nothing.
    pub fn is_idle(&self, buffer: &[u8]) -> bool {
        matches!(buffer, b"" | b"\r" | b"\r\n")
    }
}
