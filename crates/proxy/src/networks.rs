//! Sets of addresses: single ones, networks, or everybody.

use std::fmt;
use std::net::IpAddr;

/// Addresses that an operator has named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    everybody: bool,
    networks: Vec<Network>,
}

/// The leading bits that its members share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Network {
    V4 { bits: u32, mask: u32 },
    V6 { bits: u128, mask: u128 },
}

/// A text that is no address, no network and not `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidNetwork(pub String);

impl fmt::Display for InvalidNetwork {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} is neither an address, nor ADDRESS/BITS, nor *", self.0)
    }
}

impl std::error::Error for InvalidNetwork {}

impl Networks {
    /// Reads `ADDRESS`, `ADDRESS/BITS` and `*`.
    ///
    /// # Errors
    /// [`InvalidNetwork`] for anything else, bits beyond the prefix included.
    pub fn parse<T: AsRef<str>>(
        items: impl IntoIterator<Item = T>,
    ) -> Result<Networks, InvalidNetwork> {
        let mut found = Networks::default();
        for item in items {
            match item.as_ref() {
                "*" => found.everybody = true,
                text => found
                    .networks
                    .push(Network::read(text).ok_or_else(|| InvalidNetwork(text.to_owned()))?),
            }
        }
        Ok(found)
    }

    /// Whether somebody who connects from there is one of them.
    pub fn contain(&self, address: IpAddr) -> bool {
        self.everybody || self.list(address)
    }

    /// Whether the address is in one of the networks. `*` lists nobody: it says that whoever can
    /// connect may be believed, and nothing about those behind.
    pub fn list(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(address))
    }
}

impl Network {
    fn read(text: &str) -> Option<Network> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(read_prefix(prefix)?)),
            None => (text, None),
        };
        match address.parse().ok()? {
            IpAddr::V4(address) => {
                let prefix = prefix.unwrap_or(u32::BITS);
                let mask = u32::MAX.checked_shl(u32::BITS.checked_sub(prefix)?).unwrap_or(0);
                let bits = u32::from(address);
                (bits & !mask == 0).then_some(Network::V4 { bits, mask })
            }
            IpAddr::V6(address) => {
                let prefix = prefix.unwrap_or(u128::BITS);
                let mask = u128::MAX.checked_shl(u128::BITS.checked_sub(prefix)?).unwrap_or(0);
                let bits = u128::from(address);
                if bits & !mask != 0 {
                    return None;
                }
                // Peers of a socket that speaks both versions show up as ::ffff:a.b.c.d; addresses
                // are compared in their canonical form.
                match (address.to_ipv4_mapped(), prefix.checked_sub(96)) {
                    (Some(mapped), Some(prefix)) => Some(Network::V4 {
                        bits: u32::from(mapped),
                        mask: u32::MAX.checked_shl(u32::BITS - prefix).unwrap_or(0),
                    }),
                    _ => Some(Network::V6 { bits, mask }),
                }
            }
        }
    }

    fn contains(self, address: IpAddr) -> bool {
        match (self, address) {
            (Network::V4 { bits, mask }, IpAddr::V4(address)) => u32::from(address) & mask == bits,
            (Network::V6 { bits, mask }, IpAddr::V6(address)) => u128::from(address) & mask == bits,
            _ => false,
        }
    }
}

fn read_prefix(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.len() <= 3 && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::Networks;

    #[test]
    fn addresses_belong_to_the_networks_that_hold_them() {
        let networks =
            Networks::parse(["127.0.0.1", "10.0.0.0/8", "::1", "2001:db8::/32", "192.0.2.8/31"])
                .unwrap();
        for inside in [
            "127.0.0.1",
            "10.0.0.0",
            "10.255.255.255",
            "::1",
            "2001:db8::",
            "2001:db8:ffff::1",
            "192.0.2.8",
            "192.0.2.9",
            "::ffff:10.1.2.3",
        ] {
            assert!(networks.contain(inside.parse().unwrap()), "{inside}");
        }
        for outside in
            ["127.0.0.2", "11.0.0.0", "::2", "2001:db9::", "192.0.2.10", "::ffff:11.0.0.1", "::"]
        {
            assert!(!networks.contain(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn everything_and_nothing() {
        let address = "203.0.113.9".parse().unwrap();
        assert!(!Networks::default().contain(address));
        let everybody = Networks::parse(["*"]).unwrap();
        assert!(everybody.contain(address));
        assert!(!everybody.list(address));
        assert!(Networks::parse(["0.0.0.0/0"]).unwrap().list(address));
        assert!(!Networks::parse(["::/0"]).unwrap().list(address));
        assert!(Networks::parse(["::ffff:203.0.113.0/120"]).unwrap().list(address));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "localhost",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "10.0.0/8",
            "010.0.0.1",
            "::1/129",
            "2001:db8::1/32",
            "::1%lo",
            "**",
        ] {
            assert!(Networks::parse([text]).is_err(), "{text}");
        }
    }
}
