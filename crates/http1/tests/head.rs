//! The head parser beyond single requests: reuse, idleness, the limit on a whole head, and what an
//! error tells.

mod support;

use monoceros_http1::{Head, HeadParser, Limits, Name, Policy, Progress};
use support::case::Case;

fn parse(parser: &mut HeadParser, buffer: &[u8], head: &mut Head) -> Result<Progress, String> {
    parser
        .parse(buffer, head, &Limits::default(), &Policy::default())
        .map_err(|error| error.rule().to_owned())
}

#[test]
fn one_parser_and_one_head_serve_request_after_request() {
    let (mut parser, mut head) = (HeadParser::new(), Head::new());
    let mut input: &[u8] = b"POST /1?x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nX-A: 1\r\n\r\n\
        \r\nGET /2 HTTP/1.0\r\n\r\n\
        GET /3 HTTP/1.1\r\nhost: c\r\n\r\n";
    let capacity = head.fields.capacity();
    for (path, query, fields, host) in
        [(&b"/1"[..], &b"x"[..], 3, &b"a"[..]), (b"/2", b"", 0, b""), (b"/3", b"", 1, b"c")]
    {
        parser.reset();
        assert_eq!(parse(&mut parser, input, &mut head), Ok(Progress::Complete));
        assert_eq!(head.path.of(input), path);
        assert_eq!(head.query.of(input), query);
        assert_eq!(head.fields.len(), fields);
        assert_eq!(head.host.of(input), host);
        input = &input[head.length..];
    }
    assert!(input.is_empty());
    assert_eq!(head.fields.capacity(), capacity);
}

#[test]
fn spans_hold_when_the_buffer_moves() {
    let input = b"GET /path HTTP/1.1\r\nHost: example.com\r\n\r\n".to_vec();
    let mut head = Head::new();
    parse(&mut HeadParser::new(), &input, &mut head).unwrap();
    let moved = input.clone();
    drop(input);
    assert_eq!(head.fields[0].known, Name::Host);
    assert_eq!(head.fields[0].name.of(&moved), b"Host");
    assert_eq!(head.fields[0].value.of(&moved), b"example.com");
    assert_eq!(head.fields[0].value.len(), 11);
}

#[test]
fn a_connection_is_idle_until_more_than_an_empty_line_has_come() {
    let (mut parser, mut head) = (HeadParser::new(), Head::new());
    for (buffer, idle) in [(&b""[..], true), (b"\r", true), (b"\r\n", true), (b"\r\nG", false)] {
        assert_eq!(parse(&mut parser, buffer, &mut head), Ok(Progress::Partial));
        assert_eq!(parser.is_idle(buffer), idle, "{}", buffer.escape_ascii());
    }
    parser.reset();
    assert!(parser.is_idle(b""));
}

/// Sixteen million bytes are the most, whatever the operator has lifted.
#[test]
fn a_head_as_a_whole_has_a_limit() {
    const FIELDS: usize = 31;
    let limits = Limits::new(0, 0, 0);
    let field = [b"X-A: ".to_vec(), vec![b'x'; 512 * 1024 - 7], b"\r\n".to_vec()].concat();
    let mut input = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
    input.extend_from_slice(&field.repeat(FIELDS));
    let mut end = input.clone();
    end.extend_from_slice(b"\r\n");
    let mut head = Head::new();
    let progress = HeadParser::new().parse(&end, &mut head, &limits, &Policy::default());
    assert_eq!(progress, Ok(Progress::Complete));
    assert_eq!(head.fields.len(), FIELDS + 1);

    input.extend_from_slice(&field);
    for step in [input.len(), 100_000] {
        let mut parser = HeadParser::new();
        let rule = (0..=input.len()).step_by(step).chain([input.len()]).find_map(|length| {
            let progress = parser.parse(&input[..length], &mut head, &limits, &Policy::default());
            progress.err().map(|error| (error.status().code(), error.rule()))
        });
        assert_eq!(rule, Some((431, "head-limit")), "in steps of {step}");
    }
}

#[test]
fn limits_of_zero_or_beyond_the_maximum_are_the_maximum() {
    let most = Limits::new(0, 0, 0);
    assert_eq!(most, Limits::new(usize::MAX, usize::MAX, usize::MAX));
    assert_eq!((most.request_line, most.fields, most.field_size), (1 << 20, 32_768, 1 << 20));
    assert_eq!(Limits::default(), Limits::new(4094, 100, 8190));
}

/// What an error says goes into logs: it names the rule's source and nothing that a peer has sent.
#[test]
fn errors_name_their_source_and_never_what_was_sent() {
    let mut statuses = std::collections::BTreeSet::new();
    for case in Case::all("invalid") {
        let mut head = Head::new();
        let Err(error) =
            HeadParser::new().parse(&case.input, &mut head, &case.limits, &case.policy)
        else {
            continue;
        };
        let text = error.to_string();
        assert!(text.contains("RFC") || text.contains("header_map"), "{text}");
        assert!(text.is_ascii() && !text.contains(['\r', '\n']), "{text}");
        assert!(!error.status().reason().is_empty());
        statuses.insert(error.status().code());
    }
    assert_eq!(statuses.into_iter().collect::<Vec<_>>(), [400, 414, 417, 431, 501, 505]);
}

/// Feeds a head byte by byte that would take minutes if every call looked at all of it again.
#[test]
fn work_is_linear_in_the_bytes_however_they_come() {
    let limits = Limits::new(0, 0, 0);
    let mut input = b"GET /".to_vec();
    input.resize(200_000, b'x');
    input.extend_from_slice(b" HTTP/1.1\r\nHost: a\r\nX-A: ");
    input.resize(600_000, b'x');
    input.extend_from_slice(b"\r\n");
    for _ in 0..20_000 {
        input.extend_from_slice(b"X-A: 1\r\n");
    }
    input.extend_from_slice(b"\r\n");
    let started = std::time::Instant::now();
    let (mut parser, mut head) = (HeadParser::new(), Head::new());
    for length in 1..input.len() {
        let progress = parser.parse(&input[..length], &mut head, &limits, &Policy::default());
        assert_eq!(progress, Ok(Progress::Partial));
    }
    let progress = parser.parse(&input, &mut head, &limits, &Policy::default());
    assert_eq!(progress, Ok(Progress::Complete));
    assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
}
