//! One request in the hands of an app: what `receive` and `send` act on.
//!
//! | response  | event                                         | next      |
//! |-----------|-----------------------------------------------|-----------|
//! | Fresh     | `http.response.start`                         | Begun     |
//! | Begun     | the first body, or a file                     | Streaming |
//! | Streaming | the last body, trailers promised              | Trailing  |
//! | Streaming, Trailing | the last of it                      | Over      |
//! | any       | the peer has gone, a deadline, the app failed | Over      |
//!
//! Once it is Over the connection belongs to the engine again; the task may go on (background
//! work) and is told `http.disconnect`. A call and its two functions are used again for another
//! request unless the app has kept one of them.

use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use monoceros_engine::{Class, Flow, Outcome, Stream};
use monoceros_http1::{Method, ResponseHead, Status, Version, error_response};
use pyo3::create_exception;
use pyo3::exceptions::{PyConnectionResetError, PyRuntimeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::asgi::awaitable::{Answer, Wanted};
use crate::asgi::server::{Asgi, Server};
use crate::asgi::{http, websocket};
use crate::body_writer::BodyWriter;
use crate::capi::{Definition, Takes, enter_simple, function};
use crate::journal::Observed;

/// What an app has sent and the socket has not taken: from here on it waits.
pub const HIGH_WATER: usize = 64 * 1024;
/// Until no more than this is left.
pub const LOW_WATER: usize = 16 * 1024;

/// See the table above.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Response {
    Fresh,
    Begun,
    Streaming,
    Trailing,
    Over,
}

pub struct State {
    pub stream: Stream<Asgi>,
    pub response: Response,
    pub websocket: Option<Box<websocket::Conversation>>,
    pub head: Option<ResponseHead>,
    /// The response head, as far as it is written.
    pub text: Vec<u8>,
    pub writer: Option<BodyWriter>,
    pub promises_trailers: bool,
    pub version: Version,
    /// Whether the peer reads chunks and interim answers.
    pub framing_version: Version,
    pub method: Method,
    /// A body that came whole with its head.
    pub body: Option<Py<PyBytes>>,
    /// The app has had all of the request's body.
    pub body_told: bool,
    /// The peer has gone, or has said its last.
    pub disconnected: bool,
    /// The app knows.
    pub disconnect_told: bool,
    /// The app has sent more than it has announced.
    pub excessive: bool,
    /// Bytes of interim answers.
    pub interim: u64,
    /// The output waits for the peer, and a deadline runs.
    pub blocked: bool,
    /// Futures of those who wait for something to happen here.
    waiters: Vec<Py<PyAny>>,
    pub task: Option<Py<PyAny>>,
    /// Cancels the task when the app does not end after its client.
    pub grace: Option<Py<PyAny>>,
    /// Why we have cancelled the task.
    pub cancelled: bool,
    pub observed: Option<Observed>,
    /// The server finds this call by its connection.
    pub listed: bool,
}

#[pyclass(frozen, name = "Call", module = "monoceros._core")]
pub struct Call {
    pub server: Arc<Server>,
    state: Mutex<State>,
}

/// A call with its functions.
pub struct Callables {
    pub call: Py<Call>,
    pub receive: Py<PyAny>,
    pub send: Py<PyAny>,
    pub done: Py<PyAny>,
}

static RECEIVE: Definition = Definition::simple(c"receive", receive, Takes::Nothing);
static SEND: Definition = Definition::simple(c"send", send, Takes::One);
static DONE: Definition = Definition::simple(c"done", done, Takes::One);

impl Callables {
    pub fn new(py: Python<'_>, server: &Arc<Server>) -> PyResult<Callables> {
        let state = State {
            stream: server.engine.new_stream(),
            response: Response::Over,
            websocket: None,
            head: None,
            text: Vec::new(),
            writer: None,
            promises_trailers: false,
            version: Version::Http11,
            framing_version: Version::Http11,
            method: Method::Get,
            body: None,
            body_told: true,
            disconnected: false,
            disconnect_told: false,
            excessive: false,
            interim: 0,
            blocked: false,
            waiters: Vec::new(),
            task: None,
            grace: None,
            cancelled: false,
            observed: None,
            listed: false,
        };
        let call = Call { server: Arc::clone(server), state: Mutex::new(state) };
        let call = Bound::new(py, call)?;
        let any = call.as_any();
        Ok(Callables {
            receive: function(any, &RECEIVE)?.unbind(),
            send: function(any, &SEND)?.unbind(),
            done: function(any, &DONE)?.unbind(),
            call: call.unbind(),
        })
    }
}

impl Call {
    /// Never waits: only the loop's thread has business here.
    pub fn lock(&self) -> PyResult<MutexGuard<'_, State>> {
        match self.state.try_lock() {
            Ok(state) => Ok(state),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => Err(PyRuntimeError::new_err(
                "used on another thread than the loop's, or while another call for this request \
                 runs",
            )),
        }
    }

    /// For who waits: what there is, or a future.
    pub fn ask<'py>(slf: &Bound<'py, Call>, wanted: Wanted) -> PyResult<Answer<'py>> {
        let py = slf.py();
        let call = slf.get();
        let mut state = call.lock()?;
        let found = match wanted {
            Wanted::Room => state.room(py)?,
            Wanted::Message if state.websocket.is_some() => {
                websocket::next_message(py, call, &mut state)?
            }
            Wanted::Message => http::next_message(py, call, &mut state)?,
        };
        if let Some(found) = found {
            drop(state);
            return Ok(Answer::Here(found));
        }
        let future = call.server.asgi.new_future(py)?;
        state.waiters.retain(|waiter| !is_done(waiter.bind(py)));
        state.waiters.push(future.clone().unbind());
        Ok(Answer::Later(future))
    }
}

