//! What an app can ask `gunicorn.socket` of a TLS connection, in the words of `ssl.SSLSocket`.

use std::os::fd::AsRawFd;
use std::sync::Arc;

use monoceros_engine::tls::Session;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::pwrite;

use crate::process::os_error;

/// The methods below.
pub const TLS_METHODS: &[&str] = &["getpeercert", "cipher", "version", "selected_alpn_protocol"];

#[pyclass(frozen, name = "TlsFacts", module = "monoceros._core")]
pub struct TlsFacts {
    session: Arc<Session>,
}

impl TlsFacts {
    pub fn new(session: Arc<Session>) -> TlsFacts {
        TlsFacts { session }
    }
}

#[pymethods]
impl TlsFacts {
    /// The client's certificate: a dict as the module ssl makes it, or DER. None without one.
    #[pyo3(signature = (binary_form=false))]
    fn getpeercert<'py>(
        &self,
        py: Python<'py>,
        binary_form: bool,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let chain = self.session.peer_certificates();
        let Some(own) = chain.first() else { return Ok(None) };
        let own = PyBytes::new(py, own);
        if binary_form {
            return Ok(Some(own.into_any()));
        }
        // The one function that makes such a dict reads a file.
        let ssl = py.import("ssl")?;
        let pem = ssl.getattr("DER_cert_to_PEM_cert")?.call1((own,))?;
        let file = memfd_create("certificate", MemfdFlags::CLOEXEC).map_err(os_error)?;
        let pem = pem.cast_into::<PyString>()?;
        pwrite(&file, pem.to_str()?.as_bytes(), 0).map_err(os_error)?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        py.import("_ssl")?.getattr("_test_decode_cert")?.call1((path,)).map(Some)
    }

    /// Name of the suite, version, bits of its key.
    fn cipher(&self) -> Option<(String, Option<&'static str>, u16)> {
        let (name, bits) = self.session.cipher()?;
        Some((name, self.session.version(), bits))
    }

    fn version(&self) -> Option<&'static str> {
        self.session.version()
    }

    fn selected_alpn_protocol(&self) -> Option<String> {
        self.session.application_protocol()
    }
}
