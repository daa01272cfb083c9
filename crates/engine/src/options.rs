//! What an operator decides, in the engine's own units.

use std::os::fd::RawFd;
use std::path::PathBuf;

use monoceros_http1::{Limits, Policy};
use monoceros_proxy::Networks;

use crate::clock::Span;
use crate::tls;
use crate::trust::Trust;

#[derive(Clone, Debug)]
pub struct Options {
    /// App threads: how many threads call `Engine::next`.
    /// Where the engine is cooperative: how many lanes there may be.
    pub threads: usize,
    /// The app runs in greenlets of one thread, which takes requests instead of leading.
    pub cooperative: bool,
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
            worker_connections: 1000,
            keepalive: Span::from_secs(75),
            tls: None,
            handshake_timeout: Span::from_secs(10),
            header_timeout: Span::from_secs(10),
            body_timeout: Span::from_secs(30),
            body_min_rate: 100,
            write_timeout: Span::from_secs(60),
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
            graceful_timeout: Span::from_secs(30),
            tells_refusals: false,
        }
    }
}
