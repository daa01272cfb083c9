//! Connections that speak uwsgi: one packet, its body, one answer, the end.
//!
//! ```text
//! Idle --first bytes--> Head --packet--> Body or Ready --> as any other request, closed after it
//! ```
//!
//! The front end's variables are its own word about the client, and it is believed because only
//! peers in `uwsgi_allow_ips` may speak here. Header fields in a packet are passed on by it: they
//! are the word of whom REMOTE_ADDR names, as everything behind a PROXY protocol header is.
//!
//! The protocol knows no second request on a connection and no interim answers, and an answer of
//! unknown length ends with the connection. What comes behind the body is not looked at.

use std::net::IpAddr;

use monoceros_http1::{Head, Progress, Status, Version};
use monoceros_proxy::proxy_protocol::Header;
use monoceros_proxy::{Networks, Node};
use monoceros_uwsgi::{self as uwsgi, Packet, Request, Variables};

use crate::connections::{Class, Connection, Phase};
use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::options::Options;
use crate::reactor::Reactor;
use crate::receive::Parsed;
use crate::trust::{Contradiction, Origin, Scheme, Trust};

impl<G: Gateway> Reactor<G> {
    /// Bytes lie in the read buffer that belong to a packet.
    pub(crate) fn receive_packet(
        &mut self,
        mut connection: Box<Connection<G>>,
        exchange: &mut Exchange<G>,
        count: usize,
    ) -> Parsed<G> {
        connection.input.extend_from_slice(&exchange.buffer[..count]);
        self.parse_packet(connection, exchange)
    }

    /// The packet so far lies in the connection's own buffer.
    pub(crate) fn parse_packet(
        &mut self,
        mut connection: Box<Connection<G>>,
        exchange: &mut Exchange<G>,
    ) -> Parsed<G> {
        let senders = self.options.uwsgi.as_ref();
        if !senders.is_some_and(|senders| may_speak(senders, &connection)) {
            let text = "a peer that may not speak uwsgi; if it is a front end of yours, add it to \
                        uwsgi_allow_ips";
            return self.refuse_as(connection, Status::FORBIDDEN, &text, "uwsgi-forbidden");
        }
        let (request, length) = match Packet::read(&connection.input) {
            Ok(uwsgi::Progress::Complete(packet)) => (uwsgi::read(&packet), packet.length()),
            Ok(uwsgi::Progress::Partial) => {
                if connection.phase == Phase::Idle {
                    connection.phase = Phase::Head;
                    self.connections.set_deadline(connection.key, Class::Head, self.now);
                }
                return Parsed::More(connection);
            }
            Err(error) => (Err(error), 0),
        };
        let Request { mut head, variables } = match request {
            Ok(request) => request,
            Err(error) => {
                return self.refuse_as(connection, error.status(), &error, error.rule());
            }
        };
        let rest = connection.input.split_off(length);
        connection.input = Vec::new();
        connection.parser.reset();
        let Options { limits, trust, .. } = &*self.options;
        let policy = self.options.policy_for(connection.trusted);
        let parsed = exchange.head.as_mut();
        match connection.parser.parse(&head, parsed, limits, policy) {
            // What the crate has written ends with an empty line.
            Ok(progress) => debug_assert_eq!(progress, Progress::Complete),
            Err(error) => return self.refuse(connection, error),
        }
        parsed.amend(&mut head);
        parsed.version = Version::Http11;
        parsed.persistent = false;
        // The front end has told its client already.
        parsed.expect_continue = false;
        parsed.upgrade = false;
        match origin(trust, connection.trusted, &variables, parsed, &head) {
            Ok(origin) => connection.origin = origin,
            Err(wrong) => {
                return self.refuse_as(connection, Status::BAD_REQUEST, &wrong, wrong.rule());
            }
        }
        connection.variables = Some(Box::new(variables));
        exchange.bytes = Some(head);
        self.begin_body(connection, exchange, rest)
    }
}

/// Whether who is connected may be a front end. A unix socket's peer may: file permissions let it
/// in.
fn may_speak<G: Gateway>(senders: &Networks, connection: &Connection<G>) -> bool {
    match connection.proxied.as_deref() {
        // Somebody behind the proxy, and nobody can say who: only if everybody may.
        Some(Header::Unknown) => senders.contain(IpAddr::from([0, 0, 0, 0])),
        Some(Header::Tcp { source, .. }) => senders.contain(source.ip()),
        Some(Header::Local) | None => connection.peer.is_none_or(|peer| senders.contain(peer.ip())),
    }
}

/// What the front end tells about the client, and what fields tell that count.
fn origin(
    trust: &Trust,
    connected_is_trusted: bool,
    variables: &Variables,
    head: &Head,
    bytes: &[u8],
) -> Result<Option<Box<Origin>>, Contradiction> {
    let client = client(variables);
    let trusted = match client {
        Some(client) => trust.forwarders.contain(client.address),
        // The client has no address that could be listed.
        None if variables.get(b"REMOTE_ADDR").is_some() => false,
        None => connected_is_trusted,
    };
    let fields = if trusted { trust.origin(head, bytes)? } else { None };
    let mut origin = fields.map_or_else(Origin::default, |fields| *fields);
    origin.client = origin.client.or(client);
    origin.scheme = origin.scheme.or_else(|| {
        let https = variables.is_https()?;
        Some(if https { Scheme::Https } else { Scheme::Http })
    });
    Ok((origin != Origin::default()).then(|| Box::new(origin)))
}

/// REMOTE_ADDR and REMOTE_PORT, where they are an address.
fn client(variables: &Variables) -> Option<Node> {
    let text = |name: &[u8]| std::str::from_utf8(variables.get(name)?).ok();
    let address: IpAddr = text(b"REMOTE_ADDR")?.parse().ok()?;
    let port = text(b"REMOTE_PORT").and_then(|port| port.parse().ok());
    Some(Node { address: address.to_canonical(), port })
}
