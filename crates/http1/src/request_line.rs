//! The request line: method, target and version (RFC 9112, section 3).
//!
//! [`read`] is the hot path and accepts or gives up; [`diagnose`] then says of a whole line which
//! rule it breaks.

use crate::authority::Authority;
use crate::error::Kind;
use crate::scan;
use crate::{Amendment, Head, Method, Policy, Span, TargetForm, Version};

/// Gunicorn's bounds for the length of a method.
const METHOD_SHORTEST: usize = 3;
const METHOD_LONGEST: usize = 20;

/// Where the parts of a well-formed request line end.
pub(crate) struct RequestLine {
    method: Method,
    method_end: usize,
    /// The path's end: of the first `?` or `#`, else of the target.
    path_end: usize,
    /// The query's end: of the first `#`, else of the target.
    query_end: usize,
    target_end: usize,
    version: Version,
    /// The first byte after the line.
    pub(crate) next: usize,
}

/// Reads the request line at `start`; `None` when it is not complete or not well-formed.
#[inline]
pub(crate) fn read(buffer: &[u8], start: usize) -> Option<RequestLine> {
    let rest = &buffer[start..];
    let mut length = 0;
    while scan::is(*rest.get(length)?, scan::METHOD) {
        length += 1;
    }
    if rest[length] != b' ' || !(METHOD_SHORTEST..=METHOD_LONGEST).contains(&length) {
        return None;
    }
    let method_end = start + length;
    let target_start = method_end + 1;
    let path_end = scan::path_end(buffer, target_start);
    let query_end = match buffer.get(path_end) {
        Some(b'?') => scan::query_end(buffer, path_end + 1),
        _ => path_end,
    };
    let target_end = match buffer.get(query_end) {
        Some(b'#') => scan::target_end(buffer, query_end + 1),
        _ => query_end,
    };
    if target_end == target_start {
        return None;
    }
    let version = match buffer.get(target_end..)?.first_chunk::<11>()? {
        b" HTTP/1.1\r\n" => Version::Http11,
        b" HTTP/1.0\r\n" => Version::Http10,
        _ => return None,
    };
    Some(RequestLine {
        method: method_of(&rest[..length]),
        method_end,
        path_end,
        query_end,
        target_end,
        version,
        next: target_end + 11,
    })
}

/// Whether a request line may start with this byte. Known at once, so that a TLS handshake on a
/// plain port is refused before it ever sends a line's end.
#[inline]
pub(crate) fn may_start_with(byte: u8, policy: &Policy) -> bool {
    scan::is(byte, scan::METHOD) || policy.any_method && scan::is(byte, scan::TOKEN)
}

/// Reads a request line that [`read`] has given up on, with the methods and versions that the
/// policy allows beside. `line` is all of it, without CRLF, and starts at `start`.
#[cold]
pub(crate) fn read_permitted(
    line: &[u8],
    start: usize,
    policy: &Policy,
    head: &mut Head,
) -> Option<RequestLine> {
    let mut parts = line.split(|&byte| byte == b' ');
    let (method, target, version) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    if !may_be_method(method, policy) {
        return None;
    }
    let version = match version.strip_prefix(b"HTTP/")? {
        b"1.1" => Version::Http11,
        b"1.0" => Version::Http10,
        [major @ b'0'..=b'9', b'.', minor @ b'0'..=b'9'] if policy.any_version => {
            // The server answers in what it speaks (RFC 9110, section 2.5).
            if (major, minor) < (&b'1', &b'1') { Version::Http10 } else { Version::Http11 }
        }
        _ => return None,
    };
    let method_end = start + method.len();
    let target_start = method_end + 1;
    let target_end = target_start + target.len();
    let place = |mark: &[u8]| {
        let found = target.iter().position(|byte| mark.contains(byte));
        found.map_or(target_end, |at| target_start + at)
    };
    let method = if policy.casefold_method && !is_usual_method(method) {
        head.amendments.push(Amendment::UpperCase(Span::new(start, method_end)));
        method_of(&method.to_ascii_uppercase())
    } else {
        method_of(method)
    };
    Some(RequestLine {
        method,
        method_end,
        path_end: place(b"?#"),
        query_end: place(b"#"),
        target_end,
        version,
        next: start + line.len() + 2,
    })
}

