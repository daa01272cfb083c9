//! Packets and what they stand for: what is accepted, what is refused, and that neither depends on
//! how the bytes come.

#[path = "../../http1/tests/support/random.rs"]
#[allow(dead_code, reason = "these tests need no splits")]
mod random;
mod support;

use monoceros_http1::{Head, HeadParser, Limits, Policy, Progress as HeadProgress, Status};
use monoceros_uwsgi::{Error, LONGEST, Packet, Progress, Request, VARIABLES_MOST, read};
use random::Random;
use support::{packet, packet_of};

/// What the packet comes to; the same when it arrives byte by byte, because a reader asks again
/// only while it is partial.
fn understood(input: &[u8]) -> Result<Request, Error> {
    let whole = Packet::read(input);
    let mut by_bytes = Ok(Progress::Partial);
    for end in 0..=input.len() {
        by_bytes = Packet::read(&input[..end]);
        if by_bytes != Ok(Progress::Partial) {
            break;
        }
    }
    assert_eq!(whole, by_bytes, "{}", input.escape_ascii());
    match whole? {
        Progress::Complete(packet) => {
            assert!(packet.length() <= input.len().min(LONGEST));
            read(&packet)
        }
        Progress::Partial => panic!("partial: {}", input.escape_ascii()),
    }
}

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn head(pairs: &[(&str, &str)]) -> String {
    String::from_utf8(understood(&packet(pairs)).unwrap().head).unwrap()
}

const GET: (&str, &str) = ("REQUEST_METHOD", "GET");
const URI: (&str, &str) = ("REQUEST_URI", "/a?b");
const HOST: (&str, &str) = ("HTTP_HOST", "a");

#[test]
fn a_packet_becomes_the_head_that_a_client_has_sent() {
    let pairs = [
        ("QUERY_STRING", "b=%20"),
        ("REQUEST_METHOD", "POST"),
        ("CONTENT_TYPE", "text/plain"),
        ("CONTENT_LENGTH", "5"),
        ("REQUEST_URI", "/%61?b=%20"),
        ("PATH_INFO", "/a"),
        ("SERVER_PROTOCOL", "HTTP/2.0"),
        ("REMOTE_ADDR", "203.0.113.7"),
        ("HTTP_HOST", "example.com"),
        ("HTTP_CONTENT_LENGTH", "9"),
        ("HTTP_CONTENT_TYPE", "x/y"),
        ("HTTP_TRANSFER_ENCODING", "chunked"),
        ("HTTP_X_FORWARDED_FOR", "1.1.1.1"),
        ("HTTP_COOKIE", "a=1"),
        ("HTTP_COOKIE", "b=2"),
    ];
    let expected = "POST /%61?b=%20 HTTP/1.1\r\nHOST: example.com\r\n\
                    X-FORWARDED-FOR: 1.1.1.1\r\nCOOKIE: a=1\r\nCOOKIE: b=2\r\n\
                    CONTENT-TYPE: text/plain\r\nCONTENT-LENGTH: 5\r\n\r\n";
    assert_eq!(head(&pairs), expected);
    let variables = understood(&packet(&pairs)).unwrap().variables;
    let names: Vec<&[u8]> = variables.iter().map(|(name, _)| name).collect();
    let kept = [
        "QUERY_STRING",
        "REQUEST_METHOD",
        "REQUEST_URI",
        "PATH_INFO",
        "SERVER_PROTOCOL",
        "REMOTE_ADDR",
        "HTTP_TRANSFER_ENCODING",
    ];
    assert_eq!(names, kept.map(str::as_bytes));
    assert_eq!(variables.get(b"PATH_INFO"), Some(&b"/a"[..]));
    assert_eq!(variables.get(b"HTTP_HOST"), None);
}

#[test]
fn what_follows_a_packet_is_not_looked_at() {
    let input = [packet(&[GET, URI, HOST]), b"body".to_vec()].concat();
    let Ok(Progress::Complete(found)) = Packet::read(&input) else { panic!() };
    assert_eq!(found.length(), input.len() - 4);
}

#[test]
fn empty_lengths_and_types_are_none() {
    let pairs = [GET, URI, HOST, ("CONTENT_LENGTH", ""), ("CONTENT_TYPE", "")];
    assert_eq!(head(&pairs), "GET /a?b HTTP/1.1\r\nHOST: a\r\n\r\n");
}

#[test]
fn a_client_of_the_old_version_need_not_tell_a_host() {
    assert_eq!(head(&[GET, URI]), "GET /a?b HTTP/1.0\r\n\r\n");
    let old = [GET, URI, HOST, ("SERVER_PROTOCOL", "HTTP/1.0")];
    assert_eq!(head(&old), "GET /a?b HTTP/1.0\r\nHOST: a\r\n\r\n");
}

