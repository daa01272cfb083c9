//! A client's bytes come to the same events however they are split, within the limit of memory, and
//! a message that has come can be sent back and is read as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use monoceros_websocket::{Compression, Connection, Kind, Parameters};

#[path = "../../crates/websocket/tests/support/mod.rs"]
mod support;

use support::drive::{agreed, outcome, same_outcome_in_all};
use support::frames::{as_client, frame};
use support::random::Random;

/// Messages may have as many bytes: a few, so that limits are met, or more than inputs inflate to.
const LIMITS: [usize; 4] = [0, 40, 1000, 1 << 22];

/// Frames from pairs of first byte and length, each with its payload: what a fuzzer changes in a
/// payload is not hidden by a mask then, and lengths fit.
fn framed(mut data: &[u8]) -> Vec<u8> {
    let mut input = Vec::new();
    while let [first, length, rest @ ..] = data {
        let (payload, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        input.extend(frame(*first, payload));
        data = rest;
    }
    input
}

fn parameters(choice: u8) -> Option<Parameters> {
    let every = Compression { least: 0, ..Compression::default() };
    let offer = match choice {
        0 => return None,
        1 => "permessage-deflate",
        2 => "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
        _ => "permessage-deflate; server_max_window_bits=9",
    };
    Some(agreed(offer, &every))
}

fuzz_target!(|data: &[u8]| {
    let [choice, seed, data @ ..] = data else {
        return;
    };
    let limit = LIMITS[usize::from(choice & 3)];
    let parameters = parameters(choice >> 2 & 3);
    let input = if choice >> 4 & 1 == 0 { framed(data) } else { data.to_vec() };
    let mut random = Random::new(u64::from(*seed));
    let splits: Vec<_> = (0..2).map(|_| random.split(&input)).collect();
    let lines = same_outcome_in_all(&input, splits, limit, parameters);

    let mut sender = Connection::new(limit, parameters);
    let mut out = Vec::new();
    let texts: Vec<&String> = lines.iter().filter(|line| line.starts_with("text ")).collect();
    for text in &texts {
        let payload = text.strip_prefix("text ").unwrap_or_default();
        assert_eq!(sender.message(Kind::Text, payload.as_bytes(), &mut out), Ok(()));
    }
    let sent = as_client(&out);
    let read = outcome(&[&sent], limit, parameters);
    assert!(read.iter().eq(texts));
});
