//! Compressed messages of the server (RFC 7692, 7.2.1).

use zlib_rs::{Deflate, DeflateFlush};

use crate::extension::Parameters;
use crate::inflate::TAIL;
use crate::spare::{self, Recipe};

/// Room for what a message is compressed to: at first half of it, and a little for the block's
/// head; twice as much whenever that is full. zlib wants more than six bytes to be free.
const ROOM_LEAST: usize = 128;
const ROOM_MOST: usize = 64 * 1024;

/// Compresses the messages of a connection, one after the other.
pub(crate) struct Deflater {
    stream: Deflate,
    recipe: Recipe,
}

impl Deflater {
    pub(crate) fn new(parameters: &Parameters) -> Deflater {
        let recipe = Recipe::new(parameters);
        Deflater { stream: spare::take_deflate(recipe), recipe }
    }

    /// When it is not needed any more, or its context is not wanted.
    pub(crate) fn give_back(self) {
        spare::keep_deflate(self.recipe, self.stream);
    }

    /// Appends a compressed message, without the tail that receivers put back. It is not empty:
    /// zlib does not flush twice when nothing has come between.
    pub(crate) fn deflate(&mut self, mut payload: &[u8], out: &mut Vec<u8>) {
        debug_assert!(!payload.is_empty());
        let mut length = out.len();
        let mut room = (payload.len() / 2).clamp(ROOM_LEAST, ROOM_MOST);
        loop {
            let end = length + room;
            if out.len() < end {
                out.resize(end, 0);
            }
            let (read, written) = (self.stream.total_in(), self.stream.total_out());
            self.stream
                .compress(payload, &mut out[length..end], DeflateFlush::SyncFlush)
                .expect("a compressor that was made takes all bytes");
            payload = &payload[(self.stream.total_in() - read) as usize..];
            length += (self.stream.total_out() - written) as usize;
            if length < end && payload.is_empty() {
                break;
            }
            room = room.saturating_mul(2);
        }
        assert!(out[..length].ends_with(&TAIL), "a flush ends with an empty block");
        out.truncate(length - TAIL.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extension::{Compression, WindowBits, agree};
    use crate::inflate::Inflater;

    fn parameters(compression: &Compression) -> Parameters {
        agree(&[Default::default()], compression).unwrap().parameters
    }

    fn inflated(inflater: &mut Inflater, compressed: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        inflater.inflate(compressed, &mut message, usize::MAX, |_| Ok(())).unwrap();
        inflater.finish(&mut message, usize::MAX).unwrap();
        message
    }

    /// Bytes that do not compress.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn the_vectors_of_the_rfc() {
        // What the RFC shows is one way of many; zlib's usual level takes it.
        let usual = Compression { level: 6, ..Compression::default() };
        let mut deflater = Deflater::new(&parameters(&usual));
        let mut out = b"before".to_vec();
        deflater.deflate(b"Hello", &mut out);
        // 7.2.3.1
        assert_eq!(out, b"before\xf2\x48\xcd\xc9\xc9\x07\x00");
        out.clear();
        deflater.deflate(b"Hello", &mut out);
        // 7.2.3.2
        assert_eq!(out, [0xf2, 0x00, 0x11, 0x00, 0x00]);
    }

    #[test]
    fn every_setting_inflates_to_what_it_was() {
        let text = "one two three, ".repeat(5_000).into_bytes();
        let messages: Vec<Vec<u8>> = [1, 2, 100, 127, 128, 129, 255, 256, 9_000, 40_000]
            .into_iter()
            .flat_map(|length| [text[..length].to_vec(), noise(length)])
            .collect();
        for level in [1, 2, 6, 9] {
            for bits in [9, 12, 15] {
                let compression = Compression {
                    level,
                    memory_level: 1 + bits % 9,
                    server_window: WindowBits::new(bits).unwrap(),
                    ..Compression::default()
                };
                let mut deflater = Deflater::new(&parameters(&compression));
                let mut inflater = Inflater::new();
                for message in &messages {
                    let mut out = Vec::new();
                    deflater.deflate(message, &mut out);
                    assert!(inflated(&mut inflater, &out) == *message, "{level} {bits}");
                }
            }
        }
    }

    #[test]
    fn nothing_refers_back_beyond_the_window() {
        // Bytes that come again after more than 512 and less than 1024.
        let twice = noise(700).repeat(2);
        for level in 1..=9 {
            let length = |bits| {
                let server_window = WindowBits::new(bits).unwrap();
                let compression = Compression { level, server_window, ..Compression::default() };
                let mut out = Vec::new();
                Deflater::new(&parameters(&compression)).deflate(&twice, &mut out);
                out.len()
            };
            assert!(length(9) >= 1400, "level {level}: {}", length(9));
            assert!(length(12) < 800, "level {level}: {}", length(12));
        }
    }

    #[test]
    fn one_that_was_given_back_knows_nothing_of_earlier_messages() {
        let parameters = parameters(&Compression::default());
        for _ in 0..3 {
            let mut deflater = Deflater::new(&parameters);
            let mut out = Vec::new();
            deflater.deflate(b"Hello", &mut out);
            assert_eq!(out, [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
            deflater.give_back();
        }
    }
}
