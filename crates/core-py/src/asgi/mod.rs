//! The ASGI gateway (ASGI 3): requests as tasks of an event loop.
//!
//! A request's task is begun as soon as its head is there, in the turn of the loop in which it was
//! read; what the app sends goes out at once. Nothing here is called on another thread than the
//! loop's.

mod awaitable;
mod call;
mod ending;
mod engine;
mod environ;
mod http;
mod messages;
mod news;
mod scope;
mod server;
mod task;
mod websocket;

pub use engine::PyAsgiEngine;
