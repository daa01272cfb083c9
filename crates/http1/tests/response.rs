//! Response heads: what is written, how the body is framed, and what an app may not send.

use monoceros_http1::{
    BodyFraming, BodyMode, DateCache, FieldError, Finish, Name, ResponseHead, Status, Version,
    error_response,
};

const DATE: &[u8; 29] = b"Thu, 01 Jan 1970 00:00:00 GMT";

const FINISH: Finish = Finish {
    date: DATE,
    server: b"monoceros",
    head_request: false,
    request_version: Version::Http11,
    keep_alive: true,
    known_length: None,
};

type Fields<'a> = &'a [(&'a str, &'a str)];

/// Writes a head and returns its text and the framing.
fn write(status: &str, fields: Fields, finish: &Finish) -> (String, BodyFraming) {
    let mut out = Vec::new();
    let mut head = ResponseHead::begin(&mut out, Version::Http11, status.as_bytes()).unwrap();
    for (name, value) in fields {
        head.field(&mut out, name.as_bytes(), value.as_bytes()).unwrap();
    }
    let framing = head.finish(&mut out, finish);
    (String::from_utf8(out).unwrap(), framing)
}

fn framed(mode: BodyMode, keep_alive: bool) -> BodyFraming {
    BodyFraming { mode, keep_alive }
}

#[test]
fn a_plain_answer() {
    let fields = [("Content-Type", "text/plain"), ("X-A", " \tb c\t "), ("X-Empty", "")];
    let known = Finish { known_length: Some(13), ..FINISH };
    assert_eq!(
        write("200 OK", &fields, &known),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-A: b c\r\nX-Empty: \r\n\
             Server: monoceros\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 13\r\n\r\n"
                .to_owned(),
            framed(BodyMode::Length(13), true)
        )
    );
}

#[test]
fn the_body_is_framed_by_what_is_known() {
    let length = [("content-length", "5")];
    let old = Finish { request_version: Version::Http10, ..FINISH };
    let head_request = Finish { head_request: true, ..FINISH };
    let known = |finish: Finish<'static>, length| Finish { known_length: Some(length), ..finish };
    let ending = |finish: Finish<'static>| Finish { keep_alive: false, ..finish };
    let none: Fields = &[];
    let close: Fields = &[("Connection", "close")];
    let chunked = "Transfer-Encoding: chunked\r\n";
    let close_line = "Connection: close\r\n";
    let keep_line = "Connection: keep-alive\r\n";
    use BodyMode::{Chunked, Length, NoBody, UntilClose};
    let cases: &[(&str, Fields, Finish, BodyMode, bool, &str)] = &[
        // HTTP/1.1: chunks unless a length is there; the app's own length wins.
        ("200 OK", none, FINISH, Chunked, true, chunked),
        ("200 OK", &length, FINISH, Length(5), true, ""),
        ("200 OK", none, known(FINISH, 7), Length(7), true, "Content-Length: 7\r\n"),
        ("200 OK", none, known(FINISH, 0), Length(0), true, "Content-Length: 0\r\n"),
        ("200 OK", &length, known(FINISH, 7), Length(5), true, ""),
        (
            "200 OK",
            none,
            ending(FINISH),
            Chunked,
            false,
            "Connection: close\r\nTransfer-Encoding: chunked\r\n",
        ),
        ("200 OK", &length, ending(FINISH), Length(5), false, close_line),
        (
            "200 OK",
            close,
            known(FINISH, 7),
            Length(7),
            false,
            "Connection: close\r\nContent-Length: 7\r\n",
        ),
        ("500 Oops", none, FINISH, Chunked, true, chunked),
        // HTTP/1.0: no chunks; without a length the connection's end tells.
        ("200 OK", none, old, UntilClose, false, close_line),
        ("200 OK", &length, old, Length(5), true, keep_line),
        (
            "200 OK",
            none,
            known(old, 7),
            Length(7),
            true,
            "Connection: keep-alive\r\nContent-Length: 7\r\n",
        ),
        ("200 OK", &length, ending(old), Length(5), false, close_line),
        // HEAD: the fields of GET as far as they are known, and nothing after them.
        ("200 OK", none, head_request, NoBody, true, ""),
        ("200 OK", &length, head_request, NoBody, true, ""),
        ("200 OK", none, known(head_request, 0), NoBody, true, ""),
        ("200 OK", none, known(head_request, 7), NoBody, true, "Content-Length: 7\r\n"),
        ("200 OK", none, Finish { head_request: true, ..old }, NoBody, true, keep_line),
        // Statuses without a body.
        ("204 No Content", none, FINISH, NoBody, true, ""),
        ("204 No Content", none, known(FINISH, 7), NoBody, true, ""),
        ("304 Not Modified", none, known(FINISH, 7), NoBody, true, ""),
        ("304 Not Modified", &length, FINISH, NoBody, true, ""),
        ("204 No Content", none, ending(FINISH), NoBody, false, close_line),
    ];
    for (status, fields, finish, mode, keep_alive, added) in cases {
        let (text, framing) = write(status, fields, finish);
        let said = if fields == &length { "content-length: 5\r\n" } else { "" };
        let expected = format!(
            "HTTP/1.1 {status}\r\n{said}Server: monoceros\r\n\
             Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n{added}\r\n"
        );
        assert_eq!(text, expected, "{status} {fields:?} {finish:?}");
        assert_eq!(framing, framed(*mode, *keep_alive), "{status} {fields:?} {finish:?}");
    }
}

