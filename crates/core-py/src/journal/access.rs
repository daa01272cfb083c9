//! Access lines without Python logging, for the formats and loggers where nobody would notice.
//!
//! What a line says is what Python's formatter says: the values come from the environ when the
//! app is done with it, so that what a middleware has mended (a client's real address) shows.

use std::os::fd::RawFd;

use itoa::Buffer;
use monoceros_engine::clock::{Moment, unix_seconds};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::journal::access_json::JsonLine;

/// A single-letter atom of the format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Atom {
    Dash,
    User,
    Time,
    RequestLine,
    Status,
    Bytes,
    Seconds,
    Millis,
    Micros,
    Decimal,
    Process,
}

enum Part {
    Text(Vec<u8>),
    Atom(Atom),
    Variable(Py<PyString>),
}

/// What a line looks like.
enum Layout {
    /// As the operator's format says.
    Parts(Vec<Part>),
    /// One JSON object.
    Json(JsonLine),
}

pub struct Access {
    pub file: RawFd,
    layout: Layout,
    request_line: [Py<PyString>; 3],
    process: String,
    /// `now(second)`: the time as lines show it, of a second since 1970.
    now: Py<PyAny>,
    user: User,
}

/// Who the client says it is.
pub struct User {
    /// HTTP_AUTHORIZATION: without it nobody has to be asked.
    variable: Py<PyString>,
    /// `user(environ)`: the name from Basic credentials, or None.
    of: Py<PyAny>,
}

impl User {
    pub fn find<'py>(
        &self,
        environ: &Bound<'py, PyDict>,
    ) -> PyResult<Option<Bound<'py, PyString>>> {
        let py = environ.py();
        if !environ.contains(self.variable.bind(py))? {
            return Ok(None);
        }
        let user = self.of.bind(py).call1((environ,))?;
        if user.is_truthy()? { user.str().map(Some) } else { Ok(None) }
    }
}

/// The time, formatted once per second.
#[derive(Default)]
pub struct Clock {
    second: u64,
    text: String,
}

impl Clock {
    pub fn at(&mut self, second: u64, now: &Bound<'_, PyAny>) -> PyResult<&str> {
        if self.second != second {
            self.text = now.call1((second,))?.extract()?;
            self.second = second;
        }
        Ok(&self.text)
    }
}

/// What became of a request.
pub struct Fate {
    pub since: Moment,
    pub status: u16,
    pub body: u64,
}

impl Access {
    /// `format` None stands for JSON. None when it needs more than single atoms: then Python
    /// writes the lines.
    pub fn new(
        py: Python<'_>,
        file: RawFd,
        format: Option<&str>,
        now: Py<PyAny>,
        user: Py<PyAny>,
    ) -> Option<Access> {
        let layout = match format {
            Some(format) => Layout::Parts(parse(py, format)?),
            None => Layout::Json(JsonLine::new(py)),
        };
        let request_line = ["REQUEST_METHOD", "RAW_URI", "SERVER_PROTOCOL"]
            .map(|name| PyString::intern(py, name).unbind());
        let process = format!("<{}>", std::process::id());
        let variable = PyString::intern(py, "HTTP_AUTHORIZATION").unbind();
        let user = User { variable, of: user };
        Some(Access { file, layout, request_line, process, now, user })
    }

    /// Appends the line of a request, with its end.
    pub fn write(
        &self,
        environ: &Bound<'_, PyDict>,
        fate: &Fate,
        clock: &mut Clock,
        out: &mut Vec<u8>,
    ) -> PyResult<()> {
        let py = environ.py();
        let took = Moment::now().since(fate.since).as_micros();
        let parts = match &self.layout {
            Layout::Parts(parts) => parts,
            Layout::Json(line) => {
                let now = self.now.bind(py);
                return line.write(environ, fate, took, now, &self.user, clock, out);
            }
        };
        let mut number = Buffer::new();
        for part in parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Variable(name) => variable(environ, name, out)?,
                Part::Atom(Atom::Dash) => out.push(b'-'),
                Part::Atom(Atom::User) => match self.user.find(environ)? {
                    Some(user) => escape(&user.to_string_lossy(), out),
                    None => out.push(b'-'),
                },
                Part::Atom(Atom::Time) => {
                    let text = clock.at(unix_seconds(), self.now.bind(py))?;
                    out.extend_from_slice(text.as_bytes());
                }
                Part::Atom(Atom::RequestLine) => {
                    for (index, name) in self.request_line.iter().enumerate() {
                        if index > 0 {
                            out.push(b' ');
                        }
                        variable(environ, name, out)?;
                    }
                }
                Part::Atom(Atom::Status) => {
                    out.extend_from_slice(number.format(fate.status).as_bytes());
                }
                Part::Atom(Atom::Bytes) => {
                    out.extend_from_slice(number.format(fate.body).as_bytes());
                }
                Part::Atom(Atom::Seconds) => {
                    out.extend_from_slice(number.format(took / 1_000_000).as_bytes());
                }
                Part::Atom(Atom::Millis) => {
                    out.extend_from_slice(number.format(took / 1000).as_bytes());
                }
                Part::Atom(Atom::Micros) => out.extend_from_slice(number.format(took).as_bytes()),
                Part::Atom(Atom::Decimal) => {
                    let text = format!("{}.{:06}", took / 1_000_000, took % 1_000_000);
                    out.extend_from_slice(text.as_bytes());
                }
                Part::Atom(Atom::Process) => out.extend_from_slice(self.process.as_bytes()),
            }
        }
        out.push(b'\n');
        Ok(())
    }
}

