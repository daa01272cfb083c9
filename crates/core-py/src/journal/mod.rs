//! What is told of requests: to the error log, to an access log, to hooks.

mod access;
mod access_json;
mod observed;
mod refused;

use std::sync::Mutex;

use monoceros_engine::{Lines, Report, Severity, locked};
use pyo3::prelude::*;

pub use access::{Access, Clock, Fate, writes_access_format};
pub use observed::{Observed, Request, Response};

pub const DEBUG: i32 = 10;
pub const INFO: i32 = 20;
pub const WARNING: i32 = 30;
pub const ERROR: i32 = 40;

/// Who hears what happens in a worker.
pub struct Journal {
    pub observer: Option<Py<PyAny>>,
    /// Access lines that need no observer.
    pub access: Option<Access>,
    pub log: Option<Py<PyAny>>,
}

impl Journal {
    /// Somebody wants to hear of every request.
    pub fn is_read(&self) -> bool {
        self.observer.is_some() || self.access.is_some()
    }

    /// A request is over: for the observer, or the access log. `greenlets`: Python code may switch
    /// to another one, so that nothing is locked over it.
    #[expect(clippy::too_many_arguments, reason = "what became of a request")]
    pub fn tell(
        &self,
        py: Python<'_>,
        observed: Observed,
        clock: &mut Clock,
        lines: &Mutex<Lines>,
        status: u16,
        body: u64,
        close: bool,
        greenlets: bool,
    ) {
        let told = match (&self.access, &self.observer) {
            (Some(access), _) if observed.request.is_none() => {
                let fate = Fate { since: observed.since, status, body };
                if greenlets {
                    let mut line = Vec::new();
                    let written = access.write(observed.environ.bind(py), &fate, clock, &mut line);
                    if written.is_ok() {
                        locked(lines).tail().extend_from_slice(&line);
                    }
                    return self.complain_of_telling(py, written);
                }
                let mut lines = locked(lines);
                let lines = lines.tail();
                let start = lines.len();
                let written = access.write(observed.environ.bind(py), &fate, clock, lines);
                if written.is_err() {
                    lines.truncate(start);
                }
                written
            }
            (_, Some(observer)) => observed.tell(py, observer, status, body, close),
            _ => Ok(()),
        };
        self.complain_of_telling(py, told);
    }

    fn complain_of_telling(&self, py: Python<'_>, told: PyResult<()>) {
        if let Err(error) = told {
            self.say(py, ERROR, "Exception after a request", Some(error));
        }
    }

    /// Writes to the error log.
    pub fn say(&self, py: Python<'_>, level: i32, text: &str, error: Option<PyErr>) {
        let Some(log) = &self.log else { return };
        let error = error.map(|error| error.into_value(py));
        if let Err(error) = log.bind(py).call1((level, text, error)) {
            // The log itself is broken: the interpreter's last resort.
            error.write_unraisable(py, None);
        }
    }

    /// What the engine has to say.
    pub fn notices(&self, py: Python<'_>, report: Report) {
        for notice in report.notices {
            let level = match notice.severity {
                Severity::Debug => DEBUG,
                Severity::Info => INFO,
                Severity::Warning => WARNING,
                Severity::Error => ERROR,
            };
            self.say(py, level, &notice.text, None);
        }
        if let Err(error) = self.write_refusals(py, &report.refusals) {
            self.say(py, ERROR, "The access lines of refused requests are lost", Some(error));
        }
    }
}
