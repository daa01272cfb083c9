//! What the log has to know of a task's end.

use pyo3::prelude::*;

use crate::asgi::call::{ClientDisconnected, Response};
use crate::asgi::server::Server;
use crate::journal::{DEBUG, ERROR, WARNING};

impl Server {
    /// What of a task's end the log has to know.
    pub fn explain_end(
        &self,
        py: Python<'_>,
        target: &str,
        error: Option<PyErr>,
        cancelled: bool,
        was: Response,
        disconnected: bool,
    ) {
        let journal = &self.asgi.journal;
        let what = format!("Error handling request {target}");
        match error {
            Some(error) if disconnected && comes_from_the_peer(py, &error) => {
                journal.say(py, DEBUG, "Ignoring premature client disconnection.", None);
            }
            Some(error) => journal.say(py, ERROR, &what, Some(error)),
            None if was == Response::Over || disconnected => {}
            None if cancelled => {
                journal.say(py, WARNING, &format!("{what}: its task was cancelled"), None);
            }
            None => {
                let wrong = match was {
                    Response::Fresh => "the app returned without a response",
                    Response::Begun => "the app returned without a body after the response's start",
                    _ => "the app returned before its response was complete",
                };
                journal.say(py, ERROR, &format!("{what}: {wrong}"), None);
            }
        }
    }
}

/// An exception that stands for the client's leaving: ours, or one that was raised because of it.
fn comes_from_the_peer(py: Python<'_>, error: &PyErr) -> bool {
    let mut error = Some(error.clone_ref(py));
    while let Some(current) = error {
        if current.is_instance_of::<ClientDisconnected>(py) {
            return true;
        }
        let name = current.get_type(py).name();
        if name.is_ok_and(|name| name == "ClientDisconnect") {
            return true;
        }
        error = current.cause(py).or_else(|| {
            let context = current.value(py).getattr("__context__").ok()?;
            (!context.is_none()).then(|| PyErr::from_value(context))
        });
    }
    false
}
