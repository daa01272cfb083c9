//! The request head parser: lines, limits, and where it stands between two calls.
//!
//! ```text
//! Start --first byte of the request line--> RequestLine --line--> Fields --empty line--> Done
//! ```
//!
//! A line is read in one go as soon as it is complete. What decides is therefore always the whole
//! line, never how much of it a read happened to bring: that makes the outcome the same however the
//! head is split. Limits are checked first, on the part of a line that is there, and a longer part
//! breaks no other limit than a shorter one did.
//!
//! When a line turns out to be incomplete, later calls only look for its LF, and only in the bytes
//! that are new; so the work is linear even when a head comes byte by byte.

use memchr::memchr;

use crate::error::Kind;
use crate::fields::{self, Continued, Facts, Line};
use crate::limits::HEAD_MAX;
use crate::request_line::{self, RequestLine};
use crate::{Error, Head, Limits, Policy};

/// How far the parser has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The head is not complete: call again when the buffer has grown.
    Partial,
    /// The head is complete.
    Complete,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// At most a leading CRLF has come.
    #[default]
    Start,
    RequestLine,
    Fields,
    Done,
}

/// Parses request heads (RFC 9112, sections 2 to 6), resumable at any byte.
///
/// ```
/// use monoceros_http1::{Head, HeadParser, Limits, Policy, Progress};
///
/// let request = b"GET /a?b HTTP/1.1\r\nHost: example.com\r\n\r\n";
/// let (mut parser, mut head) = (HeadParser::new(), Head::new());
/// let (limits, policy) = (Limits::default(), Policy::default());
/// assert_eq!(parser.parse(&request[..9], &mut head, &limits, &policy), Ok(Progress::Partial));
/// assert_eq!(parser.parse(request, &mut head, &limits, &policy), Ok(Progress::Complete));
/// assert_eq!(head.path.of(request), b"/a");
/// assert_eq!(head.query.of(request), b"b");
/// assert_eq!(head.length, request.len());
/// ```
#[derive(Clone, Debug, Default)]
pub struct HeadParser {
    stage: Stage,
    /// Where the line under way starts.
    line_start: usize,
    /// From `line_start` up to here there is no LF.
    searched: usize,
    /// Field lines so far, dropped ones included.
    fields: usize,
    facts: Facts,
}

impl HeadParser {
    /// A parser at the start of a request.
    pub fn new() -> HeadParser {
        HeadParser::default()
    }

    /// Back to the start of a request: after `Complete`, and before the parser is used again after
    /// an error.
    pub fn reset(&mut self) {
        *self = HeadParser::default();
    }

    /// Parses what is there of a head into `head`, which the first call of a request clears.
    ///
    /// `buffer` starts at the first byte of this request and only ever grows between calls; what
    /// follows the head in it is not looked at. `limits` and `policy` stay the same for a request.
    ///
    /// # Errors
    /// The peer's [`Error`] as soon as a complete line breaks a rule or an incomplete one passes a
    /// limit.
    #[inline]
    pub fn parse(
        &mut self,
        buffer: &[u8],
        head: &mut Head,
        limits: &Limits,
        policy: &Policy,
    ) -> Result<Progress, Error> {
        if self.stage == Stage::Start && !self.start(buffer, head, policy)? {
            return Ok(Progress::Partial);
        }
        if self.searched > self.line_start && self.find_line_end(buffer).is_none() {
            return self.wait(buffer, limits);
        }
        if self.stage == Stage::RequestLine {
            let line = match request_line::read(buffer, self.line_start) {
                Some(line) => line,
                None => match self.permitted_request_line(buffer, policy, head) {
                    Some(line) => line,
                    None => return self.give_up(buffer, limits, policy),
                },
            };
            if line.next - 2 - self.line_start > limits.request_line {
                return Err(Kind::RequestLineTooLong.into());
            }
            line.apply(buffer, self.line_start, head)?;
            self.next_line(line.next);
            self.stage = Stage::Fields;
        }
        while self.stage == Stage::Fields {
            if self.fields >= limits.fields {
                self.refuse_another_field(buffer, policy)?;
            }
            let (line, next) = match fields::read(buffer, self.line_start) {
                Some(read) => read,
                None => match self.permitted_field(buffer, policy) {
                    Some(read) => read,
                    None if self.continues_field(buffer, head, limits, policy)? => continue,
                    None => return self.give_up(buffer, limits, policy),
                },
            };
            self.check_field_size(next - 2, limits)?;
            match line {
                Line::Field(field, underscore) => {
                    self.fields += 1;
                    self.facts.take(buffer, field, underscore, policy, head)?;
                }
                Line::End => {
                    self.facts.conclude(buffer, head)?;
                    head.length = next;
                    self.stage = Stage::Done;
                }
            }
            self.next_line(next);
        }
        Ok(Progress::Complete)
    }

