//! What happens to a request while its app has it: its client leaves, a deadline passes, the worker
//! drains.

use std::sync::MutexGuard;

use monoceros_engine::scoreboard::IncidentKind;
use monoceros_engine::{Class, News, Outcome};
use monoceros_http1::Status;
use monoceros_websocket::CloseCode;
use pyo3::prelude::*;

use crate::asgi::call::{Call, State, wake};
use crate::asgi::server::Server;
use crate::asgi::{http, websocket};
use crate::journal::{ERROR, INFO, WARNING};

impl Server {
    /// What has happened to a connection that the app has.
    pub fn on_news(&self, py: Python<'_>, news: News) -> PyResult<()> {
        let key = match news {
            News::Socket(key, _)
            | News::Deadline(key, _)
            | News::Overdue(key)
            | News::Slow(key) => key,
        };
        let Some(call) = self.asgi.find(py, key) else { return Ok(()) };
        let mut state = call.get().lock()?;
        if state.websocket.is_some() && !matches!(news, News::Overdue(_) | News::Slow(_)) {
            websocket::on_news(py, call.get(), &mut state, news)?;
            let waiters = state.take_waiters();
            drop(state);
            return wake(py, waiters);
        }
        let mut ends = false;
        match news {
            News::Socket(_, flags) => {
                let gone = state.stream.note(flags);
                if state.blocked && state.flush(self).is_err() {
                    state.disconnected = true;
                }
                state.disconnected |= gone;
                ends = state.disconnected;
            }
            News::Deadline(_, Class::Write) => {
                if state.blocked && self.engine.has_stalled(&mut state.stream) {
                    let peer = state.stream.peer_name();
                    let text =
                        format!("{peer} has stopped reading its response: connection closed");
                    self.asgi.journal.say(py, INFO, &text, None);
                    state.disconnected = true;
                    state.end(self, Outcome::Abort);
                    ends = true;
                }
            }
            News::Deadline(_, Class::Body) => {
                if state.stream.has_incoming() {
                    state.disconnected = true;
                    state.body_told = true;
                    let status = Status::REQUEST_TIMEOUT;
                    http::refuse(py, call.get(), &mut state, status, "its body took too long");
                    ends = true;
                }
            }
            News::Deadline(..) => {}
            News::Overdue(_) => return self.overdue(&call, state),
            News::Slow(_) => {
                let writing = state.is_sent();
                self.engine.report(&state.stream, IncidentKind::Slow, writing, false);
                let task = state.task.as_ref().map(|task| task.clone_ref(py));
                drop(state);
                self.say_where(py, WARNING, "slow", task);
                return Ok(());
            }
        }
        let waiters = state.take_waiters();
        let task = match ends && state.grace.is_none() && !state.cancelled {
            true => state.task.as_ref().map(|task| task.clone_ref(py)),
            false => None,
        };
        drop(state);
        wake(py, waiters)?;
        match task {
            Some(task) => self.grant_grace(&call, &task),
            None => Ok(()),
        }
    }

    /// The worker has begun to drain: WebSockets, which would go on for ever, are closed.
    pub fn drain(&self, py: Python<'_>) -> PyResult<()> {
        for call in self.asgi.all_listed(py) {
            let mut state = call.get().lock()?;
            websocket::drain(self, &mut state)?;
            let waiters = state.take_waiters();
            drop(state);
            wake(py, waiters)?;
        }
        Ok(())
    }

    /// With what WebSockets are closed while the worker drains.
    pub fn farewell(&self) -> CloseCode {
        if self.engine.server_stops() { CloseCode::GOING_AWAY } else { CloseCode::SERVICE_RESTART }
    }

    /// The same, where it does drain.
    pub fn is_draining(&self) -> Option<CloseCode> {
        self.engine.is_draining().then(|| self.farewell())
    }

    /// The client has left: the app has so long to notice.
    fn grant_grace(&self, call: &Bound<'_, Call>, task: &Py<PyAny>) -> PyResult<()> {
        let py = call.py();
        let timer = if self.asgi.grace > 0.0 {
            let cancel = task.getattr(py, "cancel")?;
            let event_loop = self.asgi.event_loop.bind(py);
            Some(event_loop.call_method1("call_later", (self.asgi.grace, cancel))?)
        } else {
            task.call_method0(py, "cancel")?;
            None
        };
        let mut state = call.get().lock()?;
        state.grace = timer.map(Bound::unbind);
        state.cancelled = true;
        Ok(())
    }

    /// A request has run for longer than it may: 504 where nothing was sent, and its task is
    /// cancelled.
    fn overdue(&self, call: &Bound<'_, Call>, mut state: MutexGuard<'_, State>) -> PyResult<()> {
        let py = call.py();
        let writing = state.is_sent();
        self.engine.report(&state.stream, IncidentKind::Overdue, writing, !writing);
        state.fail(self, Status::GATEWAY_TIMEOUT);
        state.disconnected = true;
        state.cancelled = true;
        // The 504 is told by whoever explains it.
        state.observed = None;
        let waiters = state.take_waiters();
        let task = state.task.as_ref().map(|task| task.clone_ref(py));
        drop(state);
        self.say_where(py, ERROR, "overdue", task.as_ref().map(|task| task.clone_ref(py)));
        wake(py, waiters)?;
        if let Some(task) = task {
            task.call_method0(py, "cancel")?;
        }
        Ok(())
    }

    /// Where a request's coroutine is: stacks of threads do not show it.
    fn say_where(&self, py: Python<'_>, level: i32, what: &str, task: Option<Py<PyAny>>) {
        let (Some(explain), Some(task)) = (&self.asgi.explain, task) else { return };
        let told = explain.bind(py).call1((task,)).and_then(|text| text.extract::<String>());
        match told {
            Ok(text) => {
                let text = format!("The {what} request is at:\n{text}");
                self.asgi.journal.say(py, level, &text, None);
            }
            Err(error) => {
                let text = format!("Cannot tell where the {what} request is");
                self.asgi.journal.say(py, ERROR, &text, Some(error));
            }
        }
    }
}
