//! From a client's bytes to events: frames are unmasked, messages put together, inflated and judged.

use std::borrow::Cow;

use crate::error::Kind as Rule;
use crate::frame::{CLIENT_HEADER_MOST, Header, Kind, Opcode};
use crate::inflate::Inflater;
use crate::mask::Mask;
use crate::utf8::Utf8;
use crate::{CloseCode, Error};

/// Memory that the announced length of a frame is trusted with before its bytes have come.
const TRUSTED: usize = 64 * 1024;

/// What has come of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole message. That of a text is UTF-8.
    Message {
        /// What it consists of.
        kind: Kind,
        /// Its bytes: those of the input where they stand there in one piece.
        data: Cow<'a, [u8]>,
    },
    /// A ping; a pong with the same payload is due.
    Ping(Cow<'a, [u8]>),
    /// A pong, whether or not it answers a ping.
    Pong(Cow<'a, [u8]>),
    /// The client closes; nothing more comes of it.
    Close {
        /// Why, or [`CloseCode::NO_STATUS`].
        code: CloseCode,
        /// Why, in words; often empty.
        reason: String,
    },
}

/// What has become of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// Bytes that are done with. All of them if there is no event.
    pub consumed: usize,
    /// What they have completed.
    pub event: Option<Event<'a>>,
}

/// The client's half of a connection.
pub(crate) struct Receiver {
    limit: usize,
    compression: ClientCompression,
    /// The start of a header whose end has not come.
    header: [u8; CLIENT_HEADER_MOST],
    header_length: u8,
    /// The frame whose payload is due.
    frame: Option<Frame>,
    /// The message whose last frame has not ended.
    message: Option<Box<Message>>,
    /// The payload of a control frame that has not ended.
    control: Vec<u8>,
    inflater: Option<Inflater>,
}

/// Whether messages may be compressed, and refer to earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientCompression {
    None,
    EachByItself,
    WithContext,
}

struct Frame {
    opcode: Opcode,
    last: bool,
    remaining: u64,
    mask: Mask,
}

struct Message {
    kind: Kind,
    compressed: bool,
    data: Vec<u8>,
    text: Utf8,
}

/// What has become of the payload of a frame. With how many bytes of the input belong to it.
enum Progress {
    /// More of it must come; the whole input belongs to it.
    Partial,
    /// The frame has ended, its message has not.
    Fragment(usize),
    /// A message or a control frame has ended.
    Complete(usize, Complete, Payload),
}

/// What is complete.
enum Complete {
    Message(Kind),
    Control(Opcode),
}

/// Where the bytes are of what is complete.
enum Payload {
    /// In the input, unmasked.
    Input,
    /// Put together, or inflated.
    Own(Vec<u8>),
}

impl Receiver {
    pub(crate) fn new(limit: usize, compression: ClientCompression) -> Receiver {
        Receiver {
            limit,
            compression,
            header: [0; CLIENT_HEADER_MOST],
            header_length: 0,
            frame: None,
            message: None,
            control: Vec::new(),
            inflater: None,
        }
    }

    /// Nothing more is read: whatever has been kept is not needed.
    pub(crate) fn discard(&mut self) {
        *self = Receiver::new(self.limit, self.compression);
    }

