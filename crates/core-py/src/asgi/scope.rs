//! The scope of a request (ASGI 3, "HTTP & WebSocket ASGI Message Format", spec_version 2.5).
//!
//! A prepared dict with what never changes is cloned, as for environs; what the request says is
//! filled in. Names of known fields, methods and addresses are made once.

use std::net::SocketAddr;

use monoceros_engine::{Exchange, Origin, Scheme};
use monoceros_http1::{Head, Method, Name, TargetForm, Version, percent_decode, split_authority};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use rustix::net::getsockname;

use crate::asgi::server::Asgi;
use crate::capi::{latin1, set, utf8};
use crate::interned::interned;
use crate::place::Place;

/// What an app can rely on.
const SPEC_VERSION: &str = "2.5";

/// Which kind of scope.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Http,
    WebSocket,
}

/// Made once per connection.
pub struct Peer {
    /// (host, port), or None for a unix socket.
    client: Py<PyAny>,
    /// (host, port) where the listener listens on every address: what the client connected to.
    server: Option<Py<PyTuple>>,
}

interned! {
    struct Keys {
        http_version "http_version",
        method "method",
        scheme "scheme",
        path "path",
        raw_path "raw_path",
        query_string "query_string",
        root_path "root_path",
        headers "headers",
        client "client",
        server "server",
        state "state",
        extensions "extensions",
        subprotocols "subprotocols",
    }
}

struct Template {
    http: Py<PyDict>,
    websocket: Py<PyDict>,
    /// The listener is bound to every address.
    wildcard: bool,
}

pub struct Scopes {
    keys: Keys,
    /// One per listener.
    templates: Vec<Template>,
    /// By `Name`, in lower case.
    names: Vec<Py<PyBytes>>,
    methods: [(Method, Py<PyString>); 7],
    http10: Py<PyString>,
    /// What HTTP/1.1 has beyond the messages of every version, and what 1.0 has.
    extensions: Py<PyDict>,
    extensions10: Py<PyDict>,
    extensions_websocket: Py<PyDict>,
    /// Of the lifespan; each request gets a copy.
    state: Option<Py<PyDict>>,
    scratch: Vec<u8>,
}

impl Scopes {
    pub fn new(
        py: Python<'_>,
        places: &[Place],
        root_path: &str,
        tls: bool,
        state: Option<Py<PyDict>>,
    ) -> PyResult<Scopes> {
        let templates = places
            .iter()
            .map(|place| {
                let (server, wildcard) = match place {
                    Place::Internet { host, port } => {
                        let wildcard = host == "0.0.0.0" || host == "::";
                        ((host, *port).into_pyobject(py)?.into_any(), wildcard)
                    }
                    Place::Unix { path } => {
                        ((path, py.None()).into_pyobject(py)?.into_any(), false)
                    }
                };
                let template = |kind| template(py, kind, &server, root_path, tls);
                let (http, websocket) = (template(Kind::Http)?, template(Kind::WebSocket)?);
                Ok(Template { http: http.unbind(), websocket: websocket.unbind(), wildcard })
            })
            .collect::<PyResult<_>>()?;
        let names = Name::ALL
            .iter()
            .map(|name| PyBytes::new(py, name.as_str().to_ascii_lowercase().as_bytes()).unbind());
        let method = |method: Method, text: &str| (method, PyString::intern(py, text).unbind());
        let extensions = |names: &[&str]| -> PyResult<Py<PyDict>> {
            let dict = PyDict::new(py);
            for name in names {
                dict.set_item(name, PyDict::new(py))?;
            }
            Ok(dict.unbind())
        };
        Ok(Scopes {
            keys: Keys::new(py),
            templates,
            names: names.collect(),
            methods: [
                method(Method::Get, "GET"),
                method(Method::Head, "HEAD"),
                method(Method::Post, "POST"),
                method(Method::Put, "PUT"),
                method(Method::Delete, "DELETE"),
                method(Method::Options, "OPTIONS"),
                method(Method::Patch, "PATCH"),
            ],
            http10: PyString::intern(py, "1.0").unbind(),
            extensions: extensions(&[
                "http.response.pathsend",
                "http.response.zerocopysend",
                "http.response.early_hint",
                "http.response.trailers",
            ])?,
            extensions10: extensions(&["http.response.pathsend", "http.response.zerocopysend"])?,
            extensions_websocket: extensions(&["websocket.http.response"])?,
            state,
            scratch: Vec::new(),
        })
    }

