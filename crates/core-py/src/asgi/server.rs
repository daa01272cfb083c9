//! Requests from the engine to tasks of the app, and what follows when a task is done.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use monoceros_engine::clock::unix_seconds;
use monoceros_engine::{
    AppThread, Arrived, Body, Broken, Engine, Gateway, Key, Lines, Outcome, READ_BUFFER, Stream,
    locked,
};
use monoceros_http1::{DateCache, Status, Version};
use monoceros_websocket::Compression;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::asgi::awaitable::{Done, Pending, Wanted};
use crate::asgi::call::{Call, Callables, Response, State, wake};
use crate::asgi::messages::Words;
use crate::asgi::scope::{Kind, Peer, Scopes};
use crate::asgi::task::Tasks;
use crate::asgi::websocket::{Asked, asked};
use crate::asgi::{environ, websocket};
use crate::capi::{call3, is_sole_reference};
use crate::journal::{Clock, ERROR, Journal, Observed, Request};

/// Calls that are kept for the next requests: what a batch of events needs.
const CALLS_KEPT: usize = 128;

/// What a worker's requests share.
pub struct Asgi {
    pub app: Py<PyAny>,
    pub event_loop: Py<PyAny>,
    pub words: Words,
    pub journal: Journal,
    /// Value of the Server field.
    pub server: Vec<u8>,
    /// Seconds that an app has to end after its client has left.
    pub grace: f64,
    pub websockets: WebSockets,
    /// `explain(task)`: where it is, as text.
    pub explain: Option<Py<PyAny>>,
    tasks: Tasks,
    scopes: Mutex<Scopes>,
    date: Mutex<DateCache>,
    clock: Mutex<Clock>,
    done: Py<Done>,
    free: Mutex<Vec<Callables>>,
    /// By the index of their connection's key: those that wait for news of it.
    listed: Mutex<Vec<Option<Py<Call>>>>,
    scratch: Mutex<Vec<u8>>,
}

impl Gateway for Asgi {
    type Peer = Peer;
    type Paused = ();
}

/// What an operator decides about WebSockets.
pub struct WebSockets {
    /// How they are compressed; None: they are not.
    pub compression: Option<Compression>,
    /// Bytes of the largest message.
    pub max_message_size: usize,
    /// Messages that are read ahead of the app.
    pub max_queue: usize,
}

pub struct Server {
    pub engine: Engine<Asgi>,
    pub asgi: Asgi,
    lines: Arc<Mutex<Lines>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Asgi {
    #[expect(clippy::too_many_arguments, reason = "what a worker has")]
    pub fn new(
        py: Python<'_>,
        app: Py<PyAny>,
        event_loop: Py<PyAny>,
        journal: Journal,
        server: Vec<u8>,
        grace: f64,
        explain: Option<Py<PyAny>>,
        websockets: WebSockets,
        scopes: Scopes,
    ) -> PyResult<Asgi> {
        Ok(Asgi {
            tasks: Tasks::new(event_loop.bind(py))?,
            words: Words::new(py),
            scopes: Mutex::new(scopes),
            date: Mutex::new(DateCache::new()),
            clock: Mutex::default(),
            done: Py::new(py, Done)?,
            free: Mutex::default(),
            listed: Mutex::default(),
            scratch: Mutex::new(vec![0; READ_BUFFER]),
            app,
            event_loop,
            journal,
            server,
            grace,
            websockets,
            explain,
        })
    }

    pub fn date(&self) -> [u8; 29] {
        *lock(&self.date).at(unix_seconds())
    }

    pub fn new_future<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.event_loop.bind(py).call_method0("create_future")
    }

    /// Room for what is read.
    pub fn scratch(&self) -> MutexGuard<'_, Vec<u8>> {
        lock(&self.scratch)
    }

    /// For what needs no waiting.
    pub fn done<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.done.bind(py).clone().into_any()
    }

    pub fn pending<'py>(
        &self,
        call: &Bound<'py, Call>,
        wanted: Wanted,
    ) -> PyResult<Bound<'py, PyAny>> {
        let pending = Pending::new(call.clone().unbind(), wanted);
        Ok(Bound::new(call.py(), pending)?.into_any())
    }

    fn list(&self, key: Key, call: Py<Call>) {
        let mut listed = lock(&self.listed);
        if listed.len() <= key.index() {
            listed.resize_with(key.index() + 1, || None);
        }
        listed[key.index()] = Some(call);
    }

    /// Its connection is given back.
    pub fn unlist(&self, key: Key) {
        let gone = lock(&self.listed).get_mut(key.index()).and_then(Option::take);
        drop(gone);
    }

    pub fn find<'py>(&self, py: Python<'py>, key: Key) -> Option<Bound<'py, Call>> {
        let listed = lock(&self.listed);
        Some(listed.get(key.index())?.as_ref()?.bind(py).clone())
    }

    /// All that wait for news.
    pub fn all_listed(&self, py: Python<'_>) -> Vec<Py<Call>> {
        lock(&self.listed).iter().flatten().map(|call| call.clone_ref(py)).collect()
    }

    /// Lets go of everything that would keep the server alive.
    pub fn clear(&self) {
        let free = std::mem::take(&mut *lock(&self.free));
        let listed = std::mem::take(&mut *lock(&self.listed));
        drop((free, listed));
    }
}

