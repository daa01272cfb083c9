//! Calling the app, and turning what it returns into a response.
//!
//! Every request ends in one of four ways: complete, paused until the socket takes more, aborted
//! (the app failed after its head was sent), or a 500 of ours. `close()` of what the app returned
//! is called once in each of them, by whoever drops it last.

mod aftermath;

use monoceros_engine::clock::unix_seconds;
use monoceros_engine::{Exchange, Gateway, Outcome, Written};
use monoceros_http1::{DateCache, Method, Status, error_response};
use pyo3::exceptions::{
    PyBrokenPipeError, PyException, PyKeyboardInterrupt, PySystemExit, PyTypeError,
};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use crate::body_writer::{BodyWriter, ShortBody};
use crate::capi::{call2, next};
use crate::journal::{Clock, DEBUG, ERROR, Journal, Observed, Request, WARNING};
use crate::place::Place;
use crate::wsgi::FileWrapper;
use crate::wsgi::client::Client;
use crate::wsgi::cooperation::flush_cooperatively;
use crate::wsgi::environ::{Environs, Facts, NotUnderScriptName};
use crate::wsgi::responder::Callables;

/// What all app threads of a worker share.
pub struct Wsgi {
    pub app: Py<PyAny>,
    pub facts: Facts,
    pub places: Vec<Place>,
    pub journal: Journal,
    pub sendfile: bool,
    /// Value of the Server field.
    pub server: Vec<u8>,
    /// Where the app runs in greenlets: lets others run until a socket takes more.
    pub wait_writable: Option<Py<PyAny>>,
}

impl Gateway for Wsgi {
    type Peer = Client;
    type Paused = Paused;
}

/// A response that waits for its socket.
pub struct Paused {
    stream: Option<Stream>,
    result: Option<Py<PyAny>>,
    observed: Option<Observed>,
    status: u16,
    /// What was asked for, for the error log. Empty where nothing of the app is run any more.
    target: String,
}

/// What of a response is still to come.
struct Stream {
    iterator: Py<PyAny>,
    writer: Option<BodyWriter>,
}

/// What an app thread keeps between requests.
pub struct Local {
    callables: Callables,
    environs: Environs,
    date: DateCache,
    clock: Clock,
}

impl Local {
    pub fn new(py: Python<'_>, wsgi: &Wsgi) -> PyResult<Local> {
        let wait_writable = wsgi.wait_writable.as_ref().map(|wait| wait.clone_ref(py));
        let callables = Callables::new(py, &wsgi.server, wait_writable)?;
        let early_hints = callables.early_hints.bind(py);
        let environs = Environs::new(py, &wsgi.facts, &wsgi.places, early_hints)?;
        Ok(Local { callables, environs, date: DateCache::new(), clock: Clock::default() })
    }
}

/// Why there is no response.
enum Failure {
    Raised(PyErr),
    /// The app broke the rules; the text says how.
    Broken(String),
    PeerGone,
    /// It came when all of the response had been sent: the client is none the worse for it.
    Afterwards(Box<Failure>),
}

impl Failure {
    /// What it means where the body has come as far as `writer` says.
    fn at(self, writer: Option<&BodyWriter>) -> Failure {
        match self {
            Failure::Raised(_) | Failure::Broken(_) if writer.is_some_and(BodyWriter::is_whole) => {
                Failure::Afterwards(Box::new(self))
            }
            _ => self,
        }
    }
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Failure {
        Failure::Raised(error)
    }
}

/// An exception that ends the worker: SystemExit and its like.
pub struct AppError(pub Outcome<Paused>, pub PyErr);

type Served = Result<Outcome<Paused>, Box<AppError>>;

/// How far a stream has come.
enum Pumped {
    End,
    Blocked,
}

