//! What clients send, whole, byte by byte and at random splits.

use std::borrow::Cow;

use monoceros_websocket::{
    Closing, Compression, Connection, Event, Kind, Parameters, Received, WindowBits,
};

mod support;

use support::drive::{agreed, deflate, outcome, same_outcome_in_all};
use support::frames::{
    BINARY, CLOSE, COMPRESSED, CONTINUATION, FINAL, PING, PONG, TEXT, announced, as_client, binary,
    close, frame, text,
};
use support::random::Random;

const LIMIT: usize = 1 << 20;

/// The events of these frames, which are the same however they are split.
fn events(frames: &[Vec<u8>], limit: usize, parameters: Option<Parameters>) -> Vec<String> {
    let input = frames.concat();
    let mut random = Random::new(input.len() as u64);
    // Long ones are the same all the way.
    let count = if input.len() < 10_000 { 20 } else { 3 };
    let splits: Vec<_> = (0..count).map(|_| random.split(&input)).collect();
    same_outcome_in_all(&input, splits, limit, parameters)
}

fn plain(frames: &[Vec<u8>]) -> Vec<String> {
    events(frames, LIMIT, None)
}

#[test]
fn messages_of_one_frame() {
    let frames = [text("Hello"), binary(b"\x00\xff"), text(""), binary(b""), text("a\u{1f4a9}z")];
    assert_eq!(
        plain(&frames),
        ["text Hello", r"binary \x00\xff", "text ", "binary ", "text a\u{1f4a9}z"],
    );
}

#[test]
fn every_form_of_length() {
    for length in [0, 1, 124, 125, 126, 127, 128, 255, 256, 65_535, 65_536, 70_000] {
        let payload = Random::new(length as u64).bytes(length);
        let expected = format!("binary {}", payload.escape_ascii());
        assert_eq!(plain(&[binary(&payload), text("next")]), [&expected, "text next"]);
    }
}

#[test]
fn fragments_and_control_frames_between_them() {
    let frames = [
        frame(TEXT, b"one "),
        frame(FINAL | PING, b"ping"),
        frame(CONTINUATION, b""),
        frame(CONTINUATION, b"two "),
        frame(FINAL | PONG, b""),
        frame(FINAL | CONTINUATION, b"three"),
        frame(BINARY, b""),
        frame(FINAL | CONTINUATION, b""),
        frame(BINARY, b""),
        frame(FINAL | CONTINUATION, b"late"),
        frame(BINARY, b"early"),
        frame(FINAL | CONTINUATION, b""),
    ];
    assert_eq!(
        plain(&frames),
        ["ping ping", "pong ", "text one two three", "binary ", "binary late", "binary early",],
    );
}

#[test]
fn control_frames_of_every_length() {
    for length in [0, 1, 2, 124, 125] {
        let payload = vec![b'x'; length];
        let x = "x".repeat(length);
        let frames = [frame(FINAL | PING, &payload), frame(FINAL | PONG, &payload)];
        assert_eq!(plain(&frames), [format!("ping {x}"), format!("pong {x}")]);
    }
    assert_eq!(plain(&[frame(FINAL | PING, &[0; 126])]), ["error 1002 control-length"]);
}

