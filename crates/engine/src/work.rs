//! What each app thread runs, as the reactor sees it, and the deadlines of requests in the app.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{Arc, Mutex};

use monoceros_http1::{Status, error_response};
use rustix::net::{Shutdown, shutdown};

use crate::clock::{Moment, Span};
use crate::exchange::{Desk, Exchange};
use crate::gateway::Gateway;
use crate::lines::Lines;
use crate::output::{Output, Written};
use crate::scoreboard::{Incident, IncidentKind};
use crate::tls::Session;

/// A report shows no more of a head than this.
const HEAD_SHOWN: usize = 2048;
/// A socket without room for a 504 is offered it again so much later.
const RETRY: Span = Span::from_millis(5);

/// The work of one app thread.
pub struct Work {
    pub desk: Arc<Desk>,
    /// The thread's log lines; the sentinel writes them when the thread is stuck.
    pub lines: Arc<Mutex<Lines>>,
    pub active: bool,
    pub overdue: bool,
    slow: bool,
    socket: RawFd,
    /// The connection's TLS while this work is active: a 504 has to go through it.
    tls: Option<Arc<Session>>,
    /// What the socket has not taken yet of a 504.
    unsent: Option<Box<Output>>,
    /// When it is offered to the socket again.
    retry: Moment,
    since: Moment,
    id: u64,
    peer: Option<SocketAddr>,
    head: Vec<u8>,
    /// Reports that the arbiter's cell had no room for yet.
    unreported: Vec<Incident>,
}

impl Work {
    pub fn new() -> Work {
        Work {
            desk: Arc::default(),
            lines: Arc::default(),
            active: false,
            overdue: false,
            slow: false,
            socket: -1,
            tls: None,
            unsent: None,
            retry: Moment::NEVER,
            since: Moment::default(),
            id: 0,
            peer: None,
            head: Vec::new(),
            unreported: Vec::new(),
        }
    }

    /// The app is about to run. The head is copied only where a deadline may have to show it.
    pub fn begin<G: Gateway>(&mut self, exchange: &Exchange<G>, shown: &[u8], watched: bool) {
        self.active = true;
        self.overdue = false;
        self.slow = false;
        self.socket = exchange.socket().map_or(-1, |socket| socket.as_raw_fd());
        self.tls = exchange.tls().cloned();
        self.since = exchange.since;
        self.id = exchange.id;
        self.peer = exchange.client();
        self.head.clear();
        if watched {
            self.head.extend_from_slice(&shown[..shown.len().min(HEAD_SHOWN)]);
        }
        self.desk.begin();
    }

    /// What the socket has not taken of a 504 is given back.
    pub fn end(&mut self) -> Option<Box<Output>> {
        self.active = false;
        self.tls = None;
        self.retry = Moment::NEVER;
        self.desk.end();
        self.unsent.take()
    }

    /// The number of the request in this worker.
    pub fn request(&self) -> u64 {
        self.id
    }

    /// Method and target, for people.
    pub fn title(&self) -> String {
        let line = self.head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let mut words = line.split(|byte| *byte == b' ');
        let method = words.next().unwrap_or_default();
        let target = words.next().unwrap_or_default();
        format!("{} {}", String::from_utf8_lossy(method), String::from_utf8_lossy(target))
    }

    /// The head, as far as reports show it.
    pub fn shown(&self) -> &[u8] {
        &self.head
    }

    /// When this work has to be looked at next.
    pub fn next_deadline(&self, deadline: Span, slow_after: Span) -> Moment {
        if !self.active {
            return Moment::NEVER;
        }
        let overdue = if self.overdue { Moment::NEVER } else { self.since.after(deadline) };
        let slow = if self.slow { Moment::NEVER } else { self.since.after(slow_after) };
        overdue.min(slow).min(self.retry)
    }

    /// Looks at the deadlines. True when the request has just become overdue.
    pub fn check(
        &mut self,
        thread: usize,
        now: Moment,
        deadline: Span,
        slow_after: Span,
        date: &[u8; 29],
    ) -> bool {
        if !self.active {
            return false;
        }
        let mut became_overdue = false;
        if !self.overdue && self.since.after(deadline) <= now {
            self.overdue = true;
            became_overdue = true;
            let answered = self.desk.claim_for_timeout();
            if answered {
                self.answer_timeout(now, date);
            }
            self.report(IncidentKind::Overdue, thread, now, answered);
        }
        if self.retry <= now {
            self.send_answer(now);
        }
        if !self.slow && !self.overdue && self.since.after(slow_after) <= now {
            self.slow = true;
            if !self.desk.is_sending() {
                self.report(IncidentKind::Slow, thread, now, false);
            }
        }
        became_overdue
    }

    fn report(&mut self, kind: IncidentKind, thread: usize, now: Moment, answered: bool) {
        self.unreported.push(Incident {
            kind,
            id: self.id,
            thread,
            elapsed: now.since(self.since),
            writing: self.desk.is_sending(),
            answered,
            peer: self.peer.map_or(String::new(), |peer| peer.ip().to_string()),
            head: self.head.clone(),
        });
    }

    /// Hands reports to `post` until it has no room. True when something was handed over.
    pub fn post(&mut self, mut post: impl FnMut(&Incident) -> bool) -> bool {
        let before = self.unreported.len();
        while self.unreported.first().is_some_and(&mut post) {
            self.unreported.remove(0);
        }
        before != self.unreported.len()
    }

    pub fn has_reports(&self) -> bool {
        !self.unreported.is_empty()
    }

    /// The desk has been claimed: nothing has been sent and the app thread will send nothing.
    fn answer_timeout(&mut self, now: Moment, date: &[u8; 29]) {
        let mut answer = Box::<Output>::default();
        let head_request = self.head.starts_with(b"HEAD ");
        error_response(answer.tail(), Status::GATEWAY_TIMEOUT, date, head_request, &[]);
        self.unsent = Some(answer);
        self.send_answer(now);
    }

    /// Sends what is left of the 504, and tries again later when the socket has no room for it: the
    /// app thread has the connection, so that no event would tell of it.
    fn send_answer(&mut self, now: Moment) {
        self.retry = Moment::NEVER;
        let Some(mut answer) = self.unsent.take() else { return };
        // SAFETY: the connection belongs to the app thread whose desk was claimed; it cannot close
        // the socket before it has ended its work, for which it needs the lock that we hold.
        let socket = unsafe { BorrowedFd::borrow_raw(self.socket) };
        let session = self.tls.as_deref();
        let written = answer.write_to(session, socket, &mut 0).and_then(|written| match session {
            Some(session) if written == Written::All => session.end(socket),
            _ => Ok(written),
        });
        match written {
            Ok(Written::All) => {
                let shut = shutdown(socket.as_fd(), Shutdown::Write);
                debug_assert!(shut.is_ok() || shut == Err(rustix::io::Errno::NOTCONN));
            }
            Ok(Written::Blocked | Written::TurnOver) => {
                self.unsent = Some(answer);
                self.retry = now.after(RETRY);
            }
            // A client that is gone has lost interest in this answer.
            Err(_) => {}
        }
    }
}
