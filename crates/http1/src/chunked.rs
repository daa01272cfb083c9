//! The chunked transfer coding (RFC 9112, section 7.1).
//!
//! ```text
//! Size --CRLF--> Data --CRLF--> Size ... Size "0" --CRLF--> trailers --empty line--> Done
//!   \--";"--> extensions --CRLF--/
//! ```
//!
//! Every byte is looked at once and moves the state; nothing is kept of the input but numbers and
//! the name of a trailer. How the body was split can therefore not matter. Lines end in CRLF, sizes
//! are hexadecimal digits alone, extensions follow their grammar, and whitespace stands only where
//! the grammar has it. Extensions and trailers are checked and then dropped.

use crate::error::Kind;
use crate::fields::{LENGTH_MAX, NAME_ROOM, is_forbidden_trailer};
use crate::limits::HEAD_MAX;
use crate::percent::hex_digit;
use crate::scan;
use crate::{Error, Limits, Name};

/// The longest line with a chunk size and its extensions, without CRLF. Signed uploads need about
/// a hundred bytes; nobody needs a thousand.
const CHUNK_LINE_MAX: usize = 1024;

/// What a chunk may cost in bytes of its size line without being counted as overhead.
const CHUNK_LINE_FREE: u64 = 16;

/// How far the bytes of size lines may exceed twice the data they carry, over a whole body. It
/// stops a peer that sends much and delivers little, which no limit on the body's size would see.
const OVERHEAD_MAX: u64 = 16 * 1024;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before the first digit of a chunk size.
    #[default]
    SizeStart,
    Size,
    /// In whitespace after a size or an extension's value: only a semicolon may follow.
    ExtensionGap,
    /// After a semicolon, in whitespace that may precede the name.
    NameStart,
    ExtensionName,
    /// In whitespace after an extension's name: `=` or a semicolon must follow.
    NameGap,
    /// After `=`, in whitespace that may precede the value.
    ValueStart,
    TokenValue,
    QuotedValue,
    /// After a backslash in a quoted value.
    QuotedPair,
    /// After the closing quote.
    QuotedEnd,
    /// After the CR of a size line.
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a trailer line.
    TrailerStart,
    TrailerName,
    TrailerValue,
    /// After the CR of a trailer line.
    TrailerLf,
    /// After the CR of the empty line at the end.
    EndLf,
    Done,
}

/// Decodes a chunked body, whatever way it is split.
#[derive(Clone, Debug, Default)]
pub struct ChunkedDecoder {
    state: State,
    /// The size of the chunk, then what is left of its data.
    remaining: u64,
    /// Bytes of the size line or trailer line under way, without CRLF.
    line_length: usize,
    /// See [`OVERHEAD_MAX`].
    overhead: u64,
    trailers: usize,
    /// Bytes of all trailer lines so far, without CRLF.
    trailer_bytes: usize,
    /// The start of the name of the trailer under way; its whole length is `line_length`.
    name: [u8; NAME_ROOM],
}

/// What a call of [`ChunkedDecoder::decode`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes of the input that are used up: all of them, unless the body is complete and more
    /// follows it.
    pub consumed: usize,
    /// The last chunk and the trailers have been read.
    pub complete: bool,
}

/// Why decoding stopped. The decoder is of no more use then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError<E> {
    /// The peer sent something malformed, or passed a limit.
    Peer(Error),
    /// The sink failed.
    Sink(E),
}

impl<E> From<Kind> for DecodeError<E> {
    #[cold]
    fn from(kind: Kind) -> Self {
        DecodeError::Peer(kind.into())
    }
}

impl ChunkedDecoder {
    /// A decoder at the start of a body.
    pub fn new() -> ChunkedDecoder {
        ChunkedDecoder::default()
    }