impl Wsgi {
    /// Serves the request in the exchange.
    pub fn serve(
        &self,
        py: Python<'_>,
        exchange: &mut Exchange<Wsgi>,
        local: &mut Local,
    ) -> Served {
        let served = self.answer(py, exchange, local);
        // What the app returned is gone now, unless it goes on: only who keeps a callable beyond
        // its request costs new ones.
        if local.callables.escaped(py) {
            match Local::new(py, self) {
                Ok(fresh) => *local = fresh,
                Err(error) => {
                    self.journal.say(py, ERROR, "cannot renew start_response", Some(error))
                }
            }
        }
        served
    }

    fn answer(&self, py: Python<'_>, exchange: &mut Exchange<Wsgi>, local: &mut Local) -> Served {
        let mut observed = None;
        let served = self.call(py, exchange, local, &mut observed);
        let writer = local.callables.responder().end();
        let mut state = local.callables.responder().lock();
        let committed = state.is_committed();
        let peer_gone = state.peer_is_gone();
        let kept = state.kept.take();
        drop(state);
        if let Some(observed) = &mut observed {
            observed.kept = kept;
        }
        take_back(exchange);
        let fatal;
        let (result, failure) = match served {
            Ok(Responded { result, pumped: Pumped::Blocked, stream, .. }) => {
                let status = exchange.status();
                let target = target(exchange);
                return Ok(Outcome::Pause(Paused { stream, result, observed, status, target }));
            }
            Ok(Responded { result, pumped: Pumped::End, body, sends_file: true, .. }) => {
                self.tell(py, exchange, &mut local.clock, observed, body);
                let status = exchange.status();
                let target = String::new();
                let paused = Paused { stream: None, result, observed: None, status, target };
                return Ok(Outcome::CompleteThen(paused));
            }
            Ok(Responded { result, body, .. }) => {
                fatal = self.close(py, result);
                self.tell(py, exchange, &mut local.clock, observed, body);
                return match fatal {
                    Some(error) => Err(Box::new(AppError(Outcome::Complete, error))),
                    None => Ok(Outcome::Complete),
                };
            }
            // The app has passed on what `write` told it.
            Err((result, Failure::Raised(error)))
                if peer_gone && error.is_instance_of::<PyBrokenPipeError>(py) =>
            {
                (result, Failure::PeerGone)
            }
            Err((result, failure)) => (result, failure.at(writer.as_ref())),
        };
        let sent = writer.map_or(0, |writer| writer.sent);
        let mut fatal = self.close(py, result);
        let outcome = self.fail(py, exchange, local, failure, committed, &mut fatal);
        self.tell(py, exchange, &mut local.clock, observed, sent);
        match fatal {
            Some(error) => Err(Box::new(AppError(outcome, error))),
            None => Ok(outcome),
        }
    }

    fn call(
        &self,
        py: Python<'_>,
        exchange: &mut Exchange<Wsgi>,
        local: &mut Local,
        observed: &mut Option<Observed>,
    ) -> Result<Responded, (Option<Py<PyAny>>, Failure)> {
        let early = |error: PyErr| (None, Failure::Raised(error));
        let mut request = None;
        if let Some(observer) = &self.journal.observer {
            let seen = Request::new(py, exchange).map_err(early)?;
            request = Some(seen.clone());
            *observed = Some(Observed {
                request: Some(seen.clone().unbind()),
                environ: PyDict::new(py).unbind(),
                since: exchange.since(),
                kept: None,
            });
            observer.bind(py).call_method1("before", (seen,)).map_err(early)?;
        }
        let since = exchange.since();
        let environ = match local.environs.make(py, exchange).map_err(early)? {
            Ok(environ) => environ,
            Err(NotUnderScriptName(name)) => {
                let text = format!(
                    "the request's path is not under SCRIPT_NAME {name:?}: check the environment \
                     variable of that name, or what the proxy forwards"
                );
                return Err((None, Failure::Broken(text)));
            }
        };
        if let (Some(observed), Some(request)) = (&mut *observed, request) {
            Request::set_body(&request, &environ).map_err(early)?;
            observed.environ = environ.clone().unbind();
        } else if self.journal.access.is_some() {
            let environ = environ.clone().unbind();
            *observed = Some(Observed { request: None, environ, since, kept: None });
        }
        local.callables.begin(py, exchange, self.journal.observer.is_some());
        let start_response = local.callables.start_response(py);
        let called = call2(self.app.bind(py), environ.as_any(), &start_response);
        drop(start_response);
        let result = called.map_err(early)?;
        let mut stream = None;
        match self.respond(py, exchange, local, &result, &mut stream) {
            Ok(mut responded) => {
                responded.result = Some(result.unbind());
                responded.stream = stream;
                Ok(responded)
            }
            Err(failure) => Err((Some(result.unbind()), failure)),
        }
    }

