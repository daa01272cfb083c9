//! The messages of HTTP (ASGI 3): `http.request`, `http.disconnect`, `http.response.*`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use monoceros_engine::{Arrived, Broken, Outcome};
use monoceros_http1::{Finish, Method, Name, ResponseHead, Status, Version};
use pyo3::exceptions::{PyAssertionError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::fcntl_dupfd_cloexec;

use crate::asgi::call::{Call, Response, State, peer_gone};
use crate::body_writer::{BodyWriter, ShortBody};
use crate::capi::get;
use crate::journal::INFO;
use crate::process::os_error;

/// The next message for the app; None: it has to wait.
pub fn next_message<'py>(
    py: Python<'py>,
    call: &Call,
    state: &mut State,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let words = &call.server.asgi.words;
    let over = state.response == Response::Over || !state.stream.is_open();
    if over || state.body_told && state.disconnected {
        state.disconnect_told = true;
        return Ok(Some(words.disconnect(py)?.into_any()));
    }
    if state.body_told {
        return Ok(None);
    }
    if !state.stream.has_incoming() {
        state.body_told = true;
        let body = match state.body.take() {
            Some(body) => body.into_bound(py),
            None => PyBytes::new(py, b""),
        };
        return Ok(Some(words.request(&body, false)?.into_any()));
    }
    let mut bytes = Vec::new();
    match call.server.read_body(&mut state.stream, &mut bytes) {
        Ok(Arrived::Nothing) => Ok(None),
        Ok(Arrived::Bytes(_)) => {
            let body = PyBytes::new(py, &bytes);
            Ok(Some(words.request(&body, true)?.into_any()))
        }
        Ok(Arrived::End) => {
            call.server.engine.unexpect(&state.stream);
            state.body_told = true;
            Ok(Some(words.request(&PyBytes::new(py, &bytes), false)?.into_any()))
        }
        Err(broken) => {
            state.disconnected = true;
            state.disconnect_told = true;
            state.body_told = true;
            call.server.engine.unexpect(&state.stream);
            if let Broken::Refused(status, text) = broken {
                refuse(py, call, state, status, &text);
            }
            Ok(Some(words.disconnect(py)?.into_any()))
        }
    }
}

/// The peer breaks a rule in the middle of its body.
pub fn refuse(py: Python<'_>, call: &Call, state: &mut State, status: Status, text: &str) {
    let peer = state.stream.peer_name();
    let code = status.code();
    let text = format!("Invalid request from ip={peer}: {text}: {code}");
    call.server.asgi.journal.say(py, INFO, &text, None);
    state.fail(&call.server, status);
}

/// Takes a message of the app. True: it may go on at once; false: the peer has to read first.
pub fn send(call: &Call, state: &mut State, message: &Bound<'_, PyDict>) -> PyResult<bool> {
    let words = &call.server.asgi.words;
    let kind = get(message, &words.kind)?
        .ok_or_else(|| PyValueError::new_err("a message needs a \"type\""))?;
    send_as(call, state, kind.cast::<PyString>()?.to_str()?, message)
}

/// Takes a message that means what one of type `kind` means.
pub fn send_as(
    call: &Call,
    state: &mut State,
    kind: &str,
    message: &Bound<'_, PyDict>,
) -> PyResult<bool> {
    if state.response == Response::Over {
        return after_the_end(state, kind);
    }
    if state.disconnect_told {
        // Until it is told a client that has only said its last may still read its answer.
        return Err(peer_gone());
    }
    match kind {
        "http.response.start" => begin(call, state, message),
        "http.response.body" => body(call, state, message),
        "http.response.pathsend" => send_path(call, state, message),
        "http.response.zerocopysend" => send_file(call, state, message),
        "http.response.trailers" => trailers(call, state, message),
        "http.response.early_hint" => early_hint(call, state, message),
        "http.response.push" | "http.response.debug" => Ok(true),
        _ => Err(PyValueError::new_err(format!("unknown type of message: {kind:?}"))),
    }
}

