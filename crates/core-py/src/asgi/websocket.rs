//! WebSockets (ASGI 3, "WebSocket"; RFC 6455).
//!
//! | phase      | event                                             | next       |
//! |------------|---------------------------------------------------|------------|
//! | Asked      | the app is told `websocket.connect`               | Connecting |
//! | Connecting | `websocket.accept`                                | Open       |
//! | Connecting | `websocket.close`: 403                            | Ended      |
//! | Connecting | `websocket.http.response.start`                   | Denying    |
//! | Denying    | the last of that response                         | Ended      |
//! | Open       | a close, of either side; an error; the peer leaves | Ended      |
//!
//! What the peer sends is read ahead of the app as far as the inbox has room; pings are answered
//! and its close is seen meanwhile. An Ended one may still wait for the peer's close, for as long as
//! the engine lingers.

mod wire;

use std::collections::VecDeque;

use monoceros_engine::{Arrived, Class, Exchange, News, Outcome};
use monoceros_http1::{Finish, Method, Name, ResponseHead, Status, Version, error_response};
use monoceros_websocket::{
    ACCEPT_LENGTH, Agreement, CloseCode, Closing, Connection, Event, HandshakeError, Kind, Upgrade,
    VERSION, accept_key,
};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use crate::asgi::call::{Call, HIGH_WATER, Response, State, peer_gone};
use crate::asgi::http;
use crate::asgi::server::{Asgi, Server};
use crate::capi::{BytesPayload, TextPayload, get, set, utf8};
use crate::journal::{DEBUG, INFO};
use wire::{abandon, pump, rest, say_goodbye, settle};

/// Bytes that are read ahead of the app, whatever the number of messages.
const READ_AHEAD: usize = 256 * 1024;
/// A payload up to this is copied behind its header; a larger one is sent in place.
const COPIED: usize = 4096;

/// See the table above.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Asked,
    Connecting,
    Denying,
    Open,
    Ended,
}

/// One WebSocket.
pub struct Conversation {
    phase: Phase,
    connect_told: bool,
    /// What was asked for, for the log: the head is not kept.
    pub target: Box<str>,
    /// Until it is accepted.
    handshake: Option<Box<Handshake>>,
    /// From the handshake on.
    wire: Option<Connection>,
    /// Messages that the app has not taken.
    inbox: VecDeque<(Kind, Py<PyAny>)>,
    inbox_bytes: usize,
    /// Bytes that were read and not looked at: the inbox was full.
    unread: Vec<u8>,
    /// How it ended, for the app.
    code: CloseCode,
    reason: String,
    /// The peer has sent something since it was last looked at.
    heard: bool,
}

/// What the answer to a handshake says.
struct Handshake {
    accept: [u8; ACCEPT_LENGTH],
    agreement: Option<Agreement>,
}

/// What a request's fields ask for.
pub enum Asked {
    /// An answer as ever.
    Nothing,
    WebSocket(Box<Conversation>, Vec<String>),
    Refused(HandshakeError),
}

/// Whether the request in the exchange wants a WebSocket.
#[inline]
pub fn asked(exchange: &Exchange<Asgi>, asgi: &Asgi) -> Asked {
    let (head, bytes) = exchange.head();
    if !head.fields.iter().any(|field| field.known == Name::Upgrade) {
        return Asked::Nothing;
    }
    if head.method != Method::Get
        || head.version != Version::Http11
        || exchange.variables().is_some()
    {
        return Asked::Nothing;
    }
    let fields = head.fields.iter().map(|it| (it.name.of(bytes), it.value.of(bytes)));
    match Upgrade::judge(fields) {
        Ok(None) => Asked::Nothing,
        Err(error) => Asked::Refused(error),
        Ok(Some(upgrade)) => {
            let compression = &asgi.websockets.compression;
            let conversation = Conversation {
                phase: Phase::Asked,
                connect_told: false,
                target: String::from_utf8_lossy(head.target.of(bytes)).into(),
                handshake: Some(Box::new(Handshake {
                    accept: accept_key(upgrade.key),
                    agreement: compression.as_ref().and_then(|ours| upgrade.agree(ours)),
                })),
                wire: None,
                inbox: VecDeque::new(),
                inbox_bytes: 0,
                unread: Vec::new(),
                code: CloseCode::ABNORMAL,
                reason: String::new(),
                heard: false,
            };
            let offers = upgrade.subprotocols.iter().map(|offer| (*offer).to_owned()).collect();
            Asked::WebSocket(Box::new(conversation), offers)
        }
    }
}

