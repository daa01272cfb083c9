//! The environ of a request (PEP 3333, and Gunicorn's keys beside).
//!
//! A prepared dict with everything that never changes is cloned, which copies its table as it is;
//! what the request says is filled in. Names of known fields are interned once.

mod variables;

use monoceros_engine::{Body, Exchange, Origin, Scheme};
use monoceros_http1::{Head, Method, Name, TargetForm, Version, percent_decode, split_authority};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};

use crate::capi::{header_key, latin1, set, set_default};
use crate::interned::interned;
use crate::place::Place;
use crate::wsgi::client::Client;
use crate::wsgi::{FileWrapper, Input, Wsgi};

/// What the environ of every request of a process has in common.
pub struct Facts {
    pub multithread: bool,
    pub multiprocess: bool,
    pub url_scheme: String,
    pub server_software: String,
    /// From the process's environment variable.
    pub script_name: String,
    pub errors: Py<PyAny>,
}

interned! {
    /// Interned keys.
    struct Keys {
        request_method "REQUEST_METHOD",
        path_info "PATH_INFO",
        query_string "QUERY_STRING",
        raw_uri "RAW_URI",
        server_protocol "SERVER_PROTOCOL",
        server_name "SERVER_NAME",
        server_port "SERVER_PORT",
        remote_addr "REMOTE_ADDR",
        remote_port "REMOTE_PORT",
        wsgi_input "wsgi.input",
        socket "gunicorn.socket",
        url_scheme "wsgi.url_scheme",
        script_name "SCRIPT_NAME",
        host "HTTP_HOST",
        proxy_protocol "PROXY_PROTOCOL",
        proxy_addr "PROXY_ADDR",
        proxy_port "PROXY_PORT",
    }
}

/// Known fields fit into the bits of one word that remembers which have been seen.
const _: () = assert!(Name::COUNT <= 128);

/// Prepares environs; each app thread has its own.
pub struct Environs {
    keys: Keys,
    /// One per listener.
    templates: Vec<Py<PyDict>>,
    places: Vec<Place>,
    /// By `Name`: the environ's key.
    names: Vec<Py<PyString>>,
    methods: [(Method, Py<PyString>); 7],
    http10: Py<PyString>,
    slash: Py<PyString>,
    empty: Py<PyString>,
    script_name: String,
    /// Of a request about which nobody says more than its connection.
    scheme: Scheme,
    scratch: Vec<u8>,
}

/// The path is not under the SCRIPT_NAME that the operator or a trusted proxy has set.
pub struct NotUnderScriptName(pub String);

impl Environs {
    pub fn new(
        py: Python<'_>,
        facts: &Facts,
        places: &[Place],
        early_hints: &Bound<'_, PyAny>,
    ) -> PyResult<Environs> {
        let templates = places
            .iter()
            .map(|place| template(py, facts, place, early_hints).map(Bound::unbind))
            .collect::<PyResult<_>>()?;
        let names = Name::ALL
            .iter()
            .map(|name| match name {
                Name::ContentType => Ok(PyString::intern(py, "CONTENT_TYPE").unbind()),
                Name::ContentLength => Ok(PyString::intern(py, "CONTENT_LENGTH").unbind()),
                name => {
                    let key = header_key(py, name.as_str().as_bytes())?;
                    Ok(PyString::intern(py, key.to_str()?).unbind())
                }
            })
            .collect::<PyResult<_>>()?;
        let method = |method: Method, text: &str| (method, PyString::intern(py, text).unbind());
        Ok(Environs {
            keys: Keys::new(py),
            templates,
            places: places.to_vec(),
            names,
            methods: [
                method(Method::Get, "GET"),
                method(Method::Head, "HEAD"),
                method(Method::Post, "POST"),
                method(Method::Put, "PUT"),
                method(Method::Delete, "DELETE"),
                method(Method::Options, "OPTIONS"),
                method(Method::Patch, "PATCH"),
            ],
            http10: PyString::intern(py, "HTTP/1.0").unbind(),
            slash: PyString::intern(py, "/").unbind(),
            empty: PyString::intern(py, "").unbind(),
            script_name: facts.script_name.trim_end_matches('/').to_owned(),
            scheme: if facts.url_scheme == "https" { Scheme::Https } else { Scheme::Http },
            scratch: Vec::new(),
        })
    }

