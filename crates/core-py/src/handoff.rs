//! `_core.Handoff`: the exchange by which connections move between workers.

use std::sync::Arc;

use monoceros_engine::Handoff;
use pyo3::prelude::*;

use crate::process::os_error;

#[pyclass(frozen, name = "Handoff", module = "monoceros._core")]
pub struct PyHandoff {
    pub handoff: Arc<Handoff>,
}

#[pymethods]
impl PyHandoff {
    #[new]
    fn new() -> PyResult<Self> {
        let handoff = Handoff::new().map_err(os_error)?;
        Ok(PyHandoff { handoff: Arc::new(handoff) })
    }

    fn turn_away(&self) -> usize {
        self.handoff.turn_away()
    }
}
