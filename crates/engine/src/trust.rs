//! Whose word counts about a connection and its requests, and what it says.
//!
//! Three may speak about who the client is: the socket, a PROXY protocol header before the first
//! request, and header fields of a request. Each is believed only from who is trusted to say it,
//! and the next speaks for what the one before it has named:
//!
//! - The socket's peer is who we see. A unix socket's peer is trusted: file permissions let it in.
//! - A PROXY protocol header counts from `ProxyProtocol::senders`. It names who is connected through
//!   that proxy; whatever comes after it on the connection is the word of whom it names.
//! - Fields count when who speaks is one of `forwarders`.
//!
//! Whether a connection's fields count is decided once per connection.

use std::fmt;
use std::net::SocketAddr;

use monoceros_http1::{Head, Name, Span, split_authority};
use monoceros_proxy::proxy_protocol::{Header, Versions};
use monoceros_proxy::{Hop, Networks, Node, forwarded, x_forwarded_for};

/// The operator's decisions.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Peers whose fields count.
    pub forwarders: Networks,
    /// Fields by which they tell the scheme, each with the value that stands for https.
    schemes: Vec<(FieldName, Vec<u8>)>,
    /// Some of those are not noted by the parser.
    searches_all: bool,
    /// SCRIPT_NAME counts as well.
    pub script_name: bool,
    /// Which field tells the client's address.
    pub client: ClientField,
    /// X-Forwarded-Host tells what the client calls us.
    pub host: bool,
    /// X-Forwarded-Port tells on which port.
    pub port: bool,
    /// Connections begin with a PROXY protocol header.
    pub proxy: Option<ProxyProtocol>,
}

#[derive(Clone, Debug)]
pub struct ProxyProtocol {
    pub versions: Versions,
    /// Peers that begin every connection with a header. Others must not.
    pub senders: Networks,
}

/// A field by its number, or by its name where it has none.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FieldName {
    known: Name,
    name: Vec<u8>,
}

/// Which field says who the client is. One of them, because proxies replace or extend only those
/// that they know: another could be the client's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientField {
    /// Nothing but the connection does.
    #[default]
    None,
    XForwardedFor,
    /// RFC 7239; it tells scheme and host, too.
    Forwarded,
}

/// How the client's connection to the outermost proxy is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

/// What trusted proxies say about a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    pub scheme: Option<Scheme>,
    pub client: Option<Node>,
    /// `host[:port]`.
    pub host: Option<Vec<u8>>,
    pub port: Option<u16>,
    /// Of the head's bytes.
    pub script_name: Option<Span>,
}

/// Fields of a trusted proxy that cannot be believed. The status is 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contradiction {
    Scheme,
    Forwarded,
    Proto,
    Host,
    Port,
    ScriptName,
}

impl Contradiction {
    pub fn rule(self) -> &'static str {
        match self {
            Contradiction::Scheme => "scheme-contradiction",
            Contradiction::Forwarded => "forwarded",
            Contradiction::Proto => "forwarded-proto",
            Contradiction::Host => "forwarded-host",
            Contradiction::Port => "forwarded-port",
            Contradiction::ScriptName => "script-name-contradiction",
        }
    }
}

impl fmt::Display for Contradiction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Contradiction::Scheme => {
                "two fields of a trusted proxy name different schemes: it passes on what its \
                 client sent; let it remove or set each field of secure_scheme_headers"
            }
            Contradiction::Forwarded => "a malformed Forwarded field (RFC 7239, 4)",
            Contradiction::Proto => "a scheme in Forwarded that is neither http nor https",
            Contradiction::Host => "a forwarded host that is no host with an optional port",
            Contradiction::Port => {
                "X-Forwarded-Port is no port, or not the one that X-Forwarded-Host names"
            }
            Contradiction::ScriptName => {
                "two SCRIPT_NAME fields of a trusted proxy with different values: let it remove \
                 those that its client sent"
            }
        })
    }
}

impl FieldName {
    fn new(name: &str) -> FieldName {
        FieldName { known: Name::find(name.as_bytes()), name: name.as_bytes().to_vec() }
    }

