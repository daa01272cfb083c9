//! A request comes to the same whatever way its bytes are split, and httparse accepts every head
//! that is accepted here, and reads it alike.
//!
//! The first byte picks limits and policy, the second the split; the rest is what a peer sends.
#![no_main]

#[path = "../../crates/http1/tests/support/drive.rs"]
#[allow(dead_code)]
mod drive;
#[path = "../../crates/http1/tests/support/oracle.rs"]
mod oracle;
#[path = "../../crates/http1/tests/support/random.rs"]
#[allow(dead_code)]
mod random;

use libfuzzer_sys::fuzz_target;
use monoceros_http1::{ForwarderNames, Limits, Policy, UnderscoreNames};

fuzz_target!(|data: &[u8]| {
    let [settings, split, input @ ..] = data else {
        return;
    };
    let limits = match settings % 4 {
        0 => Limits::default(),
        1 => Limits::new(0, 0, 0),
        2 => Limits::new(40, 3, 60),
        _ => Limits::new(16, 1, 16),
    };
    let underscores = match settings / 4 % 3 {
        0 => UnderscoreNames::Drop,
        1 => UnderscoreNames::Refuse,
        _ => UnderscoreNames::Map,
    };
    let permitted = settings / 12 % 2 == 1;
    let policy = Policy {
        underscores,
        forwarder: ForwarderNames::None,
        obsolete_folding: permitted,
        spaces_before_colon: permitted,
        any_method: permitted,
        casefold_method: permitted,
        any_version: permitted,
    };
    let pieces = random::Random::new(u64::from(*split)).split(input);
    let split = pieces.into_iter().map(<[u8]>::to_vec).collect();
    drive::same_outcome_in_all(input, [split], &limits, u64::MAX, &policy);
    oracle::agree(input);
});
