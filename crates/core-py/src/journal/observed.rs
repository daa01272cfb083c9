//! What hooks and loggers see of a request and its response: Gunicorn's attributes. Made only for
//! workers that have somebody to show them to.

use std::net::SocketAddr;

use monoceros_engine::clock::Moment;
use monoceros_engine::{Exchange, Gateway, Scheme};
use monoceros_http1::Version;
use monoceros_proxy::proxy_protocol::Header;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};

use crate::capi::latin1;

/// A request's head. Hooks may hang attributes of their own on it.
#[pyclass(dict, weakref, name = "Request", module = "monoceros._core", get_all, set_all)]
pub struct Request {
    method: Py<PyString>,
    uri: Py<PyString>,
    path: Py<PyString>,
    query: Py<PyString>,
    fragment: Py<PyString>,
    version: Py<PyTuple>,
    /// (NAME, value), in the order in which they came.
    headers: Py<PyList>,
    trailers: Py<PyList>,
    body: Py<PyAny>,
    scheme: Py<PyString>,
    /// (host, port), or "" for a unix socket.
    peer_addr: Py<PyAny>,
    remote_addr: Py<PyAny>,
    req_number: u32,
    must_close: bool,
    proxy_protocol_info: Option<Py<PyAny>>,
    cfg: Option<Py<PyAny>>,
    unreader: Option<Py<PyAny>>,
}

#[pymethods]
impl Request {
    /// Whether the connection ends with this request.
    fn should_close(&self) -> bool {
        self.must_close
    }

    /// Kept for hooks that call it; the engine decides by what the app answers.
    fn force_close(&mut self) {
        self.must_close = true;
    }
}

impl Request {
    pub fn new<'py, G: Gateway>(
        py: Python<'py>,
        exchange: &Exchange<G>,
    ) -> PyResult<Bound<'py, Request>> {
        let (head, bytes) = exchange.head();
        let headers = PyList::empty(py);
        for field in &head.fields {
            let name = field.name.of(bytes).to_ascii_uppercase();
            headers.append((latin1(py, &name)?, latin1(py, field.value.of(bytes))?))?;
        }
        let minor = if head.version == Version::Http10 { 0 } else { 1 };
        let target = head.target.of(bytes);
        let fragment = memchr::memchr(b'#', target).map_or(&b""[..], |mark| &target[mark + 1..]);
        let scheme = match exchange.origin().and_then(|origin| origin.scheme) {
            Some(Scheme::Https) => "https",
            Some(Scheme::Http) => "http",
            None if exchange.tls().is_some() => "https",
            None => "http",
        };
        let request = Request {
            method: latin1(py, head.method_span.of(bytes))?.unbind(),
            uri: latin1(py, target)?.unbind(),
            path: latin1(py, head.path.of(bytes))?.unbind(),
            query: latin1(py, head.query.of(bytes))?.unbind(),
            fragment: latin1(py, fragment)?.unbind(),
            version: PyTuple::new(py, [1, minor])?.unbind(),
            headers: headers.unbind(),
            trailers: PyList::empty(py).unbind(),
            body: py.None(),
            scheme: PyString::intern(py, scheme).unbind(),
            remote_addr: pair(py, exchange.client())?,
            peer_addr: pair(py, exchange.peer())?,
            req_number: exchange.request_number(),
            must_close: !exchange.keep_alive(),
            proxy_protocol_info: exchange.proxied().map(|it| proxy_info(py, it)).transpose()?,
            cfg: None,
            unreader: None,
        };
        Bound::new(py, request)
    }

    pub fn set_body(request: &Bound<'_, Request>, environ: &Bound<'_, PyDict>) -> PyResult<()> {
        let body = environ.get_item("wsgi.input")?;
        request.borrow_mut().body = body.map_or_else(|| request.py().None(), Bound::unbind);
        Ok(())
    }
}

/// (host, port), or "" for a unix socket.
fn pair(py: Python<'_>, address: Option<SocketAddr>) -> PyResult<Py<PyAny>> {
    match address {
        Some(address) => {
            let host = address.ip().to_canonical().to_string();
            Ok((host, address.port()).into_pyobject(py)?.into_any().unbind())
        }
        None => Ok(PyString::new(py, "").into_any().unbind()),
    }
}

/// Gunicorn's description of a PROXY protocol header.
fn proxy_info(py: Python<'_>, header: &Header) -> PyResult<Py<PyAny>> {
    let info = PyDict::new(py);
    info.set_item("proxy_protocol", header.protocol())?;
    if let Header::Tcp { source, destination } = header {
        info.set_item("client_addr", source.ip().to_string())?;
        info.set_item("client_port", source.port())?;
        info.set_item("proxy_addr", destination.ip().to_string())?;
        info.set_item("proxy_port", destination.port())?;
    }
    Ok(info.into_any().unbind())
}

/// What became of a request.
#[pyclass(dict, weakref, name = "Response", module = "monoceros._core", get_all, set_all)]
pub struct Response {
    /// "200 OK"; an int where the server answered itself.
    status: Py<PyAny>,
    status_code: u16,
    headers: Py<PyAny>,
    response_length: Option<u64>,
    /// Bytes of the body.
    sent: u64,
    headers_sent: bool,
    chunked: bool,
    must_close: bool,
    upgrade: bool,
    version: Py<PyTuple>,
    req: Py<PyAny>,
    sock: Option<Py<PyAny>>,
    cfg: Option<Py<PyAny>>,
}

#[pymethods]
impl Response {
    fn should_close(&self) -> bool {
        self.must_close
    }
}

/// Everything that has to be told when a request is over.
pub struct Observed {
    /// Where hooks or a logger of Python's want to see it.
    pub request: Option<Py<Request>>,
    pub environ: Py<PyDict>,
    pub since: Moment,
    /// Status and headers as the app gave them.
    pub kept: Option<(Py<PyString>, Py<PyAny>)>,
}

impl Observed {
    /// Calls the observer's `after`. `status`: what went out; `body`: how much of a body.
    pub fn tell(
        self,
        py: Python<'_>,
        observer: &Py<PyAny>,
        status: u16,
        body: u64,
        close: bool,
    ) -> PyResult<()> {
        let Some(request) = self.request else { return Ok(()) };
        let seconds = Moment::now().since(self.since).as_seconds();
        let (status_text, headers) = match self.kept {
            Some((text, headers)) => (text.into_any(), headers),
            None => (
                PyString::new(py, &status.to_string()).into_any().unbind(),
                PyList::empty(py).into_any().unbind(),
            ),
        };
        let response = Response {
            status: status_text,
            status_code: status,
            headers,
            response_length: None,
            sent: body,
            headers_sent: true,
            chunked: false,
            must_close: close,
            upgrade: status == 101,
            version: request.borrow(py).version.clone_ref(py),
            req: request.clone_ref(py).into_any(),
            sock: None,
            cfg: None,
        };
        let response = Bound::new(py, response)?;
        let arguments = (request, self.environ, response, seconds);
        observer.bind(py).call_method1("after", arguments).map(drop)
    }
}
