//! The opening handshake (RFC 6455, 4.2): what a request must say, and what the answer proves.

use std::fmt;

use sha1::{Digest, Sha1};

use crate::base64;
use crate::extension::{self, Agreement, Compression, Offer};

/// The only version, as it stands in Sec-WebSocket-Version.
pub const VERSION: &str = "13";

/// Bytes of Sec-WebSocket-Accept's value.
pub const ACCEPT_LENGTH: usize = base64::DIGEST_LENGTH;

/// What is appended to a key before it is digested (RFC 6455, 1.3).
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A request for a WebSocket that may be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade<'a> {
    /// The value of Sec-WebSocket-Key, for [`accept_key`].
    pub key: &'a [u8],
    /// The subprotocols that the client speaks, those that it likes best first. The answer names at
    /// most one of them.
    pub subprotocols: Vec<&'a str>,
    offers: Vec<Offer>,
}

/// A request for a WebSocket that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeError {
    /// Sec-WebSocket-Version is missing or another one: 426, with `Sec-WebSocket-Version: 13`.
    Version,
    /// Sec-WebSocket-Key is missing, stands twice or is not 16 bytes in base64: 400.
    Key,
    /// Sec-WebSocket-Protocol is no list of tokens: 400.
    Subprotocols,
    /// Sec-WebSocket-Extensions is no list of extensions: 400.
    Extensions,
}

impl HandshakeError {
    /// The status to answer with. 426 comes with `Sec-WebSocket-Version: 13` ([`VERSION`]).
    pub fn status(self) -> u16 {
        match self {
            HandshakeError::Version => 426,
            _ => 400,
        }
    }

    /// A stable identifier of the broken rule.
    pub fn rule(self) -> &'static str {
        match self {
            HandshakeError::Version => "websocket-version",
            HandshakeError::Key => "websocket-key",
            HandshakeError::Subprotocols => "websocket-subprotocols",
            HandshakeError::Extensions => "websocket-extensions",
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            HandshakeError::Version => "a WebSocket of another version than 13 (RFC 6455, 4.2.2)",
            HandshakeError::Key => {
                "no Sec-WebSocket-Key, more than one, or one that is not 16 bytes in base64 \
                 (RFC 6455, 4.2.1)"
            }
            HandshakeError::Subprotocols => {
                "the value of Sec-WebSocket-Protocol is no list of tokens (RFC 6455, 11.3.4)"
            }
            HandshakeError::Extensions => {
                "the value of Sec-WebSocket-Extensions is no list of extensions (RFC 6455, 9.1)"
            }
        })
    }
}

impl std::error::Error for HandshakeError {}

impl<'a> Upgrade<'a> {
    /// Judges the fields of a GET request of HTTP/1.1. None if they do not ask for a WebSocket:
    /// then it is a request as any other. The method and the version of HTTP are the caller's to
    /// see to, as is that values have no blanks around them.
    ///
    /// # Errors
    /// If a WebSocket is asked for in a way that no server may accept.
    pub fn judge(
        fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<Option<Upgrade<'a>>, HandshakeError> {
        let (mut upgrade, mut connection) = (false, false);
        let mut version = Value::Missing;
        let mut key = Value::Missing;
        let (mut subprotocols, mut extensions) = (Vec::new(), Vec::new());
        for (name, value) in fields {
            // One look at the length spares most fields all comparisons.
            match name.len() {
                7 if name.eq_ignore_ascii_case(b"upgrade") => {
                    upgrade |= has_token(value, b"websocket");
                }
                10 if name.eq_ignore_ascii_case(b"connection") => {
                    connection |= has_token(value, b"upgrade");
                }
                17 if name.eq_ignore_ascii_case(b"sec-websocket-key") => key.add(value),
                21 if name.eq_ignore_ascii_case(b"sec-websocket-version") => version.add(value),
                22 if name.eq_ignore_ascii_case(b"sec-websocket-protocol") => {
                    subprotocols.push(value);
                }
                24 if name.eq_ignore_ascii_case(b"sec-websocket-extensions") => {
                    extensions.push(value);
                }
                _ => {}
            }
        }
        if !(upgrade && connection) {
            return Ok(None);
        }
        if version != Value::One(VERSION.as_bytes()) {
            return Err(HandshakeError::Version);
        }
        let key = match key {
            Value::One(key) if base64::is_16_bytes(key) => key,
            _ => return Err(HandshakeError::Key),
        };
        let mut judged = Upgrade { key, subprotocols: Vec::new(), offers: Vec::new() };
        for value in subprotocols {
            judged.add_subprotocols(value)?;
        }
        for value in extensions {
            extension::read(value, &mut judged.offers)?;
        }
        Ok(Some(judged))
    }

