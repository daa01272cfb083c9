//! What becomes of those for whom there is no room.
//!
//! Rules:
//! - Without `queue_timeout` nobody is refused: who finds no room waits in the kernel's queue.
//! - With it, a request that has waited for so long, in this worker's queue or in the kernel's, is
//!   answered 503 and never reaches the app: its client has most likely given up.
//! - A worker is crowded while it takes no connections: it has `worker_connections`, or all its
//!   app threads are busy and siblings may have room. When every worker that serves has been
//!   crowded for `queue_timeout`, connections are taken all the same, answered 503 and closed,
//!   until one has room again.
//! - A process without a free descriptor leaves connections to its siblings. When none of them has
//!   one either, connections are answered 503 through a spare descriptor.
//! - Under TLS, who cannot be taken is closed without an answer, which would need a handshake.
//! - What goes on for long is said once in a while, with how often it happened.

use rustix::io::Errno;

use crate::clock::{Moment, Span};
use crate::connections::{Connection, Found, Phase};
use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::listeners::Accepted;
use crate::notice::{Severity, Throttle};
use crate::reactor::Reactor;
use crate::scoreboard::State;
use crate::system;
use monoceros_http1::{Status, error_response};

/// Refused connections that may be open at a time, beyond `worker_connections`: each stays until
/// its client has read the answer.
const REFUSED_MOST: usize = 128;

/// A worker that had no descriptor has none yet. Longer than a pause of accepting, after which each
/// worker tries again.
const LATELY: Span = Span::from_secs(1);

/// When a client that was refused may come again, seconds.
const RETRY_AFTER: (&str, &str) = ("Retry-After", "1");

/// What a worker that is overloaded has to remember.
#[derive(Default)]
pub struct Overload {
    /// Since when it takes no connections; zero while it does.
    crowded_since: Moment,
    /// Everybody is crowded: connections are taken to be refused.
    refusing: bool,
    /// Open connections that have been refused.
    refused: usize,
    late_told: Throttle,
    descriptors_told: Throttle,
}

impl<G: Gateway> Reactor<G> {
    /// This worker has as many connections as it may have.
    pub fn is_full(&self) -> bool {
        self.connections.len() - self.overload.refused >= self.options.worker_connections
    }

    /// Notes whether this worker takes connections. True: it listens all the same, to refuse.
    pub fn note_crowd(&mut self, takes: bool) -> bool {
        let queue_timeout = self.options.queue_timeout;
        if queue_timeout == Span::FOREVER {
            return false;
        }
        if takes != (self.overload.crowded_since == Moment(0)) {
            self.overload.crowded_since = if takes { Moment(0) } else { self.now };
            self.board.slot(self.slot).set_crowded_since(self.overload.crowded_since);
        }
        self.overload.refusing = !takes
            && self.overload.refused < REFUSED_MOST
            && self.overload.crowded_since.after(queue_timeout) <= self.now
            && self.everybody_is_crowded(queue_timeout);
        self.overload.refusing
    }

    fn everybody_is_crowded(&self, for_so_long: Span) -> bool {
        let mut serving = (0..self.board.slots()).map(|slot| self.board.slot(slot));
        serving.all(|slot| {
            let since = slot.crowded_since();
            slot.state() != State::Ready
                || since != Moment(0) && since.after(for_so_long) <= self.now
        })
    }

    /// A connection waits, and there is no room for it anywhere.
    pub fn refuse_connection(&mut self, index: usize) {
        if !self.overload.refusing {
            return;
        }
        if let Accepted::Connection(socket, peer) = self.listeners.accept(index, self.now) {
            self.tell_of_refusals(1);
            // Under TLS an answer would need a handshake, for which there is no room either.
            if self.tls.is_none() {
                let mut connection = Box::new(Connection::new(socket, index, peer));
                self.connections.admit(&mut connection);
                connection.refused = true;
                self.overload.refused += 1;
                self.reject(connection, Status::SERVICE_UNAVAILABLE, &[RETRY_AFTER]);
            }
        }
        self.arm_listeners();
    }

