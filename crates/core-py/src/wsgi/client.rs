//! What is made once per connection for the app: the client's address and `gunicorn.socket`.

use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use monoceros_engine::Exchange;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString};
use rustix::io::fcntl_dupfd_cloexec;

use crate::process::os_error;
use crate::wsgi::Wsgi;

/// Kept with a connection.
pub struct Client {
    /// "" for a unix socket.
    pub address: Py<PyString>,
    /// None for a unix socket.
    pub port: Option<Py<PyString>>,
    pub socket: Py<ClientSocket>,
    /// The app has taken the socket: the connection ends with this request.
    pub taken: Arc<AtomicBool>,
}

impl Client {
    pub fn new(py: Python<'_>, exchange: &Exchange<Wsgi>) -> PyResult<Client> {
        let taken = Arc::new(AtomicBool::new(false));
        let (address, port) = match exchange.peer() {
            Some(peer) => {
                let address = PyString::new(py, &peer.ip().to_canonical().to_string()).unbind();
                let port = PyString::new(py, itoa::Buffer::new().format(peer.port())).unbind();
                (address, Some(port))
            }
            None => (PyString::new(py, "").unbind(), None),
        };
        let number = exchange.socket().map_or(-1, |socket| socket.as_raw_fd());
        let socket = ClientSocket { number, taken: Arc::clone(&taken), real: PyOnceLock::new() };
        Ok(Client { address, port, socket: Py::new(py, socket)?, taken })
    }
}

/// `gunicorn.socket`: becomes a real socket when somebody looks. From then on the connection is
/// the app's as well as ours, so that it is not used for another request.
#[pyclass(frozen, name = "ClientSocket", module = "monoceros._core")]
pub struct ClientSocket {
    number: i32,
    taken: Arc<AtomicBool>,
    real: PyOnceLock<Py<PyAny>>,
}

#[pymethods]
impl ClientSocket {
    fn __getattr__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let real = self.real.get_or_try_init(py, || {
            // SAFETY: the object is only reachable from the environ of a request whose connection
            // is open; a number that is no longer ours fails here or names another open file,
            // never freed memory.
            let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(self.number) };
            let own: OwnedFd = fcntl_dupfd_cloexec(borrowed.as_fd(), 0).map_err(os_error)?;
            self.taken.store(true, Relaxed);
            let named = PyDict::new(py);
            named.set_item("fileno", own.into_raw_fd())?;
            let socket = py.import("socket")?.getattr("socket")?.call((), Some(&named))?;
            socket.call_method1("setblocking", (true,))?;
            PyResult::Ok(socket.unbind())
        })?;
        real.bind(py).getattr(name)
    }

    fn __repr__(&self) -> String {
        format!("<ClientSocket fd={}>", self.number)
    }
}
