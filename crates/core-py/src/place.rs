//! Where listeners listen, as apps are told.

use std::os::fd::{BorrowedFd, RawFd};

use pyo3::prelude::*;
use rustix::net::{AddressFamily, getsockname};

use crate::process::os_error;

/// Where a listener listens.
#[derive(Clone, Debug)]
pub enum Place {
    Internet { host: String, port: u16 },
    Unix { path: String },
}

/// Where each of these sockets listens. The caller holds them open.
pub fn places(listeners: &[RawFd]) -> PyResult<Vec<Place>> {
    listeners.iter().map(|fd| place(*fd)).collect()
}

/// Where a listening socket listens.
fn place(listener: RawFd) -> PyResult<Place> {
    // SAFETY: the caller holds its listeners open while the engine is made.
    let socket = unsafe { BorrowedFd::borrow_raw(listener) };
    let address = getsockname(socket).map_err(os_error)?;
    if address.address_family() == AddressFamily::UNIX {
        let path = rustix::net::SocketAddrUnix::try_from(address).map_err(os_error)?;
        let path = path.path_bytes().map_or(&b""[..], |path| path);
        return Ok(Place::Unix { path: String::from_utf8_lossy(path).into_owned() });
    }
    let address = std::net::SocketAddr::try_from(address).map_err(os_error)?;
    Ok(Place::Internet { host: address.ip().to_string(), port: address.port() })
}
