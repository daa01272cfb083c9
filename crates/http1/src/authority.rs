//! `host[:port]`: the value of Host and the authority of a request target.

use std::net::Ipv6Addr;

use crate::percent::hex_digit;
use crate::scan;

/// A host with an optional port, still as sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Authority<'a> {
    /// A name, an IPv4 address, or an IPv6 address in brackets. Never empty.
    host: &'a [u8],
    /// `None` when there is none, or only its colon.
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Reads `uri-host [ ":" port ]` (RFC 9110, section 7.2). User information, an empty host, a
    /// port above 65535, zones and future address formats are refused.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Authority<'a>> {
        let host_length = if bytes.first() == Some(&b'[') {
            let close = bytes.iter().position(|&byte| byte == b']')?;
            std::str::from_utf8(&bytes[1..close]).ok()?.parse::<Ipv6Addr>().ok()?;
            close + 1
        } else {
            name_length(bytes)?
        };
        let (host, rest) = bytes.split_at(host_length);
        let port = match rest {
            [] | [b':'] => None,
            [b':', digits @ ..] => Some(read_port(digits)?),
            _ => return None,
        };
        if host.is_empty() {
            return None;
        }
        Some(Authority { host, port })
    }

    /// The port, if one is given.
    pub(crate) fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether both name the same host and port; `default_port` stands in for a missing one.
    pub(crate) fn agrees_with(&self, other: &Authority<'_>, default_port: Option<u16>) -> bool {
        self.host.eq_ignore_ascii_case(other.host)
            && self.port.or(default_port) == other.port.or(default_port)
    }
}

/// The host and the port of `host[:port]` (RFC 9110, section 7.2); None for anything else.
pub fn split_authority(bytes: &[u8]) -> Option<(&[u8], Option<u16>)> {
    Authority::read(bytes).map(|authority| (authority.host, authority.port))
}

/// How many bytes from the start are a registered name, percent escapes included.
fn name_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if scan::is(byte, scan::HOST) {
            at += 1;
        } else if byte == b'%' {
            let escape = bytes.get(at + 1..at + 3)?;
            hex_digit(escape[0]).and(hex_digit(escape[1]))?;
            at += 3;
        } else {
            break;
        }
    }
    Some(at)
}

fn read_port(digits: &[u8]) -> Option<u16> {
    digits.iter().try_fold(0u16, |port, digit| {
        if !digit.is_ascii_digit() {
            return None;
        }
        port.checked_mul(10)?.checked_add((digit - b'0') as u16)
    })
}

#[cfg(test)]
mod tests {
    use super::Authority;

    #[test]
    fn reads_hosts_with_and_without_port() {
        let good: &[(&[u8], Option<u16>)] = &[
            (b"example.com", None),
            (b"example.com:", None),
            (b"example.com:80", Some(80)),
            (b"example.com:00080", Some(80)),
            (b"my_service:65535", Some(65535)),
            (b"127.0.0.1:8000", Some(8000)),
            (b"[::1]", None),
            (b"[::1]:8000", Some(8000)),
            (b"[::ffff:127.0.0.1]", None),
            (b"b%C3%BCcher.example", None),
        ];
        for (bytes, port) in good {
            let authority = Authority::read(bytes);
            assert_eq!(
                authority.map(|authority| authority.port()),
                Some(*port),
                "{}",
                bytes.escape_ascii()
            );
        }
        let bad: &[&[u8]] = &[
            b"",
            b":80",
            b"a b",
            b"a/b",
            b"user@example.com",
            b"user:word@example.com",
            b"example.com:65536",
            b"example.com:8o",
            b"example.com:-1",
            b"example.com:80:80",
            b"[::1",
            b"[::1]x",
            b"[]",
            b"[::1%25eth0]",
            b"[v1.x]",
            b"::1",
            b"a%2",
            b"a%zz",
            b"a\\b",
            b"a\"b",
            b"caf\xc3\xa9",
        ];
        for bytes in bad {
            assert_eq!(Authority::read(bytes), None, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn agreement_knows_default_ports_and_case() {
        let agree = |one: &'static [u8], other: &'static [u8], port| {
            let (one, other) = (Authority::read(one).unwrap(), Authority::read(other).unwrap());
            one.agrees_with(&other, port)
        };
        assert!(agree(b"Example.com", b"eXAMPLE.com", None));
        assert!(agree(b"a", b"a:80", Some(80)));
        assert!(agree(b"a:", b"a", Some(80)));
        assert!(!agree(b"a", b"a:81", Some(80)));
        assert!(!agree(b"a", b"b", Some(80)));
        assert!(!agree(b"a", b"a:80", None));
    }
}