    /// Decodes from `input`, the bytes that follow those consumed so far. Body bytes go to `sink`
    /// as slices of `input` that are never empty.
    ///
    /// `limits.fields` and `limits.field_size` bound the trailers, which together are never longer
    /// than a head may be.
    ///
    /// # Errors
    /// [`DecodeError::Peer`] (400, 431) at the first byte that breaks a rule;
    /// [`DecodeError::Sink`] with the error of the sink.
    pub fn decode<E>(
        &mut self,
        input: &[u8],
        limits: &Limits,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Decoded, DecodeError<E>> {
        let mut at = 0;
        while self.state != State::Done && at < input.len() {
            match self.state {
                State::Data => {
                    let rest = &input[at..];
                    let length = usize::try_from(self.remaining)
                        .map_or(rest.len(), |remaining| remaining.min(rest.len()));
                    sink(&rest[..length]).map_err(DecodeError::Sink)?;
                    self.remaining -= length as u64;
                    at += length;
                    if self.remaining == 0 {
                        self.state = State::DataCr;
                    }
                }
                State::TrailerValue => {
                    let end = scan::value_end(input, at);
                    self.lengthen_trailer(end - at, limits)?;
                    at = end;
                    if let Some(&byte) = input.get(at) {
                        self.state = match byte {
                            b'\r' => State::TrailerLf,
                            b'\n' => return Err(Kind::BareLf.into()),
                            _ => return Err(Kind::FieldValue.into()),
                        };
                        at += 1;
                    }
                }
                State::TrailerStart | State::TrailerName => {
                    self.trailer_byte(input[at], limits)?;
                    at += 1;
                }
                _ => {
                    self.state = self.framing_byte(input[at])?;
                    at += 1;
                }
            }
        }
        Ok(Decoded { consumed: at, complete: self.state == State::Done })
    }

    /// The state after a byte outside data and trailer lines.
    #[inline]
    fn framing_byte(&mut self, byte: u8) -> Result<State, Kind> {
        match self.state {
            State::DataCr if byte == b'\r' => return Ok(State::DataLf),
            State::DataLf if byte == b'\n' => {
                self.line_length = 0;
                return Ok(State::SizeStart);
            }
            State::DataCr | State::DataLf => return Err(Kind::ChunkEnd),
            State::SizeLf if byte == b'\n' => return self.end_size_line(),
            State::TrailerLf if byte == b'\n' => {
                self.line_length = 0;
                return Ok(State::TrailerStart);
            }
            State::EndLf if byte == b'\n' => return Ok(State::Done),
            State::SizeLf | State::TrailerLf | State::EndLf => return Err(Kind::BareCr),
            State::SizeStart | State::Size => {
                if let Some(digit) = hex_digit(byte) {
                    self.lengthen_size_line()?;
                    if self.remaining > LENGTH_MAX >> 4 {
                        return Err(Kind::ChunkOverflow);
                    }
                    self.remaining = self.remaining << 4 | digit as u64;
                    return Ok(State::Size);
                }
            }
            _ => {}
        }
        if byte == b'\n' {
            return Err(Kind::BareLf);
        }
        let next = self.extension_byte(byte)?;
        if next != State::SizeLf {
            self.lengthen_size_line()?;
        }
        Ok(next)
    }

    /// The state after a byte of a size line that is no digit of the size.
    fn extension_byte(&self, byte: u8) -> Result<State, Kind> {
        let blank = byte == b' ' || byte == b'\t';
        let token = scan::is(byte, scan::TOKEN);
        let next = match (self.state, byte) {
            (State::SizeStart, _) => return Err(Kind::ChunkSize),
            (State::Size, b'\r') => State::SizeLf,
            (State::Size, b';') => State::NameStart,
            (State::Size, _) if blank => State::ExtensionGap,
            (State::Size, _) => return Err(Kind::ChunkSize),

            (State::ExtensionGap, b';') => State::NameStart,
            (State::ExtensionGap, _) if blank => State::ExtensionGap,

            (State::NameStart, _) if blank => State::NameStart,
            (State::NameStart | State::ExtensionName, _) if token => State::ExtensionName,
            (State::ExtensionName, _) if blank => State::NameGap,
            (State::ExtensionName, b'\r') => State::SizeLf,
            (State::ExtensionName | State::NameGap, b'=') => State::ValueStart,
            (State::ExtensionName | State::NameGap, b';') => State::NameStart,
            (State::NameGap, _) if blank => State::NameGap,

            (State::ValueStart, b'"') => State::QuotedValue,
            (State::ValueStart, _) if blank => State::ValueStart,
            (State::ValueStart | State::TokenValue, _) if token => State::TokenValue,
            (State::TokenValue | State::QuotedEnd, b'\r') => State::SizeLf,
            (State::TokenValue | State::QuotedEnd, b';') => State::NameStart,
            (State::TokenValue | State::QuotedEnd, _) if blank => State::ExtensionGap,

            (State::QuotedValue, b'"') => State::QuotedEnd,
            (State::QuotedValue, b'\\') => State::QuotedPair,
            (State::QuotedValue, _) if scan::is(byte, scan::QUOTED) => State::QuotedValue,
            (State::QuotedPair, _) if scan::is(byte, scan::VALUE) => State::QuotedValue,
            _ => return Err(Kind::ChunkExtension),
        };
        Ok(next)
    }

    #[inline]
    fn lengthen_size_line(&mut self) -> Result<(), Kind> {
        self.line_length += 1;
        if self.line_length > CHUNK_LINE_MAX {
            return Err(Kind::ChunkLineTooLong);
        }
        Ok(())
    }

    /// The chunk's size is known: data follows, or trailers after a size of zero.
    fn end_size_line(&mut self) -> Result<State, Kind> {
        let paid = CHUNK_LINE_FREE.saturating_add(self.remaining.saturating_mul(2));
        self.overhead = (self.overhead + self.line_length as u64).saturating_sub(paid);
        if self.overhead > OVERHEAD_MAX {
            return Err(Kind::ChunkOverhead);
        }
        if self.remaining > 0 {
            return Ok(State::Data);
        }
        self.line_length = 0;
        Ok(State::TrailerStart)
    }

    /// Takes a byte at the start or in the name of a trailer line.
    fn trailer_byte(&mut self, byte: u8, limits: &Limits) -> Result<(), Kind> {
        if self.state == State::TrailerStart {
            match byte {
                b'\r' => {
                    self.state = State::EndLf;
                    return Ok(());
                }
                b'\n' => return Err(Kind::BareLf),
                b' ' | b'\t' => return Err(Kind::ObsFold),
                _ if self.trailers >= limits.fields => return Err(Kind::TooManyFields),
                _ => self.trailers += 1,
            }
        }
        if scan::is(byte, scan::TOKEN) {
            if let Some(place) = self.name.get_mut(self.line_length) {
                *place = byte;
            }
            self.state = State::TrailerName;
            return self.lengthen_trailer(1, limits);
        }
        match byte {
            b':' if self.line_length > 0 => {
                // A name that does not fit is none of the table.
                let name = self.name.get(..self.line_length).unwrap_or_default();
                if is_forbidden_trailer(Name::find(name)) {
                    return Err(Kind::TrailerForbidden);
                }
                self.state = State::TrailerValue;
                self.lengthen_trailer(1, limits)
            }
            b'\r' => Err(Kind::FieldColon),
            b'\n' => Err(Kind::BareLf),
            _ => Err(Kind::FieldName),
        }
    }

    fn lengthen_trailer(&mut self, bytes: usize, limits: &Limits) -> Result<(), Kind> {
        self.line_length += bytes;
        self.trailer_bytes += bytes;
        if self.line_length > limits.field_size.saturating_sub(2) || self.trailer_bytes > HEAD_MAX {
            return Err(Kind::FieldTooLarge);
        }
        Ok(())
    }
}
