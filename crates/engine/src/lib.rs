//! The engine: sockets, deadlines and shared memory, without Python.

pub mod clock;
pub mod scoreboard;
