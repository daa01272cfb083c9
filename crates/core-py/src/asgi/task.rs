//! Beginning a request's task.
//!
//! A task of asyncio's does not run when it is made: it asks its loop to call it in the next turn.
//! Here the loop's `call_soon` is ours for the moment in which the task is made, so that its first
//! step is run at once, in its own context, as the loop itself would: nothing of the task differs,
//! and a request that never waits costs the loop nothing. Where the loop has a task factory, that
//! makes the task, and the loop begins it.

use std::sync::Mutex;

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::capi::{Definition, call_with_names, enter, function, in_context, set};

/// What a task has asked the loop to call.
struct Step {
    callback: Py<PyAny>,
    context: Option<Py<PyAny>>,
}

/// Stands in for the loop's `call_soon`.
#[pyclass(frozen, name = "Captor", module = "monoceros._core")]
struct Captor(Mutex<Option<Step>>);

static CALL_SOON: Definition = Definition::new(c"call_soon", call_soon);

/// A task that has taken its first step.
pub struct Begun<'py> {
    pub task: Bound<'py, PyAny>,
    context: Option<Bound<'py, PyAny>>,
}

pub struct Tasks {
    event_loop: Py<PyAny>,
    /// The loop's own attributes; None where it has none of its own.
    attributes: Option<Py<PyDict>>,
    task: Py<PyAny>,
    /// Of `Task(coroutine, loop=, name=)`.
    keywords: Py<PyTuple>,
    name: Py<PyString>,
    captor: Py<Captor>,
    captures: Py<PyAny>,
    call_soon: Py<PyString>,
    add_done_callback: Py<PyString>,
    /// Of `add_done_callback(callback, context=)`.
    context: Py<PyTuple>,
    task_factory: Py<PyString>,
}

impl Tasks {
    pub fn new(event_loop: &Bound<'_, PyAny>) -> PyResult<Tasks> {
        let py = event_loop.py();
        let captor = Bound::new(py, Captor(Mutex::new(None)))?;
        let attributes = event_loop.getattr_opt("__dict__")?;
        let attributes = attributes.and_then(|it| it.cast_into::<PyDict>().ok());
        Ok(Tasks {
            event_loop: event_loop.clone().unbind(),
            attributes: attributes.map(Bound::unbind),
            task: py.import("asyncio")?.getattr("Task")?.unbind(),
            keywords: PyTuple::new(py, ["loop", "name"])?.unbind(),
            name: PyString::intern(py, "monoceros-request").unbind(),
            captures: function(captor.as_any(), &CALL_SOON)?.unbind(),
            captor: captor.unbind(),
            call_soon: PyString::intern(py, "call_soon").unbind(),
            add_done_callback: PyString::intern(py, "add_done_callback").unbind(),
            context: PyTuple::new(py, ["context"])?.unbind(),
            task_factory: PyString::intern(py, "get_task_factory").unbind(),
        })
    }

    /// Makes a task and runs its first step; the task, and its context where that is known. An error
    /// is one that ends the loop.
    pub fn begin<'py>(&self, coroutine: &Bound<'py, PyAny>) -> PyResult<Begun<'py>> {
        let py = coroutine.py();
        let event_loop = self.event_loop.bind(py);
        let factory = event_loop.call_method0(self.task_factory.bind(py))?;
        let Some(attributes) = self.attributes.as_ref().filter(|_| factory.is_none()) else {
            let task = event_loop.call_method1("create_task", (coroutine,))?;
            return Ok(Begun { task, context: None });
        };
        let attributes = attributes.bind(py);
        let before = attributes.get_item(&self.call_soon)?;
        set(attributes, &self.call_soon, self.captures.bind(py))?;
        let made = self.make(coroutine);
        match before {
            Some(before) => set(attributes, &self.call_soon, &before)?,
            None => attributes.del_item(&self.call_soon)?,
        }
        let task = made?;
        let step = self.captor.get().0.try_lock().ok().and_then(|mut step| step.take());
        let mut of_task = None;
        if let Some(Step { callback, context }) = step {
            match context {
                Some(context) => {
                    in_context(context.bind(py), || callback.call0(py))??;
                    of_task = Some(context.into_bound(py));
                }
                None => drop(callback.call0(py)?),
            }
        }
        Ok(Begun { task, context: of_task })
    }

    /// `callback(task)` is called when the task is done, in the task's own context: a copy would be
    /// kept for as long as the task runs.
    pub fn when_done(&self, begun: &Begun<'_>, callback: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = callback.py();
        let add = begun.task.getattr(self.add_done_callback.bind(py))?;
        match &begun.context {
            Some(context) => {
                call_with_names(&add, callback, [context], self.context.bind(py))?;
            }
            None => drop(add.call1((callback,))?),
        }
        Ok(())
    }

    fn make<'py>(&self, coroutine: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = coroutine.py();
        let values = [self.event_loop.bind(py), self.name.bind(py).as_any()];
        call_with_names(self.task.bind(py), coroutine, values, self.keywords.bind(py))
    }
}

/// `call_soon(callback, *args, context=None)`.
unsafe extern "C" fn call_soon(
    state: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called by CPython through CALL_SOON.
    unsafe {
        enter(state, arguments, count, keywords, |state, arguments, keywords| {
            let py = state.py();
            let [callback, rest @ ..] = arguments else {
                return Err(PyRuntimeError::new_err("call_soon() takes a callback"));
            };
            let context = keywords.and(rest.last()).map(|context| context.clone().unbind());
            let captor = state.cast::<Captor>()?.get();
            if let Ok(mut step) = captor.0.try_lock() {
                *step = Some(Step { callback: callback.clone().unbind(), context });
            }
            Ok(py.None().into_bound(py))
        })
    }
}