    /// The environ of the exchange's request.
    pub fn make<'py>(
        &mut self,
        py: Python<'py>,
        exchange: &mut Exchange<Wsgi>,
    ) -> PyResult<Result<Bound<'py, PyDict>, NotUnderScriptName>> {
        let listener = exchange.listener();
        let environ = self.templates[listener].bind(py).copy()?;
        self.set_client(py, &environ, exchange)?;
        if let Some(input) = self.input(py, exchange)? {
            set(&environ, &self.keys.wsgi_input, &input)?;
        }
        let (head, bytes) = exchange.head();
        let origin = exchange.origin();
        let script_name = origin.and_then(|origin| origin.script_name);
        let script_name = script_name.map(|span| without_slashes_behind(span.of(bytes)));
        let variables = exchange.variables();
        let fits = match variables {
            None => self.set_request_line(py, &environ, head, bytes, script_name)?,
            Some(variables) => self.set_variables(py, &environ, head, bytes, variables)?,
        };
        if !fits {
            let name = script_name.unwrap_or(self.script_name.as_bytes());
            return Ok(Err(NotUnderScriptName(String::from_utf8_lossy(name).into_owned())));
        }
        if let Place::Unix { path } = &self.places[listener]
            && variables.is_none_or(|variables| variables.get(b"SERVER_NAME").is_none())
        {
            let scheme = origin.and_then(|origin| origin.scheme).unwrap_or(self.scheme);
            let (name, port) = host_and_port(head.host.of(bytes), path, scheme);
            set(&environ, &self.keys.server_name, &latin1(py, &name)?)?;
            set(&environ, &self.keys.server_port, &latin1(py, &port)?)?;
        }
        self.set_fields(py, &environ, head, bytes)?;
        if let Some(origin) = origin {
            self.set_origin(py, &environ, origin, head.host.of(bytes))?;
        }
        Ok(Ok(environ))
    }

    fn set_client<'py>(
        &self,
        py: Python<'py>,
        environ: &Bound<'py, PyDict>,
        exchange: &mut Exchange<Wsgi>,
    ) -> PyResult<()> {
        if exchange.peer_cache().is_none() {
            let client = Client::new(py, exchange)?;
            *exchange.peer_cache() = Some(client);
        }
        let Some(client) = exchange.peer_cache() else { return Ok(()) };
        set(environ, &self.keys.remote_addr, client.address.bind(py))?;
        match &client.port {
            Some(port) => set(environ, &self.keys.remote_port, port.bind(py))?,
            None => environ.del_item(self.keys.remote_port.bind(py))?,
        }
        if let Some(proxied) = &client.proxied {
            set(environ, &self.keys.proxy_protocol, proxied.protocol.bind(py))?;
            if let Some((address, port)) = &proxied.destination {
                set(environ, &self.keys.proxy_addr, address.bind(py))?;
                set(environ, &self.keys.proxy_port, port.bind(py))?;
            }
        }
        if let Some(certificate) = &client.certificate {
            environ.update(certificate.bind(py).as_mapping())?;
        }
        set(environ, &self.keys.socket, client.socket.bind(py))
    }

    /// What trusted proxies say about the request takes the place of what the connection says.
    #[cold]
    fn set_origin<'py>(
        &self,
        py: Python<'py>,
        environ: &Bound<'py, PyDict>,
        origin: &Origin,
        host: &[u8],
    ) -> PyResult<()> {
        let keys = &self.keys;
        if let Some(scheme) = origin.scheme {
            set(environ, &keys.url_scheme, PyString::intern(py, scheme_name(scheme)).as_any())?;
        }
        if let Some(node) = origin.client {
            set(environ, &keys.remote_addr, &PyString::new(py, &node.address.to_string()))?;
            match node.port {
                Some(port) => {
                    set(environ, &keys.remote_port, &PyString::new(py, &port.to_string()))?;
                }
                // That of the proxy's end of the connection would be another's.
                None if environ.contains(keys.remote_port.bind(py))? => {
                    environ.del_item(keys.remote_port.bind(py))?;
                }
                None => {}
            }
        }
        let told = origin.host.as_deref().unwrap_or(host);
        if (origin.host.is_some() || origin.port.is_some())
            && let Some((name, port)) = split_authority(told)
        {
            let default = default_port(origin.scheme.unwrap_or(self.scheme));
            let port = origin.port.or(port).unwrap_or(default);
            let mut authority = name.to_vec();
            if port != default {
                authority.extend_from_slice(format!(":{port}").as_bytes());
            }
            set(environ, &keys.host, &latin1(py, &authority)?)?;
            set(environ, &keys.server_name, &latin1(py, name)?)?;
            set(environ, &keys.server_port, &PyString::new(py, &port.to_string()))?;
        }
        Ok(())
    }

    /// None for an empty body: the template has one.
    fn input<'py>(
        &self,
        py: Python<'py>,
        exchange: &mut Exchange<Wsgi>,
    ) -> PyResult<Option<Bound<'py, Input>>> {
        let input = match exchange.take_body() {
            Body::Empty => return Ok(None),
            Body::Beside { start, end } => {
                Input::memory(&PyBytes::new(py, exchange.beside(start, end)))
            }
            Body::Memory(bytes) => Input::memory(&PyBytes::new(py, &bytes)),
            Body::Spooled(spool) => {
                let (file, length) = spool.into_file();
                Input::file(file, length)
            }
        };
        Bound::new(py, input).map(Some)
    }

    /// False: the path is not under SCRIPT_NAME.
    fn set_request_line<'py>(
        &mut self,
        py: Python<'py>,
        environ: &Bound<'py, PyDict>,
        head: &Head,
        bytes: &[u8],
        forwarded_script_name: Option<&[u8]>,
    ) -> PyResult<bool> {
        let keys = &self.keys;
        let script_name = match forwarded_script_name {
            Some(name) => {
                set(environ, &keys.script_name, &latin1(py, name)?)?;
                name
            }
            None => self.script_name.as_bytes(),
        };
        self.set_method(py, environ, head, bytes)?;
        if head.version == Version::Http10 {
            set(environ, &keys.server_protocol, self.http10.bind(py))?;
        }
        if !head.query.is_empty() {
            set(environ, &keys.query_string, &latin1(py, head.query.of(bytes))?)?;
        }
        let path = head.path.of(bytes);
        let target = head.target.of(bytes);
        if target != b"/" {
            let raw = latin1(py, target)?;
            set(environ, &keys.raw_uri, &raw)?;
            if path.len() == target.len() && memchr::memchr(b'%', path).is_none() {
                if script_name.is_empty() {
                    set(environ, &keys.path_info, &raw)?;
                    return Ok(true);
                }
            } else if path.is_empty() && head.form == TargetForm::Absolute {
                set(environ, &keys.path_info, self.slash.bind(py))?;
            } else if head.form == TargetForm::Asterisk || path.is_empty() {
                set(environ, &keys.path_info, self.empty.bind(py))?;
            }
        }
        if path.is_empty() || path == b"/" && script_name.is_empty() {
            return Ok(true);
        }
        self.scratch.clear();
        percent_decode(path, &mut self.scratch);
        let Some(rest) = behind_mount(&self.scratch, script_name) else { return Ok(false) };
        set(environ, &keys.path_info, &latin1(py, rest)?)?;
        Ok(true)
    }

    #[inline]
    fn set_method<'py>(
        &self,
        py: Python<'py>,
        environ: &Bound<'py, PyDict>,
        head: &Head,
        bytes: &[u8],
    ) -> PyResult<()> {
        if head.method == Method::Get {
            return Ok(());
        }
        match self.methods.iter().find(|(method, _)| *method == head.method) {
            Some((_, text)) => set(environ, &self.keys.request_method, text.bind(py)),
            None => {
                let method = latin1(py, head.method_span.of(bytes))?;
                set(environ, &self.keys.request_method, &method)
            }
        }
    }

    fn set_fields<'py>(
        &self,
        py: Python<'py>,
        environ: &Bound<'py, PyDict>,
        head: &Head,
        bytes: &[u8],
    ) -> PyResult<()> {
        let mut seen: u128 = 0;
        for field in &head.fields {
            let value = latin1(py, field.value.of(bytes))?;
            let known = field.known;
            let bit = 1 << known as u8;
            if known == Name::Unknown {
                let key = header_key(py, field.name.of(bytes))?;
                let there = set_default(environ, &key, &value)?;
                if !there.is(&value) {
                    environ.set_item(key, joined(&there, ",", &value)?)?;
                }
            } else if seen & bit == 0 {
                seen |= bit;
                set(environ, &self.names[known as usize], &value)?;
            } else {
                let key = self.names[known as usize].bind(py);
                let there = environ.as_any().get_item(key)?;
                // Cookies are lists of their own (RFC 6265, 5.4).
                let between = if known == Name::Cookie { "; " } else { "," };
                environ.set_item(key, joined(&there, between, &value)?)?;
            }
        }
        Ok(())
    }
}