    /// Settles compression: the first of the client's offers that can be accepted; none if there is
    /// no such.
    pub fn agree(&self, compression: &Compression) -> Option<Agreement> {
        extension::agree(&self.offers, compression)
    }

    fn add_subprotocols(&mut self, value: &'a [u8]) -> Result<(), HandshakeError> {
        for name in elements(value).filter(|name| !name.is_empty()) {
            if !is_token(name) {
                return Err(HandshakeError::Subprotocols);
            }
            let name = std::str::from_utf8(name).map_err(|_| HandshakeError::Subprotocols)?;
            self.subprotocols.push(name);
        }
        Ok(())
    }
}

/// A field that stands once.
#[derive(PartialEq, Eq)]
enum Value<'a> {
    Missing,
    One(&'a [u8]),
    Several,
}

impl<'a> Value<'a> {
    fn add(&mut self, value: &'a [u8]) {
        *self = match self {
            Value::Missing => Value::One(value),
            _ => Value::Several,
        };
    }
}

/// The value of Sec-WebSocket-Accept: proves that the server has read the key (RFC 6455, 4.2.2).
pub fn accept_key(key: &[u8]) -> [u8; ACCEPT_LENGTH] {
    let digest = Sha1::new().chain_update(key).chain_update(ACCEPT_SUFFIX).finalize();
    base64::encode_digest(&digest.into())
}

/// The elements of a list, empty ones as well.
fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b',').map(trim)
}

fn has_token(list: &[u8], token: &[u8]) -> bool {
    elements(list).any(|element| element.eq_ignore_ascii_case(token))
}

