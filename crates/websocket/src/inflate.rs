//! Compressed messages of clients (RFC 7692, 7.2.2). Never inflates beyond the limit by more than
//! the byte that shows it.

use zlib_rs::{Inflate, InflateFlush, Status};

use crate::Error;
use crate::error::Kind as Rule;
use crate::spare;

/// What senders leave out at the end of a message.
pub(crate) const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// How much room is made at first, as a multiple of what has come: text becomes a few times
/// larger. Bounded on both sides, so that a byte that comes alone costs little, and so that a
/// message does not take memory before its bytes say that it is large.
const EXPECTED_RATIO: usize = 4;
const ROOM_LEAST: usize = 256;
const ROOM_MOST: usize = 64 * 1024;

/// Inflates the messages of a connection, one after the other.
pub(crate) struct Inflater {
    stream: Inflate,
    place: Place,
}

/// Where the stream is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Between messages: nothing has come of the next one. Should nothing come at all, it is
    /// empty; its tail would only spoil the stream.
    Between,
    /// Within a message.
    Within,
    /// Behind a block that is marked as the last one (RFC 7692, 7.2.3.4). Another stream begins
    /// with the next byte, without a context: the compressor had to start anew.
    Ended,
}

/// Whether a stream may end within the bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Allowed,
    Refused,
}

impl Inflater {
    pub(crate) fn new() -> Inflater {
        Inflater { stream: spare::take_inflate(), place: Place::Between }
    }

    /// For connections without context takeover, when a message has ended.
    pub(crate) fn give_back(self) {
        spare::keep_inflate(self.stream);
    }

    /// Appends what the bytes inflate to. `judge` sees every piece of it in order, before anything
    /// that follows can fail, so that what is reported does not depend on how the bytes were split.
    pub(crate) fn inflate(
        &mut self,
        input: &[u8],
        message: &mut Vec<u8>,
        limit: usize,
        judge: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.feed(input, Ends::Allowed, message, limit, judge)
    }

    fn feed(
        &mut self,
        mut input: &[u8],
        ends: Ends,
        message: &mut Vec<u8>,
        limit: usize,
        mut judge: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut length = message.len();
        let mut room = input.len().saturating_mul(EXPECTED_RATIO).clamp(ROOM_LEAST, ROOM_MOST);
        loop {
            if !input.is_empty() {
                if self.place == Place::Ended {
                    self.stream.reset(false);
                }
                self.place = Place::Within;
            }
            // A message is never longer than the limit here.
            let end = length.saturating_add(room).min(limit.saturating_add(1));
            if message.len() < end {
                grow(message, end, limit.saturating_add(1));
            }
            let (read, written) = (self.stream.total_in(), self.stream.total_out());
            let target = &mut message[length..end];
            let status = self.stream.decompress(input, target, InflateFlush::SyncFlush);
            let read = (self.stream.total_in() - read) as usize;
            let start = length;
            length += (self.stream.total_out() - written) as usize;
            input = &input[read..];
            judge(&message[start..length.min(limit)])?;
            if length > limit {
                return Err(Rule::TooBig.into());
            }
            match status {
                Ok(Status::StreamEnd) if ends == Ends::Allowed => self.place = Place::Ended,
                Ok(Status::StreamEnd) => return Err(Rule::Deflate.into()),
                Ok(_) if length == end => room = room.saturating_mul(2),
                Ok(_) if input.is_empty() => {}
                // Neither ended nor out of room, with bytes left: they can be nothing.
                Ok(_) | Err(_) => return Err(Rule::Deflate.into()),
            }
            if input.is_empty() && length < end {
                message.truncate(length);
                return Ok(());
            }
        }
    }

    /// The end of a message. What has been left out at its end is put back, and must be no more
    /// than an empty block.
    pub(crate) fn finish(&mut self, message: &mut Vec<u8>, limit: usize) -> Result<(), Error> {
        if self.place != Place::Within {
            return Ok(());
        }
        let length = message.len();
        // If the tail says something, or ends something, a block was cut off.
        self.feed(&TAIL, Ends::Refused, message, limit, |_| Ok(()))?;
        self.place = Place::Between;
        if message.len() > length { Err(Rule::Deflate.into()) } else { Ok(()) }
    }
}

