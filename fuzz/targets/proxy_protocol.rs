//! A PROXY protocol header comes to the same whatever way its bytes are split, what is accepted is
//! within its bounds, and what begins like one is not taken for anything else.
//!
//! The first byte picks the versions, the rest is what a peer sends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use monoceros_proxy::proxy_protocol::{Error, LONGEST, Progress, Versions, begins, parse};

fuzz_target!(|data: &[u8]| {
    let [choice, input @ ..] = data else {
        return;
    };
    let versions = match choice % 3 {
        0 => Versions::V1,
        1 => Versions::V2,
        _ => Versions::Both,
    };
    let whole = parse(input, versions);
    // A reader asks again for as long as the header is partial.
    let mut by_bytes = parse(&[], versions);
    for end in 1..=input.len() {
        if by_bytes != Ok(Progress::Partial) {
            break;
        }
        by_bytes = parse(&input[..end], versions);
    }
    assert_eq!(whole, by_bytes);
    match whole {
        Ok(Progress::Complete(header, length)) => {
            assert!(length <= input.len() && length <= LONGEST);
            assert_eq!(begins(input), Some(true));
            assert!(!header.protocol().is_empty());
            assert_eq!(parse(&input[..length], versions), whole);
        }
        Ok(Progress::Partial) => assert!(input.len() < LONGEST),
        Err(Error::Missing) => assert!(begins(input) != Some(true) || versions != Versions::Both),
        Err(_) => assert_ne!(begins(input), Some(false)),
    }
});
