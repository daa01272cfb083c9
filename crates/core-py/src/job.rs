//! `_core.Job`: what a greenlet of a cooperative worker has to do.
//!
//! One thread takes jobs and starts a greenlet for each; it is the only one that runs them. While a
//! greenlet is switched out its stack lies elsewhere, so what others may point to meanwhile (a
//! request's exchange) is in a box, and no lock is held over a call of Python code.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use monoceros_engine::{AppThread, Engine, Lines, Next, Outcome, Report, locked};
use pyo3::prelude::*;

use crate::engine::PyEngine;
use crate::wsgi::{AppError, Local, Paused, Wsgi};

/// Where a request runs: the engine's part and Python's.
pub struct Lane {
    thread: AppThread<Wsgi>,
    local: Local,
}

struct ByIndex(Box<Lane>);

impl PartialEq for ByIndex {
    fn eq(&self, other: &ByIndex) -> bool {
        self.0.thread.index() == other.0.thread.index()
    }
}

impl Eq for ByIndex {}

impl PartialOrd for ByIndex {
    fn partial_cmp(&self, other: &ByIndex) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByIndex {
    fn cmp(&self, other: &ByIndex) -> std::cmp::Ordering {
        self.0.thread.index().cmp(&other.0.thread.index())
    }
}

/// Lanes that are free, the lowest first.
#[derive(Default)]
pub struct Lanes {
    free: Mutex<BinaryHeap<Reverse<ByIndex>>>,
    /// The access lines of all of them.
    lines: OnceLock<std::sync::Arc<Mutex<Lines>>>,
}

impl Lanes {
    fn get(&self, py: Python<'_>, engine: &PyEngine) -> PyResult<Option<Box<Lane>>> {
        if let Some(Reverse(lane)) = lock(&self.free).pop() {
            return Ok(Some(lane.0));
        }
        let Some(thread) = engine.engine.lane() else { return Ok(None) };
        self.lines.get_or_init(|| {
            if let Some(access) = &engine.wsgi.journal.access {
                *locked(&thread.exchange.lines) = Lines::to(access.file);
            }
            std::sync::Arc::clone(&thread.exchange.lines)
        });
        let local = Local::new(py, &engine.wsgi)?;
        Ok(Some(Box::new(Lane { thread, local })))
    }

    fn give_back(&self, lane: Box<Lane>) {
        lock(&self.free).push(Reverse(ByIndex(lane)));
    }

    /// See `Engine::write_lines_of_lanes`.
    pub fn write_lines(&self, engine: &Engine<Wsgi>, all: bool) {
        if let Some(lines) = self.lines.get() {
            engine.write_lines_of_lanes(lines, all);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

enum Task {
    Serve(Box<Lane>),
    Release(Paused),
    Notices(Report),
    /// Who took it does.
    Explain,
}

/// A request, or something else that only the app's thread can do. Runs once.
#[pyclass(frozen, name = "Job", module = "monoceros._core")]
pub struct Job {
    engine: Py<PyEngine>,
    task: Mutex<Option<Task>>,
    /// The request that it serves, by its number in the worker.
    #[pyo3(get)]
    request: Option<u64>,
    /// The request whose greenlet is to be explained.
    #[pyo3(get)]
    explains: Option<u64>,
}

impl Job {
    /// The next one. Python's signal handlers run in here when their signals have come.
    pub fn take(engine: Bound<'_, PyEngine>) -> PyResult<Option<Job>> {
        let py = engine.py();
        let own = engine.get();
        let mut lane = own.lanes.get(py, own)?;
        let (mut request, mut explains) = (None, None);
        let task = loop {
            let taken = py.detach(|| own.engine.take(lane.as_mut().map(|lane| &mut lane.thread)));
            match taken {
                Some(Next::Serve) => {
                    let Some(lane) = lane.take() else { unreachable!("served without a lane") };
                    request = Some(lane.thread.exchange.id());
                    break Some(Task::Serve(lane));
                }
                Some(Next::Release(paused)) => break Some(Task::Release(paused)),
                Some(Next::Notices(notices)) => break Some(Task::Notices(notices)),
                Some(Next::Explain(number)) => {
                    explains = Some(number);
                    break Some(Task::Explain);
                }
                Some(Next::Signals) => py.check_signals()?,
                Some(Next::Resume(_)) => unreachable!("a greenlet waits itself"),
                Some(Next::Done) | None => break None,
            }
        };
        if let Some(lane) = lane {
            own.lanes.give_back(lane);
        }
        let engine = engine.unbind();
        Ok(task.map(|task| Job { engine, task: Mutex::new(Some(task)), request, explains }))
    }
}

#[pymethods]
impl Job {
    /// Do it. Raises what ends the worker.
    fn run(&self, py: Python<'_>) -> PyResult<()> {
        let own = self.engine.get();
        let task = lock(&self.task).take();
        match task {
            None | Some(Task::Explain) => Ok(()),
            Some(Task::Notices(notices)) => {
                own.wsgi.journal.notices(py, notices);
                Ok(())
            }
            Some(Task::Release(paused)) => own.wsgi.let_go(py, paused).map_or(Ok(()), Err),
            Some(Task::Serve(mut lane)) => {
                let served = own.wsgi.serve(py, &mut lane.thread.exchange, &mut lane.local);
                let (outcome, result) = match served {
                    Ok(outcome) => (outcome, Ok(())),
                    Err(fatal) => {
                        let AppError(outcome, error) = *fatal;
                        (outcome, Err(error))
                    }
                };
                own.end(py, lane, outcome);
                result
            }
        }
    }
}

impl PyEngine {
    fn end(&self, py: Python<'_>, mut lane: Box<Lane>, outcome: Outcome<Paused>) {
        py.detach(|| {
            self.engine.finish(&mut lane.thread, outcome);
            self.lanes.give_back(lane);
            self.lanes.write_lines(&self.engine, false);
        });
    }
}

impl Drop for Job {
    /// A greenlet that was killed before it began: its client shall not wait.
    fn drop(&mut self) {
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Task::Serve(lane)) = task {
            Python::attach(|py| self.engine.get().end(py, lane, Outcome::Abort));
        }
    }
}
