//! Frame headers (RFC 6455, 5.2): the client's are read, the server's written.

use crate::Error;
use crate::error::Kind as Rule;
use crate::mask::Mask;

/// Bytes of payload that a control frame has at most (RFC 6455, 5.5).
pub const CONTROL_MOST: usize = 125;

/// Bytes of the longest reason of a close frame: two of its payload are the code.
pub const REASON_MOST: usize = CONTROL_MOST - 2;

/// Bytes of a client's longest header: two, a length of eight, a mask of four.
pub(crate) const CLIENT_HEADER_MOST: usize = 14;

/// Bytes of a server's longest header.
pub(crate) const SERVER_HEADER_MOST: usize = 10;

/// The longest payload whose length stands in the header's second byte.
const SHORT_MOST: u64 = 125;

const FINAL: u8 = 0x80;
const RSV1: u8 = 0x40;
const RESERVED: u8 = 0x30;
const MASKED: u8 = 0x80;
/// In place of a length: it follows in two bytes, or in eight.
const IN_TWO: u8 = 126;
const IN_EIGHT: u8 = 127;

/// What a message consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Bytes.
    Binary,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation,
    Message(Kind),
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn read(bits: u8) -> Option<Opcode> {
        Some(match bits {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Message(Kind::Text),
            0x2 => Opcode::Message(Kind::Binary),
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xa => Opcode::Pong,
            _ => return None,
        })
    }

    fn bits(self) -> u8 {
        match self {
            Opcode::Continuation => 0x0,
            Opcode::Message(Kind::Text) => 0x1,
            Opcode::Message(Kind::Binary) => 0x2,
            Opcode::Close => 0x8,
            Opcode::Ping => 0x9,
            Opcode::Pong => 0xa,
        }
    }

    pub(crate) fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }
}

/// The header of a client's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub opcode: Opcode,
    pub last: bool,
    pub compressed: bool,
    pub length: u64,
    pub mask: Mask,
}

impl Header {
    /// Reads the header at the start of a frame, and says how long it is; none while it is not
    /// complete. The bit for compression is taken where compression is agreed.
    pub(crate) fn read(input: &[u8], compression: bool) -> Result<Option<(Header, usize)>, Error> {
        let Some((&[first, second], rest)) = input.split_first_chunk() else {
            return Ok(None);
        };
        let opcode = Opcode::read(first & 0xf).ok_or(Rule::Opcode)?;
        let last = first & FINAL != 0;
        let compressed = first & RSV1 != 0;
        // Only a message's first frame can be marked as compressed (RFC 7692, 6).
        let may_be_compressed = compression && matches!(opcode, Opcode::Message(_));
        if first & RESERVED != 0 || compressed && !may_be_compressed {
            return Err(Rule::ReservedBits.into());
        }
        if second & MASKED == 0 {
            return Err(Rule::Unmasked.into());
        }
        let short = second & !MASKED;
        if opcode.is_control() {
            if !last {
                return Err(Rule::ControlFragmented.into());
            }
            if u64::from(short) > SHORT_MOST {
                return Err(Rule::ControlTooLong.into());
            }
        }
        let (length, rest) = match short {
            IN_TWO => match rest.split_first_chunk() {
                Some((&bytes, rest)) => (u64::from(u16::from_be_bytes(bytes)), rest),
                None => return Ok(None),
            },
            IN_EIGHT => match rest.split_first_chunk() {
                Some((&bytes, rest)) => (u64::from_be_bytes(bytes), rest),
                None => return Ok(None),
            },
            short => (u64::from(short), rest),
        };
        let shortest = match short {
            IN_TWO => length > SHORT_MOST,
            IN_EIGHT => length > u64::from(u16::MAX) && length >> 63 == 0,
            _ => true,
        };
        if !shortest {
            return Err(Rule::LengthEncoding.into());
        }
        let Some((&key, rest)) = rest.split_first_chunk() else {
            return Ok(None);
        };
        let header = Header { opcode, last, compressed, length, mask: Mask::new(key) };
        Ok(Some((header, input.len() - rest.len())))
    }
}

