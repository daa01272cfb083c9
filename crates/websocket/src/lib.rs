//! WebSocket without I/O: the server's side of RFC 6455 and of permessage-deflate (RFC 7692).
//!
//! [`Upgrade::judge`] reads the fields of a request, [`Upgrade::agree`] settles compression. From
//! then on a [`Connection`] turns bytes of the client into events, and what the app sends into
//! bytes.
//!
//! Rules of this crate:
//! - It sees bytes and returns facts. It knows no socket, no clock and no Python.
//! - The events are the same however the bytes were split, and reading costs time in proportion to
//!   the bytes, also when they come one at a time.
//! - A message is at most as large as the limit says, in memory as well, whatever it inflates to.
//! - Text is UTF-8 as far as it has come: the first byte that cannot belong to it ends the
//!   connection.
//! - A connection that waits holds no buffer; what compresses is made when the first message needs
//!   it.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod base64;
mod close;
mod closing;
mod connection;
mod deflate;
mod error;
mod extension;
mod frame;
mod handshake;
mod inflate;
mod mask;
mod receiver;
mod sender;
mod spare;
mod utf8;

pub use close::CloseCode;
pub use closing::{Closing, SendError};
pub use connection::Connection;
pub use error::Error;
pub use extension::{Agreement, Compression, Parameters, WindowBits};
pub use frame::{CONTROL_MOST, Kind, REASON_MOST};
pub use handshake::{ACCEPT_LENGTH, HandshakeError, Upgrade, VERSION, accept_key};
pub use receiver::{Event, Received};