    /// From what the app returned to bytes in the exchange.
    fn respond(
        &self,
        py: Python<'_>,
        exchange: &mut Exchange<Wsgi>,
        local: &Local,
        result: &Bound<'_, PyAny>,
        stream: &mut Option<Stream>,
    ) -> Result<Responded, Failure> {
        let responder = local.callables.responder();
        if let Some(chunks) = whole_body(result) {
            let mut state = responder.lock();
            let total = chunks.iter().map(|chunk| chunk.as_bytes().len() as u64).sum();
            let known = (!state.is_committed()).then_some(total);
            let mut writer = match known {
                Some(_) => state.commit(exchange, known).ok_or_else(not_started)?,
                None => state.take_writer().ok_or_else(not_started)?,
            };
            drop(state);
            for chunk in &chunks {
                writer.push(exchange, chunk);
            }
            self.end_body(py, exchange, &mut writer)?;
            return Ok(Responded::end(writer.sent));
        }
        if let Ok(wrapper) = result.cast_exact::<FileWrapper>()
            && let Some(sent) = self.send_file(py, exchange, local, wrapper.get())?
        {
            return Ok(Responded { sends_file: true, ..Responded::end(sent) });
        }
        let iterator = result.try_iter()?.into_any();
        let mut flowing =
            Stream { iterator: iterator.unbind(), writer: responder.lock().take_writer() };
        let pumped = self.pump(py, exchange, Some(local), result, &mut flowing);
        match pumped.map_err(|failure| failure.at(flowing.writer.as_ref()))? {
            Pumped::End => Ok(Responded::end(flowing.writer.map_or(0, |writer| writer.sent))),
            Pumped::Blocked => {
                *stream = Some(flowing);
                Ok(Responded { pumped: Pumped::Blocked, ..Responded::end(0) })
            }
        }
    }

    /// None where the file has to be read through Python.
    fn send_file(
        &self,
        py: Python<'_>,
        exchange: &mut Exchange<Wsgi>,
        local: &Local,
        wrapper: &FileWrapper,
    ) -> Result<Option<u64>, Failure> {
        let mut state = local.callables.responder().lock();
        if !self.sendfile || state.is_committed() {
            return Ok(None);
        }
        let Some(file) = wrapper.sendable(py)? else { return Ok(None) };
        if state.content_length().is_some_and(|length| length > file.length) {
            // Not there in whole: reading it shows that to the client.
            return Ok(None);
        }
        let mut writer = state.commit(exchange, Some(file.length)).ok_or_else(not_started)?;
        if writer.is_mute() {
            return Ok(Some(0));
        }
        let length = writer.owed().unwrap_or(file.length).min(file.length);
        exchange.push_file(file.file, file.offset, length);
        writer.skip(length);
        Ok(Some(length))
    }

