//! The chunked transfer coding (RFC 9112, section 7.1).

use crate::{Error, Limits};

/// Decodes a chunked body.
#[derive(Clone, Debug, Default)]
pub struct ChunkedDecoder {}

/// What a call of [`ChunkedDecoder::decode`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes of the input that are used up: all of them unless the body is complete.
    pub consumed: usize,
    /// The last chunk and the trailers have been read.
    pub complete: bool,
}

/// Why decoding stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError<E> {
    /// The peer sent something malformed.
    Peer(Error),
    /// The sink failed.
    Sink(E),
}

impl ChunkedDecoder {
    /// A decoder at the start of a body.
    pub fn new() -> ChunkedDecoder {
        ChunkedDecoder::default()
    }

    /// Decodes from `input`, body bytes go to `sink`.
    pub fn decode<E>(
        &mut self,
        _input: &[u8],
        _limits: &Limits,
        _sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Decoded, DecodeError<E>> {
        unimplemented!("under way")
    }
}