#[test]
fn a_length_is_left_out_where_it_is_forbidden() {
    let length = [("Content-Length", "5")];
    for status in ["204 No Content", "103 Early Hints", "101 Switching Protocols"] {
        let (text, framing) = write(status, &length, &FINISH);
        assert!(!text.contains("Content-Length"), "{text}");
        assert_eq!(framing.mode, BodyMode::NoBody);
    }
}

#[test]
fn an_interim_response_has_the_fields_of_the_app_alone() {
    let (text, framing) = write("103 Early Hints", &[("Link", "</a.css>; rel=preload")], &FINISH);
    assert_eq!(text, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n");
    assert_eq!(framing, framed(BodyMode::NoBody, false));
}

#[test]
fn an_upgrade_is_announced() {
    let upgrade = [("Upgrade", "websocket"), ("Connection", "Upgrade")];
    let (text, framing) = write("101 Switching Protocols", &upgrade, &FINISH);
    assert!(text.contains("\r\nUpgrade: websocket\r\n"), "{text}");
    assert!(text.contains("\r\nConnection: Upgrade\r\n"), "{text}");
    assert_eq!(framing, framed(BodyMode::NoBody, false));

    // Offered, but not taken up: RFC 9110, section 7.8, wants the connection option with it.
    let offer = [("Upgrade", "TLS/1.0")];
    for (finish, line) in [
        (FINISH, "\r\nConnection: Upgrade\r\n"),
        (Finish { keep_alive: false, ..FINISH }, "\r\nConnection: close, Upgrade\r\n"),
        (
            Finish { request_version: Version::Http10, known_length: Some(1), ..FINISH },
            "\r\nConnection: keep-alive, Upgrade\r\n",
        ),
    ] {
        let (text, _) = write("426 Upgrade Required", &offer, &finish);
        assert!(text.contains(line), "{text}");
    }

    let mut out = Vec::new();
    let mut head = ResponseHead::begin(&mut out, Version::Http11, b"101 Switching").unwrap();
    assert!(!head.upgrades());
    head.field(&mut out, b"Upgrade", b"websocket").unwrap();
    assert!(!head.upgrades());
    head.field(&mut out, b"Connection", b"keep-alive, upgrade").unwrap();
    assert!(head.upgrades() && !head.asks_close());
}

#[test]
fn date_and_server_of_the_app_replace_the_servers() {
    let fields = [("date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("SERVER", "mine")];
    let (text, _) = write("200 OK", &fields, &FINISH);
    assert_eq!(
        text,
        "HTTP/1.1 200 OK\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\nSERVER: mine\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    );
    let (text, _) = write("200 OK", &[], &Finish { server: b"", ..FINISH });
    assert!(!text.contains("Server"), "{text}");
}

#[test]
fn facts_are_told() {
    let mut out = Vec::new();
    let mut head = ResponseHead::begin(&mut out, Version::Http10, b"404 Not Found").unwrap();
    assert_eq!(out, b"HTTP/1.0 404 Not Found\r\n");
    assert_eq!((head.status(), head.has_body()), (404, true));
    assert_eq!((head.content_length(), head.asks_close()), (None, false));
    head.field(&mut out, b"Content-Length", b"0042").unwrap();
    head.field(&mut out, b"Connection", b"Keep-Alive, CLOSE,").unwrap();
    assert_eq!((head.content_length(), head.asks_close()), (Some(42), true));
    for (status, has_body) in [(199, false), (200, true), (204, false), (304, false), (999, true)] {
        let head = ResponseHead::begin(&mut out, Version::Http11, status.to_string().as_bytes());
        assert_eq!(head.unwrap().has_body(), has_body, "{status}");
    }
}

#[test]
fn a_malformed_status_is_refused() {
    let bad: &[&[u8]] = &[
        b"",
        b" ",
        b"20",
        b"200OK",
        b"2000",
        b"099 Low",
        b"000",
        b"-20 x",
        b"+20",
        b" 200 OK",
        b"2x0 OK",
        b"OK 200",
        b"200\tOK",
        b"200\r\n",
        b"200 OK\r\n",
        b"200 OK\r\nX-A: 1",
        b"200 \nX: 1",
        b"200 \0",
        b"200 \x7f",
        b"\xb2\xb0\xb0 OK",
    ];
    for status in bad {
        let mut out = Vec::new();
        let result = ResponseHead::begin(&mut out, Version::Http11, status);
        assert_eq!(result.err(), Some(FieldError::BadStatus), "{}", status.escape_ascii());
        assert!(out.is_empty());
    }
    let good: &[(&[u8], &[u8])] = &[
        (b"200", b"HTTP/1.1 200 \r\n"),
        (b"200 ", b"HTTP/1.1 200 \r\n"),
        (b"200 OK", b"HTTP/1.1 200 OK\r\n"),
        (b"999 A\tb  \xe9", b"HTTP/1.1 999 A\tb  \xe9\r\n"),
    ];
    for (status, line) in good {
        let mut out = Vec::new();
        ResponseHead::begin(&mut out, Version::Http11, status).unwrap();
        assert_eq!(&out, line);
    }
}

#[test]
fn what_is_wrong_is_refused_and_nothing_of_it_written() {
    use FieldError::{BadLength, BadName, BadValue, HopByHop};
    let bad: &[(&[u8], &[u8], FieldError)] = &[
        (b"", b"x", BadName),
        (b" X", b"x", BadName),
        (b"X ", b"x", BadName),
        (b"X:", b"x", BadName),
        (b"X\r\nSet-Cookie", b"x", BadName),
        (b"X\nY", b"x", BadName),
        (b"X\0", b"x", BadName),
        (b"caf\xc3\xa9", b"x", BadName),
        (b"Content-Type\r", b"x", BadName),
        (b"X", b"a\r\nSet-Cookie: b", BadValue),
        (b"X", b"a\nSet-Cookie: b", BadValue),
        (b"X", b"a\rSet-Cookie: b", BadValue),
        (b"X", b"a\r\n b", BadValue),
        (b"X", b"trailing\r\n", BadValue),
        (b"X", b"\nleading", BadValue),
        (b"X", b"a\0b", BadValue),
        (b"X", b"a\x0bb", BadValue),
        (b"X", b"a\x1bb", BadValue),
        (b"X", b"a\x7f", BadValue),
        (b"Content-Type", b"text/html\r\n\r\n<script>", BadValue),
        (b"Location", b"/\r\nX: y", BadValue),
        (b"Connection", b"close\r\nX: y", BadValue),
        (b"Content-Length", b"5\r\n", BadValue),
        (b"Content-Length", b"", BadLength),
        (b"Content-Length", b"-1", BadLength),
        (b"Content-Length", b"+1", BadLength),
        (b"Content-Length", b"1, 1", BadLength),
        (b"Content-Length", b"1_0", BadLength),
        (b"Content-Length", b"1.0", BadLength),
        (b"Content-Length", b"0x1", BadLength),
        (b"Content-Length", b"9223372036854775808", BadLength),
        (b"Transfer-Encoding", b"chunked", HopByHop(Name::TransferEncoding)),
        (b"transfer-encoding", b"identity", HopByHop(Name::TransferEncoding)),
        (b"Keep-Alive", b"timeout=5", HopByHop(Name::KeepAlive)),
        (b"TE", b"trailers", HopByHop(Name::Te)),
        (b"Trailer", b"X", HopByHop(Name::Trailer)),
        (b"Trailers", b"X", HopByHop(Name::Trailers)),
        (b"Proxy-Connection", b"close", HopByHop(Name::ProxyConnection)),
        (b"Proxy-Authenticate", b"Basic", HopByHop(Name::ProxyAuthenticate)),
        (b"Proxy-Authorization", b"x", HopByHop(Name::ProxyAuthorization)),
        (b"Connection", b"close, X-Secret", HopByHop(Name::Connection)),
    ];
    for (name, value, error) in bad {
        let mut out = Vec::new();
        let mut head = ResponseHead::begin(&mut out, Version::Http11, b"200 OK").unwrap();
        let before = out.clone();
        let result = head.field(&mut out, name, value);
        assert_eq!(result, Err(*error), "{}: {}", name.escape_ascii(), value.escape_ascii());
        assert_eq!(out, before);
    }
}

#[test]
fn a_second_length_is_refused_even_where_the_first_was_left_out() {
    for status in [&b"200 OK"[..], b"204 No Content"] {
        let mut out = Vec::new();
        let mut head = ResponseHead::begin(&mut out, Version::Http11, status).unwrap();
        head.field(&mut out, b"Content-Length", b"5").unwrap();
        let again = head.field(&mut out, b"content-length", b"5");
        assert_eq!(again, Err(FieldError::DuplicateLength));
    }
}

#[test]
fn errors_name_the_field_and_never_its_value() {
    let text = FieldError::HopByHop(Name::TransferEncoding).to_string();
    assert!(text.contains("Transfer-Encoding"), "{text}");
    for error in [
        FieldError::BadStatus,
        FieldError::BadName,
        FieldError::BadValue,
        FieldError::BadLength,
        FieldError::DuplicateLength,
    ] {
        assert!(error.to_string().len() > 10);
    }
}

#[test]
fn an_error_response_says_little_and_closes() {
    let mut out = Vec::new();
    error_response(&mut out, Status::BAD_REQUEST, DATE, false, &[]);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "HTTP/1.1 400 Bad Request\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
         Connection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: 12\r\n\r\nBad Request\n"
    );
    let mut out = Vec::new();
    let extra = [("Retry-After", "5")];
    error_response(&mut out, Status::SERVICE_UNAVAILABLE, DATE, true, &extra);
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("\r\nRetry-After: 5\r\n"), "{text}");
    assert!(text.ends_with("\r\nContent-Length: 20\r\n\r\n"), "{text}");

    let mut out = Vec::new();
    error_response(&mut out, Status::new(599).unwrap(), DATE, false, &[]);
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("HTTP/1.1 599 \r\n") && text.ends_with("\r\n\r\n599\n"), "{text}");
}

#[test]
#[should_panic(expected = "malformed field")]
fn an_error_response_cannot_be_split_by_its_extra_fields() {
    let extra = [("Retry-After", "5\r\nX: y")];
    error_response(&mut Vec::new(), Status::SERVICE_UNAVAILABLE, DATE, false, &extra);
}

#[test]
fn a_date_fits_the_head() {
    let mut date = DateCache::new();
    let finish = Finish { date: date.at(784_111_777), ..FINISH };
    let (text, _) = write("200 OK", &[], &finish);
    assert!(text.contains("\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), "{text}");
}

#[test]
fn statuses_have_three_digits() {
    assert_eq!(Status::new(99), None);
    assert_eq!(Status::new(1000), None);
    assert_eq!(Status::new(404).map(Status::reason), Some("Not Found"));
    assert_eq!(Status::new(599).map(Status::reason), Some(""));
    assert_eq!(Status::URI_TOO_LONG.code(), 414);
}
