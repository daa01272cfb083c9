//! A request body on its way from the socket to the app: in memory first, then in a spool file.

use std::path::Path;

use monoceros_http1::{ChunkedDecoder, DecodeError, Error, Framing, Limits};
use rustix::io::Errno;

use crate::clock::Moment;
use crate::options::Options;
use crate::pace::Pace;
use crate::spool::Spool;

/// A whole body, as the gateway gets it.
#[derive(Debug, Default)]
pub enum Body {
    #[default]
    Empty,
    /// It lies behind the head, in the buffer that holds it.
    Beside {
        start: usize,
        end: usize,
    },
    Memory(Vec<u8>),
    Spooled(Spool),
}

#[derive(Debug)]
pub enum BodyError {
    /// The peer sent what is no chunked body.
    Peer(Error),
    /// The body is larger than `limit_request_body`.
    TooLarge,
    /// The spool cannot take it.
    Disk(Errno),
}

enum Remaining {
    Bytes(u64),
    /// And how much more there may be.
    Chunks(Box<ChunkedDecoder>, u64),
}

enum Store {
    Memory(Vec<u8>),
    Spool(Spool),
}

/// Finds one body's bytes in what comes from the socket.
pub struct BodyDecoder {
    remaining: Remaining,
    pub pace: Pace,
    /// Since when nobody reads, where the app takes the body as it comes.
    rests_since: Option<Moment>,
}

/// Collects a body. Bounded: no more than `buffer` bytes of it are in memory.
pub struct BodyReader {
    pub decoder: BodyDecoder,
    store: Store,
    buffer: usize,
}

pub struct Fed {
    pub consumed: usize,
    pub complete: bool,
}

/// First guess at a body of unknown length.
const FIRST_CAPACITY: usize = 4096;
/// A peer that announces much and sends little costs no more than this.
const LARGEST_CAPACITY: u64 = 64 * 1024;

impl BodyDecoder {
    /// A body that begins now. A length that is too large has been refused before.
    pub fn new(framing: Framing, options: &Options, now: Moment) -> BodyDecoder {
        let remaining = match framing {
            Framing::Length(length) => Remaining::Bytes(length),
            Framing::None => Remaining::Bytes(0),
            Framing::Chunked => {
                Remaining::Chunks(Box::new(ChunkedDecoder::new()), options.limit_request_body)
            }
        };
        let pace = Pace::new(now, options.body_timeout);
        BodyDecoder { remaining, pace, rests_since: Some(now) }
    }

    /// Somebody reads on; while nobody did the peer could not send.
    pub fn resume(&mut self, now: Moment) {
        if let Some(since) = self.rests_since.take() {
            self.pace.forgive(now.since(since));
        }
    }

    /// What has come is enough for now.
    pub fn rest(&mut self, now: Moment) {
        self.rests_since = Some(now);
    }

    /// Hands what of `input` belongs to the body to `sink`.
    pub fn decode(
        &mut self,
        input: &[u8],
        limits: &Limits,
        mut sink: impl FnMut(&[u8]) -> Result<(), Errno>,
    ) -> Result<Fed, BodyError> {
        match &mut self.remaining {
            Remaining::Bytes(left) => {
                let consumed = (*left).min(input.len() as u64) as usize;
                sink(&input[..consumed]).map_err(BodyError::Disk)?;
                *left -= consumed as u64;
                Ok(Fed { consumed, complete: *left == 0 })
            }
            Remaining::Chunks(decoder, room) => {
                let mut bounded = |bytes: &[u8]| {
                    *room = room.checked_sub(bytes.len() as u64).ok_or(BodyError::TooLarge)?;
                    sink(bytes).map_err(BodyError::Disk)
                };
                match decoder.decode(input, limits, &mut bounded) {
                    Ok(decoded) => {
                        Ok(Fed { consumed: decoded.consumed, complete: decoded.complete })
                    }
                    Err(DecodeError::Peer(error)) => Err(BodyError::Peer(error)),
                    Err(DecodeError::Sink(error)) => Err(error),
                }
            }
        }
    }
}

impl BodyReader {
    /// A body that begins now. A length that is too large has been refused before.
    pub fn new(framing: Framing, options: &Options, now: Moment) -> BodyReader {
        let buffer = options.body_buffer;
        let capacity = match framing {
            Framing::Length(length) => length.min(LARGEST_CAPACITY).min(buffer as u64) as usize,
            Framing::None => 0,
            Framing::Chunked => FIRST_CAPACITY.min(buffer),
        };
        let store = Store::Memory(Vec::with_capacity(capacity));
        BodyReader { decoder: BodyDecoder::new(framing, options, now), store, buffer }
    }

    /// Takes what of `input` belongs to the body.
    pub fn feed(
        &mut self,
        input: &[u8],
        limits: &Limits,
        directory: &Path,
    ) -> Result<Fed, BodyError> {
        let BodyReader { decoder, store, buffer } = self;
        decoder.decode(input, limits, |bytes| store.append(bytes, *buffer, directory))
    }

    pub fn finish(self) -> Body {
        match self.store {
            Store::Memory(bytes) if bytes.is_empty() => Body::Empty,
            Store::Memory(bytes) => Body::Memory(bytes),
            Store::Spool(spool) => Body::Spooled(spool),
        }
    }
}

impl Store {
    fn append(&mut self, bytes: &[u8], buffer: usize, directory: &Path) -> Result<(), Errno> {
        match self {
            Store::Memory(kept) if kept.len() + bytes.len() <= buffer => {
                kept.extend_from_slice(bytes);
                Ok(())
            }
            Store::Memory(kept) => {
                let mut spool = Spool::new(directory)?;
                spool.append(kept)?;
                spool.append(bytes)?;
                *self = Store::Spool(spool);
                Ok(())
            }
            Store::Spool(spool) => spool.append(bytes),
        }
    }
}
