//! What a proxy says about its client, and whose word counts. Without I/O.
//!
//! Rules of this crate:
//! - It sees bytes and addresses and returns facts. It knows no socket, no clock and no Python.
//! - An address is believed only when who said it is trusted: from the connection's peer outwards,
//!   hop by hop, and never a hop further.
//! - One reading or an error: what a client could have mixed into a proxy's words is refused.
//! - The outcome never depends on how the bytes were split on their way here.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod forwarded;
mod networks;
mod node;
pub mod proxy_protocol;

pub use forwarded::{Hop, Malformed, forwarded, x_forwarded_for};
pub use networks::{InvalidNetwork, Networks};
pub use node::Node;