    /// The scope of the exchange's request.
    pub fn make<'py>(
        &mut self,
        py: Python<'py>,
        exchange: &mut Exchange<Asgi>,
        kind: Kind,
    ) -> PyResult<Bound<'py, PyDict>> {
        let template = &self.templates[exchange.listener()];
        let keys = &self.keys;
        let scope = match kind {
            Kind::Http => &template.http,
            Kind::WebSocket => &template.websocket,
        };
        let scope = scope.bind(py).copy()?;
        if exchange.peer_cache().is_none() {
            let peer = peer(py, exchange, template.wildcard)?;
            *exchange.peer_cache() = Some(peer);
        }
        if let Some(peer) = exchange.peer_cache() {
            set(&scope, &keys.client, peer.client.bind(py))?;
            if let Some(server) = &peer.server {
                set(&scope, &keys.server, server.bind(py))?;
            }
        }
        let (head, bytes) = exchange.head();
        let plain = head.version == Version::Http10 || exchange.variables().is_some();
        if head.version == Version::Http10 {
            set(&scope, &keys.http_version, self.http10.bind(py))?;
        }
        let extensions = match kind {
            Kind::WebSocket => &self.extensions_websocket,
            Kind::Http if plain => &self.extensions10,
            Kind::Http => &self.extensions,
        };
        set(&scope, &keys.extensions, &extensions.bind(py).copy()?)?;
        let state = match &self.state {
            Some(state) => state.bind(py).copy()?,
            None => PyDict::new(py),
        };
        set(&scope, &keys.state, &state)?;
        if kind == Kind::Http && head.method != Method::Get {
            match self.methods.iter().find(|(method, _)| *method == head.method) {
                Some((_, text)) => set(&scope, &keys.method, text.bind(py))?,
                None => set(&scope, &keys.method, &latin1(py, head.method_span.of(bytes))?)?,
            }
        }
        if !head.query.is_empty() {
            set(&scope, &keys.query_string, &PyBytes::new(py, head.query.of(bytes)))?;
        }
        let origin = exchange.origin();
        let host = origin.and_then(|origin| told_host(origin, head.host.of(bytes)));
        let headers = self.headers(py, head, bytes, host.as_deref())?;
        set(&scope, &self.keys.headers, &headers)?;
        if let Some(origin) = origin {
            self.set_origin(py, &scope, origin, kind, head.host.of(bytes), bytes)?;
        }
        let path = head.path.of(bytes);
        if path.is_empty() && head.form != TargetForm::Asterisk || path == b"/" {
            return Ok(scope);
        }
        self.scratch.clear();
        let path = if head.form == TargetForm::Asterisk { &b"*"[..] } else { path };
        set(&scope, &self.keys.raw_path, &PyBytes::new(py, path))?;
        if memchr::memchr(b'%', path).is_some() {
            percent_decode(path, &mut self.scratch);
            set(&scope, &self.keys.path, &utf8(py, &self.scratch)?)?;
        } else {
            set(&scope, &self.keys.path, &utf8(py, path)?)?;
        }
        Ok(scope)
    }

    fn headers<'py>(
        &self,
        py: Python<'py>,
        head: &Head,
        bytes: &[u8],
        host: Option<&[u8]>,
    ) -> PyResult<Bound<'py, PyList>> {
        let mut lower = [0u8; 64];
        let pairs = head.fields.iter().map(|field| {
            let value = match host {
                Some(host) if field.known == Name::Host => host,
                _ => field.value.of(bytes),
            };
            let value = PyBytes::new(py, value);
            if field.known != Name::Unknown {
                let name = self.names[field.known as usize].bind(py);
                return pair(py, name, &value);
            }
            let name = field.name.of(bytes);
            let name = match lower.get_mut(..name.len()) {
                Some(lower) => {
                    lower.copy_from_slice(name);
                    lower.make_ascii_lowercase();
                    PyBytes::new(py, lower)
                }
                None => PyBytes::new(py, &name.to_ascii_lowercase()),
            };
            pair(py, &name, &value)
        });
        let pairs: Vec<_> = pairs.collect::<PyResult<_>>()?;
        PyList::new(py, pairs)
    }

    /// What trusted proxies say about the request takes the place of what the connection says.
    #[cold]
    fn set_origin<'py>(
        &self,
        py: Python<'py>,
        scope: &Bound<'py, PyDict>,
        origin: &Origin,
        kind: Kind,
        host: &[u8],
        bytes: &[u8],
    ) -> PyResult<()> {
        let keys = &self.keys;
        if let Some(scheme) = origin.scheme {
            let secure = scheme == Scheme::Https;
            set(scope, &keys.scheme, &PyString::intern(py, scheme_name(kind, secure)))?;
        }
        if let Some(node) = origin.client {
            let client = (node.address.to_string(), node.port.unwrap_or(0));
            set(scope, &keys.client, &client.into_pyobject(py)?)?;
        }
        if let Some(name) = origin.script_name {
            let name = name.of(bytes);
            let end = name.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
            set(scope, &keys.root_path, &utf8(py, &name[..end])?)?;
        }
        let told = origin.host.as_deref().unwrap_or(host);
        if (origin.host.is_some() || origin.port.is_some())
            && let Some((name, port)) = split_authority(told)
        {
            let secure = origin.scheme == Some(Scheme::Https);
            let port = origin.port.or(port).unwrap_or(if secure { 443 } else { 80 });
            set(scope, &keys.server, &(latin1(py, name)?, port).into_pyobject(py)?)?;
        }
        Ok(())
    }

    /// The subprotocols that a client offers, for a WebSocket's scope.
    pub fn set_subprotocols<'py>(
        &self,
        scope: &Bound<'py, PyDict>,
        offers: &[String],
    ) -> PyResult<()> {
        set(scope, &self.keys.subprotocols, &PyList::new(scope.py(), offers)?)
    }
}

