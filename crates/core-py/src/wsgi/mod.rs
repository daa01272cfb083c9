//! The WSGI gateway (PEP 3333): from the engine's exchange to the app and back.

mod client;
mod cooperation;
mod encrypted;
mod environ;
mod file;
mod gateway;
mod input;
mod responder;

pub use environ::Facts;
pub use file::FileWrapper;
pub use gateway::{AppError, Local, Paused, Wsgi};
pub use input::Input;
