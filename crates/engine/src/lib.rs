//! The engine: sockets, deadlines and shared memory, without Python.
