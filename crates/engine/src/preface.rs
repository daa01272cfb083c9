//! The PROXY protocol header at the start of a connection.
//!
//! A peer that is allowed to send one has to: a client that reaches us through it without one would
//! pass for the proxy. (The specification, section 2, forbids to guess whether a header is there.)
//! A peer that is not allowed must not; without one it is a client like any other. The header
//! comes within the time for a request head, and what it says holds for the whole connection.

use monoceros_http1::Status;
use monoceros_proxy::proxy_protocol::{self, Error, Progress};
use rustix::event::epoll::EventFlags;

use crate::connections::{Class, Connection, Phase};
use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::poller::Source;
use crate::reactor::Reactor;
use crate::receive::Parsed;

impl<G: Gateway> Reactor<G> {
    /// Bytes lie in the read buffer, and the connection has yet to say who is behind it.
    #[cold]
    pub(crate) fn receive_preface(
        &mut self,
        mut connection: Box<Connection<G>>,
        exchange: &mut Exchange<G>,
        count: usize,
    ) -> Parsed<G> {
        connection.input.extend_from_slice(&exchange.buffer[..count]);
        let trust = &self.options.trust;
        let Some(proxy) = &trust.proxy else { return self.end_preface(connection, exchange) };
        let peer = connection.peer;
        if !peer.is_none_or(|peer| proxy.senders.contain(peer.ip())) {
            return match proxy_protocol::begins(&connection.input) {
                None => self.wait_for_preface(connection),
                Some(false) => self.end_preface(connection, exchange),
                Some(true) => {
                    let text = "a PROXY protocol header from a peer that is not allowed to send \
                                one; if it is a proxy of yours, add it to proxy_allow_ips";
                    self.refuse_as(connection, Status::FORBIDDEN, &text, "proxy-forbidden")
                }
            };
        }
        match proxy_protocol::parse(&connection.input, proxy.versions) {
            Ok(Progress::Partial) => self.wait_for_preface(connection),
            Ok(Progress::Complete(header, length)) => {
                connection.trusted = trust.counts_behind(&header, peer);
                connection.proxied = Some(Box::new(header));
                connection.input.drain(..length);
                self.end_preface(connection, exchange)
            }
            Err(Error::Missing) => {
                let text = format!(
                    "{}, and its peer has to send one; let the proxy send it, or take the peer \
                     out of proxy_allow_ips",
                    Error::Missing
                );
                let rule = Error::Missing.rule();
                self.refuse_as(connection, Status::BAD_REQUEST, &text, rule)
            }
            Err(error) => self.refuse_as(connection, Status::BAD_REQUEST, &error, error.rule()),
        }
    }

    fn wait_for_preface(&mut self, mut connection: Box<Connection<G>>) -> Parsed<G> {
        if connection.phase == Phase::Idle {
            connection.phase = Phase::Head;
            self.connections.set_deadline(connection.key, Class::Head, self.now);
        }
        Parsed::More(connection)
    }

    /// What follows are requests.
    fn end_preface(
        &mut self,
        mut connection: Box<Connection<G>>,
        exchange: &mut Exchange<G>,
    ) -> Parsed<G> {
        connection.awaits_preface = false;
        connection.phase = Phase::Idle;
        self.connections.set_deadline(connection.key, Class::Silent, self.now);
        if !self.secure(&mut connection) {
            self.close(connection);
            return Parsed::Gone;
        }
        if connection.input.is_empty() {
            return Parsed::More(connection);
        }
        let Some(session) = &connection.tls else {
            return match self.options.uwsgi {
                None => self.parse_input(connection, exchange),
                Some(_) => self.parse_packet(connection, exchange),
            };
        };
        session.take_early(std::mem::take(&mut connection.input));
        // No event will tell of what is here already.
        self.events.push_back((Source::Connection(connection.key.token()), EventFlags::IN));
        Parsed::More(connection)
    }
}