    /// The parser notes by itself when a field of this name comes.
    fn is_noted(&self) -> bool {
        self.known.is_forwarding()
    }

    fn is(&self, known: Name, name: &[u8]) -> bool {
        self.known == known && (known != Name::Unknown || self.name.eq_ignore_ascii_case(name))
    }
}

impl Trust {
    /// Whether what this peer writes into its requests counts; None: a unix socket's.
    pub fn counts(&self, peer: Option<SocketAddr>) -> bool {
        peer.is_none_or(|peer| self.forwarders.contain(peer.ip()))
    }

    /// The same for who speaks behind a PROXY protocol header.
    pub fn counts_behind(&self, header: &Header, peer: Option<SocketAddr>) -> bool {
        match header {
            Header::Local => self.counts(peer),
            Header::Unknown => false,
            Header::Tcp { source, .. } => self.forwarders.contain(source.ip()),
        }
    }

    /// Adds a field by which the scheme is told, with the value that stands for https.
    pub fn add_scheme(&mut self, name: &str, secure: &[u8]) {
        let name = FieldName::new(name);
        self.searches_all |= !name.is_noted();
        self.schemes.push((name, secure.to_vec()));
    }

    /// Every head has to be searched, because of fields that the parser does not note.
    #[inline]
    pub fn searches_all(&self) -> bool {
        self.searches_all
    }

    /// What the fields of a request say that came from somebody whose fields count.
    ///
    /// # Errors
    /// The [`Contradiction`] that makes them useless.
    #[cold]
    pub fn origin(&self, head: &Head, bytes: &[u8]) -> Result<Option<Box<Origin>>, Contradiction> {
        let mut origin = Origin::default();
        let (mut clients, mut forwarded_lines) = (Vec::new(), Vec::new());
        for field in &head.fields {
            let (name, value) = (field.name.of(bytes), field.value.of(bytes));
            for (scheme_name, secure) in &self.schemes {
                if scheme_name.is(field.known, name) {
                    origin.take_scheme(value == secure)?;
                }
            }
            match field.known {
                Name::XForwardedFor if self.client == ClientField::XForwardedFor => {
                    clients.push(value);
                }
                Name::Forwarded if self.client == ClientField::Forwarded => {
                    forwarded_lines.push(value);
                }
                Name::XForwardedHost if self.host => {
                    let host = last_of(value);
                    split_authority(host).ok_or(Contradiction::Host)?;
                    origin.host = Some(host.to_vec());
                }
                Name::XForwardedPort if self.port => {
                    origin.port = Some(read_port(last_of(value)).ok_or(Contradiction::Port)?);
                }
                Name::Unknown if self.script_name && name.eq_ignore_ascii_case(b"SCRIPT_NAME") => {
                    if origin.script_name.is_some_and(|other| other.of(bytes) != value) {
                        return Err(Contradiction::ScriptName);
                    }
                    origin.script_name = Some(field.value);
                }
                _ => {}
            }
        }
        if !clients.is_empty() {
            origin.client = x_forwarded_for(clients.into_iter(), &self.forwarders);
        }
        if !forwarded_lines.is_empty() {
            let hop = forwarded(forwarded_lines, &self.forwarders);
            if let Some(hop) = hop.map_err(|_| Contradiction::Forwarded)? {
                origin.take_hop(hop)?;
            }
        }
        if let (Some(host), Some(port)) = (&origin.host, origin.port)
            && let Some((_, Some(other))) = split_authority(host)
            && other != port
        {
            return Err(Contradiction::Port);
        }
        Ok((origin != Origin::default()).then(|| Box::new(origin)))
    }
}

impl Origin {
    fn take_scheme(&mut self, secure: bool) -> Result<(), Contradiction> {
        let scheme = if secure { Scheme::Https } else { Scheme::Http };
        match self.scheme.replace(scheme) {
            Some(other) if other != scheme => Err(Contradiction::Scheme),
            _ => Ok(()),
        }
    }

