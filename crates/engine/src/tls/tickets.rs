//! Session tickets (RFC 5077; RFC 8446, 4.6.1): sealed with keys that all workers share, so that a
//! client resumes with whichever worker it meets, before and after a reload.
//!
//! - A ticket is: name of the key (16 bytes), nonce (12), the sealed session and its tag (16).
//! - What we ask of clients is bound in: when that changes, tickets that were given before open
//!   nothing any more, and whoever has one has to show its certificate again.
//! - A key seals for one period and opens for two more: a ticket lives no longer than that.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::server::ProducesTickets;

const NAME: usize = 16;
const KEY: usize = 32;

/// Keys that are kept: the one that seals, and two that still open.
const KEPT: usize = 3;
/// How long a key seals, seconds; the arbiter makes a new one then.
const PERIOD: u32 = 6 * 3600;

/// Newest first; each is a name and a key.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct TicketKeys(pub Vec<[u8; NAME + KEY]>);

impl TicketKeys {
    /// Seconds after which `rotate` is due.
    pub const PERIOD: u32 = PERIOD;

    /// A new key seals from now on. False: the system has no random bytes to give.
    #[must_use]
    pub fn rotate(&mut self) -> bool {
        let mut fresh = [0; NAME + KEY];
        let filled = SystemRandom::new().fill(&mut fresh).is_ok();
        if filled {
            self.0.insert(0, fresh);
            self.0.truncate(KEPT);
        }
        filled
    }
}

pub struct Ticketer {
    keys: Vec<([u8; NAME], LessSafeKey)>,
    /// A digest of what sessions depend on.
    binding: [u8; 32],
    random: SystemRandom,
}

impl std::fmt::Debug for Ticketer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Ticketer").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

impl Ticketer {
    pub fn new(keys: &TicketKeys, binding: [u8; 32]) -> Ticketer {
        let keys = keys.0.iter().filter_map(|bytes| {
            let (name, key) = bytes.split_first_chunk::<NAME>()?;
            Some((*name, LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?)))
        });
        Ticketer { keys: keys.collect(), binding, random: SystemRandom::new() }
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        !self.keys.is_empty()
    }

    fn lifetime(&self) -> u32 {
        PERIOD * (KEPT as u32 - 1)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let (name, key) = self.keys.first()?;
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let nonce_used = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce_used, Aad::from(self.binding), &mut sealed).ok()?;
        Some([&name[..], &nonce, &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let (_, key) = self.keys.iter().find(|(known, _)| known == name)?;
        let mut opened = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = key.open_in_place(nonce, Aad::from(self.binding), &mut opened).ok()?.len();
        opened.truncate(plain);
        Some(opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> TicketKeys {
        let mut keys = TicketKeys::default();
        assert!(keys.rotate());
        keys
    }

    #[test]
    fn a_sibling_opens_what_was_sealed() {
        let keys = keys();
        let ticket = Ticketer::new(&keys, [1; 32]).encrypt(b"a session").unwrap();
        assert_eq!(Ticketer::new(&keys, [1; 32]).decrypt(&ticket).unwrap(), b"a session");
    }

    #[test]
    fn a_ticket_opens_for_two_rotations() {
        let mut keys = keys();
        let ticket = Ticketer::new(&keys, [1; 32]).encrypt(b"a session").unwrap();
        for _ in 0..2 {
            assert!(keys.rotate());
            assert!(Ticketer::new(&keys, [1; 32]).decrypt(&ticket).is_some());
        }
        assert!(keys.rotate());
        assert!(Ticketer::new(&keys, [1; 32]).decrypt(&ticket).is_none());
    }

    #[test]
    fn another_demand_voids_tickets() {
        let keys = keys();
        let ticket = Ticketer::new(&keys, [1; 32]).encrypt(b"a session").unwrap();
        assert!(Ticketer::new(&keys, [2; 32]).decrypt(&ticket).is_none());
    }

    #[test]
    fn a_ticket_that_was_touched_opens_nothing() {
        let ticketer = Ticketer::new(&keys(), [1; 32]);
        let ticket = ticketer.encrypt(b"a session").unwrap();
        for at in 0..ticket.len() {
            let mut touched = ticket.clone();
            touched[at] ^= 1;
            assert!(ticketer.decrypt(&touched).is_none());
            assert!(ticketer.decrypt(&ticket[..at]).is_none());
        }
    }
}
