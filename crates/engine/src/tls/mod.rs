//! TLS: who we are to clients, who they are to us, and what goes between.
//!
//! Rules:
//! - rustls is met in this folder only. The rest of the engine knows a [`Session`], which turns
//!   what the socket brings into bytes of the request and bytes of the response into what the
//!   socket takes.
//! - The arbiter reads files, checks them and publishes what it has found in a [`Store`], shared
//!   memory that every worker inherits. Workers read no file: a key that only root may read is
//!   enough, and a new certificate is in use without a new worker.
//! - Nothing half-made is ever published: a certificate without its key, a broken file or an
//!   unknown cipher leaves what was there before.

mod ciphers;
mod client_certificate;
mod config;
mod load;
mod material;
mod resolver;
mod session;
mod store;
mod tickets;

use std::sync::Arc;

use rustls::ServerConfig;

pub use client_certificate::{end_of, environ_of};
pub use load::{KeyPair, Settings, load};
pub use material::{ClientAuthentication, Material};
pub use session::{BATCH, Complaint, Received, Session};
pub use store::{Store, TooLarge};
pub use tickets::TicketKeys;

/// A worker's side of TLS: makes sessions, with what is in the store now.
#[derive(Clone)]
pub struct Server {
    store: Arc<Store>,
    /// The version of the store that `config` was made from.
    version: u64,
    config: Arc<ServerConfig>,
    authentication: ClientAuthentication,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Server").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Server {
    /// Fails, with the reason for people, when the store holds nothing that can be used.
    pub fn new(store: Arc<Store>) -> Result<Server, String> {
        let (version, bytes) = store.read().ok_or("the TLS store could not be read")?;
        let (config, authentication) = made_from(&bytes)?;
        Ok(Server { store, version, config, authentication })
    }

    /// A session for a connection that has just been accepted.
    pub fn session(&mut self) -> Result<Session, String> {
        if self.store.version() != self.version {
            self.renew()?;
        }
        Session::new(Arc::clone(&self.config), self.authentication)
    }

    /// Takes what the arbiter has published since.
    fn renew(&mut self) -> Result<(), String> {
        // While it is being written the former is good enough.
        let Some((version, bytes)) = self.store.read() else { return Ok(()) };
        self.version = version;
        (self.config, self.authentication) = made_from(&bytes)?;
        Ok(())
    }
}

fn made_from(bytes: &[u8]) -> Result<(Arc<ServerConfig>, ClientAuthentication), String> {
    let material = Material::decode(bytes).ok_or("the TLS store holds something else")?;
    Ok((config::build(&material)?, material.authentication))
}
