//! The scoreboard as Python sees it: plain snapshots.

use std::os::fd::AsRawFd;
use std::sync::Arc;

use monoceros_engine::clock::Moment;
use monoceros_engine::scoreboard::{Incident, Scoreboard, State};
use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::process::os_error;

#[pyclass(frozen, name = "Scoreboard", module = "monoceros._core")]
pub struct PyScoreboard {
    pub board: Arc<Scoreboard>,
}

impl PyScoreboard {
    fn check(&self, slot: usize) -> PyResult<usize> {
        if slot < self.board.slots() {
            return Ok(slot);
        }
        let message = format!("slot {slot} of a scoreboard with {} slots", self.board.slots());
        Err(PyIndexError::new_err(message))
    }
}

#[pymethods]
impl PyScoreboard {
    #[new]
    fn new(slots: usize, threads: usize) -> PyResult<Self> {
        let board = Scoreboard::new(slots, threads).map_err(os_error)?;
        Ok(PyScoreboard { board: Arc::new(board) })
    }

    #[getter]
    fn slots(&self) -> usize {
        self.board.slots()
    }

    #[getter]
    fn threads(&self) -> usize {
        self.board.threads()
    }

    fn open(&self, slot: usize, age: u32) -> PyResult<()> {
        self.board.open(self.check(slot)?, age, Moment::now().0);
        Ok(())
    }

    fn close(&self, slot: usize) -> PyResult<()> {
        self.board.close(self.check(slot)?);
        Ok(())
    }

    #[getter]
    fn get_fleet(&self) -> u32 {
        self.board.fleet()
    }

    #[setter]
    fn set_fleet(&self, workers: u32) {
        self.board.set_fleet(workers);
    }

    #[getter]
    fn get_stopping(&self) -> bool {
        self.board.stopping()
    }

    #[setter]
    fn set_stopping(&self, stopping: bool) {
        self.board.set_stopping(stopping);
    }

    fn hurry(&self, slot: usize) -> PyResult<()> {
        self.board.slot(self.check(slot)?).hurry();
        Ok(())
    }

    fn give_up(&self, slot: usize, listeners: u64) -> PyResult<()> {
        self.board.slot(self.check(slot)?).set_given_up(listeners);
        Ok(())
    }

    fn set_pid(&self, slot: usize, pid: u32) -> PyResult<()> {
        self.board.slot(self.check(slot)?).set_pid(pid);
        Ok(())
    }

    fn set_state(&self, slot: usize, state: u32) -> PyResult<()> {
        let state = State::from_number(state)
            .ok_or_else(|| PyValueError::new_err(format!("no state has number {state}")))?;
        self.board.slot(self.check(slot)?).set_state(state);
        self.board.notify();
        Ok(())
    }

    fn set_asgi(&self, slot: usize) -> PyResult<()> {
        self.board.slot(self.check(slot)?).set_asgi();
        Ok(())
    }

    fn beat(&self, slot: usize) -> PyResult<()> {
        self.board.slot(self.check(slot)?).beat_python(Moment::now());
        Ok(())
    }

    fn read(&self, slot: usize) -> PyResult<PySlotStatus> {
        let slot = self.check(slot)?;
        Ok(PySlotStatus { board: Arc::clone(&self.board), slot })
    }

    fn incidents(&self, slot: usize) -> PyResult<Vec<PyIncident>> {
        let slot = self.check(slot)?;
        let taken = (0..self.board.threads())
            .filter_map(|thread| self.board.incident_cell(slot, thread).take(thread))
            .map(|incident| PyIncident { incident })
            .collect();
        Ok(taken)
    }

    fn fileno(&self) -> i32 {
        self.board.event().as_raw_fd()
    }

    fn acknowledge(&self) {
        self.board.acknowledge();
    }
}

/// Reads the slot at every access: single fields are cheap, and none is older than the look at it.
#[pyclass(frozen, name = "SlotStatus", module = "monoceros._core")]
pub struct PySlotStatus {
    board: Arc<Scoreboard>,
    slot: usize,
}

impl PySlotStatus {
    fn slot(&self) -> &monoceros_engine::scoreboard::Slot {
        self.board.slot(self.slot)
    }

