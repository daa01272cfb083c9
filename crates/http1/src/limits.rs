//! What a request head may measure, and how doubtful field names are treated.

/// Stands in for "unlimited" in [`Limits::request_line`] and [`Limits::field_size`]: far above what
/// any client sends, low enough that one connection cannot take the memory of the others.
pub const LINE_MAX: usize = 1 << 20;

/// Stands in for "unlimited" in [`Limits::fields`].
pub const FIELDS_MAX: usize = 32_768;

/// A head, or a trailer section, is never longer than this, whatever the other limits add up to. It
/// also keeps every offset within the `u32` of a span.
pub(crate) const HEAD_MAX: usize = 16 << 20;

/// How long the parts of a request head may be. The same limits hold for trailer fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the request line without its CRLF. Beyond: 414.
    pub request_line: usize,
    /// Number of field lines. Beyond: 431.
    pub fields: usize,
    /// Bytes of one field line with its CRLF. Beyond: 431.
    pub field_size: usize,
}

impl Limits {
    /// Limits as an operator sets them: 0 stands for unlimited, which is a large maximum
    /// (1 MiB for a line, 32768 fields), and so does anything above that maximum.
    pub fn new(request_line: usize, fields: usize, field_size: usize) -> Limits {
        fn bounded(limit: usize, most: usize) -> usize {
            if limit == 0 { most } else { limit.min(most) }
        }
        Limits {
            request_line: bounded(request_line, LINE_MAX),
            fields: bounded(fields, FIELDS_MAX),
            field_size: bounded(field_size, LINE_MAX),
        }
    }
}

impl Default for Limits {
    /// Gunicorn's defaults: 4094 bytes, 100 fields, 8190 bytes.
    fn default() -> Limits {
        Limits::new(4094, 100, 8190)
    }
}

/// What becomes of a field whose name has an underscore. In the environment of an app `A_B` and
/// `A-B` are one key, so that a client could pretend to be a proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnderscoreNames {
    /// Leave the field out of [`Head::fields`](crate::Head::fields).
    #[default]
    Drop,
    /// Answer 400.
    Refuse,
    /// Let it pass: only safe when something in front filters.
    Map,
}

/// Names with an underscore that a trusted forwarder may send, whatever [`UnderscoreNames`] says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ForwarderNames {
    /// The peer is no trusted forwarder.
    #[default]
    None,
    /// These, in any case.
    Listed(Vec<String>),
    /// Whatever it sends.
    All,
}

impl ForwarderNames {
    /// Whether a field of this name may pass.
    pub fn admit(&self, name: &[u8]) -> bool {
        match self {
            ForwarderNames::None => false,
            ForwarderNames::Listed(names) => {
                names.iter().any(|listed| listed.as_bytes().eq_ignore_ascii_case(name))
            }
            ForwarderNames::All => true,
        }
    }
}

/// How a request is read where the operator has a choice. What is off by default costs nothing
/// while it is off: it is looked at where a request would be refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Fields with an underscore in their name.
    pub underscores: UnderscoreNames,
    /// Which of them pass all the same.
    pub forwarder: ForwarderNames,
    /// Field values that go on in the next line (RFC 9112, section 5.2), with spaces for the line's
    /// end. Fields that the server itself understands never do.
    pub obsolete_folding: bool,
    /// Whitespace between a field's name and its colon is dropped (RFC 9112, section 5.1).
    pub spaces_before_colon: bool,
    /// Any token is a method.
    pub any_method: bool,
    /// Methods that [`any_method`](Policy::any_method) lets in are read in upper case.
    pub casefold_method: bool,
    /// Any `HTTP/digit.digit`: below 1.1 it is read as 1.0, else as 1.1.
    pub any_version: bool,
}
