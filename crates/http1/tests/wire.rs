//! Runs the cases of tests/wire, each whole, byte by byte, at every cut and in random pieces.

mod support;

use support::case::Case;
use support::drive::same_outcome_in_all;
use support::random::Random;

const RANDOM_SPLITS: u64 = 50;

fn check(folder: &str) {
    let mut failures = Vec::new();
    for case in Case::all(folder) {
        let cuts = (1..case.input.len()).map(|at| {
            let (before, after) = case.input.split_at(at);
            vec![before.to_vec(), after.to_vec()]
        });
        let random = (0..RANDOM_SPLITS).map(|seed| {
            let pieces = Random::new(seed).split(&case.input);
            pieces.into_iter().map(<[u8]>::to_vec).collect()
        });
        let Case { limits, body_limit, policy, .. } = &case;
        let splits = cuts.chain(random);
        let got = same_outcome_in_all(&case.input, splits, limits, *body_limit, policy);
        if got != case.expected {
            failures.push(format!("{}\nexpected:\n{}got:\n{got}", case.name, case.expected));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn valid_requests_are_read_as_they_are_meant() {
    check("valid");
}

#[test]
fn invalid_requests_are_refused_with_their_status_and_rule() {
    check("invalid");
    for case in Case::all("invalid") {
        assert!(case.expected.starts_with("error "), "{}: no error is expected", case.name);
    }
}
