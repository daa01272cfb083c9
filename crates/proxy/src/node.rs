//! An address as proxies write it into a header.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An address, with a port where one was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Never an IPv4 address in the clothes of IPv6.
    pub address: IpAddr,
    /// Of the client's end of its connection.
    pub port: Option<u16>,
}

impl Node {
    /// Reads `IPv4`, `IPv4:port`, `[IPv6]` and `[IPv6]:port` (RFC 7239, section 6).
    pub(crate) fn read(bytes: &[u8]) -> Option<Node> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (address, port): (IpAddr, &str) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                (IpAddr::V6(address.parse::<Ipv6Addr>().ok()?), port)
            }
            None => {
                let length = text.find(':').unwrap_or(text.len());
                let (address, port) = text.split_at(length);
                (IpAddr::V4(address.parse::<Ipv4Addr>().ok()?), port)
            }
        };
        let port = match port.strip_prefix(':') {
            Some(port) => Some(read_port(port)?),
            None if port.is_empty() => None,
            None => return None,
        };
        Some(Node { address: address.to_canonical(), port })
    }

    /// The same with a bare IPv6 address, which X-Forwarded-For knows, too.
    pub(crate) fn read_bare(bytes: &[u8]) -> Option<Node> {
        Node::read(bytes).or_else(|| {
            let address: Ipv6Addr = std::str::from_utf8(bytes).ok()?.parse().ok()?;
            Some(Node { address: IpAddr::V6(address).to_canonical(), port: None })
        })
    }

    /// As an address of a socket; port 0 where none was given.
    pub fn socket_address(self) -> SocketAddr {
        SocketAddr::new(self.address, self.port.unwrap_or(0))
    }
}

/// A port in decimal digits.
pub(crate) fn read_port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::Node;

    #[test]
    fn reads_addresses_with_and_without_port() {
        let good: [(&[u8], &str, Option<u16>); 7] = [
            (b"192.0.2.1", "192.0.2.1", None),
            (b"192.0.2.1:80", "192.0.2.1", Some(80)),
            (b"[2001:db8::1]", "2001:db8::1", None),
            (b"[2001:db8::1]:443", "2001:db8::1", Some(443)),
            (b"2001:db8::1", "2001:db8::1", None),
            (b"::ffff:192.0.2.1", "192.0.2.1", None),
            (b"[::ffff:192.0.2.1]:1", "192.0.2.1", Some(1)),
        ];
        for (bytes, address, port) in good {
            let node = Node { address: address.parse().unwrap(), port };
            assert_eq!(Node::read_bare(bytes), Some(node), "{}", bytes.escape_ascii());
        }
        assert_eq!(Node::read(b"2001:db8::1"), None);
        for bytes in [
            &b""[..],
            b"unknown",
            b"_hidden",
            b"localhost",
            b"192.0.2",
            b"192.0.2.01",
            b"192.0.2.1:",
            b"192.0.2.1:+1",
            b"192.0.2.1:65536",
            b"192.0.2.1:x",
            b"[192.0.2.1]",
            b"[2001:db8::1",
            b"[2001:db8::1]x",
            b"[2001:db8::1]443",
            b"fe80::1%eth0",
            b"192.0.2.1 ",
            b"\xff",
        ] {
            assert_eq!(Node::read_bare(bytes), None, "{}", bytes.escape_ascii());
        }
    }
}
