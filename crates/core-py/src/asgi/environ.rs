//! What access lines and hooks are told of a request, in the words of an environ.

use monoceros_engine::Exchange;
use monoceros_http1::{Name, Version};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::asgi::server::Asgi;
use crate::capi::{header_key, latin1};

/// Request line, client and fields.
pub fn of<'py>(py: Python<'py>, exchange: &Exchange<Asgi>) -> PyResult<Bound<'py, PyDict>> {
    let (head, bytes) = exchange.head();
    let environ = PyDict::new(py);
    environ.set_item("REQUEST_METHOD", latin1(py, head.method_span.of(bytes))?)?;
    environ.set_item("RAW_URI", latin1(py, head.target.of(bytes))?)?;
    environ.set_item("PATH_INFO", latin1(py, head.path.of(bytes))?)?;
    environ.set_item("QUERY_STRING", latin1(py, head.query.of(bytes))?)?;
    let protocol = match head.version {
        Version::Http10 => "HTTP/1.0",
        Version::Http11 => "HTTP/1.1",
    };
    environ.set_item("SERVER_PROTOCOL", protocol)?;
    let client = exchange.client();
    let address = client.map_or_else(String::new, |it| it.ip().to_canonical().to_string());
    environ.set_item("REMOTE_ADDR", address)?;
    for field in &head.fields {
        let key = match field.known {
            Name::ContentType => "CONTENT_TYPE".into_pyobject(py)?,
            Name::ContentLength => "CONTENT_LENGTH".into_pyobject(py)?,
            _ => header_key(py, field.name.of(bytes))?,
        };
        let value = latin1(py, field.value.of(bytes))?;
        match environ.get_item(&key)? {
            None => environ.set_item(key, value)?,
            Some(there) => {
                let joined = format!("{}, {}", there.extract::<String>()?, value.to_str()?);
                environ.set_item(key, joined)?;
            }
        }
    }
    Ok(environ)
}
