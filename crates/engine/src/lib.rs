//! The engine of a worker: sockets, connections, deadlines and shared memory, without Python.
//!
//! Rules of this crate:
//! - It owns every socket. Whoever calls the app gets whole requests and never waits for a client.
//! - Everything that changes together is in the [`reactor`] under one lock; who runs it is decided
//!   in [`lead`].
//! - Nothing is unbounded: what a peer can make us keep has a limit beside it.
//! - It knows no app and has no words for a log: what it has to say, an app thread says. It only
//!   carries finished lines to their file.

mod body;
pub mod clock;
mod connections;
mod drain;
mod exchange;
#[cfg(feature = "testing")]
pub mod faults;
mod gateway;
mod handoff;
mod hub;
mod lead;
mod lines;
mod listeners;
mod notice;
mod options;
mod output;
mod overload;
mod pace;
mod poller;
mod preface;
mod promptness;
mod reactor;
mod receive;
mod refusal;
mod reserve;
pub mod scoreboard;
mod seats;
mod spool;
mod stream;
mod system;
pub mod tls;
mod trust;
mod uwsgi;
mod work;

pub use body::Body;
pub use connections::{Class, Key};
pub use exchange::{Exchange, PeerGone, READ_BUFFER};
pub use gateway::{Gateway, Outcome};
pub use handoff::Handoff;
pub use lead::{AppThread, Engine, Next, Step};
pub use lines::{Lines, locked};
pub use monoceros_uwsgi::Variables;
pub use notice::{Notice, Report, Severity};
pub use options::{EventLoop, Options};
pub use output::{Payload, Written};
pub use reactor::News;
pub use refusal::Refusal;
pub use spool::Spool;
pub use stream::{Arrived, Broken, Flow, Stream};
pub use trust::{ClientField, Origin, ProxyProtocol, Scheme, Trust};
