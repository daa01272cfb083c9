//! Feeds pieces of a client's bytes to a connection, as a gateway would, and writes what came out
//! of it as text. Also part of the fuzz target.

use std::borrow::Cow;

use monoceros_websocket::{
    CONTROL_MOST, Closing, Compression, Connection, Event, Kind, Parameters, Upgrade,
};

/// What is in force after an offer, which can be accepted.
pub fn agreed(offer: &str, compression: &Compression) -> Parameters {
    let fields: [(&[u8], &[u8]); 5] = [
        (b"Upgrade", b"websocket"),
        (b"Connection", b"Upgrade"),
        (b"Sec-WebSocket-Version", b"13"),
        (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
        (b"Sec-WebSocket-Extensions", offer.as_bytes()),
    ];
    let upgrade = Upgrade::judge(fields).unwrap().unwrap();
    upgrade.agree(compression).unwrap().parameters
}

/// Compression as it is agreed without further words.
pub fn deflate() -> Option<Parameters> {
    Some(agreed("permessage-deflate", &Compression::default()))
}

/// What a client's bytes come to: a line per event, and `error CODE RULE` at the end where it broke
/// a rule. Two outcomes are the same when their lines are.
pub fn outcome(pieces: &[&[u8]], limit: usize, parameters: Option<Parameters>) -> Vec<String> {
    let mut connection = Connection::new(limit, parameters);
    let mut lines = Vec::new();
    for piece in pieces {
        let mut input = piece.to_vec();
        let mut at = 0;
        while at < input.len() {
            let over = connection.closing() != Closing::Open;
            let left = input.len() - at;
            let received = match connection.receive(&mut input[at..]) {
                Ok(received) => received,
                Err(error) => {
                    assert!(!over && !error.to_string().is_empty());
                    assert_eq!(connection.closing(), Closing::CloseReceived);
                    let mut out = Vec::new();
                    connection.close(error.close_code(), "", &mut out).unwrap();
                    assert_eq!(connection.closing(), Closing::Closed);
                    lines.push(format!("error {} {}", error.close_code(), error.rule()));
                    break;
                }
            };
            assert!(received.consumed > 0);
            assert!(received.event.is_some() || received.consumed == left);
            assert!(received.event.is_none() || !over, "nothing comes after a close");
            at += received.consumed;
            lines.extend(received.event.map(|event| line(event, limit)));
        }
    }
    lines
}

/// Whatever the bytes are split into, the outcome is one. Returns it.
pub fn same_outcome_in_all<'a>(
    input: &'a [u8],
    splits: impl IntoIterator<Item = Vec<&'a [u8]>>,
    limit: usize,
    parameters: Option<Parameters>,
) -> Vec<String> {
    let whole = outcome(&[input], limit, parameters);
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(whole, outcome(&bytes, limit, parameters), "whole and byte by byte differ");
    for split in splits {
        assert_eq!(whole, outcome(&split, limit, parameters), "split: {split:x?}");
    }
    whole
}

fn line(event: Event<'_>, limit: usize) -> String {
    match event {
        Event::Message { kind, data } => {
            assert!(data.len() <= limit);
            if let Cow::Owned(data) = &data {
                // A byte more shows that a message inflates beyond the limit.
                assert!(data.capacity() <= limit.saturating_add(1), "{}", data.capacity());
            }
            match kind {
                Kind::Text => format!("text {}", std::str::from_utf8(&data).unwrap()),
                Kind::Binary => format!("binary {}", data.escape_ascii()),
            }
        }
        Event::Ping(data) => control("ping", &data),
        Event::Pong(data) => control("pong", &data),
        Event::Close { code, reason } => format!("close {code} {reason}"),
    }
}

fn control(name: &str, data: &[u8]) -> String {
    assert!(data.len() <= CONTROL_MOST);
    format!("{name} {}", data.escape_ascii())
}