/// What follows the mount point, which ends where a part of the path ends: /app is none of /apple.
fn behind_mount<'a>(path: &'a [u8], mount: &[u8]) -> Option<&'a [u8]> {
    path.strip_prefix(mount).filter(|rest| matches!(rest.first(), None | Some(b'/')))
}

/// A mount point as the environment variable's: `/app/` is `/app`, and `/` is none.
fn without_slashes_behind(mut path: &[u8]) -> &[u8] {
    while let [rest @ .., b'/'] = path {
        path = rest;
    }
    path
}

fn joined(
    first: &Bound<'_, PyAny>,
    between: &str,
    second: &Bound<'_, PyString>,
) -> PyResult<String> {
    Ok(format!("{}{between}{}", first.extract::<String>()?, second.to_str()?))
}

const fn scheme_name(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    }
}

const fn default_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    }
}

/// SERVER_NAME and SERVER_PORT behind a unix socket: what the client calls us.
fn host_and_port(host: &[u8], path: &str, scheme: Scheme) -> (Vec<u8>, Vec<u8>) {
    if host.is_empty() {
        return (path.as_bytes().to_vec(), Vec::new());
    }
    let colon = memchr::memrchr(b':', host);
    let bracket = memchr::memrchr(b']', host);
    match colon {
        Some(colon) if bracket.is_none_or(|bracket| colon > bracket) => {
            (host[..colon].to_vec(), host[colon + 1..].to_vec())
        }
        _ => (host.to_vec(), default_port(scheme).to_string().into_bytes()),
    }
}