#[test]
fn rules_of_frames_are_rules_of_connections() {
    for (frames, expected) in [
        (vec![vec![0x81, 0x01, b'a']], "error 1002 frame-mask"),
        (vec![frame(0x83, b"")], "error 1002 frame-opcode"),
        (vec![frame(0x8b, b"")], "error 1002 frame-opcode"),
        (vec![frame(0xc1, b"")], "error 1002 frame-reserved-bits"),
        (vec![frame(0xa1, b"")], "error 1002 frame-reserved-bits"),
        (vec![frame(0x91, b"")], "error 1002 frame-reserved-bits"),
        (vec![frame(PING, b"")], "error 1002 control-fragmented"),
        (vec![vec![0x82, 0xfe, 0, 125, 0, 0, 0, 0]], "error 1002 frame-length"),
        (vec![frame(FINAL | CONTINUATION, b"")], "error 1002 continuation-unexpected"),
        (vec![frame(CONTINUATION, b"")], "error 1002 continuation-unexpected"),
        (vec![frame(TEXT, b"a"), frame(FINAL | TEXT, b"b")], "error 1002 continuation-missing"),
        (vec![frame(TEXT, b"a"), frame(BINARY, b"b")], "error 1002 continuation-missing"),
    ] {
        // What was right before it has been delivered, what is right behind it is not.
        let frames = [vec![text("before")], frames, vec![text("after")]].concat();
        assert_eq!(plain(&frames), ["text before", expected], "{frames:x?}");
    }
    let ended = [frame(TEXT, b"a"), frame(FINAL | CONTINUATION, b"b")].concat();
    assert_eq!(
        plain(&[ended, frame(FINAL | CONTINUATION, b"c")]),
        ["text ab", "error 1002 continuation-unexpected"],
    );
}

#[test]
fn messages_larger_than_the_limit_are_refused_by_their_length() {
    let limited = |frames: &[Vec<u8>]| events(frames, 1000, None);
    assert_eq!(limited(&[binary(&[b'x'; 1000])]), [format!("binary {}", "x".repeat(1000))]);
    // Before a byte of its payload has come.
    assert_eq!(limited(&[announced(FINAL | BINARY, 1001)]), ["error 1009 message-limit"]);
    assert_eq!(limited(&[announced(FINAL | BINARY, (1 << 63) - 1)]), ["error 1009 message-limit"]);
    let fragments = |last: u64| {
        let first = frame(BINARY, &[b'x'; 600]);
        [first, frame(FINAL | PING, b""), announced(FINAL | CONTINUATION, last)]
    };
    assert_eq!(limited(&fragments(401)), ["ping ", "error 1009 message-limit"]);
    assert_eq!(limited(&fragments(400)), ["ping "]);
    // The next message has all of it again.
    let full = binary(&[b'x'; 1000]);
    assert_eq!(limited(&[full.clone(), full]).len(), 2);
    assert_eq!(events(&[text("")], 0, None), ["text "]);
    assert_eq!(events(&[text("a")], 0, None), ["error 1009 message-limit"]);
}

#[test]
fn text_is_utf_8_and_fails_at_its_first_wrong_byte() {
    let wrong = "error 1007 text";
    assert_eq!(plain(&[frame(FINAL | TEXT, b"a\xff")]), [wrong]);
    assert_eq!(plain(&[frame(FINAL | TEXT, b"a\xe2\x82")]), [wrong]);
    // A character over the border of fragments, and one that ends in none.
    let euro = [frame(TEXT, b"\xe2"), frame(CONTINUATION, b"\x82"), frame(128, b"\xac")];
    assert_eq!(plain(&euro), ["text \u{20ac}"]);
    assert_eq!(plain(&[frame(TEXT, b"\xe2"), frame(FINAL | CONTINUATION, b"")]), [wrong]);
    // The message could go on for long: nobody waits for it.
    let start =
        [announced(FINAL | TEXT, 100_000)[..].to_vec(), frame(0, b"ok \xed\xa0")[6..].into()];
    assert_eq!(plain(&start), [wrong]);
    assert_eq!(plain(&[frame(TEXT, b"\xc0")]), [wrong]);
    // Nothing is asked of bytes.
    assert_eq!(plain(&[binary(b"\xff\xc0")]), [r"binary \xff\xc0"]);
    assert_eq!(plain(&[frame(FINAL | PING, b"\xff")]), [r"ping \xff"]);
}