    fn sum(&self, of: impl Fn(&monoceros_engine::scoreboard::Cell) -> u64) -> u64 {
        self.board.cells(self.slot).map(of).sum()
    }
}

#[pymethods]
impl PySlotStatus {
    #[getter]
    fn pid(&self) -> u32 {
        self.slot().pid()
    }

    #[getter]
    fn age(&self) -> u32 {
        self.slot().age()
    }

    #[getter]
    fn state(&self) -> u32 {
        self.slot().state() as u32
    }

    #[getter]
    fn opened_at(&self) -> f64 {
        self.slot().opened_at().as_seconds()
    }

    #[getter]
    fn ready_at(&self) -> f64 {
        self.slot().ready_at().as_seconds()
    }

    #[getter]
    fn engine_beat(&self) -> f64 {
        self.slot().engine_beat().as_seconds()
    }

    #[getter]
    fn python_beat(&self) -> f64 {
        self.slot().python_beat().as_seconds()
    }

    #[getter]
    fn recycle(&self) -> bool {
        self.slot().wants_recycling()
    }

    #[getter]
    fn asgi(&self) -> bool {
        self.slot().serves_asgi()
    }

    #[getter]
    fn connections(&self) -> u32 {
        self.slot().connections()
    }

    #[getter]
    fn idle(&self) -> u32 {
        self.slot().idle()
    }

    #[getter]
    fn requests(&self) -> u64 {
        self.sum(|cell| cell.requests())
    }

    #[getter]
    fn bytes_in(&self) -> u64 {
        self.sum(|cell| cell.bytes_in())
    }

    #[getter]
    fn bytes_out(&self) -> u64 {
        self.sum(|cell| cell.bytes_out())
    }

    #[getter]
    fn statuses(&self) -> (u64, u64, u64, u64, u64) {
        let class = |index: usize| self.sum(|cell| cell.statuses()[index]);
        (class(0), class(1), class(2), class(3), class(4))
    }

    #[getter]
    fn latencies(&self) -> Vec<u64> {
        let buckets = monoceros_engine::scoreboard::LATENCY_BUCKETS;
        (0..buckets).map(|index| self.sum(|cell| cell.latencies()[index])).collect()
    }

    #[getter]
    fn queue_times(&self) -> Vec<u64> {
        let buckets = monoceros_engine::scoreboard::LATENCY_BUCKETS;
        (0..buckets).map(|index| self.sum(|cell| cell.queue_times()[index])).collect()
    }

    #[getter]
    fn running(&self) -> Vec<PyRunning> {
        let cells = self.board.cells(self.slot).take(self.board.threads()).enumerate();
        cells
            .filter_map(|(thread, cell)| {
                let running = cell.running()?;
                Some(PyRunning {
                    thread,
                    since: running.since.as_seconds(),
                    request: String::from_utf8_lossy(&running.request).into_owned(),
                    overdue: running.overdue,
                })
            })
            .collect()
    }
}

#[pyclass(frozen, get_all, name = "Running", module = "monoceros._core")]
pub struct PyRunning {
    thread: usize,
    since: f64,
    request: String,
    overdue: bool,
}

#[pyclass(frozen, name = "Incident", module = "monoceros._core")]
pub struct PyIncident {
    incident: Incident,
}

#[pymethods]
impl PyIncident {
    #[getter]
    fn kind(&self) -> u32 {
        self.incident.kind as u32
    }

    #[getter]
    fn id(&self) -> u64 {
        self.incident.id
    }

    #[getter]
    fn thread(&self) -> usize {
        self.incident.thread
    }

    #[getter]
    fn elapsed(&self) -> f64 {
        self.incident.elapsed.as_seconds()
    }

    #[getter]
    fn phase(&self) -> &'static str {
        if self.incident.writing { "writing" } else { "in app" }
    }

    #[getter]
    fn answered(&self) -> bool {
        self.incident.answered
    }

    #[getter]
    fn peer(&self) -> &str {
        &self.incident.peer
    }

    #[getter]
    fn head<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.incident.head)
    }
}
