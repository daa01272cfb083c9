//! `start_response`, the `write` callable that it returns, and `wsgi.early_hints`.
//!
//! Per request: Fresh -> Begun (start_response) -> Committed (the first body bytes, or the end).
//! A second start_response needs exc_info; before Committed it replaces the head, after it raises
//! what it was given (PEP 3333, "Error Handling"). The three are bound to one state per app thread
//! and used again for the next request unless the app has kept one of them.

use std::sync::{Mutex, MutexGuard, TryLockError};
use std::thread::{self, ThreadId};

use monoceros_engine::Exchange;
use monoceros_engine::clock::unix_seconds;
use monoceros_http1::{DateCache, Finish, Method, ResponseHead, Version};
use pyo3::exceptions::{PyAssertionError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use crate::body_writer::BodyWriter;
use crate::capi::{Definition, enter, function, is_sole_reference, latin1_bytes};
use crate::wsgi::Wsgi;
use crate::wsgi::cooperation::flush_cooperatively;

/// The one status below 200 that is a final answer (RFC 9110, 15.2.2).
const SWITCHING_PROTOCOLS: u16 = 101;
/// Seconds until a greenlet looks again whether another one has left start_response.
const LOCK_PAUSE: f64 = 0.001;
/// Nothing to wait for but time.
const NO_DESCRIPTOR: i32 = -1;

/// The exchange of the request under way.
#[derive(Clone, Copy)]
struct Current {
    exchange: *mut Exchange<Wsgi>,
    thread: ThreadId,
}

// SAFETY: the pointer is only followed on the thread that set it, see `Current::exchange`.
unsafe impl Send for Current {}

impl Current {
    /// The exchange, for the thread that serves it.
    fn exchange<'a>(self) -> PyResult<&'a mut Exchange<Wsgi>> {
        if thread::current().id() != self.thread {
            return Err(PyRuntimeError::new_err("called on another thread than the request's"));
        }
        // SAFETY: set by `Responder::begin` from the exclusive reference that the gateway leaves
        // untouched while the app runs, cleared by `end` before it is used again; the check above
        // keeps other threads out.
        Ok(unsafe { &mut *self.exchange })
    }
}

pub struct State {
    current: Option<Current>,
    version: Version,
    /// Whether the peer reads chunks and interim answers.
    framing_version: Version,
    head_request: bool,
    keep_alive: bool,
    /// Somebody wants to see status and headers afterwards.
    observed: bool,
    head: Option<ResponseHead>,
    text: Vec<u8>,
    writer: Option<BodyWriter>,
    committed: bool,
    /// `write` or `early_hints` has found that the client has left.
    peer_gone: bool,
    date: DateCache,
    server: Vec<u8>,
    pub kept: Option<(Py<PyString>, Py<PyAny>)>,
    /// What start_response returns, while a request is under way.
    write: Option<Py<PyAny>>,
}

/// The state behind the three callables.
#[pyclass(frozen, name = "Responder", module = "monoceros._core")]
pub struct Responder {
    state: Mutex<State>,
    /// See `Wsgi`.
    wait_writable: Option<Py<PyAny>>,
}

/// One app thread's callables.
pub struct Callables {
    pub responder: Py<Responder>,
    start_response: Py<PyAny>,
    write: Py<PyAny>,
    pub early_hints: Py<PyAny>,
}

static START_RESPONSE: Definition = Definition::new(c"start_response", start_response);
static WRITE: Definition = Definition::new(c"write", write);
static EARLY_HINTS: Definition = Definition::new(c"early_hints", early_hints);

impl Callables {
    pub fn new(
        py: Python<'_>,
        server: &[u8],
        wait_writable: Option<Py<PyAny>>,
    ) -> PyResult<Callables> {
        let state = State {
            current: None,
            version: Version::Http11,
            framing_version: Version::Http11,
            head_request: false,
            keep_alive: false,
            observed: false,
            head: None,
            text: Vec::new(),
            writer: None,
            committed: false,
            peer_gone: false,
            date: DateCache::new(),
            server: server.to_vec(),
            kept: None,
            write: None,
        };
        let responder = Bound::new(py, Responder { state: Mutex::new(state), wait_writable })?;
        let any = responder.as_any();
        Ok(Callables {
            start_response: function(any, &START_RESPONSE)?.unbind(),
            write: function(any, &WRITE)?.unbind(),
            early_hints: function(any, &EARLY_HINTS)?.unbind(),
            responder: responder.unbind(),
        })
    }

    pub fn start_response<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.start_response.bind(py).clone()
    }

    /// The app has kept a callable that must not reach the next request. (`early_hints` stands in
    /// every environ and an app may keep that; it does nothing outside of a request.)
    pub fn escaped(&self, py: Python<'_>) -> bool {
        !is_sole_reference(self.start_response.bind(py)) || !is_sole_reference(self.write.bind(py))
    }

    pub fn responder(&self) -> &Responder {
        self.responder.get()
    }

    /// The app runs again: it may call us back, and the exchange must stay untouched meanwhile.
    pub fn lend(&self, exchange: &mut Exchange<Wsgi>) {
        self.responder().lock().current =
            Some(Current { exchange, thread: thread::current().id() });
    }

    /// A request begins; see [`Responder::begin`].
    pub fn begin(&self, py: Python<'_>, exchange: &mut Exchange<Wsgi>, observed: bool) {
        self.responder().begin(exchange, observed, self.write.clone_ref(py));
    }
}