fn after_the_end(state: &State, kind: &str) -> PyResult<bool> {
    if state.disconnected {
        return Err(peer_gone());
    }
    Err(PyRuntimeError::new_err(format!("{kind:?} sent after the response was complete")))
}

/// A status line's digits and reason.
pub fn status_line(status: u16) -> Option<([u8; 64], usize)> {
    let reason = Status::new(status)?.reason().as_bytes();
    let mut line = [b' '; 64];
    line[..3].copy_from_slice(itoa::Buffer::new().format(status).as_bytes());
    line.get_mut(4..4 + reason.len())?.copy_from_slice(reason);
    Some((line, 4 + reason.len()))
}

/// Begins the head of a response in `text`, with the headers of `message`.
pub fn write_head(
    call: &Call,
    text: &mut Vec<u8>,
    version: Version,
    message: &Bound<'_, PyDict>,
    status: u16,
) -> PyResult<ResponseHead> {
    let words = &call.server.asgi.words;
    text.clear();
    let bad_status = || PyValueError::new_err(format!("{status} is no status of a response"));
    let (line, length) = status_line(status).ok_or_else(bad_status)?;
    let mut head = ResponseHead::begin(text, version, &line[..length]).map_err(|_| bad_status())?;
    if let Some(headers) = get(message, &words.headers)? {
        add_fields(&mut head, text, &headers)?;
    }
    Ok(head)
}

fn begin(call: &Call, state: &mut State, message: &Bound<'_, PyDict>) -> PyResult<bool> {
    if state.response != Response::Fresh {
        return Err(PyRuntimeError::new_err("the response has begun already"));
    }
    let words = &call.server.asgi.words;
    let status: u16 = get(message, &words.status)?
        .ok_or_else(|| PyValueError::new_err("http.response.start needs a \"status\""))?
        .extract()?;
    if status < 200 {
        return Err(PyValueError::new_err(
            "an interim status (1xx) is no answer; for 103 there is http.response.early_hint",
        ));
    }
    let mut text = std::mem::take(&mut state.text);
    let head = write_head(call, &mut text, state.version, message, status);
    state.text = text;
    state.head = Some(head?);
    state.promises_trailers = is_true(message, &words.trailers)?;
    if state.promises_trailers
        && let Some(headers) = get(message, &words.headers)?
    {
        announce_trailers(&mut state.text, &headers)?;
    }
    state.response = Response::Begun;
    if call.server.asgi.journal.observer.is_some()
        && let Some(observed) = &mut state.observed
    {
        let headers = get(message, &words.headers)?;
        let headers = headers.unwrap_or_else(|| PyList::empty(message.py()).into_any());
        let line = Status::new(status).map_or("", Status::reason);
        let line = PyString::new(message.py(), &format!("{status} {line}"));
        observed.kept = Some((line.unbind(), headers.unbind()));
    }
    Ok(true)
}

fn is_true(message: &Bound<'_, PyDict>, key: &Py<PyString>) -> PyResult<bool> {
    get(message, key)?.map_or(Ok(false), |value| value.is_truthy())
}

/// Adds (name, value) pairs of bytes.
pub fn add_fields(
    head: &mut ResponseHead,
    text: &mut Vec<u8>,
    headers: &Bound<'_, PyAny>,
) -> PyResult<()> {
    if let Ok(list) = headers.cast_exact::<PyList>() {
        for header in list.iter() {
            add_field(head, text, &header)?;
        }
        return Ok(());
    }
    for header in headers.try_iter()? {
        add_field(head, text, &header?)?;
    }
    Ok(())
}