/// `[name, value]` as servers give it: a tuple.
fn pair<'py>(
    py: Python<'py>,
    name: &Bound<'py, PyBytes>,
    value: &Bound<'py, PyBytes>,
) -> PyResult<Bound<'py, PyTuple>> {
    PyTuple::new(py, [name, value])
}

/// The Host that a trusted proxy tells, where it tells another one.
fn told_host(origin: &Origin, host: &[u8]) -> Option<Vec<u8>> {
    if origin.host.is_none() && origin.port.is_none() {
        return None;
    }
    let told = origin.host.as_deref().unwrap_or(host);
    let (name, port) = split_authority(told)?;
    let default = if origin.scheme == Some(Scheme::Https) { 443 } else { 80 };
    let mut authority = name.to_vec();
    match origin.port.or(port) {
        Some(port) if port != default => {
            authority.extend_from_slice(format!(":{port}").as_bytes());
        }
        _ => {}
    }
    Some(authority)
}

fn peer(py: Python<'_>, exchange: &Exchange<Asgi>, wildcard: bool) -> PyResult<Peer> {
    let client = match exchange.connected() {
        Some(address) => address_pair(py, address)?.into_any().unbind(),
        None => py.None(),
    };
    let server = exchange
        .socket()
        .filter(|_| wildcard)
        .and_then(|socket| getsockname(socket).ok())
        .and_then(|address| SocketAddr::try_from(address).ok());
    let server = server.map(|address| address_pair(py, address)).transpose()?;
    Ok(Peer { client, server: server.map(Bound::unbind) })
}

/// An address as apps see it: IPv4 is IPv4, whatever socket it came through.
fn address_pair(py: Python<'_>, address: SocketAddr) -> PyResult<Bound<'_, PyTuple>> {
    (address.ip().to_canonical().to_string(), address.port()).into_pyobject(py)
}

const fn scheme_name(kind: Kind, secure: bool) -> &'static str {
    match (kind, secure) {
        (Kind::Http, false) => "http",
        (Kind::Http, true) => "https",
        (Kind::WebSocket, false) => "ws",
        (Kind::WebSocket, true) => "wss",
    }
}

fn template<'py>(
    py: Python<'py>,
    kind: Kind,
    server: &Bound<'py, PyAny>,
    root_path: &str,
    tls: bool,
) -> PyResult<Bound<'py, PyDict>> {
    let scope = PyDict::new(py);
    let asgi = PyDict::new(py);
    asgi.set_item("version", "3.0")?;
    asgi.set_item("spec_version", SPEC_VERSION)?;
    scope.set_item(
        "type",
        match kind {
            Kind::Http => "http",
            Kind::WebSocket => "websocket",
        },
    )?;
    scope.set_item("asgi", asgi)?;
    scope.set_item("http_version", "1.1")?;
    scope.set_item("server", server)?;
    scope.set_item("client", py.None())?;
    scope.set_item("scheme", scheme_name(kind, tls))?;
    if kind == Kind::Http {
        scope.set_item("method", PyString::intern(py, "GET"))?;
    }
    scope.set_item("root_path", root_path)?;
    scope.set_item("path", PyString::intern(py, "/"))?;
    scope.set_item("raw_path", PyBytes::new(py, b"/"))?;
    scope.set_item("query_string", PyBytes::new(py, b""))?;
    scope.set_item("headers", PyList::empty(py))?;
    if kind == Kind::WebSocket {
        scope.set_item("subprotocols", PyList::empty(py))?;
    }
    scope.set_item("state", PyDict::new(py))?;
    scope.set_item("extensions", PyDict::new(py))?;
    Ok(scope)
}
