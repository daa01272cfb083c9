//! Frames of a server (RFC 6455, 5.2) as they arrive: headers, and payloads piece by piece.
//!
//! Nothing is copied but a header that arrives in parts.

use std::fmt;

/// The longest header of a frame without a mask.
const LONGEST: usize = 10;

/// The server has broken the protocol; the text says how.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong(pub &'static str);

impl fmt::Display for Wrong {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

impl std::error::Error for Wrong {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub opcode: Opcode,
    pub finished: bool,
    pub compressed: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'input> {
    Begin(Header),
    Payload(Header, &'input [u8]),
    End(Header),
}

#[derive(Default)]
pub struct Parser {
    header: [u8; LONGEST],
    have: usize,
    /// The frame that is being received, and how much of its payload is still to come.
    current: Option<(Header, u64)>,
}

impl Parser {
    /// The next piece, taken from the front of `input`; None when more input is needed.
    pub fn next<'input>(
        &mut self,
        input: &mut &'input [u8],
    ) -> Result<Option<Piece<'input>>, Wrong> {
        let Some((header, left)) = &mut self.current else {
            return self.begin(input);
        };
        let header = *header;
        if *left == 0 {
            self.current = None;
            return Ok(Some(Piece::End(header)));
        }
        if input.is_empty() {
            return Ok(None);
        }
        let (piece, rest) =
            input.split_at(input.len().min(usize::try_from(*left).unwrap_or(usize::MAX)));
        *input = rest;
        *left -= piece.len() as u64;
        Ok(Some(Piece::Payload(header, piece)))
    }

    fn begin<'input>(&mut self, input: &mut &'input [u8]) -> Result<Option<Piece<'input>>, Wrong> {
        while self.have < self.needed() {
            let Some((byte, rest)) = input.split_first() else {
                return Ok(None);
            };
            self.header[self.have] = *byte;
            self.have += 1;
            *input = rest;
        }
        self.have = 0;
        let [first, second, ..] = self.header;
        if second & 0x80 != 0 {
            return Err(Wrong("a server's frame is masked"));
        }
        if first & 0x30 != 0 {
            return Err(Wrong("a frame has a reserved bit"));
        }
        let opcode = match first & 0x0F {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return Err(Wrong("a frame has an unknown opcode")),
        };
        let length = match second & 0x7F {
            126 => u64::from(u16::from_be_bytes([self.header[2], self.header[3]])),
            127 => u64::from_be_bytes([
                self.header[2],
                self.header[3],
                self.header[4],
                self.header[5],
                self.header[6],
                self.header[7],
                self.header[8],
                self.header[9],
            ]),
            short => u64::from(short),
        };
        let header = Header { opcode, finished: first & 0x80 != 0, compressed: first & 0x40 != 0 };
        if opcode.is_control() && (length > 125 || !header.finished) {
            return Err(Wrong("a control frame is too long or in parts"));
        }
        self.current = Some((header, length));
        Ok(Some(Piece::Begin(header)))
    }

    /// Bytes of the header that has begun to arrive.
    fn needed(&self) -> usize {
        match (self.have, self.header[1] & 0x7F) {
            (0 | 1, _) => 2,
            (_, 126) => 4,
            (_, 127) => LONGEST,
            _ => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Headers and whole payloads of a stream that arrives `step` bytes at a time.
    fn parse(stream: &[u8], step: usize) -> Result<Vec<(Header, Vec<u8>)>, Wrong> {
        let mut parser = Parser::default();
        let (mut found, mut payload) = (Vec::new(), Vec::new());
        for mut input in stream.chunks(step) {
            while let Some(piece) = parser.next(&mut input)? {
                match piece {
                    Piece::Begin(_) => payload = Vec::new(),
                    Piece::Payload(_, bytes) => payload.extend_from_slice(bytes),
                    Piece::End(header) => found.push((header, std::mem::take(&mut payload))),
                }
            }
        }
        Ok(found)
    }

    fn header(opcode: Opcode, finished: bool, compressed: bool) -> Header {
        Header { opcode, finished, compressed }
    }

    #[test]
    fn frames_of_each_length_in_steps_of_any_size() {
        let long = vec![7; 65_536];
        let mut stream = vec![0x81, 2, b'h', b'i', 0xC2, 126, 0, 200];
        stream.extend([5; 200]);
        stream.extend([0x02, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        stream.extend(&long);
        stream.extend([0x89, 0, 0x80, 1, 9]);
        for step in [1, 2, 3, 7, 1000, stream.len()] {
            let found = parse(&stream, step).unwrap();
            assert_eq!(
                found,
                [
                    (header(Opcode::Text, true, false), b"hi".to_vec()),
                    (header(Opcode::Binary, true, true), vec![5; 200]),
                    (header(Opcode::Binary, false, false), long.clone()),
                    (header(Opcode::Ping, true, false), vec![]),
                    (header(Opcode::Continuation, true, false), vec![9]),
                ],
                "{step} at a time"
            );
        }
    }

    #[test]
    fn what_no_server_may_send_is_refused() {
        for (stream, problem) in [
            (&[0x81, 0x81, 0, 0, 0, 0, 1][..], "a server's frame is masked"),
            (&[0x91, 0], "a frame has a reserved bit"),
            (&[0x83, 0], "a frame has an unknown opcode"),
            (&[0x89, 126, 0, 126], "a control frame is too long or in parts"),
            (&[0x09, 0], "a control frame is too long or in parts"),
        ] {
            assert_eq!(parse(stream, 3), Err(Wrong(problem)));
        }
    }
}