impl Server {
    pub fn new(engine: Engine<Asgi>, asgi: Asgi) -> Server {
        let lines = engine.loop_lines();
        if let Some(access) = &asgi.journal.access {
            *locked(&lines) = Lines::to(access.file);
        }
        Server { engine, asgi, lines }
    }

    /// Body bytes of a stream.
    pub fn read_body(
        &self,
        stream: &mut Stream<Asgi>,
        into: &mut Vec<u8>,
    ) -> Result<Arrived, Broken> {
        self.engine.read_body(stream, &mut lock(&self.asgi.scratch), into)
    }

    /// Begins the request in the thread's exchange. An error ends the loop.
    pub fn serve(self: &Arc<Self>, py: Python<'_>, thread: &mut AppThread<Asgi>) -> PyResult<()> {
        let callables = match lock(&self.asgi.free).pop() {
            Some(callables) => callables,
            None => Callables::new(py, self)?,
        };
        let call = callables.call.bind(py);
        let (kind, asked) = match asked(&thread.exchange, &self.asgi) {
            Asked::Nothing => (Kind::Http, None),
            Asked::WebSocket(conversation, offers) => {
                (Kind::WebSocket, Some((conversation, offers)))
            }
            Asked::Refused(error) => {
                let mut state = call.get().lock()?;
                let adopted = self.adopt(py, thread, &mut state, Kind::WebSocket);
                websocket::refuse(py, call.get(), &mut state, error);
                self.tell(py, &mut state);
                drop(state);
                if let Err(error) = adopted {
                    self.asgi.journal.say(py, ERROR, "Exception before a request", Some(error));
                }
                self.keep(py, callables);
                return Ok(());
            }
        };
        let mut state = call.get().lock()?;
        let mut scope = self.adopt(py, thread, &mut state, kind);
        if let Some((conversation, offers)) = asked {
            state.websocket = Some(conversation);
            scope = scope.and_then(|scope| {
                lock(&self.asgi.scopes).set_subprotocols(&scope, &offers)?;
                Ok(scope)
            });
        }
        drop(state);
        let called = scope.and_then(|scope| {
            let (receive, send) = (callables.receive.bind(py), callables.send.bind(py));
            call3(self.asgi.app.bind(py), scope.as_any(), receive, send)
        });
        let begun = match called.and_then(|coroutine| self.asgi.tasks.begin(&coroutine)) {
            Ok(begun) => begun,
            Err(error) if error.is_instance_of::<PyException>(py) => {
                self.conclude(call, Some(error), false)?;
                return Ok(());
            }
            Err(error) => {
                self.conclude(call, None, false)?;
                return Err(error);
            }
        };
        let task = &begun.task;
        let done = task.call_method0("done")?.is_truthy()?;
        if done {
            Server::finished(call, task)?;
        }
        let mut state = call.get().lock()?;
        if done && !state.stream.is_open() {
            drop(state);
            drop(begun);
            self.keep(py, callables);
            return Ok(());
        }
        if let Some(key) = state.stream.key() {
            if !self.engine.watch(&mut state.stream) {
                state.disconnected = true;
            }
            state.listed = true;
            self.asgi.list(key, callables.call.clone_ref(py));
        }
        if done {
            // A WebSocket whose peer has not closed it yet.
            return Ok(());
        }
        state.task = Some(task.clone().unbind());
        drop(state);
        self.asgi.tasks.when_done(&begun, callables.done.bind(py))
    }

