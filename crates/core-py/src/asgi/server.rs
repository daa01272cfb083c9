//! Requests from the engine to tasks of the app, and what follows when a task is done.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use monoceros_engine::clock::unix_seconds;
use monoceros_engine::scoreboard::IncidentKind;
use monoceros_engine::{
    AppThread, Arrived, Body, Broken, Class, Engine, Gateway, Key, Lines, News, Outcome,
    READ_BUFFER, Stream, locked,
};
use monoceros_http1::{DateCache, Status, Version};
use monoceros_websocket::{CloseCode, Compression};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::asgi::awaitable::{Done, Pending, Wanted};
use crate::asgi::call::{Call, Callables, ClientDisconnected, Response, State, wake};
use crate::asgi::messages::Words;
use crate::asgi::scope::{Kind, Peer, Scopes};
use crate::asgi::task::Tasks;
use crate::asgi::websocket::{Asked, asked};
use crate::asgi::{environ, http, websocket};
use crate::capi::{call3, is_sole_reference};
use crate::journal::{Clock, DEBUG, ERROR, INFO, Journal, Observed, Request, WARNING};

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

    fn find<'py>(&self, py: Python<'py>, key: Key) -> Option<Bound<'py, Call>> {
        let listed = lock(&self.listed);
        Some(listed.get(key.index())?.as_ref()?.bind(py).clone())
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
                self.adopt(py, thread, &mut state, Kind::WebSocket)?;
                websocket::refuse(py, call.get(), &mut state, error);
                self.tell(py, &mut state);
                drop(state);
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

    /// What of a task's end the log has to know.
    fn explain_end(
        &self,
        py: Python<'_>,
        target: &str,
        error: Option<PyErr>,
        cancelled: bool,
        was: Response,
        disconnected: bool,
    ) {
        let journal = &self.asgi.journal;
        let what = format!("Error handling request {target}");
        match error {
            Some(error) if disconnected && comes_from_the_peer(py, &error) => {
                journal.say(py, DEBUG, "Ignoring premature client disconnection.", None);
            }
            Some(error) => journal.say(py, ERROR, &what, Some(error)),
            None if was == Response::Over || disconnected => {}
            None if cancelled => {
                journal.say(py, WARNING, &format!("{what}: its task was cancelled"), None);
            }
            None => {
                let wrong = match was {
                    Response::Fresh => "the app returned without a response",
                    Response::Begun => "the app returned without a body after the response's start",
                    _ => "the app returned before its response was complete",
                };
                journal.say(py, ERROR, &format!("{what}: {wrong}"), None);
            }
        }
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

    /// What has happened to a connection that the app has.
    pub fn on_news(&self, py: Python<'_>, news: News) -> PyResult<()> {
        let key = match news {
            News::Socket(key, _)
            | News::Deadline(key, _)
            | News::Overdue(key)
            | News::Slow(key) => key,
        };
        let Some(call) = self.asgi.find(py, key) else { return Ok(()) };
        let mut state = call.get().lock()?;
        if state.websocket.is_some() && !matches!(news, News::Overdue(_) | News::Slow(_)) {
            websocket::on_news(py, call.get(), &mut state, news)?;
            let waiters = state.take_waiters();
            drop(state);
            return wake(py, waiters);
        }
        let mut ends = false;
        match news {
            News::Socket(_, flags) => {
                let gone = state.stream.note(flags);
                if state.blocked && state.flush(self).is_err() {
                    state.disconnected = true;
                }
                if gone && !state.disconnected {
                    state.disconnected = true;
                }
                ends = state.disconnected;
            }
            News::Deadline(_, Class::Write) => {
                if state.blocked && self.engine.has_stalled(&mut state.stream) {
                    let peer = state.stream.peer_name();
                    let text =
                        format!("{peer} has stopped reading its response: connection closed");
                    self.asgi.journal.say(py, INFO, &text, None);
                    state.disconnected = true;
                    state.end(self, Outcome::Abort);
                    ends = true;
                }
            }
            News::Deadline(_, Class::Body) => {
                if state.stream.has_incoming() {
                    state.disconnected = true;
                    state.body_told = true;
                    let status = Status::REQUEST_TIMEOUT;
                    http::refuse(py, call.get(), &mut state, status, "its body took too long");
                    ends = true;
                }
            }
            News::Deadline(..) => {}
            News::Overdue(_) => return self.overdue(&call, state),
            News::Slow(_) => {
                let writing = state.is_sent();
                self.engine.report(&state.stream, IncidentKind::Slow, writing, false);
                let task = state.task.as_ref().map(|task| task.clone_ref(py));
                drop(state);
                return self.say_where(py, WARNING, "slow", task);
            }
        }
        let waiters = state.take_waiters();
        let task = match ends && state.grace.is_none() && !state.cancelled {
            true => state.task.as_ref().map(|task| task.clone_ref(py)),
            false => None,
        };
        drop(state);
        wake(py, waiters)?;
        match task {
            Some(task) => self.grant_grace(&call, &task),
            None => Ok(()),
        }
    }

    /// The worker has begun to drain: WebSockets, which would go on for ever, are closed.
    pub fn drain(&self, py: Python<'_>) -> PyResult<()> {
        let listed: Vec<Py<Call>> =
            lock(&self.asgi.listed).iter().flatten().map(|call| call.clone_ref(py)).collect();
        for call in listed {
            let mut state = call.get().lock()?;
            websocket::drain(self, &mut state)?;
            let waiters = state.take_waiters();
            drop(state);
            wake(py, waiters)?;
        }
        Ok(())
    }

    /// With what WebSockets are closed while the worker drains.
    pub fn farewell(&self) -> CloseCode {
        if self.engine.server_stops() { CloseCode::GOING_AWAY } else { CloseCode::SERVICE_RESTART }
    }

    /// The same, where it does drain.
    pub fn is_draining(&self) -> Option<CloseCode> {
        self.engine.is_draining().then(|| self.farewell())
    }

    /// The client has left: the app has so long to notice.
    fn grant_grace(&self, call: &Bound<'_, Call>, task: &Py<PyAny>) -> PyResult<()> {
        let py = call.py();
        let timer = if self.asgi.grace > 0.0 {
            let cancel = task.getattr(py, "cancel")?;
            let event_loop = self.asgi.event_loop.bind(py);
            Some(event_loop.call_method1("call_later", (self.asgi.grace, cancel))?)
        } else {
            task.call_method0(py, "cancel")?;
            None
        };
        let mut state = call.get().lock()?;
        state.grace = timer.map(Bound::unbind);
        state.cancelled = true;
        Ok(())
    }

    /// A request has run for longer than it may: 504 where nothing was sent, and its task is
    /// cancelled.
    fn overdue(&self, call: &Bound<'_, Call>, mut state: MutexGuard<'_, State>) -> PyResult<()> {
        let py = call.py();
        let writing = state.is_sent();
        self.engine.report(&state.stream, IncidentKind::Overdue, writing, !writing);
        state.fail(self, Status::GATEWAY_TIMEOUT);
        state.disconnected = true;
        state.cancelled = true;
        // The 504 is told by whoever explains it.
        state.observed = None;
        let waiters = state.take_waiters();
        let task = state.task.as_ref().map(|task| task.clone_ref(py));
        drop(state);
        self.say_where(py, ERROR, "overdue", task.as_ref().map(|task| task.clone_ref(py)))?;
        wake(py, waiters)?;
        if let Some(task) = task {
            task.call_method0(py, "cancel")?;
        }
        Ok(())
    }

    /// Where a request's coroutine is: stacks of threads do not show it.
    fn say_where(
        &self,
        py: Python<'_>,
        level: i32,
        what: &str,
        task: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let (Some(explain), Some(task)) = (&self.asgi.explain, task) else { return Ok(()) };
        let text: String = explain.bind(py).call1((task,))?.extract()?;
        let text = format!("The {what} request is at:\n{text}");
        self.asgi.journal.say(py, level, &text, None);
        Ok(())
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

/// An exception that stands for the client's leaving: ours, or one that was raised because of it.
fn comes_from_the_peer(py: Python<'_>, error: &PyErr) -> bool {
    let mut error = Some(error.clone_ref(py));
    while let Some(current) = error {
        if current.is_instance_of::<ClientDisconnected>(py) {
            return true;
        }
        let name = current.get_type(py).name();
        if name.is_ok_and(|name| name == "ClientDisconnect") {
            return true;
        }
        error = current.cause(py).or_else(|| {
            let context = current.value(py).getattr("__context__").ok()?;
            (!context.is_none()).then(|| PyErr::from_value(context))
        });
    }
    false
}