fn is_done(future: &Bound<'_, PyAny>) -> bool {
    future.call_method0("done").and_then(|done| done.is_truthy()).unwrap_or(true)
}

create_exception!(
    monoceros._core,
    ClientDisconnected,
    PyConnectionResetError,
    "The client cannot be reached any more: what `send` raises then, an OSError since ASGI 2.4."
);

/// The peer cannot be reached any more.
pub fn peer_gone() -> PyErr {
    ClientDisconnected::new_err("the client has closed its connection")
}

impl State {
    /// Whether the app may send more; None while the peer has to read first.
    fn room<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if self.stream.is_open() && !self.stream.is_broken() {
            let waits = self.blocked && self.stream.exchange.waiting() > LOW_WATER;
            return Ok((!waits).then(|| py.None().into_bound(py)));
        }
        if self.response == Response::Over && !self.disconnected {
            return Ok(Some(py.None().into_bound(py)));
        }
        Err(peer_gone())
    }

    /// Something has happened: whoever waits looks again. To be called with what this returns after
    /// the state is unlocked.
    pub fn take_waiters(&mut self) -> Vec<Py<PyAny>> {
        std::mem::take(&mut self.waiters)
    }

    /// Sends what the socket takes. True: there is room for more.
    pub fn flush(&mut self, server: &Server) -> PyResult<bool> {
        match self.stream.flush() {
            Flow::Sent => {
                if std::mem::take(&mut self.blocked) {
                    server.engine.unexpect(&self.stream);
                }
                Ok(true)
            }
            Flow::Blocked(held) => {
                if !std::mem::replace(&mut self.blocked, true)
                    && !server.engine.expect(&mut self.stream, Class::Write)
                {
                    self.disconnected = true;
                    return Err(peer_gone());
                }
                Ok(held <= HIGH_WATER)
            }
            Flow::Gone => {
                self.disconnected = true;
                Err(peer_gone())
            }
        }
    }

    /// The connection goes back to the engine. `outcome`: whole, or visibly not.
    pub fn end(&mut self, server: &Server, outcome: Outcome<()>) {
        self.response = Response::Over;
        self.blocked = false;
        if let Some(key) = self.stream.key()
            && std::mem::take(&mut self.listed)
        {
            server.asgi.unlist(key);
        }
        server.engine.end(&mut self.stream, outcome);
    }

    /// Whether something of the response may have reached the peer.
    pub fn is_sent(&self) -> bool {
        let exchange = &self.stream.exchange;
        exchange.sent() > self.interim || self.interim > 0 && exchange.sent() < self.interim
    }

    /// An answer of ours, where nothing has been sent; else the peer sees that something is
    /// missing.
    pub fn fail(&mut self, server: &Server, status: Status) {
        if self.response == Response::Over || !self.stream.is_open() {
            return;
        }
        if self.is_sent() || self.stream.is_broken() {
            return self.end(server, Outcome::Abort);
        }
        let exchange = &mut self.stream.exchange;
        exchange.clear_output();
        let date = server.asgi.date();
        let head_request = self.method == Method::Head;
        error_response(exchange.tail(), status, &date, head_request, &[]);
        exchange.set_status(status.code());
        exchange.set_keep_alive(false);
        self.end(server, Outcome::Complete);
    }

    /// Method and target, for the log.
    pub fn target(&self) -> String {
        if let Some(conversation) = &self.websocket {
            return conversation.target.to_string();
        }
        let (head, bytes) = self.stream.exchange.head();
        if bytes.len() < head.length {
            return String::new();
        }
        String::from_utf8_lossy(head.target.of(bytes)).into_owned()
    }
}

/// Wakes those who wait. The state must be unlocked: a future calls its loop.
pub fn wake(py: Python<'_>, waiters: Vec<Py<PyAny>>) -> PyResult<()> {
    for waiter in waiters {
        let waiter = waiter.bind(py);
        if !is_done(waiter) {
            waiter.call_method1("set_result", (py.None(),))?;
        }
    }
    Ok(())
}

fn call_of<'a, 'py>(state: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, Call>> {
    Ok(state.cast::<Call>()?)
}

/// `receive()`.
unsafe extern "C" fn receive(
    state: *mut ffi::PyObject,
    nothing: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called by CPython through RECEIVE.
    unsafe {
        enter_simple(state, nothing, |state, _| {
            let call = call_of(state)?;
            call.get().server.asgi.pending(call, Wanted::Message)
        })
    }
}

/// `send(message)`.
unsafe extern "C" fn send(
    state: *mut ffi::PyObject,
    message: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called by CPython through SEND.
    unsafe {
        enter_simple(state, message, |state, message| {
            let call = call_of(state)?;
            let message = message
                .ok_or_else(|| PyRuntimeError::new_err("send() takes a message"))?
                .cast::<pyo3::types::PyDict>()?;
            let mut guard = call.get().lock()?;
            let sent = match guard.websocket {
                None => http::send(call.get(), &mut guard, message),
                Some(_) => websocket::send(call.get(), &mut guard, message),
            };
            let waiters = match guard.response {
                Response::Over => guard.take_waiters(),
                _ => Vec::new(),
            };
            drop(guard);
            wake(state.py(), waiters)?;
            match sent? {
                true => Ok(call.get().server.asgi.done(state.py())),
                false => call.get().server.asgi.pending(call, Wanted::Room),
            }
        })
    }
}

/// The task is done.
unsafe extern "C" fn done(
    state: *mut ffi::PyObject,
    task: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called by CPython through DONE.
    unsafe {
        enter_simple(state, task, |state, task| {
            let call = call_of(state)?;
            if let Some(task) = task {
                Server::finished(call, task)?;
            }
            Ok(state.py().None().into_bound(state.py()))
        })
    }
}
