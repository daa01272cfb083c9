//! The few process calls that arbiter and workers need and Python's library has not got.

use std::os::fd::IntoRawFd;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::process::{Signal, getpid, set_child_subreaper, set_parent_process_death_signal};

pub fn os_error(error: Errno) -> PyErr {
    std::io::Error::from(error).into()
}

/// Send this process SIGKILL or SIGTERM when its parent dies (PR_SET_PDEATHSIG); 0 switches it
/// off. Raises ValueError for any other signal.
#[pyfunction]
#[pyo3(signature = (signal, /))]
pub fn set_parent_death_signal(signal: i32) -> PyResult<()> {
    let signal = match signal {
        0 => None,
        number if number == Signal::KILL.as_raw() => Some(Signal::KILL),
        number if number == Signal::TERM.as_raw() => Some(Signal::TERM),
        number => {
            let message = format!("a parent's death is told by SIGKILL or SIGTERM, not {number}");
            return Err(PyValueError::new_err(message));
        }
    };
    set_parent_process_death_signal(signal).map_err(os_error)
}

/// Orphaned descendants become children of this process (PR_SET_CHILD_SUBREAPER).
#[pyfunction]
pub fn become_subreaper() -> PyResult<()> {
    set_child_subreaper(Some(getpid())).map_err(os_error)
}

/// A descriptor of an anonymous file in memory, closed on exec.
#[pyfunction]
#[pyo3(signature = (name, /))]
pub fn memory_file(name: &str) -> PyResult<i32> {
    Ok(memfd_create(name, MemfdFlags::CLOEXEC).map_err(os_error)?.into_raw_fd())
}
