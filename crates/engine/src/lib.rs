//! The engine of a worker: sockets, connections, deadlines and shared memory, without Python.
//!
//! Rules of this crate:
//! - It owns every socket. Whoever calls the app gets whole requests and never waits for a client.
//! - Everything that changes together is in the [`reactor`] under one lock; who runs it is decided
//!   in [`lead`].
//! - Nothing is unbounded: what a peer can make us keep has a limit beside it.
//! - It writes no log and knows no app. What it has to say, an app thread says.

mod body;
pub mod clock;
mod connections;
mod drain;
mod exchange;
mod gateway;
mod lead;
mod listeners;
mod notice;
mod options;
mod output;
mod poller;
mod reactor;
mod receive;
pub mod scoreboard;
mod spool;
mod work;

pub use body::Body;
pub use exchange::{Exchange, PeerGone, READ_BUFFER};
pub use gateway::{Gateway, Outcome};
pub use lead::{AppThread, Engine, Next};
pub use notice::{Notice, Severity};
pub use options::Options;
pub use output::{Payload, Written};
pub use spool::Spool;