fn template<'py>(
    py: Python<'py>,
    facts: &Facts,
    place: &Place,
    early_hints: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyDict>> {
    let environ = PyDict::new(py);
    let (name, port) = match place {
        Place::Internet { host, port } => (host.as_str(), port.to_string()),
        Place::Unix { path } => (path.as_str(), String::new()),
    };
    environ.set_item("wsgi.errors", facts.errors.bind(py))?;
    environ.set_item("wsgi.version", PyTuple::new(py, [1, 0])?)?;
    environ.set_item("wsgi.multithread", facts.multithread)?;
    environ.set_item("wsgi.multiprocess", facts.multiprocess)?;
    environ.set_item("wsgi.run_once", false)?;
    environ.set_item("wsgi.file_wrapper", py.get_type::<FileWrapper>())?;
    environ.set_item("wsgi.input_terminated", true)?;
    environ.set_item("wsgi.early_hints", early_hints)?;
    environ.set_item("wsgi.url_scheme", &facts.url_scheme)?;
    environ.set_item("wsgi.input", Py::new(py, Input::empty())?)?;
    environ.set_item("SERVER_SOFTWARE", &facts.server_software)?;
    environ.set_item("SERVER_NAME", name)?;
    environ.set_item("SERVER_PORT", port)?;
    environ.set_item("SCRIPT_NAME", facts.script_name.trim_end_matches('/'))?;
    environ.set_item("REQUEST_METHOD", PyString::intern(py, "GET"))?;
    environ.set_item("PATH_INFO", "/")?;
    environ.set_item("QUERY_STRING", "")?;
    environ.set_item("RAW_URI", "/")?;
    environ.set_item("SERVER_PROTOCOL", PyString::intern(py, "HTTP/1.1"))?;
    environ.set_item("REMOTE_ADDR", "")?;
    environ.set_item("REMOTE_PORT", "")?;
    environ.set_item("gunicorn.socket", py.None())?;
    Ok(environ)
}
