//! A chunked body comes to the same whatever way its bytes are split, and its data, encoded anew,
//! is decoded to the same data.
//!
//! The first byte picks the limits, the second the split; the rest is what follows the head.
#![no_main]

#[path = "../../crates/http1/tests/support/drive.rs"]
#[allow(dead_code)]
mod drive;
#[path = "../../crates/http1/tests/support/random.rs"]
#[allow(dead_code)]
mod random;

use std::convert::Infallible;

use libfuzzer_sys::fuzz_target;
use monoceros_http1::{
    CHUNK_SUFFIX, ChunkedDecoder, Decoded, LAST_CHUNK, Limits, Policy, chunk_prefix,
};

const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

fuzz_target!(|data: &[u8]| {
    let [settings, split, body @ ..] = data else {
        return;
    };
    let limits = match settings % 2 {
        0 => Limits::default(),
        _ => Limits::new(100, 3, 30),
    };
    let input = [HEAD, body].concat();
    let pieces = random::Random::new(u64::from(*split)).split(&input);
    let split = pieces.into_iter().map(<[u8]>::to_vec).collect();
    let outcome =
        drive::same_outcome_in_all(&input, [split], &limits, u64::MAX, &Policy::default());

    let mut chunks: Vec<Vec<u8>> = Vec::new();
    let decoded = ChunkedDecoder::new().decode(body, &limits, &mut |data| {
        chunks.push(data.to_vec());
        Ok::<(), Infallible>(())
    });
    assert_eq!(decoded.is_err(), outcome.starts_with("error "));
    let Ok(Decoded { complete: true, consumed }) = decoded else {
        return;
    };
    assert!(consumed <= body.len());
    let mut encoded = Vec::new();
    for chunk in &chunks {
        chunk_prefix(&mut encoded, chunk.len());
        encoded.extend_from_slice(chunk);
        encoded.extend_from_slice(CHUNK_SUFFIX);
    }
    encoded.extend_from_slice(LAST_CHUNK);
    let mut again = Vec::new();
    let decoded = ChunkedDecoder::new().decode(&encoded, &limits, &mut |data| {
        again.push(data.to_vec());
        Ok::<(), Infallible>(())
    });
    let (consumed, complete) = (encoded.len(), true);
    assert_eq!(decoded, Ok(Decoded { consumed, complete }));
    assert_eq!(again, chunks);
});