/// Makes a vector longer, by doubling as usual, but never makes room beyond the bound.
fn grow(message: &mut Vec<u8>, length: usize, bound: usize) {
    if message.capacity() < length {
        let capacity = message.capacity().saturating_mul(2).clamp(length, bound);
        message.reserve_exact(capacity - message.len());
    }
    message.resize(length, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1 << 20;

    /// Inflates messages with one inflater, whole and byte by byte.
    fn inflate(messages: &[&[u8]], limit: usize) -> Vec<Result<Vec<u8>, &'static str>> {
        let [whole, bytes] = [usize::MAX, 1].map(|piece| {
            let mut inflater = Inflater::new();
            let mut one = |message: &&[u8]| {
                let mut out = Vec::new();
                message
                    .chunks(piece)
                    .try_for_each(|bytes| inflater.inflate(bytes, &mut out, limit, |_| Ok(())))
                    .and_then(|()| inflater.finish(&mut out, limit))
                    .map(|()| out)
                    .map_err(Error::rule)
            };
            messages.iter().map(&mut one).collect::<Vec<_>>()
        });
        assert_eq!(whole, bytes);
        whole
    }

    fn hello() -> Result<Vec<u8>, &'static str> {
        Ok(b"Hello".to_vec())
    }

    #[test]
    fn the_vectors_of_the_rfc() {
        // 7.2.3.1, fixed codes.
        let fixed = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        // 7.2.3.2, the second message refers to the first.
        let again = [0xf2, 0x00, 0x11, 0x00, 0x00];
        assert_eq!(inflate(&[&fixed, &again, &again], LIMIT), [hello(), hello(), hello()]);
        // 7.2.3.3, a block without compression.
        let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
        // 7.2.3.4, a block that is marked as the last one.
        let last = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
        // 7.2.3.5, two blocks.
        let two = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(
            inflate(&[&stored, &last, &two, &last, &fixed], LIMIT),
            [hello(), hello(), hello(), hello(), hello()],
        );
        // 7.2.3.6, an empty message.
        assert_eq!(inflate(&[&[0x00], &fixed, &[0x00]], LIMIT), [Ok(vec![]), hello(), Ok(vec![])]);
    }

    #[test]
    fn a_stream_that_ends_with_the_message_is_whole() {
        let last = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let twice = [last, last].concat();
        assert_eq!(
            inflate(&[&last, &twice, &last], LIMIT),
            [hello(), Ok(b"HelloHello".to_vec()), hello()],
        );
    }

    #[test]
    fn a_message_of_no_bytes_is_empty_and_spoils_nothing() {
        let fixed = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let last = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let empty = Ok(vec![]);
        assert_eq!(
            inflate(&[&[], &fixed, &[], &last, &[], &fixed], LIMIT),
            [empty.clone(), hello(), empty.clone(), hello(), empty, hello()],
        );
    }

    #[test]
    fn nothing_refers_to_what_was_before_the_stream_ended() {
        let last = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
        let again = [0xf2, 0x00, 0x11, 0x00, 0x00];
        assert_eq!(inflate(&[&last, &again], LIMIT), [hello(), Err("deflate")]);
    }

    #[test]
    fn what_does_not_inflate_is_refused() {
        for message in [
            // A block of the reserved kind, a length that its complement denies, a reference to
            // nothing.
            &[0x06][..],
            &[0x00, 0x05, 0x00, 0x00, 0x00],
            &[0xf2, 0x00, 0x11, 0x00, 0x00],
            // Cut within a block without compression, so that the tail would become content.
            &[0x00, 0x10, 0x00, 0xef, 0xff, 0x48],
            // Cut within the last block, so that the tail would end it.
            &[0x03],
        ] {
            assert_eq!(inflate(&[message], LIMIT), [Err("deflate")], "{message:x?}");
        }
    }

    /// 1 MiB of zeros in about a thousand bytes, by zlib-rs itself.
    fn bomb(length: usize) -> Vec<u8> {
        let mut deflate = zlib_rs::Deflate::new(9, false, 15);
        let mut out = vec![0; length / 100 + 100];
        let zeros = vec![0; length];
        deflate.compress(&zeros, &mut out, zlib_rs::DeflateFlush::SyncFlush).unwrap();
        out.truncate(deflate.total_out() as usize - TAIL.len());
        out
    }

    #[test]
    fn a_bomb_takes_no_more_memory_than_the_limit() {
        let bomb = bomb(LIMIT);
        assert_eq!(inflate(&[&bomb], LIMIT), [Ok(vec![0; LIMIT])]);
        for limit in [0, 1, 255, 256, 257, 1000, 65_536, LIMIT - 1] {
            let mut message = Vec::new();
            let error = Inflater::new().inflate(&bomb, &mut message, limit, |piece| {
                assert!(piece.len() <= limit);
                Ok(())
            });
            assert_eq!(error.unwrap_err().rule(), "message-limit");
            assert!(message.capacity() <= (limit + 1).max(8), "{} of {limit}", message.capacity());
        }
    }

    #[test]
    fn limits_hold_to_the_byte() {
        let fixed = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(inflate(&[&fixed], 5), [hello()]);
        assert_eq!(inflate(&[&fixed], 4), [Err("message-limit")]);
        assert_eq!(inflate(&[&fixed], usize::MAX), [hello()]);
    }
}
