//! What is made once per connection for the app: the client's address and `gunicorn.socket`.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};

use monoceros_engine::Exchange;
use monoceros_proxy::proxy_protocol::Header;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString};
use rustix::io::fcntl_dupfd_cloexec;

use crate::process::os_error;
use crate::wsgi::Wsgi;

/// Kept with a connection.
pub struct Client {
    /// Who is connected: whom a PROXY protocol header has named, else the socket's peer. "" for a
    /// unix socket.
    pub address: Py<PyString>,
    /// None for a unix socket.
    pub port: Option<Py<PyString>>,
    /// What a PROXY protocol header has said.
    pub proxied: Option<Proxied>,
    pub socket: Py<ClientSocket>,
    shared: Arc<Shared>,
}

/// A PROXY protocol header, for the environ.
pub struct Proxied {
    /// `TCP4`, `TCP6`, `UNKNOWN` or `LOCAL`.
    pub protocol: Py<PyString>,
    /// The address and the port that the client connected to, where it is told.
    pub destination: Option<(Py<PyString>, Py<PyString>)>,
}

/// What a connection and the app's view of its socket share.
struct Shared {
    /// The connection's descriptor; GONE when it has ended, whoever still holds the view.
    number: AtomicI32,
    taken: AtomicBool,
}

const GONE: i32 = -1;

impl Client {
    /// The app has taken the socket: the connection ends with this request.
    pub fn is_taken(&self) -> bool {
        self.shared.taken.load(Relaxed)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Before the descriptor is closed: its number may be another client's a moment later.
        self.shared.number.store(GONE, Relaxed);
    }
}

impl Client {
    pub fn new(py: Python<'_>, exchange: &Exchange<Wsgi>) -> PyResult<Client> {
        let (address, port) = match exchange.connected() {
            Some(peer) => {
                let (address, port) = address_and_port(py, peer);
                (address, Some(port))
            }
            None => (PyString::new(py, "").unbind(), None),
        };
        let proxied = exchange.proxied().map(|header| Proxied {
            protocol: PyString::new(py, header.protocol()).unbind(),
            destination: match *header {
                Header::Tcp { destination, .. } => Some(address_and_port(py, destination)),
                Header::Local | Header::Unknown => None,
            },
        });
        let number = exchange.socket().map_or(-1, |socket| socket.as_raw_fd());
        let number = AtomicI32::new(number);
        let shared = Arc::new(Shared { number, taken: AtomicBool::new(false) });
        let socket = ClientSocket { shared: Arc::clone(&shared), real: PyOnceLock::new() };
        Ok(Client { address, port, proxied, socket: Py::new(py, socket)?, shared })
    }
}

/// An address as apps see it: IPv4 is IPv4, whatever socket it came through.
fn address_and_port(py: Python<'_>, address: SocketAddr) -> (Py<PyString>, Py<PyString>) {
    let host = PyString::new(py, &address.ip().to_canonical().to_string());
    let port = PyString::new(py, itoa::Buffer::new().format(address.port()));
    (host.unbind(), port.unbind())
}

/// `gunicorn.socket`: becomes a real socket when somebody looks. From then on the connection is
/// the app's as well as ours, so that it is not used for another request.
#[pyclass(frozen, name = "ClientSocket", module = "monoceros._core")]
pub struct ClientSocket {
    shared: Arc<Shared>,
    real: PyOnceLock<Py<PyAny>>,
}

#[pymethods]
impl ClientSocket {
    fn __getattr__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let real = self.real.get_or_try_init(py, || {
            let number = self.shared.number.load(Relaxed);
            if number == GONE {
                return Err(PyOSError::new_err("the connection of this request has ended"));
            }
            // SAFETY: the connection is open: it says GONE before it closes its descriptor. An
            // app that keeps this object and races with that end gets another open file, never
            // freed memory.
            let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
            let own: OwnedFd = fcntl_dupfd_cloexec(borrowed.as_fd(), 0).map_err(os_error)?;
            self.shared.taken.store(true, Relaxed);
            let named = PyDict::new(py);
            named.set_item("fileno", own.into_raw_fd())?;
            let socket = py.import("socket")?.getattr("socket")?.call((), Some(&named))?;
            socket.call_method1("setblocking", (true,))?;
            PyResult::Ok(socket.unbind())
        })?;
        real.bind(py).getattr(name)
    }

    fn __repr__(&self) -> String {
        format!("<ClientSocket fd={}>", self.shared.number.load(Relaxed))
    }
}