    /// The request becomes the call's; its scope.
    fn adopt<'py>(
        &self,
        py: Python<'py>,
        thread: &mut AppThread<Asgi>,
        state: &mut State,
        kind: Kind,
    ) -> PyResult<Bound<'py, PyDict>> {
        let exchange = &mut thread.exchange;
        let scope = lock(&self.asgi.scopes).make(py, exchange, kind);
        let body = match exchange.take_body() {
            Body::Empty => None,
            Body::Beside { start, end } => {
                Some(PyBytes::new(py, exchange.beside(start, end)).unbind())
            }
            Body::Memory(bytes) => Some(PyBytes::new(py, &bytes).unbind()),
            Body::Spooled(_) => unreachable!("bodies of event loops are not spooled"),
        };
        self.engine.adopt(thread, &mut state.stream);
        let exchange = &mut state.stream.exchange;
        let (head, _) = exchange.head();
        state.version = head.version;
        state.method = head.method;
        // A front end that speaks uwsgi writes 1.1 and reads what 1.0 has.
        state.framing_version = match exchange.variables() {
            None => head.version,
            Some(_) => Version::Http10,
        };
        state.response = Response::Fresh;
        state.websocket = None;
        state.head = None;
        state.writer = None;
        state.promises_trailers = false;
        state.body = body;
        state.body_told = false;
        state.disconnected = false;
        state.disconnect_told = false;
        state.excessive = false;
        state.interim = 0;
        state.blocked = false;
        state.cancelled = false;
        state.observed = self.observe(py, exchange)?;
        scope
    }

    /// Shows a new request to who wants to see it.
    fn observe(
        &self,
        py: Python<'_>,
        exchange: &monoceros_engine::Exchange<Asgi>,
    ) -> PyResult<Option<Observed>> {
        let journal = &self.asgi.journal;
        if !journal.is_read() {
            return Ok(None);
        }
        let environ = environ::of(py, exchange)?.unbind();
        let mut request = None;
        if let Some(observer) = &journal.observer {
            let seen = Request::new(py, exchange)?;
            request = Some(seen.clone().unbind());
            observer.bind(py).call_method1("before", (seen,))?;
        }
        Ok(Some(Observed { request, environ, since: exchange.since(), kept: None }))
    }

    /// A task is done, with its last step or long after.
    pub fn finished(call: &Bound<'_, Call>, task: &Bound<'_, PyAny>) -> PyResult<()> {
        let server = Arc::clone(&call.get().server);
        let cancelled = task.call_method0("cancelled")?.is_truthy()?;
        let error = match cancelled {
            true => None,
            false => Some(task.call_method0("exception")?).filter(|error| !error.is_none()),
        };
        server.conclude(call, error.map(PyErr::from_value), cancelled)
    }

    /// The app has done its part: what it has not answered is answered, or visibly cut.
    fn conclude(
        &self,
        call: &Bound<'_, Call>,
        error: Option<PyErr>,
        cancelled: bool,
    ) -> PyResult<()> {
        let py = call.py();
        let mut state = call.get().lock()?;
        let task = state.task.take();
        let grace = state.grace.take();
        let target = match (&error, state.response) {
            (None, Response::Over) => String::new(),
            _ => state.target(),
        };
        let (disconnected, was) = (state.disconnected, state.response);
        // What is cut when the engine has ended is told of as a whole.
        let ends = cancelled && self.engine.has_ended();
        let ours = state.cancelled || ends;
        let mut result = Ok(());
        if state.websocket.is_some() {
            result = websocket::conclude(self, &mut state, error.is_some() || cancelled);
        } else if was != Response::Over {
            let whole = was == Response::Streaming
                && state.writer.as_ref().is_some_and(|writer| writer.is_whole());
            if whole && (!state.excessive || state.is_sent()) {
                if state.excessive {
                    state.stream.exchange.set_keep_alive(false);
                    state.stream.linger();
                }
                state.end(self, Outcome::Complete);
            } else if ends {
                state.fail(self, Status::SERVICE_UNAVAILABLE);
            } else {
                state.fail(self, Status::INTERNAL_SERVER_ERROR);
            }
        }
        let was = if state.websocket.is_some() { Response::Over } else { was };
        self.tell(py, &mut state);
        let waiters = state.take_waiters();
        drop(state);
        drop(task);
        if let Some(grace) = grace {
            grace.bind(py).call_method0("cancel")?;
        }
        wake(py, waiters)?;
        result?;
        self.explain_end(py, &target, error, cancelled && !ours, was, disconnected);
        Ok(())
    }

    /// The connection has been given back: for the observer and the access log.
    pub fn tell(&self, py: Python<'_>, state: &mut State) {
        let Some(observed) = state.observed.take() else { return };
        let exchange = &state.stream.exchange;
        let (status, close) = (exchange.status(), !exchange.keep_alive());
        let sent = state.writer.as_ref().map_or(0, |writer| writer.sent);
        let asgi = &self.asgi;
        let mut clock = lock(&asgi.clock);
        asgi.journal.tell(py, observed, &mut clock, &self.lines, status, sent, close, false);
    }

    /// A call whose functions nobody has kept serves another request.
    fn keep(&self, py: Python<'_>, callables: Callables) {
        let sole = |object: &Py<PyAny>| is_sole_reference(object.bind(py));
        if sole(&callables.receive) && sole(&callables.send) && sole(&callables.done) {
            let mut free = lock(&self.asgi.free);
            if free.len() < CALLS_KEPT {
                free.push(callables);
            }
        }
    }

    /// Writes the access lines that wait; `all`: before the loop waits.
    pub fn write_lines(&self, py: Python<'_>, all: bool) {
        let mut lines = locked(&self.lines);
        if lines.is_empty() || !lines.is_due(all) {
            return;
        }
        if let Err(error) = lines.flush() {
            drop(lines);
            let text = format!("access log lines are lost: {error}; look at where the log goes");
            self.asgi.journal.say(py, ERROR, &text, None);
        }
    }
}
