//! Whatever an app hands over, what is written is one head with the fields that were accepted and
//! the server's own, in order, and nothing else. What is refused leaves no trace.
//!
//! The first byte holds what the server knows; the rest is the app's, parted by 0x1E: the status,
//! then names and values in turn.
#![no_main]

use libfuzzer_sys::fuzz_target;
use monoceros_http1::{BodyMode, Finish, Name, ResponseHead, Version};

const DATE: &[u8; 29] = b"Thu, 01 Jan 1970 00:00:00 GMT";
const SERVER: &[u8] = b"monoceros";
/// Stands between status, names and values.
const SEPARATOR: u8 = 0x1e;

type Field = (Vec<u8>, Vec<u8>);

fuzz_target!(|data: &[u8]| {
    let [knows, texts @ ..] = data else {
        return;
    };
    let bit = |number: u8| knows >> number & 1 == 1;
    let version = |modern| if modern { Version::Http11 } else { Version::Http10 };
    let mut texts = texts.split(|&byte| byte == SEPARATOR);
    let status = texts.next().unwrap_or_default();

    let mut out = Vec::new();
    let Ok(mut head) = ResponseHead::begin(&mut out, version(bit(0)), status) else {
        assert!(out.is_empty());
        return;
    };
    let mut written: Vec<Field> = Vec::new();
    while let (Some(name), Some(value)) = (texts.next(), texts.next()) {
        let before = out.len();
        if head.field(&mut out, name, value).is_err() {
            assert_eq!(out.len(), before);
            continue;
        }
        let known = Name::find(name);
        let forbidden =
            known == Name::ContentLength && (head.status() < 200 || head.status() == 204);
        if known == Name::Connection || forbidden {
            assert_eq!(out.len(), before);
        } else {
            written.push((name.to_vec(), value.trim_ascii().to_vec()));
        }
    }
    let finish = Finish {
        date: DATE,
        server: SERVER,
        head_request: bit(1),
        request_version: version(bit(2)),
        keep_alive: bit(3),
        known_length: bit(4).then_some(u64::from(knows >> 5)),
    };
    let (code, asks_close, has_body) = (head.status(), head.asks_close(), head.has_body());
    let said_length = head.content_length();
    let framing = head.finish(&mut out, &finish);

    let mut fields = vec![httparse::EMPTY_HEADER; data.len() + 8];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = response.parse(&out);
    let text = out.escape_ascii();
    assert_eq!(parsed, Ok(httparse::Status::Complete(out.len())), "{text}");
    assert_eq!(response.code, Some(code), "{text}");
    let (apps, servers) = response.headers.split_at(written.len());
    for (field, (name, value)) in apps.iter().zip(&written) {
        assert_eq!(field.name.as_bytes(), name, "{text}");
        assert_eq!(field.value, value, "{text}");
    }

    // The server's fields: each at most once, and only those that belong there.
    let said =
        |wanted: &str| written.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes()));
    let mut order = ["Server", "Date", "Connection", "Content-Length", "Transfer-Encoding"].iter();
    for field in servers {
        assert!(order.any(|name| *name == field.name), "{text}");
        assert!(field.name == "Connection" || !said(field.name), "{text}");
    }
    let has = |wanted: &str| servers.iter().any(|field| field.name == wanted);
    let interim = code < 200 && code != 101;
    assert_eq!(has("Server"), !interim && !said("Server"), "{text}");
    assert_eq!(has("Date"), !interim && !said("Date"), "{text}");

    // Exactly one framing, and a connection that is kept only where the body's end is told.
    let no_body = finish.head_request || !has_body;
    assert_eq!(framing.mode == BodyMode::NoBody, no_body, "{text}");
    assert_eq!(has("Transfer-Encoding"), framing.mode == BodyMode::Chunked, "{text}");
    if let BodyMode::Length(length) = framing.mode {
        assert_eq!(Some(length), said_length.or(finish.known_length), "{text}");
        assert!(has("Content-Length") || said("Content-Length"), "{text}");
    }
    let may_keep = finish.keep_alive && !asks_close && code >= 200;
    assert_eq!(framing.keep_alive, may_keep && framing.mode != BodyMode::UntilClose, "{text}");
    let closes =
        servers.iter().any(|field| field.name == "Connection" && field.value.starts_with(b"close"));
    assert_eq!(closes, !framing.keep_alive && code >= 200, "{text}");
});