fn add_field(
    head: &mut ResponseHead,
    text: &mut Vec<u8>,
    header: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let (name, value) = match header.cast_exact::<PyTuple>() {
        Ok(pair) if pair.len() == 2 => (pair.get_item(0)?, pair.get_item(1)?),
        _ => {
            let pair: Vec<Bound<'_, PyAny>> = header.extract().map_err(|_| not_a_pair(header))?;
            let [name, value] = <[_; 2]>::try_from(pair).map_err(|_| not_a_pair(header))?;
            (name, value)
        }
    };
    let (Ok(name), Ok(value)) = (name.cast::<PyBytes>(), value.cast::<PyBytes>()) else {
        return Err(not_a_pair(header));
    };
    let name = name.as_bytes();
    if is_the_servers(name) {
        return Ok(());
    }
    head.field(text, name, value.as_bytes()).map_err(|error| {
        PyValueError::new_err(format!("header {:?}: {error}", String::from_utf8_lossy(name)))
    })
}

/// Trailer goes out where trailers do.
fn announce_trailers(text: &mut Vec<u8>, headers: &Bound<'_, PyAny>) -> PyResult<()> {
    for header in headers.try_iter()? {
        let (name, value): (Bound<'_, PyBytes>, Bound<'_, PyBytes>) = header?.extract()?;
        if name.as_bytes().eq_ignore_ascii_case(b"trailer") {
            let value = value.as_bytes();
            if value.iter().any(|byte| byte.is_ascii_control()) {
                return Err(PyValueError::new_err("header \"trailer\" has a control character"));
            }
            text.extend_from_slice(b"Trailer: ");
            text.extend_from_slice(value);
            text.extend_from_slice(b"\r\n");
        }
    }
    Ok(())
}

/// Whether the client wants trailers (RFC 9110, 6.5.1).
fn wants_trailers(state: &State) -> bool {
    let (head, bytes) = state.stream.exchange.head();
    head.fields.iter().filter(|field| field.known == Name::Te).any(|field| {
        field
            .value
            .of(bytes)
            .split(|byte| *byte == b',')
            .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    })
}

