//! The field lines of a request: their syntax, and what those that the server understands mean.

use crate::authority::Authority;
use crate::error::Kind;
use crate::name::LONGEST;
use crate::request_line::default_port;
use crate::scan;
use crate::{
    Amendment, Field, Framing, Head, Method, Name, Policy, Span, TargetForm, UnderscoreNames,
    Version,
};

/// The largest Content-Length and chunk: what fits into a signed file offset.
pub(crate) const LENGTH_MAX: u64 = i64::MAX as u64;

/// A well-formed line of the field section.
pub(crate) enum Line {
    /// A field, and whether its name has an underscore.
    Field(Field, bool),
    /// The empty line that ends the section.
    End,
}

/// Reads the line at `start` and returns it with the offset after it; `None` when it is not
/// complete or not well-formed.
#[inline]
pub(crate) fn read(buffer: &[u8], start: usize) -> Option<(Line, usize)> {
    if *buffer.get(start)? == b'\r' {
        let next = start + 2;
        return (*buffer.get(start + 1)? == b'\n').then_some((Line::End, next));
    }
    let name_end = scan::colon(buffer, start);
    if name_end == buffer.len() {
        return None;
    }
    let name = &buffer[start..name_end];
    let known = Name::find(name);
    let mut underscore = false;
    if known == Name::Unknown {
        if !scan::is_token(name) {
            return None;
        }
        underscore = name.iter().any(|&byte| scan::is(byte, scan::UNDERSCORE));
    }
    let mut value_start = name_end + 1;
    while let Some(b' ' | b'\t') = buffer.get(value_start) {
        value_start += 1;
    }
    let line_end = scan::value_end(buffer, value_start);
    if buffer.get(line_end..line_end + 2)? != b"\r\n" {
        return None;
    }
    let mut value_end = line_end;
    while value_end > value_start && matches!(buffer[value_end - 1], b' ' | b'\t') {
        value_end -= 1;
    }
    let field =
        Field { name: Span::new(start, name_end), value: Span::new(value_start, value_end), known };
    Some((Line::Field(field, underscore), line_end + 2))
}

/// Which rule a field line breaks that [`read`] has given up on. `line` is all of it, without CRLF.
#[cold]
pub(crate) fn diagnose(line: &[u8], policy: &Policy) -> Kind {
    if let Some(b' ' | b'\t') = line.first() {
        return Kind::ObsFold;
    }
    let Some(name_end) = line.iter().position(|&byte| byte == b':') else {
        return Kind::FieldColon;
    };
    let name = &line[..name_end];
    let name = if policy.spaces_before_colon { scan::trim_end(name) } else { name };
    if scan::is_token(name) { Kind::FieldValue } else { Kind::FieldName }
}

/// What the fields have said so far about the message and the connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    host: bool,
    content_type: bool,
    length: Option<u64>,
    coding: Option<Coding>,
    expect_continue: bool,
    close: bool,
    keep_alive: bool,
    upgrade_listed: bool,
    upgrade: bool,
}

/// What Transfer-Encoding lists.
#[derive(Clone, Copy, Debug, Default)]
struct Coding {
    /// `chunked` is the last one.
    chunked: bool,
    /// A registered coding that the server does not decode.
    registered: bool,
    /// A coding that nobody knows.
    unknown: bool,
}

/// The codings of the registry other than chunked, with their old names (RFC 9112, section 7.2)
/// and `identity`, which RFC 2616 had.
const REGISTERED_CODINGS: [&[u8]; 6] =
    [b"compress", b"deflate", b"gzip", b"identity", b"x-compress", b"x-gzip"];

impl Facts {
    /// Takes up a field, and adds it to `head` unless `policy` says otherwise.
    #[inline]
    pub(crate) fn take(
        &mut self,
        buffer: &[u8],
        field: Field,
        underscore: bool,
        policy: &Policy,
        head: &mut Head,
    ) -> Result<(), Kind> {
        if underscore {
            if policy.forwarder.admit(field.name.of(buffer)) {
                head.forwarded = true;
            } else {
                match policy.underscores {
                    UnderscoreNames::Drop => return Ok(()),
                    UnderscoreNames::Refuse => return Err(Kind::Underscore),
                    UnderscoreNames::Map => {}
                }
            }
        }
        match field.known {
            Name::Host => self.take_host(buffer, field.value, head)?,
            Name::Connection => self.take_connection(field.value.of(buffer)),
            Name::ContentLength => self.take_length(field.value.of(buffer))?,
            Name::ContentType => self.take_content_type()?,
            Name::TransferEncoding => self.take_coding(field.value.of(buffer), head.version)?,
            Name::Expect => self.take_expectation(field.value.of(buffer), head.version)?,
            Name::Upgrade => self.upgrade = true,
            name if name.is_forwarding() => head.forwarded = true,
            _ => {}
        }
        head.fields.push(field);
        Ok(())
    }