    /// Takes chunks from the app as long as the socket takes them. `local`: the response may not
    /// have begun yet; `result`: what the app returned.
    fn pump(
        &self,
        py: Python<'_>,
        exchange: &mut Exchange<Wsgi>,
        local: Option<&Local>,
        result: &Bound<'_, PyAny>,
        stream: &mut Stream,
    ) -> Result<Pumped, Failure> {
        let iterator = stream.iterator.bind(py).clone();
        // A file may go on behind the part that is asked for.
        let part_of_file = result.is_exact_instance_of::<FileWrapper>();
        loop {
            if let Some(local) = local {
                local.callables.lend(exchange);
            }
            let item = next(&iterator)?;
            let chunk = match &item {
                Some(item) => Some(item.cast::<PyBytes>().map_err(|_| not_bytes(item))?),
                None => None,
            };
            if chunk.is_some_and(|chunk| chunk.as_bytes().is_empty()) {
                continue;
            }
            if stream.writer.is_none() {
                let Some(local) = local else { return Err(not_started()) };
                let mut state = local.callables.responder().lock();
                let known = match chunk {
                    None => Some(0),
                    // One chunk that says it is all (PEP 3333, "Handling the Content-Length").
                    Some(chunk) if state.content_length().is_none() && is_single(result) => {
                        Some(chunk.as_bytes().len() as u64)
                    }
                    Some(_) => None,
                };
                stream.writer = Some(match state.take_writer() {
                    Some(writer) => writer,
                    None => state.commit(exchange, known).ok_or_else(not_started)?,
                });
            }
            let Some(writer) = &mut stream.writer else { return Err(not_started()) };
            let Some(chunk) = chunk else {
                self.end_body(py, exchange, writer)?;
                return Ok(Pumped::End);
            };
            writer.push(exchange, chunk);
            if writer.is_mute() {
                self.end_body(py, exchange, writer)?;
                return Ok(Pumped::End);
            }
            if part_of_file && writer.owed() == Some(0) {
                return Ok(Pumped::End);
            }
            match py.detach(|| exchange.flush()) {
                Ok(Written::All) => {}
                Ok(Written::Blocked | Written::TurnOver) => match &self.wait_writable {
                    None => return Ok(Pumped::Blocked),
                    // A greenlet waits: what the app has bound to it stays where it is.
                    Some(wait) => {
                        if !flush_cooperatively(exchange, wait.bind(py))? {
                            return Err(Failure::PeerGone);
                        }
                    }
                },
                Err(_) => return Err(Failure::PeerGone),
            }
        }
    }

    fn end_body(
        &self,
        py: Python<'_>,
        exchange: &mut Exchange<Wsgi>,
        writer: &mut BodyWriter,
    ) -> Result<(), Failure> {
        if writer.excess > 0 {
            let text = format!(
                "the app sent {} bytes more than its Content-Length says; they were cut",
                writer.excess
            );
            self.journal.say(py, WARNING, &text, None);
        }
        if writer.superfluous {
            let text =
                format!("the app sent a body with status {}, which has none", exchange.status());
            self.journal.say(py, WARNING, &text, None);
        }
        writer.finish(exchange).map_err(|ShortBody(missing)| {
            Failure::Broken(format!(
                "the app sent {missing} bytes less than its Content-Length says; the connection \
                 is aborted so that the client does not take the part for the whole"
            ))
        })
    }

