//! Frames by hand: those of a client are written, those of a server read.

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xa;

pub const FINAL: u8 = 0x80;
pub const COMPRESSED: u8 = 0x40;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A client's frame: the first byte as it is, a payload that is masked.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = announced(first, payload.len() as u64);
    frame.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ KEY[at % 4]));
    frame
}

/// The header of a client's frame, without its payload.
pub fn announced(first: u8, length: u64) -> Vec<u8> {
    let mut frame = vec![first];
    if length < 126 {
        frame.push(0x80 | length as u8);
    } else if length < 65_536 {
        frame.push(0x80 | 126);
        frame.extend_from_slice(&(length as u16).to_be_bytes());
    } else {
        frame.push(0x80 | 127);
        frame.extend_from_slice(&length.to_be_bytes());
    }
    frame.extend_from_slice(&KEY);
    frame
}

pub fn text(payload: &str) -> Vec<u8> {
    frame(FINAL | TEXT, payload.as_bytes())
}

pub fn binary(payload: &[u8]) -> Vec<u8> {
    frame(FINAL | BINARY, payload)
}

pub fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(FINAL | CLOSE, &[&code.to_be_bytes(), reason].concat())
}

/// A server's frames: first byte and payload of each. They are whole, not masked, and their
/// lengths written in the shortest way.
pub fn of_server(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        let (length, rest) = match second {
            126 => {
                let (length, rest) = rest.split_first_chunk().unwrap();
                let length = u64::from(u16::from_be_bytes(*length));
                assert!(length > 125);
                (length, rest)
            }
            127 => {
                let (length, rest) = rest.split_first_chunk().unwrap();
                let length = u64::from_be_bytes(*length);
                assert!(length > 65_535);
                (length, rest)
            }
            length => (u64::from(*length), rest),
        };
        let (payload, rest) = rest.split_at(length as usize);
        frames.push((*first, payload.to_vec()));
        bytes = rest;
    }
    assert!(bytes.is_empty());
    frames
}

/// A server's frames as a client would send them.
pub fn as_client(bytes: &[u8]) -> Vec<u8> {
    of_server(bytes).iter().flat_map(|(first, payload)| frame(*first, payload)).collect()
}
