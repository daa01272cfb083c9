//! All that a worker has to know to speak TLS, and its form in the store.

use crate::tls::tickets::TicketKeys;

/// Whether clients are asked for certificates; the numbers are those of the setting `cert_reqs`
/// (Python's `ssl.CERT_NONE`, `CERT_OPTIONAL`, `CERT_REQUIRED`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ClientAuthentication {
    #[default]
    None = 0,
    /// A client may come without; one that it shows has to be good.
    Optional = 1,
    Required = 2,
}

impl ClientAuthentication {
    pub fn from_number(number: u8) -> Option<ClientAuthentication> {
        match number {
            0 => Some(ClientAuthentication::None),
            1 => Some(ClientAuthentication::Optional),
            2 => Some(ClientAuthentication::Required),
            _ => None,
        }
    }
}

/// The forms of an unencrypted private key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyForm {
    Pkcs1 = 1,
    Sec1 = 2,
    Pkcs8 = 3,
}

/// A certificate with those that lead to a root, and its key; DER.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    pub chain: Vec<Vec<u8>>,
    pub key_form: KeyForm,
    pub key: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Material {
    /// The first is for clients that name nobody, or somebody we do not know.
    pub identities: Vec<Identity>,
    pub authentication: ClientAuthentication,
    /// Certificates that may vouch for clients, DER.
    pub authorities: Vec<Vec<u8>>,
    /// TLS 1.2 is refused.
    pub only_tls13: bool,
    /// Cipher suites by their numbers, in our order; empty: all that there are, in the client's.
    pub suites: Vec<u16>,
    pub tickets: TicketKeys,
}

/// The first bytes of the form below; another one means another form.
const FORM: u8 = 1;

impl Material {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![FORM, self.authentication as u8, self.only_tls13 as u8];
        put_list(&mut bytes, &self.identities, |bytes, identity| {
            bytes.push(identity.key_form as u8);
            put(bytes, &identity.key);
            put_list(bytes, &identity.chain, |bytes, der| put(bytes, der));
        });
        put_list(&mut bytes, &self.authorities, |bytes, der| put(bytes, der));
        put_list(&mut bytes, &self.suites, |bytes, suite| bytes.extend(suite.to_be_bytes()));
        put_list(&mut bytes, &self.tickets.0, |bytes, key| bytes.extend(key));
        bytes
    }

    /// None for what `encode` has not made.
    pub fn decode(bytes: &[u8]) -> Option<Material> {
        let mut rest = Rest(bytes);
        let [FORM, authentication, only_tls13] = rest.array()? else { return None };
        let material = Material {
            authentication: ClientAuthentication::from_number(authentication)?,
            only_tls13: only_tls13 != 0,
            identities: rest.list(|rest| {
                let key_form = match rest.array()? {
                    [1] => KeyForm::Pkcs1,
                    [2] => KeyForm::Sec1,
                    [3] => KeyForm::Pkcs8,
                    _ => return None,
                };
                Some(Identity { key_form, key: rest.bytes()?, chain: rest.list(Rest::bytes)? })
            })?,
            authorities: rest.list(Rest::bytes)?,
            suites: rest.list(|rest| Some(u16::from_be_bytes(rest.array()?)))?,
            tickets: TicketKeys(rest.list(Rest::array)?),
        };
        rest.0.is_empty().then_some(material)
    }
}

fn put(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend((part.len() as u32).to_be_bytes());
    bytes.extend(part);
}

fn put_list<T>(bytes: &mut Vec<u8>, items: &[T], put_item: impl Fn(&mut Vec<u8>, &T)) {
    bytes.extend((items.len() as u32).to_be_bytes());
    for item in items {
        put_item(bytes, item);
    }
}

struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn length(&mut self) -> Option<usize> {
        Some(u32::from_be_bytes(self.array()?) as usize)
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        let length = self.length()?;
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head.to_vec())
    }

    fn list<T>(&mut self, item: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.length()?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Some(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_and_nothing_else() {
        let material = Material {
            identities: vec![Identity {
                chain: vec![vec![1, 2, 3], vec![]],
                key_form: KeyForm::Sec1,
                key: vec![4; 300],
            }],
            authentication: ClientAuthentication::Optional,
            authorities: vec![vec![5]],
            only_tls13: true,
            suites: vec![0x1301, 0xc02f],
            tickets: TicketKeys(vec![[7; 48], [8; 48]]),
        };
        let bytes = material.encode();
        assert!(Material::decode(&bytes) == Some(material));
        for end in 0..bytes.len() {
            assert!(Material::decode(&bytes[..end]).is_none());
        }
        assert!(Material::decode(&[&bytes[..], &[0]].concat()).is_none());
    }
}