#[test]
fn without_a_uri_the_target_is_made_of_its_parts() {
    for (script, path, query, target) in [
        ("", "/a b", "", "/a%20b"),
        ("/app", "/\u{e9}%?#", "x=%41", "/app/%C3%A9%25%3F%23?x=%41"),
        ("", "", "", "/"),
        ("", "a", "b", "/a?b"),
        ("", "/a\r\nb", "", "/a%0D%0Ab"),
    ] {
        let pairs = [
            GET,
            HOST,
            ("SCRIPT_NAME", script),
            ("PATH_INFO", path),
            ("QUERY_STRING", query),
            ("REQUEST_URI", ""),
        ];
        assert_eq!(head(&pairs), format!("GET {target} HTTP/1.1\r\nHOST: a\r\n\r\n"));
    }
}

#[test]
fn the_last_word_of_a_front_end_counts() {
    let pairs = [GET, URI, HOST, ("SERVER_NAME", "a"), ("SERVER_NAME", "b"), GET];
    let variables = understood(&packet(&pairs)).unwrap().variables;
    assert_eq!(variables.get(b"SERVER_NAME"), Some(&b"b"[..]));
}

#[test]
fn what_an_operator_writes_by_hand_tells_the_scheme() {
    let scheme = |pairs: &[(&str, &str)]| {
        let pairs = [&[GET, URI, HOST], pairs].concat();
        understood(&packet(&pairs)).unwrap().variables.is_https()
    };
    assert_eq!(scheme(&[]), None);
    assert_eq!(scheme(&[("REQUEST_SCHEME", ""), ("HTTPS", "")]), None);
    assert_eq!(scheme(&[("REQUEST_SCHEME", "https")]), Some(true));
    assert_eq!(scheme(&[("REQUEST_SCHEME", "http")]), Some(false));
    assert_eq!(scheme(&[("REQUEST_SCHEME", "http"), ("HTTPS", "on")]), Some(true));
    assert_eq!(scheme(&[("REQUEST_SCHEME", "https"), ("HTTPS", "off")]), Some(false));
    assert_eq!(scheme(&[("HTTPS", "on"), ("UWSGI_SCHEME", "http")]), Some(false));
    assert_eq!(scheme(&[("UWSGI_SCHEME", "HTTPS")]), Some(true));
    assert_eq!(scheme(&[("UWSGI_SCHEME", "https, http")]), Some(false));
    assert_eq!(scheme(&[("HTTPS", ""), ("wsgi.url_scheme", "https")]), Some(true));
}

#[test]
fn the_key_of_the_scheme_is_none_of_the_variables() {
    let pairs = [GET, URI, HOST, ("wsgi.url_scheme", "https")];
    let variables = understood(&packet(&pairs)).unwrap().variables;
    assert!(variables.iter().all(|(name, _)| !name.starts_with(b"wsgi.")));
}

#[test]
fn packets_that_are_refused() {
    let cases: &[(&str, Pairs, Error)] = &[
        ("none", &[], Error::MethodMissing),
        ("no method", &[URI, HOST], Error::MethodMissing),
        ("empty method", &[("REQUEST_METHOD", ""), URI, HOST], Error::MethodMissing),
        ("two methods", &[GET, ("REQUEST_METHOD", "PUT"), URI], Error::Contradiction),
        ("two lengths", &[("CONTENT_LENGTH", "1"), ("CONTENT_LENGTH", "2")], Error::Contradiction),
        ("method with a blank", &[("REQUEST_METHOD", "GET /x"), URI], Error::Value),
        ("method with a line", &[("REQUEST_METHOD", "GET\r\n"), URI], Error::Value),
        ("target with a blank", &[GET, ("REQUEST_URI", "/a b")], Error::Value),
        ("target with a line", &[GET, ("REQUEST_URI", "/\r\nX: y")], Error::Value),
        ("query with a line", &[GET, ("PATH_INFO", "/"), ("QUERY_STRING", "\n")], Error::Value),
        ("field with a line", &[GET, URI, ("HTTP_A", "b\r\nC: d")], Error::Value),
        ("field with LF", &[GET, URI, ("HTTP_A", "b\nC: d")], Error::Value),
        ("type with a line", &[GET, URI, ("CONTENT_TYPE", "a\r\nb")], Error::Value),
        ("length with a line", &[GET, URI, ("CONTENT_LENGTH", "1\r\n")], Error::Value),
        ("NUL in a field", &[GET, URI, ("HTTP_A", "\0")], Error::Nul),
        ("NUL in a path", &[GET, URI, ("PATH_INFO", "/\0")], Error::Nul),
        ("empty name", &[GET, URI, ("", "x")], Error::Name),
        ("name with a blank", &[GET, URI, ("A B", "x")], Error::Name),
        ("name with a NUL", &[GET, URI, ("A\0", "x")], Error::Name),
        ("name beyond ASCII", &[GET, URI, ("\u{e9}", "x")], Error::Name),
        ("field without a name", &[GET, URI, ("HTTP_", "x")], Error::Name),
        ("field name with a colon", &[GET, URI, ("HTTP_A:B", "x")], Error::Name),
        ("the server's own key", &[GET, URI, ("wsgi.input", "x")], Error::Reserved),
        ("Gunicorn's own key", &[GET, URI, ("gunicorn.socket", "x")], Error::Reserved),
    ];
    for (what, pairs, error) in cases {
        assert_eq!(understood(&packet(pairs)), Err(*error), "{what}");
        assert_eq!(error.status(), Status::BAD_REQUEST);
        assert!(error.rule().starts_with("uwsgi-") && !error.to_string().is_empty());
    }
}

