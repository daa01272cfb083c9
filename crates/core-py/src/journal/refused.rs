//! Access lines of requests that the engine has refused: the app and its hooks have not seen them.

use monoceros_engine::clock::Moment;
use monoceros_engine::{Lines, Refusal};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::capi::latin1;
use crate::journal::Journal;
use crate::journal::access::{Clock, Fate};

impl Journal {
    /// Writes their lines at once, or shows them to the observer.
    pub(super) fn write_refusals(&self, py: Python<'_>, refusals: &[Refusal]) -> PyResult<()> {
        if let Some(access) = &self.access {
            let mut lines = Lines::to(access.file);
            let mut clock = Clock::default();
            for refusal in refusals {
                let fate = Fate { since: Moment::now(), status: refusal.status, body: 0 };
                access.write(&environ(py, refusal)?, &fate, &mut clock, lines.tail())?;
            }
            // The file may be a pipe that nobody empties.
            return py.detach(|| lines.flush()).map_err(crate::process::os_error);
        }
        if let Some(observer) = &self.observer {
            for refusal in refusals {
                let arguments = (environ(py, refusal)?, refusal.status);
                observer.bind(py).call_method1("refused", arguments)?;
            }
        }
        Ok(())
    }
}

/// What of an environ is known. Words that have not come read "-".
fn environ<'py>(py: Python<'py>, refusal: &Refusal) -> PyResult<Bound<'py, PyDict>> {
    let [method, target, protocol] = words(&refusal.line);
    let mark = memchr::memchr(b'?', target).unwrap_or(target.len());
    let environ = PyDict::new(py);
    environ.set_item("REQUEST_METHOD", latin1(py, method)?)?;
    environ.set_item("RAW_URI", latin1(py, target)?)?;
    environ.set_item("PATH_INFO", latin1(py, &target[..mark])?)?;
    environ.set_item("QUERY_STRING", latin1(py, target.get(mark + 1..).unwrap_or_default())?)?;
    environ.set_item("SERVER_PROTOCOL", latin1(py, protocol)?)?;
    let address = refusal.client.map_or_else(String::new, |it| it.ip().to_canonical().to_string());
    environ.set_item("REMOTE_ADDR", address)?;
    Ok(environ)
}

/// A request line in three, so that put together again it is what came, as far as it came.
fn words(line: &[u8]) -> [&[u8]; 3] {
    let Some(first) = memchr::memchr(b' ', line) else {
        return [or_dash(line), b"-", b"-"];
    };
    let (method, rest) = (&line[..first], &line[first + 1..]);
    match memchr::memrchr(b' ', rest) {
        Some(last) => [or_dash(method), or_dash(&rest[..last]), or_dash(&rest[last + 1..])],
        None => [or_dash(method), or_dash(rest), b"-"],
    }
}

fn or_dash(word: &[u8]) -> &[u8] {
    if word.is_empty() { b"-" } else { word }
}