/// Fields about the connection that apps pass on from elsewhere. ASGI has the server ignore
/// Transfer-Encoding; these say as little.
fn is_the_servers(name: &[u8]) -> bool {
    matches!(name.len(), 7 | 10 | 16 | 17)
        && [&b"transfer-encoding"[..], b"keep-alive", b"proxy-connection", b"trailer"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
}

fn not_a_pair(header: &Bound<'_, PyAny>) -> PyErr {
    let kind = header.get_type();
    let kind = kind.name().map_or_else(|_| "?".into(), |name| name.to_string());
    PyTypeError::new_err(format!("headers must be pairs of bytes, not {kind}"))
}

/// Moves the head into the exchange. `known_length`: the whole body is at hand.
fn commit(call: &Call, state: &mut State, known_length: Option<u64>) -> PyResult<()> {
    let Some(head) = state.head.take() else {
        return Err(PyRuntimeError::new_err("http.response.start has to come first"));
    };
    let status = head.status();
    // What is left of a body is not read: no other request can follow it.
    let unread = state.stream.has_incoming() && known_length.is_some();
    let exchange = &mut state.stream.exchange;
    let date = call.server.asgi.date();
    let framing = head.finish(
        &mut state.text,
        &Finish {
            date: &date,
            server: &call.server.asgi.server,
            head_request: state.method == Method::Head,
            request_version: state.framing_version,
            keep_alive: exchange.keep_alive() && !unread,
            known_length,
        },
    );
    exchange.tail().extend_from_slice(&state.text);
    exchange.set_status(status);
    exchange.set_keep_alive(framing.keep_alive);
    state.writer = Some(BodyWriter::new(framing, state.method == Method::Head));
    state.response = Response::Streaming;
    Ok(())
}

fn body(call: &Call, state: &mut State, message: &Bound<'_, PyDict>) -> PyResult<bool> {
    let words = &call.server.asgi.words;
    let body = get(message, &words.body)?;
    let body = match &body {
        None => None,
        Some(body) => Some(as_bytes(body)?),
    };
    let more = is_true(message, &words.more_body)?;
    if state.response == Response::Begun {
        let length = body.as_ref().map_or(0, |body| body.as_bytes().len() as u64);
        commit(call, state, (!more && !state.promises_trailers).then_some(length))?;
    }
    if state.response != Response::Streaming {
        return Err(PyRuntimeError::new_err(match state.response {
            Response::Fresh => "http.response.start has to come before http.response.body",
            _ => "http.response.body sent after the last one",
        }));
    }
    if let (Some(body), Some(writer)) = (&body, &mut state.writer) {
        writer.push(&mut state.stream.exchange, body);
        if writer.excess > 0 {
            state.excessive = true;
            return Err(too_much(state));
        }
    }
    advance(call, state, more)
}

/// More than the app's Content-Length says: the peer has got what was announced.
fn too_much(state: &mut State) -> PyErr {
    let excess = state.writer.as_ref().map_or(0, |writer| writer.excess);
    PyRuntimeError::new_err(format!("the body is longer than its Content-Length by {excess} bytes"))
}

/// A part of the body is in the exchange; `more`: it was not the last one.
fn advance(call: &Call, state: &mut State, more: bool) -> PyResult<bool> {
    if more {
        return state.flush(&call.server);
    }
    if state.promises_trailers {
        state.response = Response::Trailing;
        // The head is on its way; the trailers are gathered here.
        state.text.clear();
        return state.flush(&call.server);
    }
    let Some(writer) = &mut state.writer else { return Ok(true) };
    if let Err(ShortBody(missing)) = writer.finish(&mut state.stream.exchange) {
        return Err(PyRuntimeError::new_err(format!(
            "the body is shorter than its Content-Length by {missing} bytes"
        )));
    }
    complete(call, state);
    Ok(true)
}

/// All of the response is handed over.
fn complete(call: &Call, state: &mut State) {
    state.end(&call.server, Outcome::Complete);
}

pub fn as_bytes<'py>(body: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    match body.cast::<PyBytes>() {
        Ok(bytes) => Ok(bytes.clone()),
        Err(_) if body.is_instance_of::<PyString>() => {
            Err(PyTypeError::new_err("a body must be bytes, not str"))
        }
        // bytearray and memoryview are taken too; they may change, so they are copied.
        Err(_) => Ok(body.py().get_type::<PyBytes>().call1((body,))?.cast_into()?),
    }
}

fn send_path(call: &Call, state: &mut State, message: &Bound<'_, PyDict>) -> PyResult<bool> {
    let path: std::path::PathBuf = get(message, &call.server.asgi.words.path)?
        .ok_or_else(|| PyValueError::new_err("http.response.pathsend needs a \"path\""))?
        .extract()?;
    if state.response != Response::Begun {
        return Err(PyRuntimeError::new_err("http.response.pathsend is the whole body"));
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = open(&path, flags, Mode::empty()).map_err(os_error)?;
    let length = regular_length(file.as_fd())?;
    commit(call, state, (!state.promises_trailers).then_some(length))?;
    push_file(state, file, 0, length);
    advance(call, state, false)
}

fn regular_length(file: BorrowedFd<'_>) -> PyResult<u64> {
    let stat = fstat(file).map_err(os_error)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(PyValueError::new_err("only regular files can be sent"));
    }
    Ok(stat.st_size as u64)
}

/// Puts a part of a file behind what is to be sent.
fn push_file(state: &mut State, file: OwnedFd, offset: u64, length: u64) {
    let Some(writer) = &mut state.writer else { return };
    if writer.is_mute() || length == 0 {
        return;
    }
    let length = writer.owed().map_or(length, |owed| owed.min(length));
    let exchange = &mut state.stream.exchange;
    writer.begin_chunk(exchange, length);
    exchange.push_file(file, offset, length);
    writer.end_chunk(exchange);
}

