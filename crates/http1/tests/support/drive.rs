//! Feeds pieces of a connection's input to head parser and body decoder, as an engine would, and
//! writes what came out of it as text. Also part of the fuzz targets.

use std::fmt::Write;

use monoceros_http1::{
    ChunkedDecoder, DecodeError, Error, Framing, Head, HeadParser, Limits, Method, Policy,
    Progress, TargetForm,
};

/// What the input of one request comes to. Two outcomes are the same when their texts are.
///
/// - `error 400 bare-lf`: status and rule; `error 413 body-limit` is this driver's, as it is the
///   engine's, because the parsers know no such limit
/// - `incomplete idle`, `incomplete head`, `incomplete body`
/// - else a line per fact, see tests/wire/README.md
pub fn outcome(pieces: &[&[u8]], limits: &Limits, body_limit: u64, policy: &Policy) -> String {
    let mut head = used_head();
    let mut parser = HeadParser::new();
    let mut buffer = Vec::new();
    let mut body = None;
    for piece in pieces {
        let Some(body) = &mut body else {
            buffer.extend_from_slice(piece);
            match parser.parse(&buffer, &mut head, limits, policy) {
                Ok(Progress::Partial) => {}
                Ok(Progress::Complete) => {
                    let again = parser.parse(&buffer, &mut head, limits, policy);
                    assert_eq!(again, Ok(Progress::Complete));
                    let mut started = Body::new(head.framing, body_limit);
                    if let Err(error) = started.feed(&buffer[head.length..], limits) {
                        return error;
                    }
                    body = Some(started);
                }
                Err(error) => return refused(error),
            }
            continue;
        };
        if let Err(error) = body.feed(piece, limits) {
            return error;
        }
    }
    match body {
        None if parser.is_idle(&buffer) => "incomplete idle\n".to_owned(),
        None => "incomplete head\n".to_owned(),
        Some(body) if !body.complete => "incomplete body\n".to_owned(),
        Some(body) => {
            head.amend(&mut buffer);
            accepted(&buffer, &head, &body)
        }
    }
}

/// A head that another request has filled: nothing of it may be left over.
pub fn used_head() -> Head {
    const OTHER: &[u8] = b"POST http://other.example/p?q HTTP/1.1\r\nHost: other.example\r\n\
        Connection: upgrade\r\nUpgrade: x\r\nExpect: 100-continue\r\nContent-Length: 7\r\n\r\n";
    let mut head = Head::new();
    let parsed = HeadParser::new().parse(OTHER, &mut head, &Limits::default(), &Policy::default());
    assert_eq!(parsed, Ok(Progress::Complete));
    head
}

/// Whatever the bytes of one and the same input are split into, the outcome is one. Returns it.
pub fn same_outcome_in_all(
    input: &[u8],
    splits: impl IntoIterator<Item = Vec<Vec<u8>>>,
    limits: &Limits,
    body_limit: u64,
    policy: &Policy,
) -> String {
    let whole = outcome(&[input], limits, body_limit, policy);
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    let by_bytes = outcome(&bytes, limits, body_limit, policy);
    assert_eq!(whole, by_bytes, "whole and byte by byte differ");
    for split in splits {
        let pieces: Vec<&[u8]> = split.iter().map(Vec::as_slice).collect();
        assert_eq!(whole, outcome(&pieces, limits, body_limit, policy), "split: {split:?}");
    }
    whole
}

fn refused(error: Error) -> String {
    assert!(!error.to_string().is_empty());
    format!("error {} {}\n", error.status().code(), error.rule())
}

const TOO_LARGE: &str = "error 413 body-limit\n";

struct Body {
    framing: Framing,
    limit: u64,
    decoder: ChunkedDecoder,
    data: Vec<u8>,
    complete: bool,
    rest: Vec<u8>,
}

impl Body {
    fn new(framing: Framing, limit: u64) -> Body {
        Body {
            framing,
            limit,
            decoder: ChunkedDecoder::new(),
            data: Vec::new(),
            complete: matches!(framing, Framing::None | Framing::Length(0)),
            rest: Vec::new(),
        }
    }

    fn feed(&mut self, mut input: &[u8], limits: &Limits) -> Result<(), String> {
        if !self.complete {
            let consumed = match self.framing {
                Framing::None => 0,
                Framing::Length(length) if length > self.limit => return Err(TOO_LARGE.into()),
                Framing::Length(length) => {
                    let missing = length - self.data.len() as u64;
                    let taken = input.len().min(missing as usize);
                    self.data.extend_from_slice(&input[..taken]);
                    self.complete = self.data.len() as u64 == length;
                    taken
                }
                Framing::Chunked => {
                    let (data, limit) = (&mut self.data, self.limit);
                    let mut sink = |bytes: &[u8]| {
                        assert!(!bytes.is_empty());
                        data.extend_from_slice(bytes);
                        if data.len() as u64 > limit { Err(TOO_LARGE) } else { Ok(()) }
                    };
                    match self.decoder.decode(input, limits, &mut sink) {
                        Ok(decoded) => {
                            assert!(decoded.complete || decoded.consumed == input.len());
                            self.complete = decoded.complete;
                            decoded.consumed
                        }
                        Err(DecodeError::Peer(error)) => return Err(refused(error)),
                        Err(DecodeError::Sink(error)) => return Err(error.into()),
                    }
                }
            };
            input = &input[consumed..];
        }
        self.rest.extend_from_slice(input);
        Ok(())
    }
}

fn accepted(buffer: &[u8], head: &Head, body: &Body) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &[u8]| {
        let value = value.escape_ascii();
        writeln!(text, "{name} {value}").expect("a string takes all");
    };
    line("method", head.method_span.of(buffer));
    assert_eq!(head.method == Method::Other, !is_known_method(head.method_span.of(buffer)));
    let form = match head.form {
        TargetForm::Origin => "origin",
        TargetForm::Absolute => "absolute",
        TargetForm::Authority => "authority",
        TargetForm::Asterisk => "asterisk",
    };
    line(form, head.target.of(buffer));
    for (name, span) in [
        ("authority", head.authority),
        ("path", head.path),
        ("query", head.query),
        ("host", head.host),
    ] {
        if !span.is_empty() {
            line(name, span.of(buffer));
        }
    }
    line("version", head.version.as_str().as_bytes());
    for field in &head.fields {
        let name = field.name.of(buffer);
        assert_eq!(field.known, monoceros_http1::Name::find(name));
        let value = field.value.of(buffer);
        let gap: &[u8] = if value.is_empty() { b":" } else { b": " };
        line("field", &[name, gap, value].concat());
    }
    let framing = match head.framing {
        Framing::None => "none".to_owned(),
        Framing::Length(length) => format!("length {length}"),
        Framing::Chunked => "chunked".to_owned(),
    };
    line("framing", framing.as_bytes());
    line("connection", if head.persistent { b"keep" } else { b"close" });
    if head.upgrade {
        line("upgrade", b"yes");
    }
    if head.forwarded {
        line("forwarded", b"yes");
    }
    if head.expect_continue {
        line("expect", b"100-continue");
    }
    if !body.data.is_empty() {
        line("body", &body.data);
    }
    if !body.rest.is_empty() {
        line("rest", &body.rest);
    }
    text
}

fn is_known_method(name: &[u8]) -> bool {
    const KNOWN: [&[u8]; 9] =
        [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"CONNECT", b"TRACE"];
    KNOWN.contains(&name)
}
