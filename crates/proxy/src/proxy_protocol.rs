//! The PROXY protocol, versions 1 and 2: what stands before the first byte of a connection.
//!
//! Specification: "The PROXY protocol, versions 1 & 2", W. Tarreau (doc/proxy-protocol.txt of
//! HAProxy); sections are cited from there.
//!
//! [`parse`] looks at all that has come so far and keeps nothing, so that it cannot matter how the
//! bytes were split: version 1 is read when its LF is there, version 2 when its length is.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::node::read_port;

/// How version 1 begins.
const V1_START: &[u8] = b"PROXY ";
/// The longest line of version 1, CRLF included (section 2.1).
const V1_LONGEST: usize = 107;
/// How version 2 begins.
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and protocol, length.
const V2_FIXED: usize = 16;
/// The longest header of version 2 that is taken. Addresses need 36 bytes, a client's certificate
/// in a TLV a few thousand; the length field alone would allow 64 KiB of every connection.
pub const LONGEST: usize = 16 * 1024;

/// Which versions are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// The text line only.
    V1,
    /// The binary header only.
    V2,
    /// Whichever comes.
    Both,
}

/// Who is connected through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// The proxy speaks for itself, as for a health check (version 2, LOCAL).
    Local,
    /// Somebody of whom the proxy tells no address of the Internet (UNKNOWN, UNSPEC, a unix
    /// socket).
    Unknown,
    /// A client over TCP.
    Tcp {
        /// The client's end of its connection.
        source: SocketAddr,
        /// The end that the client connected to.
        destination: SocketAddr,
    },
}

impl Header {
    /// As version 1 names the protocol; `LOCAL` where the proxy speaks for itself.
    pub fn protocol(&self) -> &'static str {
        match self {
            Header::Local => "LOCAL",
            Header::Unknown => "UNKNOWN",
            Header::Tcp { source: SocketAddr::V4(_), .. } => "TCP4",
            Header::Tcp { source: SocketAddr::V6(_), .. } => "TCP6",
        }
    }
}

/// How far a header has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is not complete.
    Partial,
    /// It is complete: so many bytes, after which the client's own begin.
    Complete(Header, usize),
}

/// What is wrong with what came in the place of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Something else than a header of an accepted version.
    Missing,
    /// A line of version 1 that breaks its grammar.
    Line,
    /// A header of version 2 that breaks its layout.
    Binary,
    /// A header of version 2 beyond [`LONGEST`].
    TooLong,
}

impl Error {
    /// A stable identifier of the broken rule.
    pub fn rule(self) -> &'static str {
        match self {
            Error::Missing => "proxy-missing",
            Error::Line => "proxy-line",
            Error::Binary => "proxy-header",
            Error::TooLong => "proxy-header-limit",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Error::Missing => "the connection does not begin with a PROXY protocol header",
            Error::Line => "a malformed PROXY protocol line (version 1)",
            Error::Binary => "a malformed PROXY protocol header (version 2)",
            Error::TooLong => "a PROXY protocol header (version 2) of more than 16 KiB",
        })
    }
}

impl std::error::Error for Error {}

/// Whether a connection begins like a header of any version; None: not to be told yet.
pub fn begins(input: &[u8]) -> Option<bool> {
    let mut undecided = false;
    for start in [V1_START, V2_SIGNATURE] {
        if input.starts_with(start) {
            return Some(true);
        }
        undecided |= start.starts_with(input);
    }
    (!undecided).then_some(false)
}

/// Reads the header at the start of a connection; `input` is all that has come of it so far.
///
/// # Errors
/// [`Error`] as soon as it is certain that no well-formed header of these versions will come.
pub fn parse(input: &[u8], versions: Versions) -> Result<Progress, Error> {
    let begins_with = |start: &[u8]| {
        let length = input.len().min(start.len());
        input[..length] == start[..length]
    };
    if versions != Versions::V2 && begins_with(V1_START) {
        return parse_v1(input);
    }
    if versions != Versions::V1 && begins_with(V2_SIGNATURE) {
        return parse_v2(input);
    }
    Err(Error::Missing)
}

fn parse_v1(input: &[u8]) -> Result<Progress, Error> {
    let possible = &input[..input.len().min(V1_LONGEST)];
    let Some(end) = possible.iter().position(|&byte| byte == b'\n') else {
        return if input.len() < V1_LONGEST { Ok(Progress::Partial) } else { Err(Error::Line) };
    };
    let line = possible[..end].strip_suffix(b"\r").ok_or(Error::Line)?;
    let header = read_line(line).ok_or(Error::Line)?;
    Ok(Progress::Complete(header, end + 1))
}

