//! What is made once per connection for the app: the client's address and `gunicorn.socket`.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};

use monoceros_engine::Exchange;
use monoceros_engine::tls::{Session, environ_of};
use monoceros_proxy::proxy_protocol::Header;
use pyo3::exceptions::{PyAttributeError, PyOSError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString};
use rustix::io::fcntl_dupfd_cloexec;

use crate::process::os_error;
use crate::wsgi::Wsgi;
use crate::wsgi::encrypted::{TLS_METHODS, TlsFacts};

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
    /// What the environ says of the client's certificate, where clients are asked for one.
    pub certificate: Option<Py<PyDict>>,
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
    session: Option<Arc<Session>>,
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
        let session = exchange.tls().cloned();
        let certificate = match &session {
            Some(session) if session.asks_for_certificate() => {
                let environ = PyDict::new(py);
                for (key, value) in environ_of(&session.peer_certificates()) {
                    environ.set_item(key, value)?;
                }
                Some(environ.unbind())
            }
            _ => None,
        };
        let shared = Arc::new(Shared { number, taken: AtomicBool::new(false), session });
        let socket = ClientSocket { shared: Arc::clone(&shared), real: PyOnceLock::new() };
        Ok(Client { address, port, proxied, socket: Py::new(py, socket)?, certificate, shared })
    }
}

/// An address as apps see it: IPv4 is IPv4, whatever socket it came through.
fn address_and_port(py: Python<'_>, address: SocketAddr) -> (Py<PyString>, Py<PyString>) {
    let host = PyString::new(py, &address.ip().to_canonical().to_string());
    let port = PyString::new(py, itoa::Buffer::new().format(address.port()));
    (host.unbind(), port.unbind())
}

/// What may be asked of the socket under TLS: nothing that would send or receive.
const HARMLESS: &[&str] =
    &["getpeername", "getsockname", "getsockopt", "fileno", "family", "type", "proto"];

/// `gunicorn.socket`: becomes a real socket when somebody looks. From then on the connection is
/// the app's as well as ours, so that it is not used for another request. One that is encrypted
/// stays ours: the app can ask about it, as it asks an `ssl.SSLSocket`, and no more.
#[pyclass(frozen, name = "ClientSocket", module = "monoceros._core")]
pub struct ClientSocket {
    shared: Arc<Shared>,
    real: PyOnceLock<Py<PyAny>>,
}

#[pymethods]
impl ClientSocket {
    fn __getattr__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let session = self.shared.session.as_ref();
        if let Some(session) = session {
            if TLS_METHODS.contains(&name) {
                let facts = Bound::new(py, TlsFacts::new(Arc::clone(session)))?;
                return facts.getattr(name);
            }
            if !HARMLESS.contains(&name) {
                return Err(PyAttributeError::new_err(format!(
                    "gunicorn.socket has no {name:?} here: the connection is encrypted, and only \
                     the server can speak over it"
                )));
            }
        }
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
            self.shared.taken.store(session.is_none(), Relaxed);
            let named = PyDict::new(py);
            named.set_item("fileno", own.into_raw_fd())?;
            let socket = py.import("socket")?.getattr("socket")?.call((), Some(&named))?;
            if session.is_none() {
                socket.call_method1("setblocking", (true,))?;
            }
            PyResult::Ok(socket.unbind())
        })?;
        real.bind(py).getattr(name)
    }

    fn __repr__(&self) -> String {
        format!("<ClientSocket fd={}>", self.shared.number.load(Relaxed))
    }
}