    /// A connection ends.
    pub fn forget_refusal(&mut self, connection: &Connection<G>) {
        if connection.refused {
            self.overload.refused -= 1;
        }
    }

    /// How long a connection that has just been accepted has waited for it, if that matters.
    pub fn waited_in_backlog(&self, socket: impl std::os::fd::AsFd) -> Span {
        if self.options.queue_timeout == Span::FOREVER {
            return Span::ZERO;
        }
        let waited = system::silent_for(socket).unwrap_or_default();
        Span(waited.as_nanos().min(u64::MAX.into()) as u64)
    }

    /// The exchange holds a complete request. False: it has waited too long and has been refused.
    pub fn is_in_time(&mut self, waited: Span, exchange: &mut Exchange<G>) -> bool {
        if waited <= self.options.queue_timeout {
            return true;
        }
        if let Some(mut connection) = exchange.connection.take() {
            self.keep_line(&mut connection, exchange.head_bytes());
            exchange.bytes = None;
            exchange.body = crate::body::Body::Empty;
            self.reject(connection, Status::SERVICE_UNAVAILABLE, &[RETRY_AFTER]);
            self.tell_of_refusals(1);
        }
        false
    }

    /// Refuses the requests that have waited too long for an app thread.
    pub fn refuse_late(&mut self) {
        while self.next_refusal() <= self.now {
            let Some(key) = self.ready.pop_front() else { return };
            let Found::Here(connection) = self.connections.take(key) else { continue };
            if connection.phase == Phase::Ready {
                self.reject(connection, Status::SERVICE_UNAVAILABLE, &[RETRY_AFTER]);
                self.tell_of_refusals(1);
            } else {
                self.connections.put(connection);
            }
        }
    }

    /// When the request that has waited longest has waited too long.
    pub fn next_refusal(&self) -> Moment {
        if self.options.queue_timeout == Span::FOREVER {
            return Moment::NEVER;
        }
        // An entry whose connection is gone is dropped at once.
        self.ready.front().map_or(Moment::NEVER, |key| {
            let request = self.connections.look(*key).and_then(|it| it.request.as_ref());
            request.map_or(Moment(0), |request| request.since.after(self.options.queue_timeout))
        })
    }

    fn tell_of_refusals(&mut self, count: u64) {
        if let Some(count) = self.overload.late_told.tell(self.now, count) {
            let seconds = self.options.queue_timeout.as_seconds();
            self.notices.push(Severity::Warning, || {
                format!(
                    "overloaded: {count} answered with 503, because there was no room within \
                     {seconds} s (queue_timeout); add workers or threads, or make the app faster"
                )
            });
        }
    }

    /// A connection cannot be accepted.
    pub fn exhausted(&mut self, index: usize, error: Errno) {
        let mut refused = 0;
        if matches!(error, Errno::MFILE | Errno::NFILE) && self.nobody_has_descriptors() {
            let mut words = Vec::new();
            let date = self.date.at(crate::clock::unix_seconds());
            let status = Status::SERVICE_UNAVAILABLE;
            if self.tls.is_none() {
                error_response(&mut words, status, date, false, &[RETRY_AFTER]);
            }
            refused = self.listeners.turn_away(index, &words) as u64;
            let cell = self.own_cell();
            (0..refused).for_each(|_| cell.count(status.code(), 0, words.len() as u64));
        }
        if let Some(refused) = self.overload.descriptors_told.tell(self.now, refused) {
            self.notices.push(Severity::Error, || {
                format!(
                    "cannot accept a connection: {error}; {refused} were answered with 503; raise \
                     the limit of open files (ulimit -n) or lower worker_connections"
                )
            });
        }
    }

    /// This worker has none, and each that serves has had none for its last connection, lately.
    fn nobody_has_descriptors(&self) -> bool {
        self.board.slot(self.slot).set_exhausted_at(self.now);
        let mut serving = (0..self.board.slots()).map(|slot| self.board.slot(slot));
        serving.all(|slot| {
            slot.state() != State::Ready || slot.exhausted_at().after(LATELY) >= self.now
        })
    }
}
