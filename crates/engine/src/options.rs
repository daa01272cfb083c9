//! What an operator decides, in the engine's own units.

use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::Arc;

use monoceros_http1::{Limits, Policy};
use monoceros_proxy::Networks;

use crate::clock::Span;
use crate::handoff::Handoff;
use crate::tls;
use crate::trust::Trust;

/// How the engine and the event loop that runs the app wait together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventLoop {
    /// The loop waits in the engine, which tells it when this descriptor, an epoll of its own
    /// sockets, has news.
    Within(RawFd),
    /// The engine's poller is one of the descriptors that the loop waits for.
    Around,
}

#[derive(Clone, Debug)]
pub struct Options {
    /// App threads: how many threads call `Engine::next`.
    /// Where the engine is cooperative: how many lanes there may be.
    pub threads: usize,
    /// The app runs in greenlets of one thread, which takes requests instead of leading.
    pub cooperative: bool,
    /// The app runs in an event loop, whose thread takes part as long as it likes.
    pub event_loop: Option<EventLoop>,
    /// Open connections beyond which this worker accepts no more.
    pub worker_connections: usize,
    /// How long an idle connection is kept; zero: one request per connection.
    pub keepalive: Span,
    /// TLS on every listener.
    pub tls: Option<tls::Server>,
    /// From accepting a connection to the end of its TLS handshake.
    pub handshake_timeout: Span,
    /// From the first byte of a head to its last.
    pub header_timeout: Span,
    /// Without progress of a request body.
    pub body_timeout: Span,
    /// Bytes a second at which a request body must come, over any `body_timeout`; 0: any.
    pub body_min_rate: u64,
    /// Without progress of a response.
    pub write_timeout: Span,
    /// In an event loop: how long an upgraded connection may be silent before its peer is asked
    /// whether it lives, and how long it may take to answer.
    pub ping_interval: Span,
    pub ping_timeout: Span,
    /// For a request in the app; `Span::FOREVER`: none.
    pub request_deadline: Span,
    /// After this a request in the app is reported as slow; `Span::FOREVER`: never.
    pub slow_after: Span,
    /// Requests after which this worker asks to be replaced; 0: never.
    pub max_requests: u64,
    /// How long a request or a connection may wait for room before it is refused;
    /// `Span::FOREVER`: nobody is.
    pub queue_timeout: Span,
    /// Bytes of the largest request body; `u64::MAX`: any.
    pub limit_request_body: u64,
    /// Bytes of a request body that are kept in memory.
    pub body_buffer: usize,
    /// Where bodies beyond that go.
    pub spool_dir: PathBuf,
    pub limits: Limits,
    pub policy: Policy,
    /// For requests of peers whose fields count.
    pub trusted_policy: Policy,
    pub trust: Trust,
    /// Connections speak uwsgi instead of HTTP: the peers that may.
    pub uwsgi: Option<Networks>,
    /// Readable (hung up) when the arbiter is gone.
    pub lifeline: Option<RawFd>,
    /// The exchange of all workers with these listeners; None: connections stay where they are.
    pub handoff: Option<Arc<Handoff>>,
    /// How long draining may take when a signal asks for it.
    pub graceful_timeout: Span,
    /// Requests that are refused are told, for an access log.
    pub tells_refusals: bool,
}

impl Options {
    /// How the requests of a connection are read.
    #[inline]
    pub fn policy_for(&self, trusted: bool) -> &Policy {
        if trusted { &self.trusted_policy } else { &self.policy }
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            threads: 1,
            cooperative: false,
            event_loop: None,
            worker_connections: 1000,
            keepalive: Span::from_secs(75),
            tls: None,
            handshake_timeout: Span::from_secs(10),
            header_timeout: Span::from_secs(10),
            body_timeout: Span::from_secs(30),
            body_min_rate: 100,
            write_timeout: Span::from_secs(60),
            ping_interval: Span::FOREVER,
            ping_timeout: Span::FOREVER,
            request_deadline: Span::FOREVER,
            slow_after: Span::FOREVER,
            max_requests: 0,
            queue_timeout: Span::FOREVER,
            limit_request_body: u64::MAX,
            body_buffer: 256 * 1024,
            spool_dir: std::env::temp_dir(),
            limits: Limits::default(),
            policy: Policy::default(),
            trusted_policy: Policy::default(),
            trust: Trust::default(),
            uwsgi: None,
            lifeline: None,
            handoff: None,
            graceful_timeout: Span::from_secs(30),
            tells_refusals: false,
        }
    }
}
