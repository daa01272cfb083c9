//! A request head: what the parser found, as facts and as spans of the buffer.

use crate::{Name, Span};

/// The protocol version of a message. Others are refused while the request line is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
}

impl Version {
    /// As it stands on the wire: `HTTP/1.1`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        }
    }
}

/// The methods that have a meaning here or are worth a constant; all others are `Other`, and their
/// name stands in [`Head::method_span`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Method {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    Patch,
    Connect,
    Trace,
    Other,
}

/// The four forms of a request target (RFC 9112, section 3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetForm {
    /// `/path?query`
    #[default]
    Origin,
    /// `http://authority/path?query`
    Absolute,
    /// `host:port`, only with CONNECT
    Authority,
    /// `*`, only with OPTIONS
    Asterisk,
}

/// How the body of a request is delimited (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// No Content-Length and no Transfer-Encoding: no body.
    #[default]
    None,
    /// Content-Length, at most 2^63 - 1.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
}

/// A field line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// The name as sent.
    pub name: Span,
    /// The value without SP and TAB around it; may be empty.
    pub value: Span,
    /// Which of the known names it is.
    pub known: Name,
}

/// A change that the bytes of a head need so that its spans say what the policy made of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amendment {
    /// The end of a line in a folded value: spaces.
    Blank(Span),
    /// A method: upper case.
    UpperCase(Span),
}

/// A parsed request head. Reusable: parsing the next one clears it and keeps its capacity.
///
/// All spans are offsets into the buffer that was parsed. Complete only when
/// [`HeadParser::parse`](crate::HeadParser::parse) has returned `Complete`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The method, `Other` when it is none of the known ones.
    pub method: Method,
    /// The method as sent.
    pub method_span: Span,
    /// The request target as sent.
    pub target: Span,
    /// Which form the target has.
    pub form: TargetForm,
    /// The path without query and fragment, not decoded. Of an absolute target its path, which may
    /// be empty (it then stands for `/`); empty for the authority form, `*` for the asterisk form.
    pub path: Span,
    /// The query without `?` and fragment; empty when there is none.
    pub query: Span,
    /// `host[:port]` of a target in absolute or authority form, else empty.
    pub authority: Span,
    /// The version that the client speaks.
    pub version: Version,
    /// The field lines in order, without those that the policy drops.
    pub fields: Vec<Field>,
    /// How the body is delimited.
    pub framing: Framing,
    /// Whether the client asks to keep the connection: the version's default and the tokens of
    /// Connection, where `close` wins. Never after CONNECT.
    pub persistent: bool,
    /// The client waits for `100 Continue` before it sends the body. False for HTTP/1.0 and when
    /// no body follows.
    pub expect_continue: bool,
    /// Connection lists `upgrade` and Upgrade is there. False for HTTP/1.0.
    pub upgrade: bool,
    /// The value of Host; empty when absent or empty.
    pub host: Span,
    /// A field is there by which proxies speak about a request, or one with an underscore that
    /// [`Policy::forwarder`](crate::Policy::forwarder) let in.
    pub forwarded: bool,
    /// What [`amend`](Head::amend) has to do; empty under a strict policy.
    pub amendments: Vec<Amendment>,
    /// Bytes of the head with its final empty line and a leading CRLF: the body starts here.
    pub length: usize,
}

impl Head {
    /// An empty head with room for the fields of a browser.
    pub fn new() -> Head {
        Head { fields: Vec::with_capacity(32), ..Head::default() }
    }

    /// Makes the changes in the bytes of this head that the policy has decided on. Lengths stay.
    #[cold]
    pub fn amend(&self, bytes: &mut [u8]) {
        for amendment in &self.amendments {
            match *amendment {
                Amendment::Blank(span) => {
                    bytes[span.start as usize..span.end as usize].fill(b' ');
                }
                Amendment::UpperCase(span) => {
                    bytes[span.start as usize..span.end as usize].make_ascii_uppercase();
                }
            }
        }
    }

    /// Forgets everything but the capacity.
    pub fn clear(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        let mut amendments = std::mem::take(&mut self.amendments);
        fields.clear();
        amendments.clear();
        *self = Head { fields, amendments, ..Head::default() };
    }
}