    /// Goes on with a paused response.
    pub fn resume(
        &self,
        py: Python<'_>,
        exchange: &mut Exchange<Wsgi>,
        local: &mut Local,
        mut paused: Paused,
    ) -> Served {
        let Some(stream) = &mut paused.stream else {
            return self
                .released(py, exchange, local, paused)
                .map_or(Ok(Outcome::Complete), |error| {
                    Err(Box::new(AppError(Outcome::Complete, error)))
                });
        };
        let result = match &paused.result {
            Some(result) => result.bind(py).clone(),
            None => stream.iterator.bind(py).clone(),
        };
        let pumped = self.pump(py, exchange, None, &result, stream);
        take_back(exchange);
        let body = stream.writer.as_ref().map_or(0, |writer| writer.sent);
        let outcome = match pumped {
            Ok(Pumped::Blocked) => return Ok(Outcome::Pause(paused)),
            Ok(Pumped::End) => Outcome::Complete,
            Err(failure) => {
                let failure = failure.at(stream.writer.as_ref());
                let whole = matches!(failure, Failure::Afterwards(_));
                let outcome = if whole { Outcome::Complete } else { Outcome::Abort };
                let mut fatal = self.close(py, paused.result.take());
                self.explain(py, failure, &paused.target, &mut fatal);
                self.tell(py, exchange, &mut local.clock, paused.observed.take(), body);
                return match fatal {
                    Some(error) => Err(Box::new(AppError(outcome, error))),
                    None => Ok(outcome),
                };
            }
        };
        let fatal = self.close(py, paused.result.take());
        self.tell(py, exchange, &mut local.clock, paused.observed.take(), body);
        match fatal {
            Some(error) => Err(Box::new(AppError(outcome, error))),
            None => Ok(outcome),
        }
    }

    /// Lets go of a paused response: it has been written, or its client is gone.
    pub fn released(
        &self,
        py: Python<'_>,
        exchange: &mut Exchange<Wsgi>,
        local: &mut Local,
        paused: Paused,
    ) -> Option<PyErr> {
        let fatal = self.close(py, paused.result);
        if let Some(observed) = paused.observed {
            let writer = paused.stream.and_then(|stream| stream.writer);
            let body = writer.map_or(0, |writer| writer.sent);
            let clock = &mut local.clock;
            self.tell_of(py, observed, clock, &exchange.lines, paused.status, body, true);
        }
        fatal
    }
}

/// A response so far.
struct Responded {
    pumped: Pumped,
    /// Bytes of body.
    body: u64,
    /// The file has to stay open until it has been sent.
    sends_file: bool,
    result: Option<Py<PyAny>>,
    stream: Option<Stream>,
}

impl Responded {
    fn end(body: u64) -> Responded {
        Responded { pumped: Pumped::End, body, sends_file: false, result: None, stream: None }
    }
}

/// What the request asks for, for people.
fn target(exchange: &Exchange<Wsgi>) -> String {
    let (head, bytes) = exchange.head();
    String::from_utf8_lossy(head.target.of(bytes)).into_owned()
}

/// When the app has taken the socket, its connection ends with this request. The app's socket has
/// made it a blocking one, which the engine must never meet: it would wait with its lock held.
fn take_back(exchange: &mut Exchange<Wsgi>) {
    if !exchange.peer_cache().as_ref().is_some_and(|client| client.is_taken()) {
        return;
    }
    exchange.set_keep_alive(false);
    if let Some(socket) = exchange.socket() {
        let changed = rustix::io::ioctl_fionbio(socket, true);
        debug_assert!(changed.is_ok());
    }
}

/// The chunks of a list or tuple, where that is what the app returned: most do.
fn whole_body<'py>(result: &Bound<'py, PyAny>) -> Option<Vec<Bound<'py, PyBytes>>> {
    fn bytes<'py>(item: &Bound<'py, PyAny>) -> Option<Bound<'py, PyBytes>> {
        item.cast::<PyBytes>().ok().cloned()
    }
    if let Ok(list) = result.cast_exact::<PyList>() {
        return list.iter().map(|item| bytes(&item)).collect();
    }
    let tuple = result.cast_exact::<PyTuple>().ok()?;
    tuple.iter().map(|item| bytes(&item)).collect()
}

fn is_single(result: &Bound<'_, PyAny>) -> bool {
    result.len().is_ok_and(|length| length == 1)
}

fn not_started() -> Failure {
    Failure::Broken("the app did not call start_response before its first body bytes".into())
}

fn not_bytes(item: &Bound<'_, PyAny>) -> Failure {
    let kind = item.get_type();
    let kind = kind.name().map_or_else(|_| "?".into(), |name| name.to_string());
    Failure::Raised(PyTypeError::new_err(format!("a response body is made of bytes, not {kind}")))
}
