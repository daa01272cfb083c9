//! Frames what an app gives as a body, and holds it to the Content-Length that it has announced.

use monoceros_engine::{Exchange, Gateway};
use monoceros_http1::{BodyFraming, BodyMode, CHUNK_SUFFIX, LAST_CHUNK, chunk_prefix};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::capi::BytesPayload;

/// Body chunks up to this are copied behind what is to be sent; larger ones are sent in place.
const COPIED: usize = 4096;

/// Frames the body of one response.
pub struct BodyWriter {
    mode: BodyMode,
    left: u64,
    pub sent: u64,
    pub excess: u64,
    /// The app has returned a body where its status has none.
    pub superfluous: bool,
    head_request: bool,
}

/// The app has sent less than its Content-Length says.
pub struct ShortBody(pub u64);

impl BodyWriter {
    pub fn new(framing: BodyFraming, head_request: bool) -> BodyWriter {
        let left = match framing.mode {
            BodyMode::Length(length) => length,
            _ => 0,
        };
        BodyWriter {
            mode: framing.mode,
            left,
            sent: 0,
            excess: 0,
            superfluous: false,
            head_request,
        }
    }

    /// No body goes out, whatever the app returns.
    pub fn is_mute(&self) -> bool {
        self.mode == BodyMode::NoBody
    }

    /// All that the client was told to expect has been handed over.
    pub fn is_whole(&self) -> bool {
        self.is_mute() || self.owed() == Some(0)
    }

    /// How much of a body of known length the app still owes.
    pub fn owed(&self) -> Option<u64> {
        matches!(self.mode, BodyMode::Length(_)).then_some(self.left)
    }

    /// The engine has taken over `length` bytes by itself.
    pub fn skip(&mut self, length: u64) {
        self.left -= length.min(self.left);
        self.sent += length;
    }

    /// The end of the body is told by chunks.
    pub fn is_chunked(&self) -> bool {
        self.mode == BodyMode::Chunked
    }

    /// So many bytes come next that the engine sends by itself.
    pub fn begin_chunk<G: Gateway>(&mut self, exchange: &mut Exchange<G>, length: u64) {
        if self.is_chunked() {
            chunk_prefix(exchange.tail(), length as usize);
        }
        self.skip(length);
    }

    /// They are there.
    pub fn end_chunk<G: Gateway>(&mut self, exchange: &mut Exchange<G>) {
        if self.is_chunked() {
            exchange.tail().extend_from_slice(CHUNK_SUFFIX);
        }
    }

    /// Puts a chunk behind what is to be sent. What goes beyond Content-Length is cut.
    pub fn push<G: Gateway>(&mut self, exchange: &mut Exchange<G>, chunk: &Bound<'_, PyBytes>) {
        let bytes = chunk.as_bytes();
        let mut length = bytes.len();
        if length == 0 {
            // An empty chunk would be the last one.
            return;
        }
        match self.mode {
            BodyMode::NoBody => {
                // Apps answer HEAD as they answer GET, and may.
                self.superfluous = !self.head_request;
                return;
            }
            BodyMode::Length(_) => {
                length = (length as u64).min(self.left) as usize;
                self.left -= length as u64;
                self.excess += (bytes.len() - length) as u64;
            }
            BodyMode::Chunked => chunk_prefix(exchange.tail(), length),
            BodyMode::UntilClose => {}
        }
        self.sent += length as u64;
        if length <= COPIED || length < bytes.len() {
            exchange.tail().extend_from_slice(&bytes[..length]);
        } else {
            exchange.push_payload(Box::new(BytesPayload(chunk.clone().unbind())));
        }
        if self.mode == BodyMode::Chunked {
            exchange.tail().extend_from_slice(CHUNK_SUFFIX);
        }
    }

    /// The app has finished.
    pub fn finish<G: Gateway>(&mut self, exchange: &mut Exchange<G>) -> Result<(), ShortBody> {
        match self.mode {
            BodyMode::Chunked => exchange.tail().extend_from_slice(LAST_CHUNK),
            BodyMode::Length(_) if self.left > 0 => return Err(ShortBody(self.left)),
            _ => {}
        }
        Ok(())
    }
}