/// Writes the header of a frame that is a whole message, or a control frame.
pub(crate) fn write_header(opcode: Opcode, compressed: bool, length: u64, out: &mut Vec<u8>) {
    out.push(FINAL | if compressed { RSV1 } else { 0 } | opcode.bits());
    if length <= SHORT_MOST {
        out.push(length as u8);
    } else if let Ok(length) = u16::try_from(length) {
        out.push(IN_TWO);
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        out.push(IN_EIGHT);
        out.extend_from_slice(&length.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [1, 2, 3, 4];

    fn rule(input: &[u8], compression: bool) -> &'static str {
        let whole = Header::read(input, compression);
        // Nobody may have to wait for more than decides.
        let first =
            (0..=input.len()).find_map(|end| Header::read(&input[..end], compression).transpose());
        assert_eq!(first, whole.transpose(), "{input:x?}");
        match whole {
            Ok(_) => "",
            Err(error) => error.rule(),
        }
    }

    #[test]
    fn lengths_are_read_as_they_are_written() {
        for length in [0, 1, 125, 126, 127, 255, 65_535, 65_536, 1 << 32, (1 << 63) - 1] {
            let mut input = Vec::new();
            write_header(Opcode::Message(Kind::Binary), false, length, &mut input);
            assert!(input.len() <= SERVER_HEADER_MOST);
            input[1] |= MASKED;
            input.extend_from_slice(&KEY);
            let expected = Header {
                opcode: Opcode::Message(Kind::Binary),
                last: true,
                compressed: false,
                length,
                mask: Mask::new(KEY),
            };
            let read = Header::read(&[&input[..], b"payload"].concat(), false);
            assert_eq!(read, Ok(Some((expected, input.len()))));
            for end in 0..input.len() {
                assert_eq!(Header::read(&input[..end], false), Ok(None), "{length} at {end}");
            }
        }
    }

    #[test]
    fn opcodes_are_those_of_the_rfc() {
        for bits in 0..16 {
            let input = [FINAL | bits, MASKED, 0, 0, 0, 0];
            match bits {
                0 | 1 | 2 | 8 | 9 | 10 => {
                    let (header, _) = Header::read(&input, false).unwrap().unwrap();
                    assert_eq!(header.opcode.bits(), bits);
                    assert_eq!(header.opcode.is_control(), bits >= 8);
                }
                _ => assert_eq!(rule(&input[..2], false), "frame-opcode"),
            }
        }
    }

    #[test]
    fn reserved_bits_need_an_agreement_and_a_message() {
        for (first, compression, expected) in [
            (0xc1, true, ""),
            (0x42, true, ""),
            (0xc1, false, "frame-reserved-bits"),
            (0xc0, true, "frame-reserved-bits"),
            (0xc8, true, "frame-reserved-bits"),
            (0xc9, true, "frame-reserved-bits"),
            (0xca, true, "frame-reserved-bits"),
            (0xa1, true, "frame-reserved-bits"),
            (0x91, true, "frame-reserved-bits"),
            (0xf1, true, "frame-reserved-bits"),
        ] {
            assert_eq!(rule(&[first, MASKED], compression), expected, "{first:x}");
        }
    }

    #[test]
    fn frames_are_masked_and_control_frames_short_and_whole() {
        assert_eq!(rule(&[0x81, 5], false), "frame-mask");
        assert_eq!(rule(&[0x89, 0], false), "frame-mask");
        for control in 8..=10 {
            assert_eq!(rule(&[control, MASKED], false), "control-fragmented");
            assert_eq!(rule(&[FINAL | control, MASKED | 126], false), "control-length");
            assert_eq!(rule(&[FINAL | control, MASKED | 127], false), "control-length");
            assert_eq!(rule(&[FINAL | control, MASKED | 125], false), "");
        }
    }

    #[test]
    fn lengths_are_written_in_the_shortest_way() {
        let two = |length: u16| [&[0x82, 0xfe][..], &length.to_be_bytes()].concat();
        let eight = |length: u64| [&[0x82, 0xff][..], &length.to_be_bytes()].concat();
        for (input, expected) in [
            (two(0), "frame-length"),
            (two(125), "frame-length"),
            (two(126), ""),
            (eight(125), "frame-length"),
            (eight(65_535), "frame-length"),
            (eight(65_536), ""),
            (eight(1 << 63), "frame-length"),
            (eight(u64::MAX), "frame-length"),
        ] {
            assert_eq!(rule(&input, false), expected, "{input:x?}");
        }
    }
}
