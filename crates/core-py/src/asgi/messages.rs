//! The words of ASGI's messages, interned once.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict};

use crate::capi::set;
use crate::interned::interned;

interned! {
    /// Keys and types of messages.
    pub struct Words {
        kind "type",
        status "status",
        headers "headers",
        body "body",
        more_body "more_body",
        trailers "trailers",
        more_trailers "more_trailers",
        path "path",
        links "links",
        file "file",
        offset "offset",
        count "count",
        http_request "http.request",
        http_disconnect "http.disconnect",
        text "text",
        bytes "bytes",
        code "code",
        reason "reason",
        subprotocol "subprotocol",
        websocket_connect "websocket.connect",
        websocket_receive "websocket.receive",
        websocket_disconnect "websocket.disconnect",
    }
}

impl Words {
    /// `http.request`.
    pub fn request<'py>(
        &self,
        body: &Bound<'py, PyBytes>,
        more: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        let py = body.py();
        let message = PyDict::new(py);
        set(&message, &self.kind, self.http_request.bind(py))?;
        set(&message, &self.body, body)?;
        set(&message, &self.more_body, &PyBool::new(py, more))?;
        Ok(message)
    }

    /// `http.disconnect`.
    pub fn disconnect<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let message = PyDict::new(py);
        set(&message, &self.kind, self.http_disconnect.bind(py))?;
        Ok(message)
    }
}