impl Responder {
    /// A request begins. `exchange` must stay untouched by the caller until `end`.
    fn begin(&self, exchange: &mut Exchange<Wsgi>, observed: bool, write: Py<PyAny>) {
        let mut state = self.lock();
        state.write = Some(write);
        let (head, _) = exchange.head();
        state.version = head.version;
        // A front end that speaks uwsgi writes 1.1 and reads what 1.0 has.
        state.framing_version = match exchange.variables() {
            None => head.version,
            Some(_) => Version::Http10,
        };
        state.head_request = head.method == Method::Head;
        state.keep_alive = exchange.keep_alive();
        state.observed = observed;
        state.head = None;
        state.text.clear();
        state.writer = None;
        state.committed = false;
        state.peer_gone = false;
        state.kept = None;
        state.current = Some(Current { exchange, thread: thread::current().id() });
    }

    /// The request is over, or pauses; what is left of it.
    pub fn end(&self) -> Option<BodyWriter> {
        let mut state = self.lock();
        state.current = None;
        state.write = None;
        state.writer.take()
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        loop {
            match self.state.try_lock() {
                Ok(state) => return state,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
            // Another thread of the app is in start_response. It may need the interpreter before
            // it lets go, so that waiting attached could last for ever; and a greenlet needs the
            // thread.
            let state = Python::attach(|py| match &self.wait_writable {
                None => Some(self.state.lock_py_attached(py)),
                Some(wait) => {
                    if let Err(error) = wait.call1(py, (NO_DESCRIPTOR, LOCK_PAUSE)) {
                        error.write_unraisable(py, None);
                    }
                    None
                }
            });
            if let Some(state) = state {
                return state.unwrap_or_else(std::sync::PoisonError::into_inner);
            }
        }
    }
}

impl State {
    pub fn is_committed(&self) -> bool {
        self.committed
    }

    pub fn peer_is_gone(&self) -> bool {
        self.peer_gone
    }

    pub fn content_length(&self) -> Option<u64> {
        self.head.as_ref().and_then(ResponseHead::content_length)
    }

    /// Moves the head into the exchange. `known_length`: the whole body is at hand.
    /// Panics never; None when start_response has not been called.
    pub fn commit(
        &mut self,
        exchange: &mut Exchange<Wsgi>,
        known_length: Option<u64>,
    ) -> Option<BodyWriter> {
        let head = self.head.take()?;
        let status = head.status();
        let finish = Finish {
            date: self.date.at(unix_seconds()),
            server: &self.server,
            head_request: self.head_request,
            request_version: self.framing_version,
            keep_alive: self.keep_alive,
            known_length,
        };
        let framing = head.finish(&mut self.text, &finish);
        exchange.tail().extend_from_slice(&self.text);
        exchange.set_status(status);
        exchange.set_keep_alive(framing.keep_alive);
        self.committed = true;
        Some(BodyWriter::new(framing, self.head_request))
    }

