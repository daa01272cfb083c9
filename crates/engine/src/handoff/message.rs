//! What a worker has to know of a connection that it takes over: the coding of a message.
//!
//! Both sides are processes of one server and one build, so nothing here is kept for long or for
//! others. Yet what is not a whole message is refused: a connection must not be served by guess.
//!
//! Numbers are little-endian. A version; what follows, as flags; the listener; how many requests
//! there were; the peer; what a PROXY protocol header has said; and of a request since when it
//! waits, its head, its body, and what was read behind it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use monoceros_proxy::proxy_protocol::Header;

use crate::clock::Moment;

/// The largest message: a browser's largest head, or a form. The kernel has to find room for it in
/// one piece, and who reads has to keep a buffer for it.
pub const MOST: usize = 32 * 1024;

const VERSION: u8 = 1;

const REQUEST: u8 = 1;
const AWAITS_PREFACE: u8 = 2;

const NOBODY: u8 = 0;
const V4: u8 = 4;
const V6: u8 = 6;

const UNPROXIED: u8 = 0;
const LOCAL: u8 = 1;
const UNKNOWN: u8 = 2;
const TCP: u8 = 3;

/// A connection under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    pub listener: u16,
    /// Requests that it has brought so far, the one that waits included.
    pub requests: u32,
    pub peer: Option<SocketAddr>,
    pub proxied: Option<Header>,
    /// A PROXY protocol header may have to come before the first request.
    pub awaits_preface: bool,
    /// None: it is idle.
    pub request: Option<Waiting<'a>>,
}

/// A complete request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting<'a> {
    pub since: Moment,
    pub head: &'a [u8],
    /// Without its framing.
    pub body: &'a [u8],
    /// What was read behind it.
    pub pipelined: &'a [u8],
}

/// This is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonsense;

impl<'a> Message<'a> {
    /// Appends the message to `out`. False: it is too large to be sent.
    pub fn encode(&self, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        out.push(VERSION);
        let request = if self.request.is_some() { REQUEST } else { 0 };
        out.push(request | if self.awaits_preface { AWAITS_PREFACE } else { 0 });
        out.extend(self.listener.to_le_bytes());
        out.extend(self.requests.to_le_bytes());
        match &self.peer {
            None => out.push(NOBODY),
            Some(peer) => encode_address(peer, out),
        }
        match &self.proxied {
            None => out.push(UNPROXIED),
            Some(Header::Local) => out.push(LOCAL),
            Some(Header::Unknown) => out.push(UNKNOWN),
            Some(Header::Tcp { source, destination }) => {
                out.push(TCP);
                encode_address(source, out);
                encode_address(destination, out);
            }
        }
        if let Some(Waiting { since, head, body, pipelined }) = &self.request {
            if head.len() + body.len() + pipelined.len() > MOST {
                return false;
            }
            out.extend(since.0.to_le_bytes());
            out.extend((head.len() as u32).to_le_bytes());
            out.extend((body.len() as u32).to_le_bytes());
            out.extend_from_slice(head);
            out.extend_from_slice(body);
            out.extend_from_slice(pipelined);
        }
        out.len() - start <= MOST
    }

