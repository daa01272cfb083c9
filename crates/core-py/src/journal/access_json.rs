//! Access lines as JSON, one object a line. `monoceros.logging.json_lines` describes the fields and
//! writes the same for loggers of Python's.

use itoa::Buffer;
use monoceros_engine::clock::unix_time;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::journal::access::{Clock, Fate, User};

/// Names in the environ, interned.
pub struct JsonLine {
    remote_addr: Py<PyString>,
    method: Py<PyString>,
    target: Py<PyString>,
    path: Py<PyString>,
    protocol: Py<PyString>,
    referer: Py<PyString>,
    user_agent: Py<PyString>,
    process: String,
}

impl JsonLine {
    pub fn new(py: Python<'_>) -> JsonLine {
        let name = |text: &str| PyString::intern(py, text).unbind();
        JsonLine {
            remote_addr: name("REMOTE_ADDR"),
            method: name("REQUEST_METHOD"),
            target: name("RAW_URI"),
            path: name("PATH_INFO"),
            protocol: name("SERVER_PROTOCOL"),
            referer: name("HTTP_REFERER"),
            user_agent: name("HTTP_USER_AGENT"),
            process: std::process::id().to_string(),
        }
    }

    /// Appends the line of a request, with its end. `took`: microseconds; `now` gives the time of a
    /// second.
    #[expect(clippy::too_many_arguments, reason = "what a line is made of")]
    pub fn write(
        &self,
        environ: &Bound<'_, PyDict>,
        fate: &Fate,
        took: u64,
        now: &Bound<'_, PyAny>,
        user: &User,
        clock: &mut Clock,
        out: &mut Vec<u8>,
    ) -> PyResult<()> {
        let mut number = Buffer::new();
        let (second, millis) = unix_time();
        out.extend_from_slice(b"{\"time\":\"");
        out.extend_from_slice(clock.at(second, now)?.as_bytes());
        out.push(b'.');
        digits::<3>(millis.into(), out);
        out.extend_from_slice(b"Z\",\"remote_addr\":");
        variable(environ, &self.remote_addr, out)?;
        out.extend_from_slice(b",\"user\":");
        match user.find(environ)? {
            Some(user) => string(&user.to_string_lossy(), out),
            None => out.extend_from_slice(b"null"),
        }
        for (name, key) in [
            (&b",\"method\":"[..], &self.method),
            (b",\"target\":", &self.target),
            (b",\"path\":", &self.path),
            (b",\"protocol\":", &self.protocol),
        ] {
            out.extend_from_slice(name);
            variable(environ, key, out)?;
        }
        out.extend_from_slice(b",\"status\":");
        out.extend_from_slice(number.format(fate.status).as_bytes());
        out.extend_from_slice(b",\"bytes\":");
        out.extend_from_slice(number.format(fate.body).as_bytes());
        out.extend_from_slice(b",\"duration\":");
        out.extend_from_slice(number.format(took / 1_000_000).as_bytes());
        out.push(b'.');
        digits::<6>(took % 1_000_000, out);
        for (name, key) in
            [(&b",\"referer\":"[..], &self.referer), (b",\"user_agent\":", &self.user_agent)]
        {
            out.extend_from_slice(name);
            variable(environ, key, out)?;
        }
        out.extend_from_slice(b",\"pid\":");
        out.extend_from_slice(self.process.as_bytes());
        out.extend_from_slice(b"}\n");
        Ok(())
    }
}

/// A number with leading zeros.
fn digits<const COUNT: usize>(mut number: u64, out: &mut Vec<u8>) {
    let mut text = [b'0'; COUNT];
    for digit in text.iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&text);
}

/// An environ variable as a string; null where it is missing.
fn variable(environ: &Bound<'_, PyDict>, name: &Py<PyString>, out: &mut Vec<u8>) -> PyResult<()> {
    match environ.get_item(name.bind(environ.py()))? {
        None => out.extend_from_slice(b"null"),
        Some(value) => match value.cast::<PyString>() {
            Ok(text) => text_or_null(&text.to_string_lossy(), out),
            Err(_) => text_or_null(&value.str()?.to_string_lossy(), out),
        },
    }
    Ok(())
}

/// "-" stands for what is missing, as in the other formats.
fn text_or_null(text: &str, out: &mut Vec<u8>) {
    if text == "-" {
        out.extend_from_slice(b"null");
    } else {
        string(text, out);
    }
}

/// A JSON string (RFC 8259, 7). What a terminal or a reader of lines could take for an order is
/// escaped as well. An environ's strings are bytes in disguise (PEP 3333): where those are UTF-8,
/// they are written as such.
fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let harmless = |byte: u8| (b' '..0x7f).contains(&byte) && byte != b'"' && byte != b'\\';
    if text.bytes().all(harmless) {
        out.extend_from_slice(text.as_bytes());
    } else {
        match undisguised(text) {
            Some(real) => letters(&real, out),
            None => letters(text, out),
        }
    }
    out.push(b'"');
}

fn undisguised(text: &str) -> Option<String> {
    let bytes: Option<Vec<u8>> = text.chars().map(|it| u8::try_from(it as u32).ok()).collect();
    String::from_utf8(bytes?).ok()
}

fn letters(text: &str, out: &mut Vec<u8>) {
    for letter in text.chars() {
        match letter {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            letter if letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}') => {
                out.extend_from_slice(format!("\\u{:04x}", letter as u32).as_bytes());
            }
            letter => out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}