#[test]
fn what_is_no_packet_is_refused_at_once() {
    for input in
        [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01", b"\x05\0\0\0", b"\x1e", b"\0\0\0\x01"]
    {
        assert_eq!(understood(input), Err(Error::Modifier), "{}", input.escape_ascii());
    }
}

#[test]
fn lengths_that_do_not_add_up_are_refused() {
    let good = packet(&[GET, URI, HOST]);
    let block = &good[4..];
    for end in 0..block.len() {
        let cut = packet_of(&block[..end]);
        match understood(&cut) {
            // It ends where a variable does.
            Ok(_) | Err(Error::MethodMissing) => {
                let whole = [block[..end].to_vec(), packet(&[HOST])[4..].to_vec()].concat();
                assert_ne!(understood(&packet_of(&whole)), Err(Error::Length));
            }
            Err(error) => assert_eq!(error, Error::Length, "cut at {end}"),
        }
    }
    assert_eq!(understood(&packet_of(b"\xff\xffA")), Err(Error::Length));
    assert_eq!(understood(&packet_of(b"\x01\0A\x02\0x")), Err(Error::Length));
    assert_eq!(understood(&packet_of(b"\x01\0A")), Err(Error::Length));
}

#[test]
fn the_number_of_variables_is_bounded() {
    let with = |count: usize| {
        let mut pairs = vec![GET, URI, HOST];
        pairs.resize(count, ("A", ""));
        understood(&packet(&pairs))
    };
    assert!(with(VARIABLES_MOST).is_ok());
    assert_eq!(with(VARIABLES_MOST + 1), Err(Error::TooMany));
    assert_eq!(Error::TooMany.status(), Status::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

#[test]
fn the_longest_packet_is_read() {
    let mut pairs = vec![GET, URI, HOST];
    let used = packet(&pairs).len() - 4;
    let long = "x".repeat(usize::from(u16::MAX) - used - 5);
    pairs.push(("A", &long));
    let input = packet(&pairs);
    assert_eq!(input.len(), LONGEST);
    assert_eq!(understood(&input).unwrap().variables.get(b"A"), Some(long.as_bytes()));
}

/// Whatever a packet says, the parser of heads finds the head whole or refuses it, and its fields
/// are the packet's: nothing that a client can choose ends a line.
#[test]
fn no_packet_writes_more_than_one_head() {
    const NAMES: [&str; 9] = [
        "REQUEST_METHOD",
        "REQUEST_URI",
        "PATH_INFO",
        "QUERY_STRING",
        "HTTP_HOST",
        "HTTP_A",
        "HTTP_A_B",
        "CONTENT_LENGTH",
        "CONTENT_TYPE",
    ];
    const PIECES: [&str; 16] = [
        "GET", "/", "?", "a", "b.c", "1", " ", "\t", "\r\n", "\n", "\r", ":", "\0", "%0d",
        "\u{e9}", "\r\n\r\n",
    ];
    let mut random = Random::new(7);
    let policies = [
        Policy::default(),
        Policy {
            obsolete_folding: true,
            spaces_before_colon: true,
            any_method: true,
            any_version: true,
            ..Policy::default()
        },
    ];
    let mut accepted = 0;
    for _ in 0..30_000 {
        let pairs: Vec<(String, String)> = (0..2 + random.below(6))
            .map(|_| {
                let mut name = (*random.pick(&NAMES)).to_owned();
                let mut value = String::new();
                for _ in 0..random.below(3) {
                    let piece: &&str = random.pick(&PIECES);
                    value.push_str(piece);
                }
                if random.below(20) == 0 {
                    let piece: &&str = random.pick(&PIECES);
                    name.push_str(piece);
                }
                (name, value)
            })
            .chain([("REQUEST_METHOD".into(), "GET".into()), ("HTTP_HOST".into(), "a".into())])
            .collect();
        let pairs: Vec<(&str, &str)> =
            pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let Ok(request) = understood(&packet(&pairs)) else { continue };
        for policy in &policies {
            let mut head = Head::new();
            let parsed =
                HeadParser::new().parse(&request.head, &mut head, &Limits::new(0, 0, 0), policy);
            assert_ne!(parsed, Ok(HeadProgress::Partial), "{}", request.head.escape_ascii());
            if parsed == Ok(HeadProgress::Complete) {
                accepted += 1;
                assert_eq!(head.length, request.head.len());
                let fields = pairs.iter().filter(|(name, _)| name.starts_with("HTTP_")).count();
                let content = ["CONTENT_TYPE", "CONTENT_LENGTH"].into_iter().filter(|name| {
                    let last = pairs.iter().rev().find(|(other, _)| other == name);
                    last.is_some_and(|(_, value)| !value.is_empty())
                });
                assert_eq!(head.fields.len(), fields + content.count());
            }
        }
    }
    assert!(accepted > 100, "only {accepted} were accepted");
}
