//! What a peer can do wrong, and which status follows.

use std::fmt;

use crate::Status;

/// A message of the peer that is refused. Says which rule it breaks and which status follows, never
/// what the peer sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
}

impl Error {
    /// The status to answer with: 400, 414, 417, 431, 501 or 505. The connection is closed after it.
    pub fn status(&self) -> Status {
        self.kind.row().0
    }

    /// A stable identifier of the broken rule, such as `bare-lf`: for tests, metrics and searches.
    pub fn rule(&self) -> &'static str {
        self.kind.row().1
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.kind.row().2)
    }
}

impl std::error::Error for Error {}

impl From<Kind> for Error {
    #[cold]
    fn from(kind: Kind) -> Error {
        Error { kind }
    }
}

/// One row per rule: its name here, the status, the identifier, and the sentence for the log.
macro_rules! kinds {
    ($($kind:ident $status:ident $rule:literal $sentence:literal,)*) => {
        /// The rules that a peer can break.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Kind {
            $($kind,)*
        }

        impl Kind {
            fn row(self) -> (Status, &'static str, &'static str) {
                match self {
                    $(Kind::$kind => (Status::$status, $rule, $sentence),)*
                }
            }
        }
    };
}

kinds! {
    LeadingLine BAD_REQUEST "leading-line"
        "more than one empty line before the request line (RFC 9112, 2.2)",
    BareLf BAD_REQUEST "bare-lf"
        "a line ends in LF without CR (RFC 9112, 2.2)",
    BareCr BAD_REQUEST "bare-cr"
        "a CR that no LF follows (RFC 9112, 2.2)",
    RequestLine BAD_REQUEST "request-line"
        "the request line is not method, target and version with one space between (RFC 9112, 3)",
    Method BAD_REQUEST "method"
        "the method is not a token of 3 to 20 characters without lower case and # (RFC 9110, 9.1)",
    Target BAD_REQUEST "target"
        "the request target is empty or has a control, a space or a byte beyond ASCII (RFC 9112, 3.2)",
    TargetForm BAD_REQUEST "target-form"
        "the form of the request target does not fit the method: a path or an http(s) URI, * with \
         OPTIONS, host:port with CONNECT (RFC 9112, 3.2)",
    TargetAuthority BAD_REQUEST "target-authority"
        "the authority of the request target is no host with an optional port (RFC 9110, 4.2)",
    Version BAD_REQUEST "version"
        "the protocol version is not of the form HTTP/digit.digit (RFC 9112, 2.3)",
    VersionUnsupported HTTP_VERSION_NOT_SUPPORTED "version-unsupported"
        "a protocol version other than HTTP/1.0 and HTTP/1.1 (RFC 9110, 15.6.6)",
    RequestLineTooLong URI_TOO_LONG "request-line-limit"
        "the request line is longer than limit_request_line (RFC 9112, 3)",
    FieldName BAD_REQUEST "field-name"
        "a field name is empty, no token, or has whitespace before its colon (RFC 9112, 5.1)",
    FieldColon BAD_REQUEST "field-colon"
        "a field line without a colon (RFC 9112, 5)",
    FieldValue BAD_REQUEST "field-value"
        "a field value has a control character (RFC 9110, 5.5)",
    ObsFold BAD_REQUEST "obs-fold"
        "a field value is continued on the next line (RFC 9112, 5.2)",
    Underscore BAD_REQUEST "underscore"
        "a field name has an underscore, which header_map = \"refuse\" does not allow",
    FieldTooLarge REQUEST_HEADER_FIELDS_TOO_LARGE "field-size-limit"
        "a field line is longer than limit_request_field_size (RFC 6585, 5)",
    TooManyFields REQUEST_HEADER_FIELDS_TOO_LARGE "fields-limit"
        "more field lines than limit_request_fields (RFC 6585, 5)",
    HeadTooLarge REQUEST_HEADER_FIELDS_TOO_LARGE "head-limit"
        "the head is longer than any limit allows (RFC 6585, 5)",
    HostMissing BAD_REQUEST "host-missing"
        "an HTTP/1.1 request without a Host field (RFC 9112, 3.2)",
    HostDuplicate BAD_REQUEST "host-duplicate"
        "more than one Host field (RFC 9112, 3.2)",
    HostInvalid BAD_REQUEST "host-invalid"
        "the value of Host is no host with an optional port (RFC 9110, 7.2)",
    HostMismatch BAD_REQUEST "host-mismatch"
        "Host and the authority of the request target disagree (RFC 9112, 3.2.2)",
    ContentTypeDuplicate BAD_REQUEST "content-type-duplicate"
        "more than one Content-Type field (RFC 9110, 5.3)",
    LengthInvalid BAD_REQUEST "content-length"
        "the value of Content-Length is not a number in digits (RFC 9110, 8.6)",
    LengthTooLarge BAD_REQUEST "content-length-overflow"
        "the value of Content-Length is larger than 2^63 - 1 (RFC 9110, 8.6)",
    LengthDuplicate BAD_REQUEST "content-length-duplicate"
        "more than one Content-Length (RFC 9112, 6.3)",
    LengthAndCoding BAD_REQUEST "length-and-coding"
        "both Content-Length and Transfer-Encoding (RFC 9112, 6.1)",
    CodingVersion BAD_REQUEST "coding-version"
        "Transfer-Encoding in an HTTP/1.0 request (RFC 9112, 6.1)",
    CodingInvalid BAD_REQUEST "coding"
        "the value of Transfer-Encoding is not a list of codings (RFC 9112, 6.1)",
    CodingOrder BAD_REQUEST "coding-order"
        "chunked is not the last transfer coding, is missing or stands twice (RFC 9112, 6.3)",
    CodingUnsupported NOT_IMPLEMENTED "coding-unsupported"
        "a transfer coding other than chunked (RFC 9112, 6.1)",
    Expectation EXPECTATION_FAILED "expectation"
        "an expectation other than 100-continue (RFC 9110, 10.1.1)",
    ChunkSize BAD_REQUEST "chunk-size"
        "a chunk size that is not a hexadecimal number (RFC 9112, 7.1)",
    ChunkOverflow BAD_REQUEST "chunk-overflow"
        "a chunk larger than 2^63 - 1 bytes (RFC 9112, 7.1)",
    ChunkExtension BAD_REQUEST "chunk-extension"
        "a malformed chunk extension (RFC 9112, 7.1.1)",
    ChunkLineTooLong BAD_REQUEST "chunk-line-limit"
        "a chunk size line that is too long (RFC 9112, 7.1.1)",
    ChunkOverhead BAD_REQUEST "chunk-overhead"
        "chunk extensions and padding far larger than the data that they carry (RFC 9112, 7.1.1)",
    ChunkEnd BAD_REQUEST "chunk-end"
        "no CRLF after the data of a chunk (RFC 9112, 7.1)",
    TrailerForbidden BAD_REQUEST "trailer-forbidden"
        "a trailer field that frames, routes or authorizes the message (RFC 9110, 6.5.1)",
}
