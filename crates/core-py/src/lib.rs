//! The module `monoceros._core`: what of the engine Python sees. This file only declares it.

mod asgi;
mod body_writer;
mod capi;
mod engine;
mod handoff;
mod interned;
mod job;
mod journal;
mod place;
mod process;
mod scoreboard;
mod tls;
mod trust;
mod wsgi;

use pyo3::prelude::*;

#[pymodule(gil_used = true)]
mod _core {
    use monoceros_engine::scoreboard::{IncidentKind, State};

    #[pymodule_export]
    const EMPTY: u32 = State::Empty as u32;
    #[pymodule_export]
    const BOOTING: u32 = State::Booting as u32;
    #[pymodule_export]
    const READY: u32 = State::Ready as u32;
    #[pymodule_export]
    const DRAINING: u32 = State::Draining as u32;
    #[pymodule_export]
    const OVERDUE: u32 = IncidentKind::Overdue as u32;
    #[pymodule_export]
    const SLOW: u32 = IncidentKind::Slow as u32;

    #[pymodule_export]
    use crate::asgi::PyAsgiEngine;
    #[pymodule_export]
    use crate::engine::PyEngine;
    #[pymodule_export]
    use crate::handoff::PyHandoff;
    #[pymodule_export]
    use crate::job::Job;
    #[pymodule_export]
    use crate::journal::{Request, Response, writes_access_format};
    #[pymodule_export]
    use crate::process::{become_subreaper, memory_file, set_parent_death_signal};
    #[pymodule_export]
    use crate::scoreboard::{PyIncident, PyRunning, PyScoreboard, PySlotStatus};
    #[pymodule_export]
    use crate::tls::PyTlsStore;
    #[pymodule_export]
    use crate::wsgi::{FileWrapper, Input};
}