/// Answers a handshake that is wrong.
pub fn refuse(py: Python<'_>, call: &Call, state: &mut State, error: HandshakeError) {
    let server = &call.server;
    let peer = state.stream.peer_name();
    let text = format!("Invalid request from ip={peer}: {error} ({})", error.rule());
    server.asgi.journal.say(py, INFO, &text, None);
    let status = Status::new(error.status()).unwrap_or(Status::BAD_REQUEST);
    let extra: &[(&str, &str)] = match error.status() {
        426 => &[("Sec-WebSocket-Version", VERSION), ("Upgrade", "websocket")],
        _ => &[],
    };
    answer(state, server, status, extra);
}

/// An answer without a body of the app's.
fn answer(state: &mut State, server: &Server, status: Status, extra: &[(&str, &str)]) {
    let exchange = &mut state.stream.exchange;
    error_response(exchange.tail(), status, &server.asgi.date(), false, extra);
    exchange.set_status(status.code());
    exchange.set_keep_alive(false);
    state.end(server, Outcome::Complete);
}

/// The conversation of a call that has one.
fn parts(state: &mut State) -> PyResult<(&mut Conversation, &mut Exchange<Asgi>)> {
    match &mut state.websocket {
        Some(conversation) => Ok((conversation, &mut state.stream.exchange)),
        None => Err(PyRuntimeError::new_err("this request is no WebSocket")),
    }
}

/// The next message for the app; None: it has to wait.
pub fn next_message<'py>(
    py: Python<'py>,
    call: &Call,
    state: &mut State,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let (over, gone) = (state.response == Response::Over, state.disconnected);
    let (conversation, _) = parts(state)?;
    match conversation.phase {
        // An app may accept before it asks.
        _ if !conversation.connect_told => {
            conversation.connect_told = true;
            if conversation.phase == Phase::Asked {
                conversation.phase = Phase::Connecting;
            }
            let words = &call.server.asgi.words;
            let message = PyDict::new(py);
            set(&message, &words.kind, words.websocket_connect.bind(py))?;
            return Ok(Some(message.into_any()));
        }
        Phase::Connecting if !gone => return Ok(None),
        Phase::Denying if !over && !gone => return Ok(None),
        Phase::Open if conversation.inbox.is_empty() => pump(py, call, state)?,
        _ => {}
    }
    let (conversation, _) = parts(state)?;
    let words = &call.server.asgi.words;
    if let Some((kind, data)) = conversation.inbox.pop_front() {
        let data = data.into_bound(py);
        let (key, length) = match kind {
            Kind::Text => (&words.text, data.len()?),
            Kind::Binary => (&words.bytes, data.len()?),
        };
        conversation.inbox_bytes = conversation.inbox_bytes.saturating_sub(length);
        if conversation.inbox.is_empty() {
            conversation.inbox_bytes = 0;
        }
        let message = PyDict::new(py);
        set(&message, &words.kind, words.websocket_receive.bind(py))?;
        set(&message, key, &data)?;
        return Ok(Some(message.into_any()));
    }
    if conversation.phase == Phase::Open {
        return Ok(None);
    }
    let message = PyDict::new(py);
    set(&message, &words.kind, words.websocket_disconnect.bind(py))?;
    set(&message, &words.code, &conversation.code.number().into_pyobject(py)?)?;
    set(&message, &words.reason, &PyString::new(py, &conversation.reason))?;
    Ok(Some(message.into_any()))
}

impl Conversation {
    fn is_full(&self, most: usize) -> bool {
        self.phase == Phase::Open && (self.inbox.len() >= most || self.inbox_bytes >= READ_AHEAD)
    }

    /// The app hears that it is over. The first word on why holds.
    fn end(&mut self, code: CloseCode, reason: &str) {
        if self.phase == Phase::Open {
            self.phase = Phase::Ended;
            self.code = code;
            reason.clone_into(&mut self.reason);
        }
    }
}

/// The worker drains: peers are told to come back, or not.
pub fn drain(server: &Server, state: &mut State) -> PyResult<()> {
    match &state.websocket {
        Some(conversation) if conversation.phase == Phase::Open => {
            say_goodbye(server, state, server.farewell(), "")
        }
        _ => Ok(()),
    }
}

