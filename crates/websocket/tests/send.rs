//! What a server sends, and what it may not.

use std::iter;

use monoceros_websocket::{
    CONTROL_MOST, CloseCode, Closing, Compression, Connection, Kind, Parameters, REASON_MOST,
    SendError,
};

mod support;

use support::drive::{agreed, deflate, outcome};
use support::frames::{
    BINARY, CLOSE, COMPRESSED, FINAL, PING, PONG, TEXT, as_client, close, of_server,
};

const LIMIT: usize = 1 << 20;

fn open(parameters: Option<Parameters>) -> Connection {
    Connection::new(LIMIT, parameters)
}

#[test]
fn messages_are_frames_with_the_shortest_length() {
    for length in [0, 1, 125, 126, 127, 65_535, 65_536, 100_000] {
        let payload = vec![b'x'; length];
        let mut connection = open(None);
        let mut out = Vec::new();
        assert!(!connection.compresses(length));
        connection.message(Kind::Text, &payload, &mut out).unwrap();
        connection.message_header(Kind::Binary, length as u64, &mut out).unwrap();
        out.extend_from_slice(&payload);
        let expected = [(FINAL | TEXT, payload.clone()), (FINAL | BINARY, payload)];
        assert_eq!(of_server(&out), expected);
    }
    let mut out = Vec::new();
    open(None).message_header(Kind::Binary, 1 << 40, &mut out).unwrap();
    assert_eq!(out, [0x82, 127, 0, 0, 1, 0, 0, 0, 0, 0]);
}

#[test]
fn control_frames_have_at_most_125_bytes() {
    let mut connection = open(None);
    let mut out = Vec::new();
    let most = [b'p'; CONTROL_MOST];
    connection.ping(b"", &mut out).unwrap();
    connection.ping(&most, &mut out).unwrap();
    connection.pong(&most, &mut out).unwrap();
    let written = out.clone();
    let more = [b'p'; CONTROL_MOST + 1];
    assert_eq!(connection.ping(&more, &mut out), Err(SendError::ControlTooLong));
    assert_eq!(connection.pong(&more, &mut out), Err(SendError::ControlTooLong));
    assert_eq!(out, written);
    let expected =
        [(FINAL | PING, vec![]), (FINAL | PING, most.to_vec()), (FINAL | PONG, most.to_vec())];
    assert_eq!(of_server(&out), expected);
}

#[test]
fn a_close_has_a_code_that_may_be_sent_and_a_short_reason() {
    let closed = |code, reason: &str| {
        let mut connection = open(None);
        let mut out = Vec::new();
        let result = connection.close(CloseCode::new(code), reason, &mut out);
        let expected = if result.is_ok() { Closing::CloseSent } else { Closing::Open };
        assert_eq!(connection.closing(), expected);
        result.map(|()| of_server(&out)).inspect_err(|error| {
            assert!(out.is_empty() && !error.to_string().is_empty());
        })
    };
    assert_eq!(closed(1000, ""), Ok(vec![(FINAL | CLOSE, vec![3, 232])]));
    assert_eq!(closed(4000, "bye"), Ok(vec![(FINAL | CLOSE, b"\x0f\xa0bye".to_vec())]));
    assert_eq!(closed(1005, ""), Ok(vec![(FINAL | CLOSE, vec![])]));
    assert_eq!(closed(1005, "why"), Err(SendError::Reason));
    assert!(closed(1012, &"r".repeat(REASON_MOST)).is_ok());
    assert_eq!(closed(1012, &"r".repeat(REASON_MOST + 1)), Err(SendError::Reason));
    for code in [0, 999, 1004, 1006, 1015, 1016, 2999, 5000] {
        assert_eq!(closed(code, ""), Err(SendError::Code), "{code}");
    }
}

#[test]
fn after_a_close_nothing_is_written() {
    let mut connection = open(deflate());
    let mut out = Vec::new();
    connection.close(CloseCode::SERVICE_RESTART, "", &mut out).unwrap();
    out.clear();
    let refused = Err(SendError::Closing(Closing::CloseSent));
    assert_eq!(connection.message(Kind::Text, b"a", &mut out), refused);
    assert_eq!(connection.message_header(Kind::Text, 1, &mut out), refused);
    assert_eq!(connection.ping(b"", &mut out), refused);
    assert_eq!(connection.close(CloseCode::NORMAL, "", &mut out), refused);
    assert!(out.is_empty());
    // The client's half is still open: its pings are answered.
    connection.pong(b"", &mut out).unwrap();
    let mut input = close(1012, b"");
    connection.receive(&mut input).unwrap();
    assert_eq!(connection.closing(), Closing::Closed);
    let refused = Err(SendError::Closing(Closing::Closed));
    assert_eq!(connection.pong(b"", &mut out), refused);
}