fn is_usual_method(method: &[u8]) -> bool {
    scan::all(method, scan::METHOD) && (METHOD_SHORTEST..=METHOD_LONGEST).contains(&method.len())
}

fn may_be_method(method: &[u8], policy: &Policy) -> bool {
    is_usual_method(method) || policy.any_method && scan::is_token(method)
}

fn method_of(bytes: &[u8]) -> Method {
    match bytes {
        b"GET" => Method::Get,
        b"HEAD" => Method::Head,
        b"POST" => Method::Post,
        b"PUT" => Method::Put,
        b"DELETE" => Method::Delete,
        b"OPTIONS" => Method::Options,
        b"PATCH" => Method::Patch,
        b"CONNECT" => Method::Connect,
        b"TRACE" => Method::Trace,
        _ => Method::Other,
    }
}

impl RequestLine {
    /// Writes the line's facts into `head`, and checks that the target's form fits the method
    /// (RFC 9112, section 3.2).
    #[inline]
    pub(crate) fn apply(&self, buffer: &[u8], start: usize, head: &mut Head) -> Result<(), Kind> {
        let target_start = self.method_end + 1;
        head.method = self.method;
        head.method_span = Span::new(start, self.method_end);
        head.version = self.version;
        head.target = Span::new(target_start, self.target_end);
        head.path = Span::new(target_start, self.path_end);
        if self.query_end > self.path_end {
            head.query = Span::new(self.path_end + 1, self.query_end);
        }
        if buffer[target_start] == b'/' && self.method != Method::Connect {
            head.form = TargetForm::Origin;
            return Ok(());
        }
        self.apply_unusual(buffer, head)
    }

    #[cold]
    fn apply_unusual(&self, buffer: &[u8], head: &mut Head) -> Result<(), Kind> {
        let target = head.target.of(buffer);
        if self.method == Method::Connect {
            let authority = Authority::read(target).ok_or(Kind::TargetForm)?;
            authority.port().ok_or(Kind::TargetForm)?;
            head.form = TargetForm::Authority;
            head.authority = head.target;
            head.path = Span::default();
            return Ok(());
        }
        if target == b"*" {
            if self.method != Method::Options {
                return Err(Kind::TargetForm);
            }
            head.form = TargetForm::Asterisk;
            return Ok(());
        }
        let scheme = scheme_length(target).ok_or(Kind::TargetForm)?;
        let authority_start = self.method_end + 1 + scheme;
        let before_query = &buffer[authority_start..self.path_end];
        let length =
            before_query.iter().position(|&byte| byte == b'/').unwrap_or(before_query.len());
        Authority::read(&before_query[..length]).ok_or(Kind::TargetAuthority)?;
        head.form = TargetForm::Absolute;
        head.authority = Span::new(authority_start, authority_start + length);
        head.path = Span::new(authority_start + length, self.path_end);
        Ok(())
    }
}

/// The length of `http://` or `https://` at the start of an absolute target.
fn scheme_length(target: &[u8]) -> Option<usize> {
    [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| {
            target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        })
        .map(<[u8]>::len)
}

/// The port that a target in absolute form means when it names none.
pub(crate) fn default_port(target: &[u8]) -> Option<u16> {
    match scheme_length(target)? {
        7 => Some(80),
        _ => Some(443),
    }
}

/// Which rule a request line breaks that [`read`] has given up on. `line` is all of it, without
/// CRLF.
#[cold]
pub(crate) fn diagnose(line: &[u8], policy: &Policy) -> Kind {
    let mut parts = line.splitn(3, |&byte| byte == b' ');
    let method = parts.next().unwrap_or_default();
    if !may_be_method(method, policy) {
        return Kind::Method;
    }
    let Some(target) = parts.next() else {
        return Kind::RequestLine;
    };
    if target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
        return Kind::Target;
    }
    match parts.next() {
        None => Kind::RequestLine,
        Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor])
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Kind::VersionUnsupported
        }
        Some(_) => Kind::Version,
    }
}