/// Takes a message of the app. True: it may go on at once.
pub fn send(call: &Call, state: &mut State, message: &Bound<'_, PyDict>) -> PyResult<bool> {
    let words = &call.server.asgi.words;
    let kind = get(message, &words.kind)?
        .ok_or_else(|| PyValueError::new_err("a message needs a \"type\""))?;
    let kind = kind.cast::<PyString>()?.to_str()?;
    let phase = parts(state)?.0.phase;
    match (kind, phase) {
        ("websocket.send", Phase::Open) => send_message(call, state, message),
        (_, Phase::Ended) if state.disconnected || kind != "websocket.close" => Err(peer_gone()),
        (_, Phase::Asked | Phase::Connecting) if state.disconnected => Err(peer_gone()),
        ("websocket.accept", Phase::Asked | Phase::Connecting) => accept(call, state, message),
        ("websocket.close", Phase::Asked | Phase::Connecting) => {
            parts(state)?.0.phase = Phase::Ended;
            answer(state, &call.server, Status::FORBIDDEN, &[]);
            Ok(true)
        }
        ("websocket.close", Phase::Open) => close(call, state, message),
        ("websocket.close", Phase::Ended) => {
            Err(PyRuntimeError::new_err("the WebSocket is closed already"))
        }
        ("websocket.http.response.start", Phase::Asked | Phase::Connecting) => {
            parts(state)?.0.phase = Phase::Denying;
            http::send_as(call, state, "http.response.start", message)
        }
        ("websocket.http.response.body", Phase::Denying) => {
            let sent = http::send_as(call, state, "http.response.body", message)?;
            if state.response == Response::Over {
                parts(state)?.0.phase = Phase::Ended;
            }
            Ok(sent)
        }
        _ => Err(PyRuntimeError::new_err(format!(
            "{kind:?} cannot be sent now: the WebSocket is {}",
            match phase {
                Phase::Asked | Phase::Connecting => "not accepted yet",
                Phase::Denying => "being denied",
                Phase::Open => "open",
                Phase::Ended => "closed",
            }
        ))),
    }
}

fn accept(call: &Call, state: &mut State, message: &Bound<'_, PyDict>) -> PyResult<bool> {
    let server = &call.server;
    let words = &server.asgi.words;
    let mut text = std::mem::take(&mut state.text);
    text.clear();
    let bad = |error: monoceros_http1::FieldError| PyValueError::new_err(error.to_string());
    let mut head =
        ResponseHead::begin(&mut text, Version::Http11, b"101 Switching Protocols").map_err(bad)?;
    let (conversation, _) = parts(state)?;
    let Some(handshake) = conversation.handshake.take() else { return Err(peer_gone()) };
    head.field(&mut text, b"Upgrade", b"websocket").map_err(bad)?;
    head.field(&mut text, b"Connection", b"upgrade").map_err(bad)?;
    head.field(&mut text, b"Sec-WebSocket-Accept", &handshake.accept).map_err(bad)?;
    if let Some(agreement) = &handshake.agreement {
        head.field(&mut text, b"Sec-WebSocket-Extensions", agreement.field.as_bytes())
            .map_err(bad)?;
    }
    if let Some(subprotocol) = get(message, &words.subprotocol)?
        && !subprotocol.is_none()
    {
        let subprotocol: String = subprotocol.extract()?;
        head.field(&mut text, b"Sec-WebSocket-Protocol", subprotocol.as_bytes()).map_err(bad)?;
    }
    if let Some(headers) = get(message, &words.headers)?
        && !headers.is_none()
    {
        http::add_fields(&mut head, &mut text, &headers)?;
    }
    let date = server.asgi.date();
    head.finish(
        &mut text,
        &Finish {
            date: &date,
            server: &server.asgi.server,
            head_request: false,
            request_version: Version::Http11,
            keep_alive: false,
            known_length: None,
        },
    );
    let (conversation, exchange) = parts(state)?;
    exchange.tail().extend_from_slice(&text);
    exchange.set_keep_alive(false);
    let parameters = handshake.agreement.map(|agreement| agreement.parameters);
    conversation.wire = Some(Connection::new(server.asgi.websockets.max_message_size, parameters));
    conversation.phase = Phase::Open;
    state.response = Response::Streaming;
    let room = state.flush(server)?;
    server.engine.upgrade(&mut state.stream);
    if !state.blocked {
        state.stream.exchange.release();
        server.engine.expect(&mut state.stream, Class::Ping);
    }
    if let Some(code) = server.is_draining() {
        say_goodbye(server, state, code, "")?;
    }
    Ok(room)
}

