//! `_core.Engine`: the engine and a gateway, driven by Python's threads.
//!
//! A thread that calls `run` is attached to the interpreter only while it runs Python. Finishing a
//! request, waiting and reading the next one happen in one detached stretch.

use std::os::fd::{AsRawFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;

use monoceros_engine::clock::Span;
use monoceros_engine::{Engine, Lines, Next, Options, locked};
use monoceros_http1::Limits;
use pyo3::exceptions::{PyKeyError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::handoff::PyHandoff;
use crate::job::{Job, Lanes};
use crate::journal::{Access, Journal};
use crate::place::places;
use crate::process::os_error;
use crate::scoreboard::PyScoreboard;
use crate::tls::PyTlsStore;
use crate::trust::set_trust;
use crate::wsgi::{AppError, Facts, Local, Wsgi};

/// A worker's engine.
#[pyclass(frozen, name = "Engine", module = "monoceros._core")]
pub struct PyEngine {
    pub engine: Engine<Wsgi>,
    pub wsgi: Arc<Wsgi>,
    pub lanes: Lanes,
}

/// How the engine writes access lines by itself: a descriptor, a format (None: JSON), and the two
/// callables of `Access`.
pub type AccessLines = (RawFd, Option<String>, Py<PyAny>, Py<PyAny>);

/// An option that the worker has to give.
pub fn option<'py, T: FromPyObjectOwned<'py>>(
    options: &Bound<'py, PyDict>,
    name: &str,
) -> PyResult<T> {
    let value = options
        .get_item(name)?
        .ok_or_else(|| PyKeyError::new_err(format!("the engine needs the option {name:?}")))?;
    value.extract().map_err(Into::into)
}

pub fn access_of(py: Python<'_>, lines: AccessLines) -> PyResult<Access> {
    let (file, format, now, user) = lines;
    Access::new(py, file, format.as_deref(), now, user)
        .ok_or_else(|| PyValueError::new_err("this access log format needs an observer"))
}

/// The value of the Server field.
pub fn server_field(options: &Bound<'_, PyDict>) -> PyResult<Vec<u8>> {
    let server = option::<String>(options, "server")?.into_bytes();
    if server.iter().any(|byte| byte.is_ascii_control()) {
        return Err(PyValueError::new_err("the Server field has a control character"));
    }
    Ok(server)
}

/// How long draining may take: none at zero.
pub fn grace(seconds: f64) -> Span {
    if seconds > 0.0 { Span::from_setting(seconds) } else { Span::ZERO }
}

pub fn engine_options(given: &Bound<'_, PyDict>, tls: Option<&PyTlsStore>) -> PyResult<Options> {
    let off_at_zero = |name: &str| Ok::<Span, PyErr>(Span::from_setting(option(given, name)?));
    let timeout = off_at_zero("timeout")?;
    let spool_dir: Option<PathBuf> = option(given, "spool_dir")?;
    let keepalive: f64 = option(given, "keepalive")?;
    let mut options = Options {
        threads: option::<usize>(given, "threads")?.max(1),
        worker_connections: option::<usize>(given, "worker_connections")?.max(1),
        // Zero means no keep-alive at all here.
        keepalive: if keepalive > 0.0 { Span::from_setting(keepalive) } else { Span::ZERO },
        tls: tls.map(PyTlsStore::server).transpose()?,
        handshake_timeout: off_at_zero("handshake_timeout")?,
        header_timeout: off_at_zero("header_timeout")?,
        body_timeout: off_at_zero("body_timeout")?,
        body_min_rate: option(given, "body_min_rate")?,
        queue_timeout: off_at_zero("queue_timeout")?,
        limit_request_body: match option(given, "limit_request_body")? {
            0 => u64::MAX,
            limit => limit,
        },
        write_timeout: off_at_zero("write_timeout")?,
        request_deadline: timeout.min(off_at_zero("request_timeout")?),
        slow_after: off_at_zero("slow_after")?,
        max_requests: option(given, "max_requests")?,
        body_buffer: option(given, "body_buffer")?,
        spool_dir: spool_dir.unwrap_or_else(std::env::temp_dir),
        limits: Limits::new(
            option(given, "limit_request_line")?,
            option(given, "limit_request_fields")?,
            option(given, "limit_request_field_size")?,
        ),
        lifeline: option(given, "lifeline")?,
        graceful_timeout: grace(option(given, "graceful_timeout")?),
        ..Options::default()
    };
    set_trust(&mut options, given)?;
    Ok(options)
}

#[pymethods]
impl PyEngine {
    #[new]
    #[pyo3(signature = (listeners, app, options, scoreboard, slot, *, observer=None, access=None, errors=None, log=None, tls=None, wait_writable=None, handoff=None))]
    #[expect(clippy::too_many_arguments, reason = "keywords, as Python has them")]
    fn new(
        py: Python<'_>,
        listeners: Vec<RawFd>,
        app: Py<PyAny>,
        options: &Bound<'_, PyDict>,
        scoreboard: Py<PyScoreboard>,
        slot: usize,
        observer: Option<Py<PyAny>>,
        access: Option<AccessLines>,
        errors: Option<Py<PyAny>>,
        log: Option<Py<PyAny>>,
        tls: Option<Py<PyTlsStore>>,
        wait_writable: Option<Py<PyAny>>,
        handoff: Option<Py<PyHandoff>>,
    ) -> PyResult<PyEngine> {
        let errors = match errors {
            Some(errors) => errors,
            None => py.import("sys")?.getattr("stderr")?.unbind(),
        };
        let script_name = std::env::var("SCRIPT_NAME").unwrap_or_default();
        let server_software: String = option(options, "server_software")?;
        let server = server_field(options)?;
        let facts = Facts {
            multithread: option(options, "multithread")?,
            multiprocess: option::<u32>(options, "workers")? > 1,
            url_scheme: if tls.is_some() { "https" } else { "http" }.into(),
            server_software,
            script_name,
            errors,
        };
        let places = places(&listeners)?;
        let access = access.map(|lines| access_of(py, lines)).transpose()?;
        let sendfile = option(options, "sendfile")?;
        let tells_refusals = access.is_some() || observer.is_some();
        let board = Arc::clone(&scoreboard.get().board);
        let mut engine_options = engine_options(options, tls.as_ref().map(Py::get))?;
        engine_options.tells_refusals = tells_refusals;
        engine_options.cooperative = wait_writable.is_some();
        engine_options.handoff = handoff.map(|handoff| Arc::clone(&handoff.get().handoff));
        let journal = Journal { observer, access, log };
        let wsgi = Wsgi { app, facts, places, journal, sendfile, server, wait_writable };
        let engine = Engine::new(&listeners, engine_options, board, slot).map_err(os_error)?;
        Ok(PyEngine { engine, wsgi: Arc::new(wsgi), lanes: Lanes::default() })
    }

    /// Be an app thread until the engine has ended.
    fn run(&self, py: Python<'_>) -> PyResult<()> {
        let threading = py.import("threading")?;
        let current = threading.call_method0("current_thread")?;
        let main = current.is(&threading.call_method0("main_thread")?);
        let mut thread = self
            .engine
            .app_thread(main)
            .ok_or_else(|| PyRuntimeError::new_err("more threads run the engine than it has"))?;
        let mut local = Local::new(py, &self.wsgi)?;
        if let Some(access) = &self.wsgi.journal.access {
            *locked(&thread.exchange.lines) = Lines::to(access.file);
        }
        let mut next = py.detach(|| self.engine.next(&mut thread));
        loop {
            let served = match next {
                Next::Serve => Some(self.wsgi.serve(py, &mut thread.exchange, &mut local)),
                Next::Resume(paused) => {
                    Some(self.wsgi.resume(py, &mut thread.exchange, &mut local, paused))
                }
                Next::Release(paused) => {
                    let exchange = &mut thread.exchange;
                    if let Some(error) = self.wsgi.released(py, exchange, &mut local, paused) {
                        return Err(error);
                    }
                    None
                }
                Next::Notices(notices) => {
                    self.wsgi.journal.notices(py, notices);
                    None
                }
                Next::Signals => {
                    py.check_signals()?;
                    None
                }
                Next::Explain(_) => unreachable!("only greenlets are explained"),
                Next::Done => return Ok(()),
            };
            next = match served {
                Some(Ok(outcome)) => py.detach(|| {
                    self.engine.finish(&mut thread, outcome);
                    self.engine.next(&mut thread)
                }),
                Some(Err(fatal)) => {
                    let AppError(outcome, error) = *fatal;
                    py.detach(|| self.engine.finish(&mut thread, outcome));
                    return Err(error);
                }
                None => py.detach(|| self.engine.next(&mut thread)),
            };
        }
    }

    /// What a greenlet has to do next. None: nothing now.
    fn take(slf: Bound<'_, Self>) -> PyResult<Option<Job>> {
        Job::take(slf)
    }

    /// Readable when there is something to take; -1 where the worker is not cooperative.
    fn ready_fd(&self) -> RawFd {
        self.engine.hub_event().unwrap_or(-1)
    }

    /// Write the access lines that wait.
    fn write_lines(&self, py: Python<'_>) {
        py.detach(|| self.lanes.write_lines(&self.engine, true));
    }

    /// It has drained or stopped.
    #[getter]
    fn ended(&self) -> bool {
        self.engine.has_ended()
    }

    /// For a main thread that is not an app thread.
    fn wait(&self, py: Python<'_>, timeout: f64) -> PyResult<bool> {
        let ended = py.detach(|| self.engine.wait(Span::from_setting(timeout)));
        py.check_signals()?;
        Ok(ended)
    }

    fn drain(&self, grace: f64) {
        self.engine.drain(self::grace(grace));
    }

    fn stop(&self) {
        self.engine.stop();
    }

    fn wakeup_fd(&self) -> i32 {
        self.engine.signal_writer().as_raw_fd()
    }

    #[getter]
    fn cut(&self) -> Vec<String> {
        self.engine.cut()
    }
}
