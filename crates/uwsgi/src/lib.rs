//! The uwsgi protocol without I/O: packets, and the requests that they stand for.
//!
//! A front end such as nginx (`uwsgi_pass`) reads a client's request and tells of it in variables,
//! as CGI names them. A packet is rewritten as the head of an HTTP/1.1 request, so that one parser
//! decides what a request may look like, however it came; what a head has no place for stays with
//! the variables.
//!
//! Rules of this crate:
//! - It sees bytes and returns facts. It knows no socket, no clock and no Python.
//! - One reading of a packet or an error. The outcome never depends on how its bytes were split.
//! - What a client may have chosen (method, target, header fields) can end neither its line nor
//!   the head that is written from it.
//! - Variables are the front end's own word. Whether it may be believed, somebody else decides.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod error;
mod packet;
mod request;
mod variables;

pub use error::Error;
pub use packet::{LONGEST, Packet, Progress, VARIABLES_MOST};
pub use request::{Request, read};
pub use variables::Variables;