    /// The writer that `write` has begun with.
    pub fn take_writer(&mut self) -> Option<BodyWriter> {
        self.writer.take()
    }
}

fn responder<'a>(state: &'a Bound<'_, PyAny>) -> PyResult<&'a Responder> {
    Ok(state.cast::<Responder>()?.get())
}

fn locked(responder: &Responder) -> PyResult<MutexGuard<'_, State>> {
    match responder.state.try_lock() {
        Ok(state) => Ok(state),
        Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => {
            Err(PyRuntimeError::new_err("called while another call for this request runs"))
        }
    }
}

/// `start_response(status, headers, exc_info=None)`.
unsafe extern "C" fn start_response(
    state: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called by CPython through START_RESPONSE.
    unsafe {
        enter(state, arguments, count, keywords, |state, arguments, keywords| {
            let positional = arguments.len() - keywords.map_or(Ok(0), |names| names.len())?;
            let argument = |index: usize, name: &str| -> PyResult<Option<&Bound<'_, PyAny>>> {
                if index < positional {
                    return Ok(Some(&arguments[index]));
                }
                let Some(names) = keywords else { return Ok(None) };
                for (place, given) in names.try_iter()?.enumerate() {
                    if given?.extract::<String>()? == name {
                        return Ok(Some(&arguments[positional + place]));
                    }
                }
                Ok(None)
            };
            let missing = || PyTypeError::new_err("start_response() takes a status and headers");
            if arguments.len() > 3 {
                return Err(PyTypeError::new_err("start_response() takes at most 3 arguments"));
            }
            let status = argument(0, "status")?.ok_or_else(missing)?;
            let headers =
                argument(1, "headers")?.or(argument(1, "response_headers")?).ok_or_else(missing)?;
            let exc_info = argument(2, "exc_info")?.filter(|given| !given.is_none());
            begin_response(responder(state)?, status, headers, exc_info)
        })
    }
}

fn begin_response<'py>(
    responder: &Responder,
    status: &Bound<'py, PyAny>,
    headers: &Bound<'py, PyAny>,
    exc_info: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let mut guard = locked(responder)?;
    let state = &mut *guard;
    if state.committed || state.current.is_none() {
        return Err(match exc_info {
            Some(exc_info) => error_of(exc_info)?,
            None if state.committed => PyAssertionError::new_err("the response has begun already"),
            None => PyRuntimeError::new_err("start_response() called outside of its request"),
        });
    }
    if state.head.is_some() && exc_info.is_none() {
        return Err(PyAssertionError::new_err(
            "start_response() called again without exc_info (PEP 3333)",
        ));
    }
    state.head = None;
    state.text.clear();
    let status =
        status.cast::<PyString>().map_err(|_| PyTypeError::new_err("the status must be a str"))?;
    let line = latin1_bytes(status)
        .ok_or_else(|| PyValueError::new_err("the status has characters beyond Latin-1"))?;
    // The server speaks 1.1 whatever the client speaks (RFC 9112, 2.3), but clients of 1.0 have
    // always seen their own version here.
    let mut head = ResponseHead::begin(&mut state.text, state.version, line)
        .map_err(|error| PyValueError::new_err(error.to_string()))?;
    if head.status() < 200 && head.status() != SWITCHING_PROTOCOLS {
        return Err(PyValueError::new_err(
            "an interim status (1xx) is no answer; for 103 there is wsgi.early_hints",
        ));
    }
    if let Ok(list) = headers.cast_exact::<PyList>() {
        for header in list.iter() {
            add_field(&mut head, &mut state.text, &header)?;
        }
    } else {
        for header in headers.try_iter()? {
            add_field(&mut head, &mut state.text, &header?)?;
        }
    }
    state.head = Some(head);
    if state.observed {
        state.kept = Some((status.clone().unbind(), headers.clone().unbind()));
    }
    match &state.write {
        Some(write) => Ok(write.bind(status.py()).clone()),
        None => Err(PyRuntimeError::new_err("start_response() called outside of its request")),
    }
}