    /// Whether nothing of a request has come yet: a leading CRLF alone counts as nothing. `buffer`
    /// is the one that [`parse`](HeadParser::parse) saw last.
    pub fn is_idle(&self, buffer: &[u8]) -> bool {
        self.stage == Stage::Start && matches!(buffer, b"" | b"\r" | b"\r\n")
    }

    /// Skips a leading CRLF (RFC 9112, section 2.2) and begins when there is more than that.
    #[inline]
    fn start(&mut self, buffer: &[u8], head: &mut Head, policy: &Policy) -> Result<bool, Kind> {
        let start = match buffer {
            [] | [b'\r'] => return Ok(false),
            [b'\r', b'\n', ..] => 2,
            [b'\r', ..] => return Err(Kind::BareCr),
            _ => 0,
        };
        match buffer.get(start) {
            None => return Ok(false),
            Some(b'\r') => return Err(Kind::LeadingLine),
            Some(b'\n') => return Err(Kind::BareLf),
            Some(&byte) if !request_line::may_start_with(byte, policy) => return Err(Kind::Method),
            Some(_) => {}
        }
        head.clear();
        self.next_line(start);
        self.stage = Stage::RequestLine;
        Ok(true)
    }

    #[inline]
    fn next_line(&mut self, start: usize) {
        self.line_start = start;
        self.searched = start;
    }

    /// The offset of the LF of the line under way.
    fn find_line_end(&mut self, buffer: &[u8]) -> Option<usize> {
        let found = memchr(b'\n', &buffer[self.searched..]);
        match found {
            Some(at) => Some(self.searched + at),
            None => {
                self.searched = buffer.len();
                None
            }
        }
    }