/// A token (RFC 9110, 5.6.2).
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// The bytes without SP and TAB on both sides.
pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let [b' ' | b'\t', tail @ ..] = rest {
        rest = tail;
    }
    while let [head @ .., b' ' | b'\t'] = rest {
        rest = head;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    type Field = (&'static str, &'static str);

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const RIGHT: [Field; 5] = [
        ("Host", "server.example.com"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Version", "13"),
    ];

    fn judge(fields: &[Field]) -> Result<Option<Upgrade<'static>>, HandshakeError> {
        Upgrade::judge(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    /// The right fields, without one of them, with others.
    fn with(without: &str, others: &[Field]) -> Vec<Field> {
        RIGHT.into_iter().filter(|(name, _)| *name != without).chain(others.to_vec()).collect()
    }

    #[test]
    fn the_answer_of_the_rfc() {
        assert_eq!(&accept_key(KEY.as_bytes()), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let upgrade = judge(&RIGHT).unwrap().unwrap();
        assert_eq!(upgrade.key, KEY.as_bytes());
        assert!(upgrade.subprotocols.is_empty());
        assert_eq!(upgrade.agree(&Compression::default()), None);
    }

    #[test]
    fn names_and_tokens_have_no_case_and_lists_are_lists() {
        for (without, field) in [
            ("Upgrade", ("UPGRADE", "WebSocket")),
            ("Upgrade", ("upgrade", "h2c, websocket")),
            ("Connection", ("connection", "keep-alive, Upgrade")),
            ("Connection", ("Connection", "keep-alive ,\tupgrade")),
            ("Sec-WebSocket-Key", ("sec-websocket-key", KEY)),
            ("Sec-WebSocket-Version", ("SEC-WEBSOCKET-VERSION", "13")),
        ] {
            assert!(judge(&with(without, &[field])).unwrap().is_some(), "{field:?}");
        }
        let apart = [("Connection", "keep-alive"), ("Connection", "upgrade")];
        assert!(judge(&with("Connection", &apart)).unwrap().is_some());
    }

    #[test]
    fn a_request_for_anything_else_is_no_upgrade() {
        for (without, others) in [
            ("Upgrade", &[][..]),
            ("Connection", &[]),
            ("Upgrade", &[("Upgrade", "h2c")]),
            ("Upgrade", &[("Upgrade", "websocket2")]),
            ("Connection", &[("Connection", "keep-alive")]),
            ("Connection", &[("Connection", "upgraded")]),
        ] {
            let mut fields = with(without, others);
            assert_eq!(judge(&fields), Ok(None), "{without} {others:?}");
            // What else it says does not matter then.
            fields.push(("Sec-WebSocket-Version", "8"));
            fields.push(("Sec-WebSocket-Extensions", "; ;"));
            assert_eq!(judge(&fields), Ok(None), "{without} {others:?}");
        }
    }

    #[test]
    fn versions_other_than_13_are_426() {
        for others in [
            &[][..],
            &[("Sec-WebSocket-Version", "8")],
            &[("Sec-WebSocket-Version", "")],
            &[("Sec-WebSocket-Version", "013")],
            &[("Sec-WebSocket-Version", "13, 8")],
            &[("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Version", "8")],
        ] {
            let error = judge(&with("Sec-WebSocket-Version", others)).unwrap_err();
            assert_eq!((error, error.status()), (HandshakeError::Version, 426), "{others:?}");
        }
        // The version comes first: another one may have another key.
        let neither = [("Upgrade", "websocket"), ("Connection", "upgrade")];
        assert_eq!(judge(&neither), Err(HandshakeError::Version));
    }

    #[test]
    fn a_key_that_is_not_16_bytes_is_400() {
        for others in [
            &[][..],
            &[("Sec-WebSocket-Key", "")],
            &[("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZVE=")],
            &[("Sec-WebSocket-Key", KEY), ("Sec-WebSocket-Key", KEY)],
        ] {
            let error = judge(&with("Sec-WebSocket-Key", others)).unwrap_err();
            assert_eq!((error, error.status()), (HandshakeError::Key, 400), "{others:?}");
        }
    }

    #[test]
    fn subprotocols_keep_their_order_over_all_fields() {
        let fields = with(
            "",
            &[
                ("Sec-WebSocket-Protocol", "graphql-transport-ws, ,chat.v2"),
                ("sec-websocket-protocol", "v1"),
            ],
        );
        let upgrade = judge(&fields).unwrap().unwrap();
        assert_eq!(upgrade.subprotocols, ["graphql-transport-ws", "chat.v2", "v1"]);
        for value in ["a b", "a, b/c", "caf\u{e9}", "\"a\""] {
            let error = judge(&with("", &[("Sec-WebSocket-Protocol", value)])).unwrap_err();
            assert_eq!((error, error.status()), (HandshakeError::Subprotocols, 400), "{value}");
        }
    }

    #[test]
    fn extensions_are_one_list_over_all_fields() {
        let fields = with(
            "",
            &[
                ("Sec-WebSocket-Extensions", "x, permessage-deflate; unknown"),
                ("Sec-WebSocket-Extensions", "permessage-deflate; server_no_context_takeover"),
            ],
        );
        let agreement = judge(&fields).unwrap().unwrap().agree(&Compression::default()).unwrap();
        assert_eq!(agreement.field, "permessage-deflate; server_no_context_takeover");
        assert!(!agreement.parameters.server_context && agreement.parameters.client_context);
        let error = judge(&with("", &[("Sec-WebSocket-Extensions", "a;")])).unwrap_err();
        assert_eq!((error, error.status()), (HandshakeError::Extensions, 400));
    }
}