#[test]
fn a_close_of_the_client_is_answered_with_nothing_but_a_close() {
    let mut connection = open(None);
    let mut out = Vec::new();
    let mut input = close(1000, b"");
    connection.receive(&mut input).unwrap();
    let refused = Err(SendError::Closing(Closing::CloseReceived));
    assert_eq!(connection.message(Kind::Text, b"a", &mut out), refused);
    assert_eq!(connection.pong(b"", &mut out), refused);
    connection.close(CloseCode::NORMAL, "", &mut out).unwrap();
    assert_eq!(connection.closing(), Closing::Closed);
    assert_eq!(of_server(&out), [(FINAL | CLOSE, vec![3, 232])]);
}

#[test]
fn a_client_that_errs_after_the_close_is_owed_no_other() {
    let mut connection = open(None);
    let mut out = Vec::new();
    connection.close(CloseCode::NORMAL, "", &mut out).unwrap();
    let error = connection.receive(&mut [0xff, 0xff]).unwrap_err();
    assert_eq!(error.close_code(), CloseCode::PROTOCOL_ERROR);
    assert_eq!(connection.closing(), Closing::Closed);
}

/// Connections are handed from thread to thread.
#[test]
fn connections_can_be_sent() {
    let mut connection = open(deflate());
    let mut out = Vec::new();
    connection.message(Kind::Text, &[b'x'; 300], &mut out).unwrap();
    let sent = std::thread::spawn(move || {
        connection.message(Kind::Text, &[b'x'; 300], &mut out).unwrap();
        of_server(&out).len()
    });
    assert_eq!(sent.join().unwrap(), 2);
}

#[test]
fn a_transport_that_ended_carries_nothing() {
    let mut connection = open(None);
    connection.transport_ended();
    let mut out = Vec::new();
    let refused = Err(SendError::Closing(Closing::Closed));
    assert_eq!(connection.close(CloseCode::NORMAL, "", &mut out), refused);
    assert_eq!(connection.receive(&mut close(1000, b"")).unwrap().event, None);
}

#[test]
fn small_messages_are_not_compressed_and_empty_ones_never() {
    let least = Compression::default().least;
    let mut connection = open(deflate());
    let mut out = Vec::new();
    for length in [0, 1, least - 1, least] {
        assert_eq!(connection.compresses(length), length == least);
        connection.message(Kind::Text, &vec![b'x'; length], &mut out).unwrap();
    }
    let marked: Vec<bool> =
        of_server(&out).iter().map(|(first, _)| first & COMPRESSED != 0).collect();
    assert_eq!(marked, [false, false, false, true]);
    let every = agreed("permessage-deflate", &Compression { least: 0, ..Compression::default() });
    out.clear();
    open(Some(every)).message(Kind::Binary, b"", &mut out).unwrap();
    assert_eq!(of_server(&out), [(FINAL | BINARY, vec![])]);
}

/// Lengths of the frames of these messages, which a receiver reads as they were.
fn lengths(messages: &[String], parameters: Parameters, release: bool) -> Vec<usize> {
    let mut connection = open(Some(parameters));
    let mut input = Vec::new();
    let mut lengths = Vec::new();
    for message in messages {
        let mut out = b"earlier output".to_vec();
        connection.message(Kind::Text, message.as_bytes(), &mut out).unwrap();
        let frames = out.strip_prefix(b"earlier output").unwrap();
        lengths.push(of_server(frames).iter().map(|(_, payload)| payload.len()).sum());
        input.extend(as_client(frames));
        if release {
            connection.release();
        }
    }
    let expected: Vec<String> = messages.iter().map(|message| format!("text {message}")).collect();
    assert_eq!(outcome(&[&input], LIMIT, Some(parameters)), expected);
    lengths
}

#[test]
fn messages_refer_to_earlier_ones_as_agreed() {
    let message = "{\"id\": 12345, \"name\": \"a name\", \"tags\": [\"one\", \"two\", \"three\"]}";
    let messages: Vec<String> = iter::repeat_n(message.to_owned(), 4).collect();
    let with = agreed("permessage-deflate", &Compression::default());
    let [first, second, ..] = lengths(&messages, with, false)[..] else { unreachable!() };
    assert!(second < first / 4, "{second} of {first}");
    // Who gives up the compressor starts anew.
    assert_eq!(lengths(&messages, with, true), [first; 4]);
    let offer = "permessage-deflate; server_no_context_takeover";
    let without = agreed(offer, &Compression::default());
    assert_eq!(lengths(&messages, without, false), [first; 4]);
}

#[test]
fn every_size_class_of_frame_is_read_as_it_was() {
    let every = Compression { least: 0, ..Compression::default() };
    let parameters = agreed("permessage-deflate", &every);
    let mut random = support::random::Random::new(7);
    for length in [1, 100, 120, 125, 126, 130, 300, 65_000, 65_536, 200_000] {
        let noise: String = (0..length).map(|_| (b' ' + random.below(95) as u8) as char).collect();
        lengths(&[noise, "x".repeat(length)], parameters, false);
    }
}