/// A line without its CRLF (section 2.1): parts with one space between.
fn read_line(line: &[u8]) -> Option<Header> {
    let text = std::str::from_utf8(line.strip_prefix(V1_START)?).ok()?;
    if text.contains('\r') {
        return None;
    }
    let mut parts = text.split(' ');
    let protocol = parts.next()?;
    if protocol == "UNKNOWN" {
        // What follows means nothing.
        return Some(Header::Unknown);
    }
    let [source, destination] = match protocol {
        "TCP4" => {
            [parts.next()?, parts.next()?].map(|it| it.parse::<Ipv4Addr>().ok().map(IpAddr::V4))
        }
        "TCP6" => {
            [parts.next()?, parts.next()?].map(|it| it.parse::<Ipv6Addr>().ok().map(IpAddr::V6))
        }
        _ => return None,
    };
    let mut port = || {
        let digits = parts.next()?;
        if digits.len() > 1 && digits.starts_with('0') { None } else { read_port(digits) }
    };
    let source = SocketAddr::new(source?, port()?);
    let destination = SocketAddr::new(destination?, port()?);
    parts.next().is_none().then_some(Header::Tcp { source, destination })
}

fn parse_v2(input: &[u8]) -> Result<Progress, Error> {
    const VERSION: u8 = 0x20;
    const LOCAL: u8 = 0;
    const PROXY: u8 = 1;
    let command = match input.get(V2_SIGNATURE.len()) {
        None => return Ok(Progress::Partial),
        Some(byte) if byte & 0xf0 != VERSION => return Err(Error::Binary),
        Some(byte) => byte & 0x0f,
    };
    if command != LOCAL && command != PROXY {
        return Err(Error::Binary);
    }
    let Some(fixed) = input.get(..V2_FIXED) else { return Ok(Progress::Partial) };
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if V2_FIXED + length > LONGEST {
        return Err(Error::TooLong);
    }
    let Some(block) = input.get(V2_FIXED..V2_FIXED + length) else { return Ok(Progress::Partial) };
    let header = if command == LOCAL {
        Header::Local
    } else {
        read_block(fixed[13], block).ok_or(Error::Binary)?
    };
    Ok(Progress::Complete(header, V2_FIXED + length))
}

/// Addresses and what follows them (section 2.2).
fn read_block(family: u8, block: &[u8]) -> Option<Header> {
    const UNSPEC: u8 = 0x00;
    const TCP4: u8 = 0x11;
    const TCP6: u8 = 0x21;
    const UNIX_STREAM: u8 = 0x31;
    /// Two paths.
    const UNIX_ADDRESSES: usize = 216;
    let (header, extensions) = match family {
        // Nothing is known, not even how long an address is.
        UNSPEC => return Some(Header::Unknown),
        TCP4 => {
            let (addresses, rest) = block.split_first_chunk::<8>()?;
            let (ports, rest) = rest.split_first_chunk::<4>()?;
            let (source, destination) = halves::<4>(addresses)?;
            (tcp(Ipv4Addr::from(source), Ipv4Addr::from(destination), ports), rest)
        }
        TCP6 => {
            let (addresses, rest) = block.split_first_chunk::<32>()?;
            let (ports, rest) = rest.split_first_chunk::<4>()?;
            let (source, destination) = halves::<16>(addresses)?;
            (tcp(Ipv6Addr::from(source), Ipv6Addr::from(destination), ports), rest)
        }
        UNIX_STREAM => (Header::Unknown, block.get(UNIX_ADDRESSES..)?),
        _ => return None,
    };
    are_extensions(extensions).then_some(header)
}

fn halves<const N: usize>(bytes: &[u8]) -> Option<([u8; N], [u8; N])> {
    Some((*bytes.first_chunk()?, *bytes.last_chunk()?))
}

fn tcp(source: impl Into<IpAddr>, destination: impl Into<IpAddr>, ports: &[u8; 4]) -> Header {
    let [source_high, source_low, destination_high, destination_low] = *ports;
    Header::Tcp {
        source: SocketAddr::new(source.into(), u16::from_be_bytes([source_high, source_low])),
        destination: SocketAddr::new(
            destination.into(),
            u16::from_be_bytes([destination_high, destination_low]),
        ),
    }
}

/// Whether the bytes are whole extensions: type, length, value (section 2.2). None is of use here.
fn are_extensions(mut bytes: &[u8]) -> bool {
    while let [_, high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        match rest.get(length..) {
            Some(after) => bytes = after,
            None => return false,
        }
    }
    bytes.is_empty()
}