fn send_file(call: &Call, state: &mut State, message: &Bound<'_, PyDict>) -> PyResult<bool> {
    let words = &call.server.asgi.words;
    let missing = || PyValueError::new_err("http.response.zerocopysend needs a \"file\"");
    let given = get(message, &words.file)?.ok_or_else(missing)?;
    let number: RawFd = match given.extract() {
        Ok(number) => number,
        Err(_) => given.call_method0("fileno")?.extract()?,
    };
    if number < 0 {
        return Err(missing());
    }
    // SAFETY: the app holds the file open while it calls; the copy is ours.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let file = fcntl_dupfd_cloexec(borrowed, 0).map_err(os_error)?;
    let size = regular_length(file.as_fd())?;
    let offset = match get(message, &words.offset)? {
        Some(offset) if !offset.is_none() => offset.extract::<u64>()?,
        _ => rustix::fs::tell(&file).map_err(os_error)?,
    };
    let rest = size.saturating_sub(offset);
    let length = match get(message, &words.count)? {
        Some(count) if !count.is_none() => count.extract::<u64>()?.min(rest),
        _ => rest,
    };
    let more = is_true(message, &words.more_body)?;
    if state.response == Response::Begun {
        commit(call, state, (!more && !state.promises_trailers).then_some(length))?;
    }
    if state.response != Response::Streaming {
        return Err(PyRuntimeError::new_err("http.response.start has to come first"));
    }
    push_file(state, file, offset, length);
    advance(call, state, more)
}

fn trailers(call: &Call, state: &mut State, message: &Bound<'_, PyDict>) -> PyResult<bool> {
    let words = &call.server.asgi.words;
    if state.response != Response::Trailing {
        return Err(PyRuntimeError::new_err(
            "http.response.trailers come after the last body of a response that has promised them",
        ));
    }
    if let Some(headers) = get(message, &words.headers)? {
        let begun = ResponseHead::begin(&mut Vec::new(), Version::Http11, b"200 ");
        let mut head = begun.map_err(|error| PyValueError::new_err(error.to_string()))?;
        add_fields(&mut head, &mut state.text, &headers)?;
    }
    if is_true(message, &words.more_trailers)? {
        return Ok(true);
    }
    let wanted = wants_trailers(state);
    let Some(writer) = &mut state.writer else { return Ok(true) };
    if writer.is_chunked() && wanted {
        let exchange = &mut state.stream.exchange;
        exchange.tail().extend_from_slice(b"0\r\n");
        exchange.tail().extend_from_slice(&state.text);
        exchange.tail().extend_from_slice(b"\r\n");
    } else if let Err(ShortBody(missing)) = writer.finish(&mut state.stream.exchange) {
        return Err(PyRuntimeError::new_err(format!(
            "the body is shorter than its Content-Length by {missing} bytes"
        )));
    }
    complete(call, state);
    Ok(true)
}

fn early_hint(call: &Call, state: &mut State, message: &Bound<'_, PyDict>) -> PyResult<bool> {
    if !matches!(state.response, Response::Fresh | Response::Begun) {
        return Err(PyAssertionError::new_err("an early hint comes before the response"));
    }
    if state.framing_version == Version::Http10 {
        return Ok(true);
    }
    let mut text = Vec::new();
    let begun = ResponseHead::begin(&mut text, Version::Http11, b"103 Early Hints");
    let mut head = begun.map_err(|error| PyValueError::new_err(error.to_string()))?;
    if let Some(links) = get(message, &call.server.asgi.words.links)? {
        for link in links.try_iter()? {
            let link = link?;
            let link = link.cast::<PyBytes>()?;
            head.field(&mut text, b"Link", link.as_bytes())
                .map_err(|error| PyValueError::new_err(format!("a link: {error}")))?;
        }
    }
    text.extend_from_slice(b"\r\n");
    state.stream.exchange.tail().extend_from_slice(&text);
    state.interim += text.len() as u64;
    state.flush(&call.server)
}
