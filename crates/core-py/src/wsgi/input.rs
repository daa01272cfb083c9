//! `wsgi.input`: a request body that has been received whole, in memory or in a spool file.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use rustix::io::{Errno, pread};

use crate::process::os_error;

/// How much of a spool file is looked at for the end of a line at a time.
const LINE_BLOCK: usize = 8 * 1024;
/// `readlines` without a hint reads everything; with one it stops after so many bytes.
const NO_HINT: i64 = 0;

enum Source {
    Empty,
    Memory(Py<PyBytes>),
    File(OwnedFd),
}

struct State {
    source: Source,
    position: u64,
    length: u64,
}

/// read, readline, readlines and iteration as PEP 3333 asks, with the meaning of io.BytesIO.
#[pyclass(frozen, name = "Input", module = "monoceros._core")]
pub struct Input {
    state: Mutex<State>,
}

impl Input {
    /// An empty body. It has no state that changes, so that one serves for all requests.
    pub fn empty() -> Input {
        Input::of(Source::Empty, 0)
    }

    pub fn memory(bytes: &Bound<'_, PyBytes>) -> Input {
        let length = bytes.as_bytes().len() as u64;
        Input::of(Source::Memory(bytes.clone().unbind()), length)
    }

    pub fn file(file: OwnedFd, length: u64) -> Input {
        Input::of(Source::File(file), length)
    }

    fn of(source: Source, length: u64) -> Input {
        Input { state: Mutex::new(State { source, position: 0, length }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is asked for, where None and negative numbers mean everything.
fn wanted(size: Option<i64>) -> u64 {
    match size {
        Some(size) if size >= 0 => size as u64,
        _ => u64::MAX,
    }
}

impl State {
    fn left(&self) -> u64 {
        self.length - self.position
    }

    /// The next `count` bytes, all of which are there.
    fn take<'py>(&mut self, py: Python<'py>, count: u64) -> PyResult<Bound<'py, PyBytes>> {
        let start = self.position;
        let taken = match &self.source {
            Source::Empty => PyBytes::new(py, b""),
            Source::Memory(bytes) if start == 0 && count == self.length => bytes.bind(py).clone(),
            Source::Memory(bytes) => {
                PyBytes::new(py, &bytes.as_bytes(py)[start as usize..(start + count) as usize])
            }
            Source::File(file) => PyBytes::new_with(py, count as usize, |room| {
                py.detach(|| read_exactly(file, room, start)).map_err(os_error)
            })?,
        };
        self.position += count;
        Ok(taken)
    }

    /// Bytes up to and including the next LF, no more than `most`.
    fn line_length(&self, py: Python<'_>, most: u64) -> PyResult<u64> {
        let most = most.min(self.left());
        let start = self.position;
        match &self.source {
            Source::Empty => Ok(0),
            Source::Memory(bytes) => {
                let rest = &bytes.as_bytes(py)[start as usize..(start + most) as usize];
                Ok(memchr::memchr(b'\n', rest).map_or(most, |end| end as u64 + 1))
            }
            Source::File(file) => {
                let mut block = [0u8; LINE_BLOCK];
                let mut looked = 0;
                while looked < most {
                    let room = (most - looked).min(LINE_BLOCK as u64) as usize;
                    read_exactly(file, &mut block[..room], start + looked).map_err(os_error)?;
                    if let Some(end) = memchr::memchr(b'\n', &block[..room]) {
                        return Ok(looked + end as u64 + 1);
                    }
                    looked += room as u64;
                }
                Ok(most)
            }
        }
    }

    fn read_line<'py>(&mut self, py: Python<'py>, most: u64) -> PyResult<Bound<'py, PyBytes>> {
        let length = self.line_length(py, most)?;
        self.take(py, length)
    }
}

fn read_exactly(file: &OwnedFd, mut room: &mut [u8], mut offset: u64) -> Result<(), Errno> {
    while !room.is_empty() {
        match pread(file.as_fd(), &mut *room, offset) {
            Ok(0) => return Err(Errno::IO),
            Ok(count) => {
                room = &mut room[count..];
                offset += count as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[pymethods]
impl Input {
    #[pyo3(signature = (size=None, /))]
    fn read<'py>(&self, py: Python<'py>, size: Option<i64>) -> PyResult<Bound<'py, PyBytes>> {
        let mut state = self.state();
        let count = wanted(size).min(state.left());
        state.take(py, count)
    }

    #[pyo3(signature = (size=None, /))]
    fn readline<'py>(&self, py: Python<'py>, size: Option<i64>) -> PyResult<Bound<'py, PyBytes>> {
        self.state().read_line(py, wanted(size))
    }

    #[pyo3(signature = (hint=None, /))]
    fn readlines<'py>(&self, py: Python<'py>, hint: Option<i64>) -> PyResult<Bound<'py, PyList>> {
        let hint = hint.unwrap_or(NO_HINT);
        let mut state = self.state();
        let lines = PyList::empty(py);
        let mut total = 0;
        while state.left() > 0 && (hint <= NO_HINT || total < hint) {
            let line = state.read_line(py, u64::MAX)?;
            total += line.as_bytes().len() as i64;
            lines.append(line)?;
        }
        Ok(lines)
    }

    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let mut state = self.state();
        if state.left() == 0 {
            return Ok(None);
        }
        state.read_line(py, u64::MAX).map(Some)
    }
}