    fn take_host(&mut self, buffer: &[u8], value: Span, head: &mut Head) -> Result<(), Kind> {
        if std::mem::replace(&mut self.host, true) {
            return Err(Kind::HostDuplicate);
        }
        // Empty is what a client sends whose target has no authority (RFC 9112, section 3.2).
        if !value.is_empty() && Authority::read(value.of(buffer)).is_none() {
            return Err(Kind::HostInvalid);
        }
        head.host = value;
        Ok(())
    }

    fn take_content_type(&mut self) -> Result<(), Kind> {
        if std::mem::replace(&mut self.content_type, true) {
            return Err(Kind::ContentTypeDuplicate);
        }
        Ok(())
    }

    fn take_connection(&mut self, value: &[u8]) {
        for option in value.split(|&byte| byte == b',').map(scan::trim) {
            if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade_listed = true;
            }
        }
    }

    fn take_length(&mut self, value: &[u8]) -> Result<(), Kind> {
        if self.length.is_some() {
            return Err(Kind::LengthDuplicate);
        }
        self.length = Some(read_length(value)?);
        Ok(())
    }

    #[cold]
    fn take_coding(&mut self, value: &[u8], version: Version) -> Result<(), Kind> {
        if version == Version::Http10 {
            return Err(Kind::CodingVersion);
        }
        let coding = self.coding.get_or_insert_default();
        for element in value.split(|&byte| byte == b',').map(scan::trim) {
            if coding.chunked {
                return Err(Kind::CodingOrder);
            }
            // Parameters follow the first semicolon; chunked has none.
            let name = element.split(|&byte| byte == b';').next().map(scan::trim);
            let name = name.unwrap_or_default();
            if element.eq_ignore_ascii_case(b"chunked") {
                coding.chunked = true;
            } else if !scan::is_token(name) || name.eq_ignore_ascii_case(b"chunked") {
                return Err(Kind::CodingInvalid);
            } else if REGISTERED_CODINGS
                .iter()
                .any(|registered| registered.eq_ignore_ascii_case(name))
            {
                coding.registered = true;
            } else {
                coding.unknown = true;
            }
        }
        Ok(())
    }

    fn take_expectation(&mut self, value: &[u8], version: Version) -> Result<(), Kind> {
        if version == Version::Http10 {
            return Ok(());
        }
        if !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Kind::Expectation);
        }
        self.expect_continue = true;
        Ok(())
    }

    /// Draws the conclusions at the end of the head.
    #[inline]
    pub(crate) fn conclude(&self, buffer: &[u8], head: &mut Head) -> Result<(), Kind> {
        let modern = head.version == Version::Http11;
        if modern && !self.host {
            return Err(Kind::HostMissing);
        }
        if head.form == TargetForm::Absolute || head.form == TargetForm::Authority {
            self.check_agreement(buffer, head)?;
        }
        head.framing = self.framing()?;
        head.persistent =
            !self.close && (modern || self.keep_alive) && head.method != Method::Connect;
        head.upgrade = modern && self.upgrade && self.upgrade_listed;
        head.expect_continue =
            self.expect_continue && !matches!(head.framing, Framing::None | Framing::Length(0));
        Ok(())
    }

    #[inline]
    fn framing(&self) -> Result<Framing, Kind> {
        match (self.coding, self.length) {
            (None, None) => Ok(Framing::None),
            (None, Some(length)) => Ok(Framing::Length(length)),
            (Some(_), Some(_)) => Err(Kind::LengthAndCoding),
            (Some(coding), None) => match (coding.chunked, coding.registered, coding.unknown) {
                (true, false, false) => Ok(Framing::Chunked),
                (false, _, false) => Err(Kind::CodingOrder),
                _ => Err(Kind::CodingUnsupported),
            },
        }
    }

    /// A target with an authority must not contradict Host (RFC 9112, section 3.2.2, would let the
    /// target win, but not every recipient on the way does so).
    #[cold]
    fn check_agreement(&self, buffer: &[u8], head: &Head) -> Result<(), Kind> {
        if !self.host {
            return Ok(());
        }
        let target = Authority::read(head.authority.of(buffer)).ok_or(Kind::TargetAuthority)?;
        let host = Authority::read(head.host.of(buffer)).ok_or(Kind::HostMismatch)?;
        let default_port = match head.form {
            // A Host without a port cannot contradict the port that CONNECT names.
            TargetForm::Authority => target.port(),
            _ => default_port(head.target.of(buffer)),
        };
        if target.agrees_with(&host, default_port) { Ok(()) } else { Err(Kind::HostMismatch) }
    }
}

