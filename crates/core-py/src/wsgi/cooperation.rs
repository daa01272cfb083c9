//! Waiting for a client in a greenlet: others run meanwhile.

use std::os::fd::AsRawFd;

use monoceros_engine::clock::Span;
use monoceros_engine::{Exchange, Written};
use pyo3::prelude::*;

use crate::wsgi::Wsgi;

/// A peer that takes nothing is looked at so often within `write_timeout`: a socket with a large
/// send buffer has room again only when much of it has been read.
const LOOKS: u32 = 4;

/// Sends everything. False: the peer is gone, or has taken nothing for `write_timeout`. `wait`:
/// called with a descriptor and seconds; whether the descriptor takes more within them.
///
/// Raises what is raised in the greenlet while it waits.
pub fn flush_cooperatively(
    exchange: &mut Exchange<Wsgi>,
    wait: &Bound<'_, PyAny>,
) -> PyResult<bool> {
    let py = wait.py();
    let patience = exchange.write_timeout();
    let seconds = (patience != Span::FOREVER).then(|| patience.as_seconds() / f64::from(LOOKS));
    let mut stalls = 0;
    let mut held = u64::MAX;
    loop {
        let before = exchange.sent();
        match py.detach(|| exchange.flush()) {
            Ok(Written::All) => return Ok(true),
            Ok(Written::Blocked | Written::TurnOver) => {}
            Err(_) => return Ok(false),
        }
        let Some(socket) = exchange.socket() else { return Ok(false) };
        let ready: bool = wait.call1((socket.as_raw_fd(), seconds))?.extract()?;
        let now_held = exchange.unacknowledged().unwrap_or(0);
        let progress = ready || exchange.sent() > before || now_held < held;
        held = now_held;
        stalls = if progress { 0 } else { stalls + 1 };
        if stalls == LOOKS {
            return Ok(false);
        }
    }
}
