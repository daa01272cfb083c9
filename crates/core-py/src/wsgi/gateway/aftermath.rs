//! What follows a request: `close()`, the observer and the access log, and words about what went
//! wrong.

use std::sync::Mutex;

use monoceros_engine::Lines;

use super::*;

impl Wsgi {
    /// The request is over: for observers and the access log.
    pub(super) fn tell(
        &self,
        py: Python<'_>,
        exchange: &mut Exchange<Wsgi>,
        clock: &mut Clock,
        observed: Option<Observed>,
        body: u64,
    ) {
        let Some(observed) = observed else { return };
        if exchange.is_overdue() {
            // The 504 that the client has had is told by whoever explains it.
            return;
        }
        let (status, keep_alive) = (exchange.status(), exchange.keep_alive());
        self.tell_of(py, observed, clock, &exchange.lines, status, body, !keep_alive);
    }

    #[expect(clippy::too_many_arguments, reason = "what became of a request")]
    pub(super) fn tell_of(
        &self,
        py: Python<'_>,
        observed: Observed,
        clock: &mut Clock,
        lines: &Mutex<Lines>,
        status: u16,
        body: u64,
        close: bool,
    ) {
        let greenlets = self.wait_writable.is_some();
        self.journal.tell(py, observed, clock, lines, status, body, close, greenlets);
    }

    /// An exception that is no `Exception`: SystemExit and its like. A greenlet has some that are
    /// its own affair (GreenletExit, gevent.Timeout).
    fn ends_the_worker(&self, py: Python<'_>, error: &PyErr) -> bool {
        if self.wait_writable.is_some() {
            return error.is_instance_of::<PySystemExit>(py)
                || error.is_instance_of::<PyKeyboardInterrupt>(py);
        }
        !error.is_instance_of::<PyException>(py)
    }

    /// GreenletExit: what a greenlet is killed with, on purpose; gevent says nothing either.
    fn is_a_kill(&self, py: Python<'_>, error: &PyErr) -> bool {
        self.wait_writable.is_some()
            && error.get_type(py).name().is_ok_and(|name| name == "GreenletExit")
    }

    /// Calls `close()` of what the app returned. An exception that ends the worker comes back.
    pub(super) fn close(&self, py: Python<'_>, result: Option<Py<PyAny>>) -> Option<PyErr> {
        let result = result?.into_bound(py);
        if result.is_exact_instance_of::<PyList>() || result.is_exact_instance_of::<PyTuple>() {
            return None;
        }
        let closed = match result.getattr_opt("close") {
            Ok(None) => return None,
            Ok(Some(close)) => close.call0(),
            Err(error) => Err(error),
        };
        let error = closed.err()?;
        if self.ends_the_worker(py, &error) {
            return Some(error);
        }
        self.journal.say(py, ERROR, "Error in close() of a response", Some(error));
        None
    }

    /// Closes what had to stay open until the engine had sent it. An exception that ends the worker
    /// comes back.
    pub fn let_go(&self, py: Python<'_>, paused: Paused) -> Option<PyErr> {
        self.close(py, paused.result)
    }

    /// There is no response: 500 where nothing was sent, otherwise the connection's end.
    pub(super) fn fail(
        &self,
        py: Python<'_>,
        exchange: &mut Exchange<Wsgi>,
        local: &mut Local,
        failure: Failure,
        committed: bool,
        fatal: &mut Option<PyErr>,
    ) -> Outcome<Paused> {
        let head_request = exchange.head().0.method == Method::Head;
        let target = target(exchange);
        let whole = matches!(failure, Failure::Afterwards(_));
        self.explain(py, failure, &target, fatal);
        if whole {
            return Outcome::Complete;
        }
        if committed && exchange.sent() > 0 {
            return Outcome::Abort;
        }
        exchange.clear_output();
        let status = Status::INTERNAL_SERVER_ERROR;
        let date = *local.date.at(unix_seconds());
        error_response(exchange.tail(), status, &date, head_request, &[]);
        exchange.set_status(status.code());
        exchange.set_keep_alive(false);
        Outcome::Complete
    }

    pub(super) fn explain(
        &self,
        py: Python<'_>,
        failure: Failure,
        target: &str,
        fatal: &mut Option<PyErr>,
    ) {
        let what = format!("Error handling request {target}");
        match failure {
            Failure::Raised(error) if self.ends_the_worker(py, &error) => *fatal = Some(error),
            Failure::Raised(error) if self.is_a_kill(py, &error) => {
                self.journal.say(py, DEBUG, &format!("{what}: its greenlet was killed"), None);
            }
            Failure::Raised(error) => self.journal.say(py, ERROR, &what, Some(error)),
            Failure::Afterwards(failure) => self.explain(py, *failure, target, fatal),
            Failure::Broken(text) => self.journal.say(py, ERROR, &format!("{what}: {text}"), None),
            Failure::PeerGone => {
                self.journal.say(py, DEBUG, "Ignoring premature client disconnection.", None);
            }
        }
    }
}
