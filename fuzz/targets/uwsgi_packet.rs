//! A uwsgi packet comes to the same however its bytes are split, and what is accepted is one whole
//! head to the parser of heads, or refused by it: nothing in a packet can end that head early.
#![no_main]

use libfuzzer_sys::fuzz_target;
use monoceros_http1::{Head, HeadParser, Limits, Policy, Progress as HeadProgress};
use monoceros_uwsgi::{LONGEST, Packet, Progress, read};

fuzz_target!(|data: &[u8]| {
    let [choice, input @ ..] = data else {
        return;
    };
    let whole = Packet::read(input);
    // A reader asks again for as long as the packet is partial.
    let mut by_bytes = Packet::read(&[]);
    for end in 1..=input.len() {
        if by_bytes != Ok(Progress::Partial) {
            break;
        }
        by_bytes = Packet::read(&input[..end]);
    }
    assert_eq!(whole, by_bytes);
    let Ok(Progress::Complete(packet)) = whole else {
        assert!(whole.is_err() || input.len() < LONGEST);
        return;
    };
    assert!(packet.length() <= input.len() && packet.length() <= LONGEST);
    let Ok(request) = read(&packet) else {
        return;
    };
    let bit = |number: u8| choice >> number & 1 == 1;
    let policy = Policy {
        obsolete_folding: bit(0),
        spaces_before_colon: bit(1),
        any_method: bit(2),
        casefold_method: bit(3),
        any_version: bit(4),
        ..Policy::default()
    };
    let mut head = Head::new();
    let parsed = HeadParser::new().parse(&request.head, &mut head, &Limits::new(0, 0, 0), &policy);
    assert_ne!(parsed, Ok(HeadProgress::Partial));
    if parsed == Ok(HeadProgress::Complete) {
        assert_eq!(head.length, request.head.len());
        assert!(head.amendments.len() <= 1, "only a method's case may be amended");
    }
    for (name, value) in request.variables.iter() {
        assert!(!name.starts_with(b"wsgi.") && !name.starts_with(b"gunicorn."));
        assert!(!name.is_empty() && !value.contains(&0));
    }
});
