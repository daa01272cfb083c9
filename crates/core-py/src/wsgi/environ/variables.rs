//! What a front end that speaks uwsgi tells, as an app sees it.
//!
//! Every variable is a key of the environ, as apps of such servers expect; the front end's last
//! word about a key counts. PATH_INFO comes decoded and is not decoded again. The keys that speak
//! for the server (`wsgi.` and `gunicorn.`) never come this far.

use monoceros_engine::Variables;

use super::*;

impl Environs {
    /// Does for a uwsgi packet what `set_request_line` does for a request line. False: the path is
    /// not under SCRIPT_NAME.
    pub(super) fn set_variables<'py>(
        &self,
        py: Python<'py>,
        environ: &Bound<'py, PyDict>,
        head: &Head,
        bytes: &[u8],
        variables: &Variables,
    ) -> PyResult<bool> {
        let keys = &self.keys;
        self.set_method(py, environ, head, bytes)?;
        set(environ, &keys.raw_uri, &latin1(py, head.target.of(bytes))?)?;
        set(environ, &keys.query_string, &latin1(py, head.query.of(bytes))?)?;
        if variables.get(b"REMOTE_ADDR").is_some() && variables.get(b"REMOTE_PORT").is_none() {
            // That of the front end's end of the connection would be another's.
            environ.as_any().call_method1("pop", (keys.remote_port.bind(py), py.None()))?;
        }
        for (name, value) in variables.iter() {
            if !matches!(name, b"REQUEST_METHOD" | b"SCRIPT_NAME" | b"PATH_INFO") {
                environ.set_item(latin1(py, name)?, latin1(py, value)?)?;
            }
        }
        let mut asked = Vec::new();
        percent_decode(head.path.of(bytes), &mut asked);
        let path = variables.get(b"PATH_INFO").unwrap_or(&asked);
        let told = variables.get(b"SCRIPT_NAME").map(without_slashes_behind);
        let rest = match told.filter(|name| !name.is_empty()) {
            Some(name) => {
                set(environ, &keys.script_name, &latin1(py, name)?)?;
                behind_told_mount(path, name, &asked)
            }
            None => match behind_mount(path, self.script_name.as_bytes()) {
                Some(rest) => rest,
                None => return Ok(false),
            },
        };
        set(environ, &keys.path_info, &latin1(py, rest)?)?;
        Ok(true)
    }
}

/// PATH_INFO without the SCRIPT_NAME that the front end tells. nginx leaves it in; Apache, and
/// what keeps to CGI, takes it off, and then what the client has asked for is both together.
fn behind_told_mount<'a>(path: &'a [u8], mount: &[u8], asked: &[u8]) -> &'a [u8] {
    if asked.strip_prefix(mount) == Some(path) {
        return path;
    }
    behind_mount(path, mount).unwrap_or(path)
}
