//! HTTP/1.1 without I/O: request heads, chunked bodies, response heads, limits.
//!
//! Rules of this crate:
//! - It sees bytes and returns facts. It knows no socket, no clock, no thread and no Python.
//! - One reading of a message or an error: what two parsers could read in two ways is refused.
//! - The outcome never depends on how the bytes were split on their way here.
//! - Nothing is allocated per request: a [`Head`] and its field list are reused.
//! - An [`Error`] is the peer's fault and carries the status to answer with; a [`FieldError`] is
//!   the app's. Neither repeats bytes of the other side.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod authority;
mod chunked;
mod date;
mod error;
mod fields;
mod head;
mod limits;
mod name;
mod parser;
mod percent;
mod request_line;
mod response;
mod scan;
mod span;
mod status;

pub use authority::split_authority;
pub use chunked::{ChunkedDecoder, DecodeError, Decoded};
pub use date::DateCache;
pub use error::Error;
pub use head::{Amendment, Field, Framing, Head, Method, TargetForm, Version};
pub use limits::{ForwarderNames, Limits, Policy, UnderscoreNames};
pub use name::Name;
pub use parser::{HeadParser, Progress};
pub use percent::percent_decode;
pub use response::{
    BodyFraming, BodyMode, CHUNK_SUFFIX, FieldError, Finish, LAST_CHUNK, ResponseHead,
    chunk_prefix, error_response,
};
pub use span::Span;
pub use status::Status;