    /// The line under way without its CRLF, when it is complete and has no other CR.
    fn whole_line<'a>(&self, buffer: &'a [u8]) -> Option<&'a [u8]> {
        let end = self.line_start + memchr(b'\n', &buffer[self.line_start..])?;
        buffer[self.line_start..end].strip_suffix(b"\r").filter(|line| !line.contains(&b'\r'))
    }

    /// A request line that the policy allows although it is unusual.
    #[cold]
    fn permitted_request_line(
        &self,
        buffer: &[u8],
        policy: &Policy,
        head: &mut Head,
    ) -> Option<RequestLine> {
        if !policy.any_method && !policy.any_version {
            return None;
        }
        request_line::read_permitted(self.whole_line(buffer)?, self.line_start, policy, head)
    }

    /// A field line that the policy allows although it is malformed.
    #[cold]
    fn permitted_field(&self, buffer: &[u8], policy: &Policy) -> Option<(Line, usize)> {
        if !policy.spaces_before_colon {
            return None;
        }
        let line = self.whole_line(buffer)?;
        let field = fields::read_spaced(line, self.line_start)?;
        Some((field, self.line_start + line.len() + 2))
    }

    /// Whether the line was one that continues the field before it, and the policy allows that.
    #[cold]
    fn continues_field(
        &mut self,
        buffer: &[u8],
        head: &mut Head,
        limits: &Limits,
        policy: &Policy,
    ) -> Result<bool, Kind> {
        if !policy.obsolete_folding || !matches!(buffer.get(self.line_start), Some(b' ' | b'\t')) {
            return Ok(false);
        }
        let Some(line) = self.whole_line(buffer) else { return Ok(false) };
        let end = self.line_start + line.len();
        self.check_field_size(end, limits)?;
        match fields::continue_field(buffer, line, self.line_start, self.fields, head)? {
            // A field is as long as all its lines.
            Continued::Field(field) => {
                let start = std::mem::replace(&mut self.line_start, field.name.start as usize);
                let checked = self.check_field_size(end, limits);
                self.line_start = start;
                checked?;
            }
            // Nothing else would bound how many of these there are.
            Continued::Dropped => {
                self.fields += 1;
                if self.fields > limits.fields {
                    return Err(Kind::TooManyFields);
                }
            }
        }
        self.next_line(end + 2);
        Ok(true)
    }

    /// The line under way could not be read: it is incomplete, or it breaks a rule.
    #[cold]
    fn give_up(
        &mut self,
        buffer: &[u8],
        limits: &Limits,
        policy: &Policy,
    ) -> Result<Progress, Error> {
        let Some(line_end) = self.find_line_end(buffer) else {
            return self.wait(buffer, limits);
        };
        let line = &buffer[self.line_start..line_end];
        let (line, bare) = match line {
            [content @ .., b'\r'] => (content, false),
            _ => (line, true),
        };
        self.check_size(self.line_start + line.len(), limits)?;
        let kind = if bare {
            Kind::BareLf
        } else if line.contains(&b'\r') {
            Kind::BareCr
        } else if self.stage == Stage::RequestLine {
            request_line::diagnose(line, policy)
        } else {
            fields::diagnose(line, policy)
        };
        Err(kind.into())
    }

    /// The line under way is incomplete: only its limit can be broken. A CR may be its end.
    #[cold]
    fn wait(&mut self, buffer: &[u8], limits: &Limits) -> Result<Progress, Error> {
        let content_end = match &buffer[self.line_start..] {
            [.., b'\r'] => buffer.len() - 1,
            _ => buffer.len(),
        };
        self.check_size(content_end, limits)?;
        Ok(Progress::Partial)
    }

    fn check_size(&self, content_end: usize, limits: &Limits) -> Result<(), Kind> {
        if self.stage == Stage::Fields {
            return self.check_field_size(content_end, limits);
        }
        if content_end - self.line_start > limits.request_line {
            return Err(Kind::RequestLineTooLong);
        }
        Ok(())
    }

    /// Checks a field line that ends, or is incomplete, at `content_end`; CRLF counts, too. The
    /// empty line has no size of its own.
    #[inline]
    fn check_field_size(&self, content_end: usize, limits: &Limits) -> Result<(), Kind> {
        let content = content_end - self.line_start;
        let field_room = limits.field_size.saturating_sub(2);
        let head_room = (HEAD_MAX - 2).saturating_sub(self.line_start);
        if content <= field_room.min(head_room) {
            Ok(())
        } else if head_room < field_room {
            Err(Kind::HeadTooLarge)
        } else {
            Err(Kind::FieldTooLarge)
        }
    }

    /// With as many fields as are allowed, the next line can only be the empty one.
    #[cold]
    fn refuse_another_field(&self, buffer: &[u8], policy: &Policy) -> Result<(), Kind> {
        match buffer.get(self.line_start) {
            None | Some(b'\r' | b'\n') => Ok(()),
            // It may be a part of the last field.
            Some(b' ' | b'\t') if policy.obsolete_folding => Ok(()),
            Some(_) => Err(Kind::TooManyFields),
        }
    }
}