    fn take_hop(&mut self, hop: Hop<'_>) -> Result<(), Contradiction> {
        self.client = hop.client;
        if let Some(proto) = hop.proto {
            let is = |name: &[u8]| proto.eq_ignore_ascii_case(name);
            if !is(b"http") && !is(b"https") {
                return Err(Contradiction::Proto);
            }
            self.take_scheme(is(b"https"))?;
        }
        if let Some(host) = hop.host {
            split_authority(&host).ok_or(Contradiction::Host)?;
            self.host = Some(host.into_owned());
        }
        Ok(())
    }
}

/// The entry that our peer has added to a list, or all there is.
fn last_of(value: &[u8]) -> &[u8] {
    value.rsplit(|&byte| byte == b',').next().unwrap_or_default().trim_ascii()
}

fn read_port(value: &[u8]) -> Option<u16> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    if digits { std::str::from_utf8(value).ok()?.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use monoceros_http1::{ForwarderNames, HeadParser, Limits, Policy, Progress};

    fn trust() -> Trust {
        let forwarders = Networks::parse(["10.0.0.0/8"]).unwrap();
        let mut trust = Trust { forwarders, script_name: true, ..Trust::default() };
        trust.add_scheme("X-FORWARDED-PROTO", b"https");
        trust.add_scheme("X-FORWARDED-SSL", b"on");
        trust
    }

    fn origin(trust: &Trust, fields: &str) -> Result<Option<Origin>, Contradiction> {
        let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let mut head = Head::new();
        let policy = Policy {
            forwarder: ForwarderNames::Listed(vec!["SCRIPT_NAME".into()]),
            ..Policy::default()
        };
        let parsed =
            HeadParser::new().parse(bytes.as_bytes(), &mut head, &Limits::default(), &policy);
        assert_eq!(parsed, Ok(Progress::Complete));
        let origin = trust.origin(&head, bytes.as_bytes());
        if !matches!(origin, Ok(None)) {
            assert!(head.forwarded || trust.searches_all(), "the parser did not note {fields}");
        }
        origin.map(|origin| origin.map(|origin| *origin))
    }

    fn scheme(scheme: Scheme) -> Result<Option<Origin>, Contradiction> {
        Ok(Some(Origin { scheme: Some(scheme), ..Origin::default() }))
    }

    #[test]
    fn schemes_come_from_the_fields_that_are_named() {
        let trust = trust();
        assert!(!trust.searches_all());
        assert_eq!(origin(&trust, ""), Ok(None));
        assert_eq!(origin(&trust, "X-Forwarded-Proto: https\r\n"), scheme(Scheme::Https));
        assert_eq!(origin(&trust, "x-forwarded-ssl: on\r\n"), scheme(Scheme::Https));
        assert_eq!(origin(&trust, "X-Forwarded-Proto: http\r\n"), scheme(Scheme::Http));
        assert_eq!(origin(&trust, "X-Forwarded-Proto: HTTPS\r\n"), scheme(Scheme::Http));
        assert_eq!(origin(&trust, "X-Forwarded-Proto: https,http\r\n"), scheme(Scheme::Http));
        assert_eq!(origin(&trust, "X-Forwarded-Protocol: ssl\r\n"), Ok(None));
        let both = "X-Forwarded-Proto: https\r\nX-Forwarded-SSL: on\r\n";
        assert_eq!(origin(&trust, both), scheme(Scheme::Https));
        for fields in [
            "X-Forwarded-Proto: https\r\nX-Forwarded-SSL: off\r\n",
            "X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\n",
        ] {
            assert_eq!(origin(&trust, fields), Err(Contradiction::Scheme));
        }
    }

    #[test]
    fn fields_of_the_operators_own_are_found_too() {
        for name in ["Front-End-Https", "CF-Visitor"] {
            let mut trust = trust();
            trust.add_scheme(name, b"on");
            assert!(trust.searches_all());
            let line = format!("{}: on\r\n", name.to_ascii_lowercase());
            assert_eq!(origin(&trust, &line), scheme(Scheme::Https));
        }
    }

    #[test]
    fn hosts_and_ports_are_those_of_our_own_peer() {
        let mut trust = trust();
        let line = "X-Forwarded-Host: evil.example, shop.example\r\nX-Forwarded-Port: 8443\r\n";
        assert_eq!(origin(&trust, line), Ok(None));
        (trust.host, trust.port) = (true, true);
        let found = origin(&trust, line).unwrap().unwrap();
        assert_eq!(found.host.as_deref(), Some(&b"shop.example"[..]));
        assert_eq!(found.port, Some(8443));
        for (line, wrong) in [
            ("X-Forwarded-Host: a b\r\n", Contradiction::Host),
            ("X-Forwarded-Host: user@a\r\n", Contradiction::Host),
            ("X-Forwarded-Host: a,\r\n", Contradiction::Host),
            ("X-Forwarded-Port: 80a\r\n", Contradiction::Port),
            ("X-Forwarded-Port: 65536\r\n", Contradiction::Port),
            ("X-Forwarded-Port:\r\n", Contradiction::Port),
            ("X-Forwarded-Host: a:1\r\nX-Forwarded-Port: 2\r\n", Contradiction::Port),
        ] {
            assert_eq!(origin(&trust, line), Err(wrong), "{line}");
        }
    }

    #[test]
    fn forwarded_tells_all_there_is() {
        let trust = Trust { client: ClientField::Forwarded, ..trust() };
        let line =
            "Forwarded: for=1.1.1.1;host=evil, for=203.0.113.7;proto=https;host=\"a:81\"\r\n";
        let found = origin(&trust, line).unwrap().unwrap();
        assert_eq!(found.client.unwrap().address.to_string(), "203.0.113.7");
        assert_eq!(found.scheme, Some(Scheme::Https));
        assert_eq!(found.host.as_deref(), Some(&b"a:81"[..]));
        // The other field may be the client's own.
        assert_eq!(origin(&trust, "X-Forwarded-For: 203.0.113.7\r\n"), Ok(None));
        for (line, wrong) in [
            ("Forwarded: for\r\n", Contradiction::Forwarded),
            ("Forwarded: proto=ftp\r\n", Contradiction::Proto),
            ("Forwarded: host=\"a b\"\r\n", Contradiction::Host),
            ("Forwarded: proto=http\r\nX-Forwarded-Proto: https\r\n", Contradiction::Scheme),
        ] {
            assert_eq!(origin(&trust, line), Err(wrong), "{line}");
        }
    }

    #[test]
    fn script_name_is_one() {
        let trust = trust();
        let found = origin(&trust, "SCRIPT_NAME: /app\r\n").unwrap().unwrap();
        assert!(found.script_name.is_some());
        assert!(origin(&trust, "Script_Name: /app\r\nSCRIPT_NAME: /app\r\n").is_ok());
        assert_eq!(
            origin(&trust, "SCRIPT_NAME: /app\r\nSCRIPT_NAME: /admin\r\n"),
            Err(Contradiction::ScriptName)
        );
        let deaf = Trust { script_name: false, ..trust };
        assert_eq!(origin(&deaf, "SCRIPT_NAME: /app\r\n"), Ok(None));
    }

    #[test]
    fn behind_a_proxy_header_speaks_whom_it_names() {
        let trust = trust();
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (ours, stranger) = (Some(address("10.0.0.1:1")), Some(address("203.0.113.7:1")));
        assert!(trust.counts(None) && trust.counts(ours) && !trust.counts(stranger));
        let destination = address("10.0.0.9:80");
        let named = |source: &str| Header::Tcp { source: address(source), destination };
        assert!(!trust.counts_behind(&named("203.0.113.7:1"), ours));
        assert!(trust.counts_behind(&named("10.0.0.2:1"), ours));
        assert!(trust.counts_behind(&Header::Local, ours));
        assert!(!trust.counts_behind(&Header::Local, stranger));
        assert!(!trust.counts_behind(&Header::Unknown, ours));
    }
}