/// Reads a Content-Length: digits alone, no sign, no list (RFC 9110, section 8.6).
pub(crate) fn read_length(value: &[u8]) -> Result<u64, Kind> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Kind::LengthInvalid);
    }
    value
        .iter()
        .try_fold(0u64, |length, digit| {
            length
                .checked_mul(10)?
                .checked_add((digit - b'0') as u64)
                .filter(|&length| length <= LENGTH_MAX)
        })
        .ok_or(Kind::LengthTooLarge)
}

/// Reads a field with whitespace between its name and the colon, where the policy drops it. `line`
/// is all of it, without CRLF, and starts at `start`.
#[cold]
pub(crate) fn read_spaced(line: &[u8], start: usize) -> Option<Line> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let name = scan::trim_end(&line[..colon]);
    if !scan::is_token(name) || !scan::all(&line[colon + 1..], scan::VALUE) {
        return None;
    }
    let value = scan::trim_end(&line[colon + 1..]);
    let value_start = start + colon + 1 + (value.len() - scan::trim(value).len());
    let field = Field {
        name: Span::new(start, start + name.len()),
        value: Span::new(value_start, value_start + scan::trim(value).len()),
        known: Name::find(name),
    };
    Some(Line::Field(field, name.contains(&b'_')))
}

/// What a continuation line belongs to.
pub(crate) enum Continued {
    /// The last field of the head, which is longer now.
    Field(Field),
    /// A field that the policy has dropped.
    Dropped,
}

/// Adds a continuation line to the field before it. `line` is all of it, without CRLF, and starts
/// at `start`; `fields`: how many field lines were before it.
#[cold]
pub(crate) fn continue_field(
    buffer: &[u8],
    line: &[u8],
    start: usize,
    fields: usize,
    head: &mut Head,
) -> Result<Continued, Kind> {
    if fields == 0 {
        return Err(Kind::ObsFold);
    }
    if !scan::all(line, scan::VALUE) {
        return Err(Kind::FieldValue);
    }
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let Some(field) = head.fields.last_mut() else { return Ok(Continued::Dropped) };
    if !buffer[field.value.end as usize..start].iter().all(blank) {
        return Ok(Continued::Dropped);
    }
    // What frames, routes or authorizes is written in one line or refused.
    if field.known.is_understood() || field.known.is_forwarding() {
        return Err(Kind::ObsFold);
    }
    head.amendments.push(Amendment::Blank(Span::new(start - 2, start)));
    let content = scan::trim(line);
    if !content.is_empty() {
        let content_start = start + (line.len() - scan::trim_start(line).len());
        if field.value.is_empty() {
            field.value.start = content_start as u32;
        }
        field.value.end = (content_start + content.len()) as u32;
    }
    Ok(Continued::Field(*field))
}

/// Trailer fields that would frame, route or authorize a message whose head is past, or that speak
/// about the connection (RFC 9110, section 6.5.1).
pub(crate) fn is_forbidden_trailer(name: Name) -> bool {
    name.is_hop_by_hop()
        || name.is_forwarding()
        || matches!(
            name,
            Name::Authorization
                | Name::CacheControl
                | Name::ContentEncoding
                | Name::ContentLength
                | Name::ContentRange
                | Name::ContentType
                | Name::Cookie
                | Name::Expect
                | Name::Host
                | Name::MaxForwards
                | Name::Range
        )
}

/// Room for the longest name of the table: no longer name can be one of it.
pub(crate) const NAME_ROOM: usize = LONGEST;
