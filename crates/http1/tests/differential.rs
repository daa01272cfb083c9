//! Mutated requests, read by this parser and by httparse: what httparse rejects is rejected here,
//! what both accept they read alike. (The other way round does not hold: httparse is lenient.)

mod support;

use support::case::Case;
use support::oracle::agree;
use support::random::Random;

const MUTANTS: usize = 300_000;

/// Bytes and texts on which parsers tend to differ.
const TELLING: [&[u8]; 34] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b"\x0b",
    b"\x0c",
    b"\x7f",
    b"\x80",
    b"\xff",
    b":",
    b"::",
    b" :",
    b"/",
    b"?",
    b"#",
    b"*",
    b",",
    b";",
    b"\"",
    b"_",
    b"\r\n ",
    b"\r\n\t",
    b"\r\n\r\n",
    b"\n\n",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"Host: a\r\n",
    b"Content-Length: 1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"X:\r\n",
    b"GET ",
    b"http://a",
];

fn mutate(random: &mut Random, input: &mut Vec<u8>) {
    for _ in 0..1 + random.below(4) {
        let at = random.below(input.len() + 1);
        match random.below(4) {
            0 if at < input.len() => {
                input.remove(at);
            }
            1 if at < input.len() => input[at] = random.next() as u8,
            2 if at < input.len() => {
                let end = (at + 1 + random.below(12)).min(input.len());
                let piece = input[at..end].to_vec();
                let to = random.below(input.len() + 1);
                input.splice(to..to, piece);
            }
            _ => {
                let piece = *random.pick(&TELLING);
                input.splice(at..at, piece.iter().copied());
            }
        }
    }
}

#[test]
fn what_httparse_rejects_is_rejected_and_the_rest_is_read_alike() {
    let seeds: Vec<Vec<u8>> =
        ["valid", "invalid"].into_iter().flat_map(Case::all).map(|case| case.input).collect();
    let accepted_seeds = seeds.iter().filter(|seed| agree(seed)).count();
    assert!(accepted_seeds > 80, "{accepted_seeds}");

    let mut random = Random::new(1);
    let mut accepted = 0;
    for _ in 0..MUTANTS {
        let mut input = random.pick(&seeds).clone();
        mutate(&mut random, &mut input);
        accepted += usize::from(agree(&input));
    }
    // Else the mutants would be too wild to tell anything.
    assert!(accepted > MUTANTS / 20, "{accepted}");
}