#[test]
fn a_close_says_why() {
    assert_eq!(plain(&[frame(FINAL | CLOSE, b"")]), ["close 1005 "]);
    assert_eq!(plain(&[close(1000, b"")]), ["close 1000 "]);
    assert_eq!(plain(&[close(4321, "caf\u{e9}".as_bytes())]), ["close 4321 caf\u{e9}"]);
    assert_eq!(plain(&[close(1000, &[b'r'; 123])]), [format!("close 1000 {}", "r".repeat(123))]);
    assert_eq!(plain(&[frame(FINAL | CLOSE, b"\x03")]), ["error 1002 close-payload"]);
    assert_eq!(plain(&[close(1000, b"\xff")]), ["error 1007 close-reason"]);
    assert_eq!(plain(&[close(1000, b"caf\xc3")]), ["error 1007 close-reason"]);
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        assert_eq!(plain(&[close(code, b"")]), ["error 1002 close-code"], "{code}");
    }
}

#[test]
fn nothing_follows_a_close() {
    let frames = [frame(TEXT, b"half"), close(1001, b""), text("more"), vec![0xff; 20]];
    assert_eq!(plain(&frames), ["close 1001 "]);
    assert_eq!(
        plain(&[vec![0xff, 0xff], text("more"), close(1000, b"")]),
        ["error 1002 frame-opcode"],
    );
}

/// Frames of compressed messages, as a compressor with this agreement would write them.
fn compressed(messages: &[(Kind, &[u8])], parameters: Option<Parameters>) -> Vec<u8> {
    let mut connection = Connection::new(LIMIT, parameters);
    let mut out = Vec::new();
    for (kind, payload) in messages {
        connection.message(*kind, payload, &mut out).unwrap();
    }
    as_client(&out)
}

#[test]
fn compressed_messages_with_and_without_context() {
    let every = Compression { least: 0, ..Compression::default() };
    let long = "a text that repeats itself, ".repeat(1000);
    let noise = Random::new(1).bytes(20_000);
    let messages = [
        (Kind::Text, "Hello".as_bytes()),
        (Kind::Text, b"Hello"),
        (Kind::Text, b""),
        (Kind::Text, long.as_bytes()),
        (Kind::Binary, &noise),
        (Kind::Text, "h\u{e9}llo".as_bytes()),
        (Kind::Text, long.as_bytes()),
    ];
    let noise = format!("binary {}", noise.escape_ascii());
    let long = format!("text {long}");
    let expected =
        ["text Hello", "text Hello", "text ", &long, &noise, "text h\u{e9}llo", long.as_str()];
    for offer in [
        "permessage-deflate",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; server_max_window_bits=9; client_max_window_bits=9",
    ] {
        let parameters = Some(agreed(offer, &every));
        let frames = [compressed(&messages, parameters), text("plain")];
        assert_eq!(events(&frames, LIMIT, parameters), [&expected[..], &["text plain"]].concat());
    }
}

#[test]
fn compressed_messages_in_fragments() {
    // RFC 7692, 7.2.3.1: only the first fragment is marked.
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let frames = [
        frame(COMPRESSED | TEXT, &hello[..3]),
        frame(FINAL | PING, b"raw"),
        frame(CONTINUATION, b""),
        frame(FINAL | CONTINUATION, &hello[3..]),
        frame(COMPRESSED | TEXT, &[0xf2, 0x00, 0x11, 0x00, 0x00]),
        frame(FINAL | CONTINUATION, b""),
        frame(TEXT, b"not "),
        frame(FINAL | CONTINUATION, b"compressed"),
    ];
    assert_eq!(
        events(&frames, LIMIT, deflate()),
        ["ping raw", "text Hello", "text Hello", "text not compressed"],
    );
    let none =
        [frame(0xc1, b""), frame(COMPRESSED | TEXT, b""), frame(0x80, b""), frame(0xc1, &hello)];
    assert_eq!(events(&none, LIMIT, deflate()), ["text ", "text ", "text Hello"]);
    let marked = [frame(COMPRESSED | TEXT, &hello[..3]), frame(0xc0, &hello[3..])];
    assert_eq!(events(&marked, LIMIT, deflate()), ["error 1002 frame-reserved-bits"]);
}