fn add_field(
    head: &mut ResponseHead,
    text: &mut Vec<u8>,
    header: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let pair = header.cast::<PyTuple>().map_err(|_| not_a_pair(header))?;
    if pair.len() != 2 {
        return Err(not_a_pair(header));
    }
    let name = pair.get_borrowed_item(0)?;
    let value = pair.get_borrowed_item(1)?;
    let (Ok(name), Ok(value)) = (name.cast::<PyString>(), value.cast::<PyString>()) else {
        return Err(PyTypeError::new_err(format!(
            "a header's name and value must be str, not {} and {}",
            name.get_type().name()?,
            value.get_type().name()?
        )));
    };
    let (Some(name_bytes), Some(value_bytes)) = (latin1_bytes(&name), latin1_bytes(&value)) else {
        return Err(PyValueError::new_err(format!(
            "header {:?} has characters beyond Latin-1",
            name.to_string_lossy()
        )));
    };
    head.field(text, name_bytes, value_bytes).map_err(|error| {
        PyValueError::new_err(format!("header {:?}: {error}", name.to_string_lossy()))
    })
}

fn not_a_pair(header: &Bound<'_, PyAny>) -> PyErr {
    let kind = header.get_type();
    let kind = kind.name().map_or_else(|_| "?".into(), |name| name.to_string());
    PyTypeError::new_err(format!("headers must be (name, value) tuples, not {kind}"))
}

/// The exception of an exc_info triple.
fn error_of(exc_info: &Bound<'_, PyAny>) -> PyResult<PyErr> {
    let value = exc_info.get_item(1)?;
    if let Ok(traceback) = exc_info.get_item(2)
        && !traceback.is_none()
    {
        value.setattr("__traceback__", traceback)?;
    }
    Ok(PyErr::from_value(value))
}

/// `write(data)`: sends at once, and waits until the socket has taken it.
unsafe extern "C" fn write(
    state: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called by CPython through WRITE.
    unsafe {
        enter(state, arguments, count, keywords, |state, arguments, _| {
            let [data] = arguments else {
                return Err(PyTypeError::new_err("write() takes one argument"));
            };
            let data =
                data.cast::<PyBytes>().map_err(|_| PyTypeError::new_err("write() takes bytes"))?;
            let mut guard = locked(responder(state)?)?;
            let current = guard
                .current
                .ok_or_else(|| PyRuntimeError::new_err("write() called outside of its request"))?;
            let exchange = current.exchange()?;
            if !guard.committed {
                let writer = guard.commit(exchange, None);
                guard.writer = writer;
            }
            if let Some(writer) = &mut guard.writer {
                writer.push(exchange, data);
            }
            drop(guard);
            flush(data.py(), responder(state)?, exchange)?;
            Ok(data.py().None().into_bound(data.py()))
        })
    }
}

fn flush(py: Python<'_>, responder: &Responder, exchange: &mut Exchange<Wsgi>) -> PyResult<()> {
    let sent = match &responder.wait_writable {
        None => py.detach(|| exchange.flush_waiting()).is_ok(),
        Some(wait) => flush_cooperatively(exchange, wait.bind(py))?,
    };
    if sent {
        return Ok(());
    }
    responder.lock().peer_gone = true;
    Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe).into())
}

/// `early_hints(headers)`: 103 (RFC 8297), while the response has not begun.
unsafe extern "C" fn early_hints(
    state: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called by CPython through EARLY_HINTS.
    unsafe {
        enter(state, arguments, count, keywords, |state, arguments, _| {
            let [headers] = arguments else {
                return Err(PyTypeError::new_err("early_hints() takes a list of headers"));
            };
            let py = headers.py();
            let guard = locked(responder(state)?)?;
            let none = py.None().into_bound(py);
            let Some(current) = guard.current else { return Ok(none) };
            if guard.committed || guard.framing_version == Version::Http10 {
                return Ok(none);
            }
            drop(guard);
            let mut text = Vec::new();
            let begun = ResponseHead::begin(&mut text, Version::Http11, b"103 Early Hints");
            let mut head = begun.map_err(|error| PyValueError::new_err(error.to_string()))?;
            for header in headers.try_iter()? {
                add_field(&mut head, &mut text, &header?)?;
            }
            text.extend_from_slice(b"\r\n");
            let exchange = current.exchange()?;
            exchange.tail().extend_from_slice(&text);
            flush(py, responder(state)?, exchange)?;
            Ok(none)
        })
    }
}