fn send_message(call: &Call, state: &mut State, message: &Bound<'_, PyDict>) -> PyResult<bool> {
    let words = &call.server.asgi.words;
    let text = get(message, &words.text)?.filter(|text| !text.is_none());
    let bytes = get(message, &words.bytes)?.filter(|bytes| !bytes.is_none());
    let (conversation, exchange) = parts(state)?;
    let Some(wire) = &mut conversation.wire else { return Err(peer_gone()) };
    let refused =
        |error: monoceros_websocket::SendError| PyRuntimeError::new_err(error.to_string());
    match (text, bytes) {
        (Some(_), Some(_)) => {
            return Err(PyValueError::new_err(
                "websocket.send takes \"text\" or \"bytes\", not both",
            ));
        }
        (Some(text), None) => {
            let text = text
                .cast::<PyString>()
                .map_err(|_| PyTypeError::new_err("\"text\" of a message must be a str"))?;
            let payload = text.to_str()?.as_bytes();
            if payload.len() <= COPIED || wire.compresses(payload.len()) {
                wire.message(Kind::Text, payload, exchange.tail()).map_err(refused)?;
            } else {
                wire.message_header(Kind::Text, payload.len() as u64, exchange.tail())
                    .map_err(refused)?;
                exchange.push_payload(Box::new(TextPayload::new(text)?));
            }
        }
        (None, Some(bytes)) => {
            let bytes = http::as_bytes(&bytes)?;
            let length = bytes.as_bytes().len();
            if length <= COPIED || wire.compresses(length) {
                wire.message(Kind::Binary, bytes.as_bytes(), exchange.tail()).map_err(refused)?;
            } else {
                wire.message_header(Kind::Binary, length as u64, exchange.tail())
                    .map_err(refused)?;
                exchange.push_payload(Box::new(BytesPayload(bytes.unbind())));
            }
        }
        (None, None) => {
            return Err(PyValueError::new_err("websocket.send needs \"text\" or \"bytes\""));
        }
    }
    state.flush(&call.server)
}

fn close(call: &Call, state: &mut State, message: &Bound<'_, PyDict>) -> PyResult<bool> {
    let words = &call.server.asgi.words;
    let code = match get(message, &words.code)? {
        Some(code) if !code.is_none() => CloseCode::new(code.extract()?),
        _ => CloseCode::NORMAL,
    };
    let reason: String = match get(message, &words.reason)? {
        Some(reason) if !reason.is_none() => reason.extract()?,
        _ => String::new(),
    };
    say_goodbye(&call.server, state, code, &reason)?;
    Ok(true)
}

/// The app has returned, or failed.
pub fn conclude(server: &Server, state: &mut State, failed: bool) -> PyResult<()> {
    let (conversation, _) = parts(state)?;
    match conversation.phase {
        Phase::Asked | Phase::Connecting => {
            conversation.phase = Phase::Ended;
            if state.stream.is_open() {
                let status = if failed { Status::INTERNAL_SERVER_ERROR } else { Status::FORBIDDEN };
                answer(state, server, status, &[]);
            }
        }
        Phase::Denying => state.fail(server, Status::INTERNAL_SERVER_ERROR),
        Phase::Open => {
            let code = if failed { CloseCode::INTERNAL_ERROR } else { CloseCode::NORMAL };
            say_goodbye(server, state, code, "")?;
        }
        Phase::Ended => {}
    }
    Ok(())
}

/// What has happened to the connection.
pub fn on_news(py: Python<'_>, call: &Call, state: &mut State, news: News) -> PyResult<()> {
    let server = &call.server;
    match news {
        News::Socket(_, flags) => {
            let gone = state.stream.note(flags);
            if state.blocked && state.flush(server).is_err() {
                state.disconnected = true;
            }
            let (conversation, _) = parts(state)?;
            match conversation.phase {
                Phase::Asked | Phase::Connecting | Phase::Denying => {
                    state.disconnected |= gone;
                    return Ok(());
                }
                Phase::Open | Phase::Ended => pump(py, call, state)?,
            }
            if state.stream.is_open() && !state.blocked {
                rest(server, state);
            }
        }
        News::Deadline(_, Class::Write) => {
            if state.blocked && server.engine.has_stalled(&mut state.stream) {
                abandon(py, server, state, "has stopped reading its WebSocket");
            }
        }
        News::Deadline(_, Class::Ping) => {
            let (conversation, exchange) = parts(state)?;
            let heard = std::mem::take(&mut conversation.heard);
            let Some(wire) = &mut conversation.wire else { return Ok(()) };
            if heard || wire.closing() != Closing::Open {
                rest(server, state);
            } else if wire.ping(b"", exchange.tail()).is_ok() {
                wire.release();
                settle(server, state);
                if state.stream.is_open() && !state.blocked {
                    state.stream.exchange.release();
                    server.engine.expect(&mut state.stream, Class::Pong);
                }
            }
        }
        News::Deadline(_, Class::Pong) => {
            let (conversation, _) = parts(state)?;
            if std::mem::take(&mut conversation.heard) {
                rest(server, state);
            } else {
                abandon(py, server, state, "has not answered a ping on its WebSocket");
            }
        }
        News::Deadline(_, Class::Linger) => {
            state.stream.exchange.set_keep_alive(false);
            state.stream.linger();
            state.end(server, Outcome::Complete);
        }
        News::Deadline(..) | News::Overdue(_) | News::Slow(_) => {}
    }
    Ok(())
}