    /// Reads until an event is complete or the input ends.
    pub(crate) fn receive<'a>(&mut self, input: &'a mut [u8]) -> Result<Received<'a>, Error> {
        let mut at = 0;
        let (start, complete, payload) = loop {
            if self.frame.is_none() {
                let (length, header) = self.header(&input[at..])?;
                at += length;
                let Some(header) = header else {
                    return Ok(Received { consumed: at, event: None });
                };
                self.begin(header)?;
            }
            match self.payload(&mut input[at..])? {
                Progress::Partial => return Ok(Received { consumed: input.len(), event: None }),
                Progress::Fragment(length) => at += length,
                Progress::Complete(length, complete, payload) => {
                    let start = at;
                    at += length;
                    break (start, complete, payload);
                }
            }
        };
        let data = match payload {
            Payload::Input => Cow::Borrowed(&input[start..at]),
            Payload::Own(data) => Cow::Owned(data),
        };
        let event = match complete {
            Complete::Message(kind) => Event::Message { kind, data },
            Complete::Control(Opcode::Ping) => Event::Ping(data),
            Complete::Control(Opcode::Pong) => Event::Pong(data),
            Complete::Control(_) => close(&data)?,
        };
        Ok(Received { consumed: at, event: Some(event) })
    }

    /// The next header, and how many bytes of it are in the input.
    fn header(&mut self, input: &[u8]) -> Result<(usize, Option<Header>), Error> {
        let compression = self.compression != ClientCompression::None;
        if self.header_length == 0
            && let Some((header, length)) = Header::read(input, compression)?
        {
            return Ok((length, Some(header)));
        }
        let before = usize::from(self.header_length);
        let taken = input.len().min(CLIENT_HEADER_MOST - before);
        let end = before + taken;
        self.header[before..end].copy_from_slice(&input[..taken]);
        Ok(match Header::read(&self.header[..end], compression)? {
            Some((header, length)) => {
                self.header_length = 0;
                (length - before, Some(header))
            }
            None => {
                self.header_length = end as u8;
                (taken, None)
            }
        })
    }

    /// A frame begins: whether it may here, and how long it may be.
    fn begin(&mut self, header: Header) -> Result<(), Error> {
        let Header { opcode, last, compressed, length, mask } = header;
        match opcode {
            Opcode::Message(_) if self.message.is_some() => {
                return Err(Rule::ContinuationMissing.into());
            }
            Opcode::Message(kind) => {
                let (data, text) = (Vec::new(), Utf8::default());
                self.message = Some(Box::new(Message { kind, compressed, data, text }));
            }
            Opcode::Continuation | Opcode::Close | Opcode::Ping | Opcode::Pong => {}
        }
        if !opcode.is_control() {
            let message = self.message.as_ref().ok_or(Rule::ContinuationUnexpected)?;
            // Those that are compressed are measured as they inflate.
            if !message.compressed && length > (self.limit - message.data.len()) as u64 {
                return Err(Rule::TooBig.into());
            }
        }
        self.frame = Some(Frame { opcode, last, remaining: length, mask });
        Ok(())
    }

    /// Payload of the frame that has begun.
    fn payload(&mut self, input: &mut [u8]) -> Result<Progress, Error> {
        let frame = self.frame.as_mut().expect("a frame has begun");
        let length = usize::try_from(frame.remaining).unwrap_or(usize::MAX).min(input.len());
        let piece = &mut input[..length];
        frame.mask.remove(piece);
        frame.remaining -= length as u64;
        let (opcode, last, remaining) = (frame.opcode, frame.last, frame.remaining);
        if remaining == 0 {
            self.frame = None;
        }
        if opcode.is_control() {
            Ok(self.control(opcode, piece, remaining))
        } else {
            self.data(piece, remaining, last)
        }
    }

    /// Payload of a control frame.
    fn control(&mut self, opcode: Opcode, piece: &[u8], remaining: u64) -> Progress {
        let complete = Complete::Control(opcode);
        if remaining == 0 && self.control.is_empty() {
            return Progress::Complete(piece.len(), complete, Payload::Input);
        }
        self.control.extend_from_slice(piece);
        if remaining > 0 {
            return Progress::Partial;
        }
        let payload = std::mem::take(&mut self.control);
        Progress::Complete(piece.len(), complete, Payload::Own(payload))
    }

    /// Payload of a frame of a message.
    fn data(&mut self, piece: &[u8], remaining: u64, last: bool) -> Result<Progress, Error> {
        let message = self.message.as_mut().expect("a data frame has a message");
        let complete = Complete::Message(message.kind);
        let ends = remaining == 0 && last;
        if ends && !message.compressed && message.data.is_empty() {
            message.judge(piece)?;
            message.finish()?;
            self.message = None;
            return Ok(Progress::Complete(piece.len(), complete, Payload::Input));
        }
        if message.compressed {
            let inflater = self.inflater.get_or_insert_with(Inflater::new);
            message.inflate(inflater, piece, self.limit)?;
        } else {
            message.append(piece, remaining, self.limit)?;
        }
        if !ends {
            return Ok(match remaining {
                0 => Progress::Fragment(piece.len()),
                _ => Progress::Partial,
            });
        }
        if message.compressed
            && let Some(mut inflater) = self.inflater.take()
        {
            inflater.finish(&mut message.data, self.limit)?;
            match self.compression {
                ClientCompression::WithContext => self.inflater = Some(inflater),
                _ => inflater.give_back(),
            }
        }
        message.finish()?;
        let data = std::mem::take(&mut message.data);
        self.message = None;
        Ok(Progress::Complete(piece.len(), complete, Payload::Own(data)))
    }
}

impl Message {
    /// The next bytes of what the app will see.
    fn judge(&mut self, piece: &[u8]) -> Result<(), Error> {
        match self.kind {
            Kind::Text => self.text.feed(piece).map_err(|_| Rule::Text.into()),
            Kind::Binary => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.text.finish().map_err(|_| Rule::Text.into())
    }

    /// Bytes of a frame that was not compressed, of which `remaining` more are announced. With them
    /// the message is within the limit.
    fn append(&mut self, piece: &[u8], remaining: u64, limit: usize) -> Result<(), Error> {
        self.judge(piece)?;
        let length = self.data.len() + piece.len();
        if self.data.capacity() < length {
            // What is announced, in one go, but no more than twice of what has come. Fragments
            // announce little: for them, by doubling.
            let trusted = TRUSTED.max(length);
            let announced = usize::try_from(remaining).unwrap_or(usize::MAX).min(trusted);
            let doubled = self.data.capacity().saturating_mul(2).min(limit);
            self.data.reserve_exact(doubled.max(length + announced) - self.data.len());
        }
        self.data.extend_from_slice(piece);
        Ok(())
    }

    fn inflate(
        &mut self,
        inflater: &mut Inflater,
        piece: &[u8],
        limit: usize,
    ) -> Result<(), Error> {
        let Message { kind, data, text, .. } = self;
        inflater.inflate(piece, data, limit, |inflated| match kind {
            Kind::Text => text.feed(inflated).map_err(|_| Rule::Text.into()),
            Kind::Binary => Ok(()),
        })
    }
}

/// What a close frame says (RFC 6455, 5.5.1).
fn close(payload: &[u8]) -> Result<Event<'static>, Error> {
    let Some((&code, reason)) = payload.split_first_chunk() else {
        return match payload {
            [] => Ok(Event::Close { code: CloseCode::NO_STATUS, reason: String::new() }),
            _ => Err(Rule::ClosePayload.into()),
        };
    };
    let code = CloseCode::new(u16::from_be_bytes(code));
    if !code.may_be_sent() {
        return Err(Rule::CloseCode.into());
    }
    let reason = std::str::from_utf8(reason).map_err(|_| Rule::CloseReason)?;
    Ok(Event::Close { code, reason: reason.to_owned() })
}