    pub fn decode(bytes: &'a [u8]) -> Result<Message<'a>, Nonsense> {
        let mut rest = Rest(bytes);
        if rest.byte()? != VERSION {
            return Err(Nonsense);
        }
        let flags = rest.byte()?;
        if flags & !(REQUEST | AWAITS_PREFACE) != 0 {
            return Err(Nonsense);
        }
        let listener = u16::from_le_bytes(rest.array()?);
        let requests = u32::from_le_bytes(rest.array()?);
        let peer = rest.address()?;
        let proxied = match rest.byte()? {
            UNPROXIED => None,
            LOCAL => Some(Header::Local),
            UNKNOWN => Some(Header::Unknown),
            TCP => Some(Header::Tcp {
                source: rest.address()?.ok_or(Nonsense)?,
                destination: rest.address()?.ok_or(Nonsense)?,
            }),
            _ => return Err(Nonsense),
        };
        let request = if flags & REQUEST != 0 { Some(rest.request()?) } else { None };
        if !rest.0.is_empty() {
            return Err(Nonsense);
        }
        let awaits_preface = flags & AWAITS_PREFACE != 0;
        Ok(Message { listener, requests, peer, proxied, awaits_preface, request })
    }
}

fn encode_address(address: &SocketAddr, out: &mut Vec<u8>) {
    match address {
        SocketAddr::V4(address) => {
            out.push(V4);
            out.extend(address.ip().octets());
            out.extend(address.port().to_le_bytes());
        }
        SocketAddr::V6(address) => {
            out.push(V6);
            out.extend(address.ip().octets());
            out.extend(address.port().to_le_bytes());
            out.extend(address.flowinfo().to_le_bytes());
            out.extend(address.scope_id().to_le_bytes());
        }
    }
}

/// What has not been read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Nonsense> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Nonsense)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Nonsense> {
        self.take(N)?.try_into().map_err(|_| Nonsense)
    }

    fn byte(&mut self) -> Result<u8, Nonsense> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn address(&mut self) -> Result<Option<SocketAddr>, Nonsense> {
        match self.byte()? {
            NOBODY => Ok(None),
            V4 => {
                let ip = Ipv4Addr::from(self.array::<4>()?);
                let port = u16::from_le_bytes(self.array()?);
                Ok(Some(SocketAddr::new(IpAddr::V4(ip), port)))
            }
            V6 => {
                let ip = Ipv6Addr::from(self.array::<16>()?);
                let port = u16::from_le_bytes(self.array()?);
                let flow = u32::from_le_bytes(self.array()?);
                let scope = u32::from_le_bytes(self.array()?);
                Ok(Some(SocketAddr::V6(SocketAddrV6::new(ip, port, flow, scope))))
            }
            _ => Err(Nonsense),
        }
    }

    /// All that is left is the request's.
    fn request(&mut self) -> Result<Waiting<'a>, Nonsense> {
        let since = Moment(u64::from_le_bytes(self.array()?));
        let head = u32::from_le_bytes(self.array()?) as usize;
        let body = u32::from_le_bytes(self.array()?) as usize;
        let (head, body) = (self.take(head)?, self.take(body)?);
        Ok(Waiting { since, head, body, pipelined: std::mem::take(&mut self.0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Vec<SocketAddr> {
        let linked = SocketAddrV6::new("fe80::1".parse().unwrap(), 65535, 0x0a0b_0c0d, 7);
        vec!["192.0.2.1:80".parse().unwrap(), "[2001:db8::1]:443".parse().unwrap(), linked.into()]
    }

    fn headers() -> Vec<Option<Header>> {
        let mut headers = vec![None, Some(Header::Local), Some(Header::Unknown)];
        for source in addresses() {
            for destination in addresses() {
                headers.push(Some(Header::Tcp { source, destination }));
            }
        }
        headers
    }

    fn requests() -> Vec<Option<Waiting<'static>>> {
        let head = &b"POST / HTTP/1.1\r\nHost: a\r\n\r\n"[..];
        let (since, largest) = (Moment(u64::MAX), Moment(1));
        vec![
            None,
            Some(Waiting { since, head, body: b"", pipelined: b"" }),
            Some(Waiting { since: largest, head, body: b"body", pipelined: b"" }),
            Some(Waiting { since, head, body: b"", pipelined: b"GET /next HTTP/1.1\r\n" }),
            Some(Waiting { since, head, body: b"\0\xff", pipelined: b"x" }),
        ]
    }

    /// Every field with every kind of value, next to every other.
    fn messages() -> Vec<Message<'static>> {
        let mut messages = Vec::new();
        let peers: Vec<_> = addresses().into_iter().map(Some).chain([None]).collect();
        for peer in peers {
            for proxied in headers() {
                for request in requests() {
                    for (listener, requests, awaits_preface) in
                        [(0, 0, false), (1, 1, true), (u16::MAX, u32::MAX, false)]
                    {
                        messages.push(Message {
                            listener,
                            requests,
                            peer,
                            proxied,
                            awaits_preface,
                            request: request.clone(),
                        });
                    }
                }
            }
        }
        messages
    }

    fn encoded(message: &Message<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        assert!(message.encode(&mut bytes));
        bytes
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for message in messages() {
            assert_eq!(Message::decode(&encoded(&message)), Ok(message));
        }
    }

    #[test]
    fn a_part_is_no_message() {
        for message in messages().into_iter().step_by(7) {
            let bytes = encoded(&message);
            // Behind the body begins what was pipelined, which has no length of its own.
            let pipelined = message.request.map_or(0, |request| request.pipelined.len());
            for length in 0..bytes.len() - pipelined {
                assert_eq!(Message::decode(&bytes[..length]), Err(Nonsense), "{length}");
            }
        }
    }

    #[test]
    fn more_than_a_message_is_none() {
        for message in messages().into_iter().filter(|message| message.request.is_none()) {
            let mut bytes = encoded(&message);
            bytes.push(0);
            assert_eq!(Message::decode(&bytes), Err(Nonsense));
        }
    }

    /// Whatever comes is refused, or it is a message that says the same when it is sent on.
    #[test]
    fn nonsense_is_refused() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut draw = move || {
            // xorshift64 (Marsaglia, Xorshift RNGs, 2003).
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as usize
        };
        let seeds: Vec<_> = messages().iter().map(encoded).collect();
        let mut refused = 0;
        for round in 0..200_000 {
            let mut bytes = seeds[draw() % seeds.len()].clone();
            for _ in 0..1 + draw() % 4 {
                let at = draw() % bytes.len();
                match draw() % 3 {
                    0 => bytes[at] = draw() as u8,
                    1 => bytes.truncate(at.max(1)),
                    _ => bytes.insert(at, draw() as u8),
                }
            }
            if round % 5 == 0 {
                bytes = (0..draw() % 80).map(|_| draw() as u8).collect();
            }
            match Message::decode(&bytes) {
                Err(Nonsense) => refused += 1,
                Ok(message) => assert_eq!(encoded(&message), bytes),
            }
        }
        assert!(refused > 20_000, "{refused}");
    }

    #[test]
    fn what_is_too_large_stays() {
        let large = vec![b'a'; MOST];
        let mut message = messages().remove(0);
        let head = &large[..];
        message.request = Some(Waiting { since: Moment(1), head, body: b"", pipelined: b"" });
        assert!(!message.encode(&mut Vec::new()), "with what goes with it");
        let head = &large[..MOST - 100];
        message.request = Some(Waiting { since: Moment(1), head, body: b"", pipelined: b"" });
        assert!(message.encode(&mut Vec::new()));
    }
}