/// An environ variable, escaped; "-" where it is missing.
fn variable(environ: &Bound<'_, PyDict>, name: &Py<PyString>, out: &mut Vec<u8>) -> PyResult<()> {
    match environ.get_item(name.bind(environ.py()))? {
        None => out.push(b'-'),
        Some(value) => match value.cast::<PyString>() {
            Ok(text) => escape(&text.to_string_lossy(), out),
            Err(_) => escape(&value.str()?.to_string_lossy(), out),
        },
    }
    Ok(())
}

/// Quotes, control characters (of C1 too, which readers of UTF-8 obey) and Unicode's own line ends
/// cannot end a field or a line.
fn escape(text: &str, out: &mut Vec<u8>) {
    let harmless = |byte: u8| (b' '..0x7f).contains(&byte) && byte != b'"';
    if text.bytes().all(harmless) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    for letter in text.chars() {
        match letter {
            '"' => out.extend_from_slice(b"\\\""),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\u{2028}' | '\u{2029}' => {
                out.extend_from_slice(format!("\\u{:04x}", letter as u32).as_bytes());
            }
            letter if letter.is_control() => {
                out.extend_from_slice(format!("\\x{:02x}", letter as u32).as_bytes());
            }
            letter => out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Whether the engine can write lines of this format (of the % operator) by itself.
#[pyfunction]
#[pyo3(signature = (format, /))]
pub fn writes_access_format(py: Python<'_>, format: &str) -> bool {
    parse(py, format).is_some()
}

/// `%(x)s` and `%%` only; everything else is for Python.
fn parse(py: Python<'_>, format: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut text = Vec::new();
    let mut rest = format;
    while let Some(mark) = rest.find('%') {
        text.extend_from_slice(&rest.as_bytes()[..mark]);
        rest = &rest[mark + 1..];
        if let Some(behind) = rest.strip_prefix('%') {
            text.push(b'%');
            rest = behind;
            continue;
        }
        let (name, behind) = rest.strip_prefix('(')?.split_once(")s")?;
        let part = part(py, name)?;
        if !text.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut text)));
        }
        parts.push(part);
        rest = behind;
    }
    text.extend_from_slice(rest.as_bytes());
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    Some(parts)
}

fn part(py: Python<'_>, name: &str) -> Option<Part> {
    let variable = |name: &str| Some(Part::Variable(PyString::intern(py, name).unbind()));
    Some(Part::Atom(match name {
        "h" => return variable("REMOTE_ADDR"),
        "m" => return variable("REQUEST_METHOD"),
        "U" => return variable("PATH_INFO"),
        "q" => return variable("QUERY_STRING"),
        "H" => return variable("SERVER_PROTOCOL"),
        "f" => return variable("HTTP_REFERER"),
        "a" => return variable("HTTP_USER_AGENT"),
        "l" => Atom::Dash,
        "u" => Atom::User,
        "t" => Atom::Time,
        "r" => Atom::RequestLine,
        "s" => Atom::Status,
        "b" | "B" => Atom::Bytes,
        "T" => Atom::Seconds,
        "M" => Atom::Millis,
        "D" => Atom::Micros,
        "L" => Atom::Decimal,
        "p" => Atom::Process,
        // Any other single word is unknown and reads "-"; names in braces are headers.
        name if name.contains(['{', '(', ')']) => return None,
        _ => Atom::Dash,
    }))
}