#[test]
fn without_context_nothing_refers_to_earlier_messages() {
    let hello = frame(0xc1, &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    let again = frame(0xc1, &[0xf2, 0x00, 0x11, 0x00, 0x00]);
    let alone = agreed("permessage-deflate; client_no_context_takeover", &Compression::default());
    let expected = ["text Hello", "text Hello", "error 1007 deflate"];
    assert_eq!(events(&[hello.clone(), hello, again], LIMIT, Some(alone)), expected);
}

#[test]
fn compressed_text_is_utf_8_after_inflating() {
    let every = Compression { least: 0, ..Compression::default() };
    let parameters = Some(agreed("permessage-deflate", &every));
    let valid = "\u{20ac}\u{1f4a9}".repeat(2000);
    let broken = [valid.as_bytes(), b"\xed\xa0"].concat();
    let cut = &valid.as_bytes()[..valid.len() - 1];
    for (payload, expected) in [(valid.as_bytes(), None), (&broken, Some(())), (cut, Some(()))] {
        let frames = [compressed(&[(Kind::Text, payload)], parameters)];
        let expected = match expected {
            None => format!("text {valid}"),
            Some(()) => "error 1007 text".to_owned(),
        };
        assert_eq!(events(&frames, LIMIT, parameters), [expected]);
    }
}

#[test]
fn what_is_wrong_first_is_reported() {
    // Stored blocks say what they hold: wrong UTF-8, then a block of the reserved kind.
    let stored = |data: &[u8]| {
        let length = data.len() as u16;
        [&[0][..], &length.to_le_bytes(), &(!length).to_le_bytes(), data].concat()
    };
    let reserved = [0x06];
    let wrong = [stored(b"ok\xff"), reserved.to_vec()].concat();
    assert_eq!(events(&[frame(0xc1, &wrong)], LIMIT, deflate()), ["error 1007 text"]);
    let right = [stored(b"ok"), reserved.to_vec()].concat();
    assert_eq!(events(&[frame(0xc1, &right)], LIMIT, deflate()), ["error 1007 deflate"]);
    // Wrong within the limit, and beyond it.
    assert_eq!(events(&[frame(0xc1, &stored(b"ok\xff more"))], 3, deflate()), ["error 1007 text"]);
    let beyond = ["error 1009 message-limit"];
    assert_eq!(events(&[frame(0xc1, &stored(b"ok\xff more"))], 2, deflate()), beyond);
}

#[test]
fn compressed_messages_are_measured_as_they_inflate() {
    let every = Compression { level: 9, least: 0, ..Compression::default() };
    let parameters = Some(agreed("permessage-deflate", &every));
    let bomb = compressed(&[(Kind::Binary, &vec![0; LIMIT])], parameters);
    assert!(bomb.len() < LIMIT / 500);
    assert_eq!(outcome(&[&bomb], LIMIT, parameters).len(), 1);
    for limit in [1, 1000, LIMIT - 1] {
        let expected = ["error 1009 message-limit"];
        assert_eq!(events(std::slice::from_ref(&bomb), limit, parameters), expected, "{limit}");
    }
    // Small frames, whose sum is large.
    let fragments: Vec<Vec<u8>> = std::iter::once(frame(COMPRESSED | BINARY, &[]))
        .chain(
            (0..100).map(|_| frame(CONTINUATION, &[0x00, 0x05, 0x00, 0xfa, 0xff, 1, 2, 3, 4, 5])),
        )
        .collect();
    assert_eq!(events(&fragments, 499, parameters), ["error 1009 message-limit"]);
    assert_eq!(events(&fragments, 500, parameters), [""; 0]);
}

#[test]
fn a_message_that_stands_in_the_input_is_not_copied() {
    let mut connection = Connection::new(LIMIT, None);
    let mut input = [text("first"), frame(FINAL | PING, b"second")].concat();
    let range = input.as_ptr_range();
    let received = connection.receive(&mut input).unwrap();
    let Received { consumed, event: Some(Event::Message { data: Cow::Borrowed(data), .. }) } =
        received
    else {
        panic!("{received:?}");
    };
    assert!(data == b"first" && range.contains(&data.as_ptr()));
    let received = connection.receive(&mut input[consumed..]).unwrap();
    assert_eq!(received.event, Some(Event::Ping(Cow::Borrowed(b"second"))));
}

#[test]
fn what_is_behind_an_event_is_untouched() {
    let input = [text("one"), text("two")].concat();
    let mut fed = input.clone();
    let mut connection = Connection::new(LIMIT, None);
    let consumed = connection.receive(&mut fed).unwrap().consumed;
    assert_eq!(fed[consumed..], input[consumed..]);
}

#[test]
fn while_the_server_has_closed_the_client_is_still_heard() {
    let mut connection = Connection::new(LIMIT, deflate());
    let mut out = Vec::new();
    connection.close(monoceros_websocket::CloseCode::GOING_AWAY, "", &mut out).unwrap();
    let mut input = [text("late"), frame(FINAL | PING, b"p"), close(1001, b""), text("x")].concat();
    let mut at = 0;
    let mut seen = Vec::new();
    while at < input.len() {
        let received = connection.receive(&mut input[at..]).unwrap();
        at += received.consumed;
        match received.event {
            Some(Event::Message { .. }) => seen.push("message"),
            Some(Event::Ping(payload)) => {
                connection.pong(&payload, &mut out).unwrap();
                seen.push("ping");
            }
            Some(Event::Close { .. }) => seen.push("close"),
            Some(Event::Pong(_)) | None => {}
        }
    }
    assert_eq!(seen, ["message", "ping", "close"]);
    assert_eq!(connection.closing(), Closing::Closed);
}

/// Random connections: messages, fragments and control frames, some compressed, some broken. The
/// events are the same at any split; those of whole connections are as they were sent.
#[test]
fn random_connections_at_random_splits() {
    let every = Compression {
        least: 0,
        server_window: WindowBits::new(10).unwrap(),
        ..Compression::default()
    };
    let parameters = Some(agreed("permessage-deflate", &every));
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let mut compressor = Connection::new(LIMIT, parameters);
        let mut input = Vec::new();
        let mut expected = Vec::new();
        for _ in 0..1 + random.below(8) {
            let length = random.below(300);
            match random.below(5) {
                0 => {
                    input.extend(frame(FINAL | PING, &random.bytes(length % 126)));
                    expected.push("ping");
                }
                1 => {
                    let payload = random.bytes(length);
                    let (start, end) = payload.split_at(random.below(length + 1));
                    input.extend(frame(BINARY, start));
                    input.extend(frame(FINAL | CONTINUATION, end));
                    expected.push("binary");
                }
                2 => {
                    input.extend(text(&"\u{20ac} ".repeat(length)));
                    expected.push("text");
                }
                _ => {
                    let mut out = Vec::new();
                    let payload = "\u{e4}bc".repeat(length);
                    compressor.message(Kind::Text, payload.as_bytes(), &mut out).unwrap();
                    input.extend(as_client(&out));
                    expected.push("text");
                }
            }
        }
        let broken = random.below(3) == 0;
        if broken {
            let at = random.below(input.len());
            input[at] ^= 1 << random.below(8);
        }
        let splits: Vec<_> = (0..5).map(|_| random.split(&input)).collect();
        let lines = same_outcome_in_all(&input, splits, 2000, parameters);
        if !broken {
            let kinds: Vec<&str> =
                lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
            assert_eq!(kinds, expected, "seed {seed}");
        }
    }
}
