//! Writes seeds for the fuzz targets of this crate: `websocket_fuzz_seeds CORPUS`.

use std::error::Error;
use std::fs;
use std::path::Path;

#[path = "../tests/support/mod.rs"]
mod support;

use support::frames::{
    BINARY, CLOSE, COMPRESSED, CONTINUATION, FINAL, PING, PONG, TEXT, binary, close, frame, text,
};

/// The first byte of a seed: limit, agreement, and whether what follows is framed already.
const FRAMED: u8 = 0x10;

/// "Hello" compressed, and once more, referring to the first (RFC 7692, 7.2.3).
const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
const AGAIN: [u8; 5] = [0xf2, 0x00, 0x11, 0x00, 0x00];
const LAST: [u8; 8] = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
const STORED: [u8; 11] = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];

fn main() -> Result<(), Box<dyn Error>> {
    let corpus = std::env::args_os().nth(1).ok_or("the corpus folder is missing")?;
    let corpus = Path::new(&corpus);

    let plain = [
        text("caf\u{e9} \u{1f4a9}"),
        binary(&[0; 200]),
        frame(TEXT, b"\xe2"),
        frame(FINAL | PING, b"ping"),
        frame(FINAL | CONTINUATION, b"\x82\xac"),
        frame(FINAL | PONG, b""),
        close(1000, b"bye"),
    ];
    let compressed = [
        frame(FINAL | COMPRESSED | TEXT, &HELLO),
        frame(COMPRESSED | BINARY, &AGAIN[..2]),
        frame(FINAL | CONTINUATION, &AGAIN[2..]),
        frame(FINAL | CLOSE, b""),
    ];
    // First byte, length, payload, and so on; the target masks them.
    let pairs = |frames: &[(u8, &[u8])]| -> Vec<u8> {
        let pair =
            |(first, payload): &(u8, &[u8])| [&[*first, payload.len() as u8][..], payload].concat();
        frames.iter().flat_map(pair).collect()
    };
    let streams = pairs(&[(0xc1, &HELLO), (0xc1, &AGAIN), (0xc2, &LAST), (0xc1, &STORED)]);
    let fragments = pairs(&[(TEXT, b"\xf0\x9f"), (0x89, b"p"), (0x80, b"\x92\xa9"), (0x88, b"")]);
    let mixed =
        pairs(&[(COMPRESSED | TEXT, &STORED[..6]), (CONTINUATION, b""), (0x80, &STORED[6..])]);
    let frames = [
        (FRAMED | 2, plain.concat()),
        (FRAMED | 4 | 3, compressed.concat()),
        (4 | 3, streams.clone()),
        (8 | 1, streams),
        (12 | 2, mixed),
        (3, fragments),
    ];
    write(
        corpus,
        "websocket_frames",
        frames.map(|(choice, rest)| [vec![choice, 1], rest].concat()),
    )?;

    let handshakes = [
        "permessage-deflate; client_max_window_bits, permessage-deflate\nUpgrade:h2c",
        "permessage-deflate;server_max_window_bits=\"1\\0\";client_max_window_bits=8;\
         server_no_context_takeover;client_no_context_takeover\nSec-WebSocket-Protocol:a, b",
        "x;y=z,permessage-deflate;unknown\nSec-WebSocket-Extensions:permessage-deflate",
        "\nSec-WebSocket-Key:AAAAAAAAAAAAAAAAAAAAAA==\nSec-WebSocket-Version:8",
    ];
    write(corpus, "websocket_handshake", handshakes.map(|text| [b"\0", text.as_bytes()].concat()))
}

fn write<const N: usize>(
    corpus: &Path,
    target: &str,
    seeds: [Vec<u8>; N],
) -> Result<(), Box<dyn Error>> {
    let folder = corpus.join(target);
    fs::create_dir_all(&folder)?;
    for (number, seed) in seeds.into_iter().enumerate() {
        fs::write(folder.join(format!("seed-{number}")), seed)?;
    }
    Ok(())
}
