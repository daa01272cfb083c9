//! What `receive()` and `send()` return.
//!
//! [`Done`] is for what is done already. [`Pending`] asks its call whenever it is awaited or woken:
//! nothing is taken out of a request before somebody is there to take it, so that a cancelled
//! `receive()` loses nothing. Both have the methods of a coroutine (collections.abc.Coroutine),
//! because people make tasks of them.

use std::sync::Mutex;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::asgi::call::Call;
use crate::capi::{next, stop_iteration};

/// It has no result and needs no waiting.
#[pyclass(frozen, name = "Done", module = "monoceros._core")]
pub struct Done;

#[pymethods]
impl Done {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self) -> Option<()> {
        None
    }

    #[pyo3(signature = (value, /))]
    fn send<'py>(&self, py: Python<'py>, value: Bound<'py, PyAny>) -> PyResult<()> {
        drop(value);
        Err(ended(&py.None().into_bound(py)))
    }

    #[pyo3(signature = (*arguments))]
    fn throw(&self, arguments: &Bound<'_, PyTuple>) -> PyResult<()> {
        Err(thrown(arguments)?)
    }

    fn close(&self) {}
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// The next message.
    Message,
    /// Room for more output.
    Room,
}

/// What there is of it.
pub enum Answer<'py> {
    Here(Bound<'py, PyAny>),
    /// This future is done when it is worth to ask again.
    Later(Bound<'py, PyAny>),
}

#[pyclass(frozen, name = "Pending", module = "monoceros._core")]
pub struct Pending {
    call: Py<Call>,
    wanted: Wanted,
    /// The future that is waited for, as an iterator.
    waits: Mutex<Option<Py<PyAny>>>,
}

impl Pending {
    pub fn new(call: Py<Call>, wanted: Wanted) -> Pending {
        Pending { call, wanted, waits: Mutex::new(None) }
    }

    fn waits(&self) -> PyResult<Option<Py<PyAny>>> {
        match self.waits.try_lock() {
            Ok(mut waits) => Ok(waits.take()),
            Err(_) => Err(PyRuntimeError::new_err("awaited twice at the same time")),
        }
    }

    /// Some: what the loop has to wait for. None: it is over, with StopIteration set.
    fn go_on<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        loop {
            if let Some(future) = self.waits()? {
                let future = future.into_bound(py);
                if let Some(yielded) = next(&future)? {
                    self.keep(future);
                    return Ok(Some(yielded));
                }
            }
            match Call::ask(self.call.bind(py), self.wanted)? {
                Answer::Here(value) => {
                    stop_iteration(&value);
                    return Ok(None);
                }
                Answer::Later(future) => self.keep(future.call_method0("__await__")?),
            }
        }
    }

    fn keep(&self, future: Bound<'_, PyAny>) {
        if let Ok(mut waits) = self.waits.try_lock() {
            *waits = Some(future.unbind());
        }
    }
}

#[pymethods]
impl Pending {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.go_on(py)? {
            Some(yielded) => Ok(yielded),
            None => Err(PyErr::fetch(py)),
        }
    }

    #[pyo3(signature = (value, /))]
    fn send<'py>(&self, value: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.__next__(value.py())
    }

    #[pyo3(signature = (*arguments))]
    fn throw<'py>(&self, arguments: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
        let py = arguments.py();
        if let Some(future) = self.waits()? {
            // What waits for the future gives up; the future itself goes on.
            return future.bind(py).call_method1("throw", arguments.clone());
        }
        Err(thrown(arguments)?)
    }

    fn close(&self) -> PyResult<()> {
        self.waits().map(drop)
    }
}

/// StopIteration with a value.
fn ended(value: &Bound<'_, PyAny>) -> PyErr {
    stop_iteration(value);
    PyErr::fetch(value.py())
}

/// The exception that `throw` was given: an instance, or a class and perhaps an instance.
fn thrown(arguments: &Bound<'_, PyTuple>) -> PyResult<PyErr> {
    let given = match arguments.len() {
        0 => return Err(PyRuntimeError::new_err("throw() takes an exception")),
        1 => arguments.get_item(0)?,
        _ => match arguments.get_item(1)? {
            value if value.is_none() => arguments.get_item(0)?,
            value => value,
        },
    };
    Ok(PyErr::from_value(given))
}
