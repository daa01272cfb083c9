//! `_core.AsgiEngine`: the engine in turns of an event loop.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};

use monoceros_engine::clock::{Moment, Span};
use monoceros_engine::{AppThread, Engine, EventLoop, Step};
use monoceros_websocket::{Compression, WindowBits};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::asgi::scope::Scopes;
use crate::asgi::server::{Asgi, Server, WebSockets};
use crate::engine::{AccessLines, access_of, engine_options, grace, option, server_field};
use crate::journal::Journal;
use crate::place::places;
use crate::process::os_error;
use crate::scoreboard::PyScoreboard;
use crate::tls::PyTlsStore;

/// What is done in one turn before the loop has its own: a client that sends without a pause must
/// not keep others from theirs.
const STEPS: u32 = 512;

/// After this time the loop has its turn, whatever else is ready: its timers, its other tasks, and
/// the beat by which a busy loop is told from one that is stuck. Requests that are quick never
/// get there.
const LONGEST_TURN: Span = Span::from_millis(10);

/// The window of what is compressed, and how much is collected before it is written: a connection
/// that compresses costs some 30 KiB then, and little is saved by more.
const WINDOW: u8 = 12;
const MEMORY_LEVEL: u8 = 5;

fn websockets(options: &Bound<'_, PyDict>) -> PyResult<WebSockets> {
    let window = WindowBits::new(WINDOW).unwrap_or(WindowBits::MOST);
    let compression = Compression {
        memory_level: MEMORY_LEVEL,
        server_window: window,
        client_window: window,
        ..Compression::default()
    };
    let deflates: bool = option(options, "websocket_deflate")?;
    Ok(WebSockets {
        compression: deflates.then_some(compression),
        max_message_size: match option(options, "websocket_max_message_size")? {
            0 => usize::MAX,
            limit => limit,
        },
        max_queue: option::<usize>(options, "websocket_max_queue")?.max(1),
    })
}

/// A worker's engine, for an event loop.
#[pyclass(frozen, name = "AsgiEngine", module = "monoceros._core")]
pub struct PyAsgiEngine {
    server: Arc<Server>,
    /// None during a turn.
    thread: Mutex<Option<Box<AppThread<Asgi>>>>,
}

#[pymethods]
impl PyAsgiEngine {
    #[new]
    #[pyo3(signature = (listeners, app, options, scoreboard, slot, *, event_loop, loop_fd=None, state=None, explain=None, observer=None, access=None, log=None, tls=None))]
    #[expect(clippy::too_many_arguments, reason = "keywords, as Python has them")]
    fn new(
        py: Python<'_>,
        listeners: Vec<RawFd>,
        app: Py<PyAny>,
        options: &Bound<'_, PyDict>,
        scoreboard: Py<PyScoreboard>,
        slot: usize,
        event_loop: Py<PyAny>,
        loop_fd: Option<RawFd>,
        state: Option<Py<PyDict>>,
        explain: Option<Py<PyAny>>,
        observer: Option<Py<PyAny>>,
        access: Option<AccessLines>,
        log: Option<Py<PyAny>>,
        tls: Option<Py<PyTlsStore>>,
    ) -> PyResult<PyAsgiEngine> {
        let places = places(&listeners)?;
        let root_path: String = option(options, "root_path")?;
        let scopes = Scopes::new(py, &places, &root_path, tls.is_some(), state)?;
        let access = access.map(|lines| access_of(py, lines)).transpose()?;
        let mut engine_options = engine_options(options, tls.as_ref().map(Py::get))?;
        engine_options.tells_refusals = access.is_some() || observer.is_some();
        engine_options.event_loop = Some(loop_fd.map_or(EventLoop::Around, EventLoop::Within));
        let seconds = |name: &str| Ok::<Span, PyErr>(Span::from_setting(option(options, name)?));
        engine_options.ping_interval = seconds("websocket_ping_interval")?;
        engine_options.ping_timeout = seconds("websocket_ping_timeout")?;
        let journal = Journal { observer, access, log };
        let server_name = server_field(options)?;
        let patience = option(options, "disconnect_grace")?;
        let websockets = websockets(options)?;
        let asgi = Asgi::new(
            py,
            app,
            event_loop,
            journal,
            server_name,
            patience,
            explain,
            websockets,
            scopes,
        )?;
        let board = Arc::clone(&scoreboard.get().board);
        let engine = Engine::new(&listeners, engine_options, board, slot).map_err(os_error)?;
        let thread = Mutex::new(Some(Box::new(engine.loop_thread())));
        Ok(PyAsgiEngine { server: Arc::new(Server::new(engine, asgi)), thread })
    }

    /// Serve what is ready, and wait `timeout` seconds for more at most.
    #[pyo3(signature = (timeout, /))]
    fn turn(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut thread) = thread else {
            return Err(PyRuntimeError::new_err("a turn of the engine within another one"));
        };
        let patience = timeout.map_or(Span::FOREVER, |seconds| {
            if seconds > 0.0 { Span::from_setting(seconds) } else { Span::ZERO }
        });
        let result = self.run_turn(py, &mut thread, patience);
        let called = self.server.engine.end_turn(&thread);
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        result.map(|()| called)
    }

    /// Readable when a turn has something to do.
    fn fileno(&self) -> RawFd {
        self.server.engine.descriptor()
    }

    /// It has drained or stopped.
    #[getter]
    fn ended(&self) -> bool {
        self.server.engine.has_ended()
    }

    fn drain(&self, grace: f64) {
        self.server.engine.drain(self::grace(grace));
    }

    fn stop(&self) {
        self.server.engine.stop();
    }

    fn wakeup_fd(&self) -> i32 {
        self.server.engine.signal_writer().as_raw_fd()
    }

    #[getter]
    fn cut(&self) -> Vec<String> {
        self.server.engine.cut()
    }
}

impl PyAsgiEngine {
    fn run_turn(
        &self,
        py: Python<'_>,
        thread: &mut AppThread<Asgi>,
        mut patience: Span,
    ) -> PyResult<()> {
        let Server { engine, asgi, .. } = &*self.server;
        let mut waited = false;
        let mut until = None;
        for _ in 0..STEPS {
            match engine.step(thread) {
                Step::Serve => {
                    self.server.serve(py, thread)?;
                    let now = Moment::now();
                    if now >= *until.get_or_insert(now.after(LONGEST_TURN)) {
                        return Ok(());
                    }
                }
                Step::News(news) => self.server.on_news(py, news)?,
                Step::Signals => py.check_signals()?,
                Step::Notices(notices) => asgi.journal.notices(py, notices),
                Step::Release(()) => {}
                Step::Drains => self.server.drain(py)?,
                Step::Done => return Ok(()),
                Step::Claim => {
                    py.detach(|| engine.claim(thread));
                    continue;
                }
                Step::Wait(_) if waited => return Ok(()),
                Step::Wait(due) => {
                    waited = true;
                    let patience = patience.min(due);
                    self.server.write_lines(py, patience != Span::ZERO);
                    if patience == Span::ZERO {
                        engine.wait_for_events(thread, patience);
                    } else {
                        py.detach(|| engine.wait_for_events(thread, patience));
                    }
                    continue;
                }
            }
            // What has run may have left something for the loop to do.
            patience = Span::ZERO;
        }
        Ok(())
    }
}

impl Drop for PyAsgiEngine {
    fn drop(&mut self) {
        self.server.engine.stop();
        self.server.asgi.clear();
    }
}
