//! Sec-WebSocket-Extensions: the offers of permessage-deflate, and the answer (RFC 7692, 5 and 7.1).

use std::fmt::Write;

use crate::handshake::{HandshakeError, is_token, trim};

const NAME: &[u8] = b"permessage-deflate";

/// The size of a window as a power of two, 8 to 15: how far back deflate refers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WindowBits(u8);

impl WindowBits {
    /// 256 bytes. No server of ours compresses with it: zlib's algorithm needs more.
    pub const LEAST: WindowBits = WindowBits(8);
    /// 32 KiB, which holds where nobody says otherwise.
    pub const MOST: WindowBits = WindowBits(15);

    /// From a number, if it is one of them.
    pub const fn new(bits: u8) -> Option<WindowBits> {
        if bits >= 8 && bits <= 15 { Some(WindowBits(bits)) } else { None }
    }

    /// Its number.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// One or two digits without a leading zero (RFC 7692, 7.1.2).
    fn read(value: &[u8]) -> Option<WindowBits> {
        match value {
            [digit @ b'8'..=b'9'] => Some(WindowBits(digit - b'0')),
            [b'1', digit @ b'0'..=b'5'] => Some(WindowBits(10 + digit - b'0')),
            _ => None,
        }
    }
}

/// How the server compresses, and what it asks of clients. The settings of all connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// zlib's level: 1 (fast) to 9 (small).
    pub level: u8,
    /// zlib's memory level: 1 to 9. Bounds how much is collected before it is written.
    pub memory_level: u8,
    /// The window of what the server sends, at least 9: a client may ask for a smaller one.
    pub server_window: WindowBits,
    /// The window of what clients send, as far as they let a server choose.
    pub client_window: WindowBits,
    /// Whether the server's messages refer to earlier ones. If not, no connection holds a
    /// compressor between messages: all connections of a thread share one.
    pub server_context: bool,
    /// Whether a client's messages may refer to earlier ones. If not, no connection holds what
    /// inflates between messages.
    pub client_context: bool,
    /// Messages with fewer bytes are sent as they are: what a compressor could take away from them
    /// is less than what frame, TCP and IP add.
    pub least: usize,
}

/// Fast and small. Messages of some hundred bytes are compressed five times faster on level 1 than
/// on any other, because it makes no table of codes for each, and are hardly larger for it. This
/// window and memory level take 160 KiB a compressor instead of 370 KiB, for about a tenth more
/// bytes.
impl Default for Compression {
    fn default() -> Compression {
        Compression {
            level: 1,
            memory_level: 5,
            server_window: WindowBits(12),
            client_window: WindowBits::MOST,
            server_context: true,
            client_context: true,
            least: 16,
        }
    }
}

/// What is in force on a connection with permessage-deflate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Whether the server's messages refer to earlier ones.
    pub server_context: bool,
    /// Whether the client's messages may refer to earlier ones.
    pub client_context: bool,
    /// The window of what the server sends.
    pub server_window: WindowBits,
    /// The window of what the client sends.
    pub client_window: WindowBits,
    pub(crate) level: u8,
    pub(crate) memory_level: u8,
    pub(crate) least: usize,
}

/// An agreement on permessage-deflate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// What is in force.
    pub parameters: Parameters,
    /// The value of the response's field Sec-WebSocket-Extensions.
    pub field: String,
}

/// An offer of permessage-deflate whose parameters are all known and right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offer {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<WindowBits>,
    client_max_window_bits: Option<WindowBits>,
}

impl Offer {
    /// What the server makes of the offer; none if it cannot do what is asked.
    fn accept(&self, compression: &Compression) -> Option<Agreement> {
        let server_window = match self.server_max_window_bits {
            // zlib's algorithm has no such window.
            Some(WindowBits::LEAST) => return None,
            Some(asked) => asked.min(compression.server_window),
            None => compression.server_window,
        };
        let server_window = server_window.max(WindowBits(9));
        let client_window = match self.client_max_window_bits {
            Some(offered) => offered.min(compression.client_window),
            // A client that does not name its window cannot be asked for another.
            None => WindowBits::MOST,
        };
        let server_context = compression.server_context && !self.server_no_context_takeover;
        let client_context = compression.client_context && !self.client_no_context_takeover;
        let mut field = "permessage-deflate".to_owned();
        if !server_context {
            field.push_str("; server_no_context_takeover");
        }
        if !client_context {
            field.push_str("; client_no_context_takeover");
        }
        // A smaller window than a client must expect needs no word, and some refuse one.
        if self.server_max_window_bits.is_some() {
            write!(field, "; server_max_window_bits={}", server_window.bits())
                .expect("a string takes all");
        }
        if client_window < WindowBits::MOST {
            write!(field, "; client_max_window_bits={}", client_window.bits())
                .expect("a string takes all");
        }
        let parameters = Parameters {
            server_context,
            client_context,
            server_window,
            client_window,
            level: compression.level,
            memory_level: compression.memory_level,
            least: compression.least,
        };
        Some(Agreement { parameters, field })
    }
}

/// The first offer that can be accepted: clients put first what they like best.
pub(crate) fn agree(offers: &[Offer], compression: &Compression) -> Option<Agreement> {
    offers.iter().find_map(|offer| offer.accept(compression))
}

/// Reads the value of a field; adds the offers of permessage-deflate that may be considered.
///
/// # Errors
/// If it is no list of extensions (RFC 6455, 9.1): the handshake fails then.
pub(crate) fn read(value: &[u8], offers: &mut Vec<Offer>) -> Result<(), HandshakeError> {
    let mut scanner = Scanner { rest: trim(value) };
    while !scanner.rest.is_empty() {
        // Empty elements of a list mean nothing (RFC 9110, 5.6.1).
        if scanner.skip(b',') {
            continue;
        }
        let name = scanner.token()?;
        let mut offer = name.eq_ignore_ascii_case(NAME).then(Parsing::default);
        while scanner.skip(b';') {
            let parameter = scanner.token()?;
            let value = if scanner.skip(b'=') { Some(scanner.value()?) } else { None };
            if let Some(offer) = &mut offer {
                offer.parameter(parameter, value.as_deref());
            }
        }
        if !scanner.rest.is_empty() && !scanner.skip(b',') {
            return Err(HandshakeError::Extensions);
        }
        offers.extend(offer.and_then(Parsing::finish));
    }
    Ok(())
}

/// An offer while its parameters are read: which have been seen, and whether it is declined.
#[derive(Default)]
struct Parsing {
    offer: Offer,
    seen: [bool; 4],
    declined: bool,
}

impl Parsing {
    /// A parameter that is unknown, stands twice or has a wrong value declines the offer
    /// (RFC 7692, 7.1).
    fn parameter(&mut self, name: &[u8], value: Option<&[u8]>) {
        let offer = &mut self.offer;
        let (number, right) = if name.eq_ignore_ascii_case(b"server_no_context_takeover") {
            offer.server_no_context_takeover = true;
            (0, value.is_none())
        } else if name.eq_ignore_ascii_case(b"client_no_context_takeover") {
            offer.client_no_context_takeover = true;
            (1, value.is_none())
        } else if name.eq_ignore_ascii_case(b"server_max_window_bits") {
            offer.server_max_window_bits = value.and_then(WindowBits::read);
            (2, offer.server_max_window_bits.is_some())
        } else if name.eq_ignore_ascii_case(b"client_max_window_bits") {
            // Without a value it says that the client takes any.
            offer.client_max_window_bits = value.map_or(Some(WindowBits::MOST), WindowBits::read);
            (3, offer.client_max_window_bits.is_some())
        } else {
            self.declined = true;
            return;
        };
        self.declined |= !right || std::mem::replace(&mut self.seen[number], true);
    }

    fn finish(self) -> Option<Offer> {
        (!self.declined).then_some(self.offer)
    }
}

/// What is left of a field's value. Blanks around what it finds are skipped.
struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    fn skip(&mut self, wanted: u8) -> bool {
        match self.rest.split_first() {
            Some((&byte, rest)) if byte == wanted => {
                self.rest = trim(rest);
                true
            }
            _ => false,
        }
    }

    fn token(&mut self) -> Result<&'a [u8], HandshakeError> {
        let length = self.rest.iter().take_while(|&&byte| is_token(&[byte])).count();
        let (token, rest) = self.rest.split_at(length);
        if token.is_empty() {
            return Err(HandshakeError::Extensions);
        }
        self.rest = trim(rest);
        Ok(token)
    }

    /// A token, or a quoted string that stands for one (RFC 6455, 9.1).
    fn value(&mut self) -> Result<std::borrow::Cow<'a, [u8]>, HandshakeError> {
        let Some((b'"', mut rest)) = self.rest.split_first() else {
            return self.token().map(Into::into);
        };
        let mut value = Vec::new();
        loop {
            (value, rest) = match rest {
                [b'"', rest @ ..] => {
                    self.rest = trim(rest);
                    break;
                }
                [b'\\', byte, rest @ ..] | [byte, rest @ ..] => {
                    value.push(*byte);
                    (value, rest)
                }
                [] => return Err(HandshakeError::Extensions),
            };
        }
        if is_token(&value) { Ok(value.into()) } else { Err(HandshakeError::Extensions) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(value: &str) -> Result<Vec<Offer>, HandshakeError> {
        let mut offers = Vec::new();
        read(value.as_bytes(), &mut offers).map(|()| offers)
    }

    /// The response's field, or nothing if every offer is declined.
    fn answer(value: &str, compression: &Compression) -> String {
        let agreed = agree(&offers(value).unwrap(), compression);
        agreed.map_or_else(String::new, |agreement| agreement.field)
    }

    #[test]
    fn offers_are_answered_as_the_rfc_has_it() {
        let plain = Compression { server_window: WindowBits::MOST, ..Compression::default() };
        for (offer, expected) in [
            ("permessage-deflate", "permessage-deflate"),
            ("PerMessage-Deflate", "permessage-deflate"),
            (" , permessage-deflate ,", "permessage-deflate"),
            ("x-webkit-deflate-frame, permessage-deflate", "permessage-deflate"),
            ("permessage-deflate; client_max_window_bits", "permessage-deflate"),
            (
                "permessage-deflate; client_max_window_bits=10",
                "permessage-deflate; client_max_window_bits=10",
            ),
            (
                "permessage-deflate;client_max_window_bits=\"8\"",
                "permessage-deflate; client_max_window_bits=8",
            ),
            (
                "permessage-deflate ; server_max_window_bits = \"1\\0\"",
                "permessage-deflate; server_max_window_bits=10",
            ),
            (
                "permessage-deflate; server_max_window_bits=15; client_max_window_bits=15",
                "permessage-deflate; server_max_window_bits=15",
            ),
            (
                "permessage-deflate; server_no_context_takeover",
                "permessage-deflate; server_no_context_takeover",
            ),
            (
                "permessage-deflate; Client_No_Context_Takeover",
                "permessage-deflate; client_no_context_takeover",
            ),
            (
                "permessage-deflate; client_no_context_takeover; server_no_context_takeover; \
                 client_max_window_bits=12; server_max_window_bits=9",
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                 server_max_window_bits=9; client_max_window_bits=12",
            ),
        ] {
            assert_eq!(answer(offer, &plain), expected, "{offer}");
        }
    }

    #[test]
    fn an_offer_that_is_not_right_is_declined_and_the_next_one_considered() {
        let plain = Compression::default();
        for parameters in [
            "server_max_window_bits",
            "server_max_window_bits=8",
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=09",
            "server_max_window_bits=010",
            "server_max_window_bits=1",
            "server_max_window_bits=1x",
            "client_max_window_bits=7",
            "client_max_window_bits=16",
            "client_max_window_bits=00",
            "client_max_window_bits=115",
            "server_no_context_takeover=1",
            "client_no_context_takeover=true",
            "server_no_context_takeover; server_no_context_takeover",
            "client_max_window_bits; client_max_window_bits=10",
            "client_max_window_bits=10; client_max_window_bits=10",
            "unknown",
            "unknown=\"a\"",
        ] {
            let offer = format!("permessage-deflate; {parameters}");
            assert_eq!(answer(&offer, &plain), "", "{offer}");
            let offer = format!("{offer}, permessage-deflate; client_no_context_takeover");
            let expected = "permessage-deflate; client_no_context_takeover";
            assert_eq!(answer(&offer, &plain), expected, "{offer}");
        }
        assert_eq!(answer("permessage-bzip2, x", &plain), "");
        assert_eq!(answer("", &plain), "");
        let two = "permessage-deflate; server_max_window_bits=10, permessage-deflate";
        assert_eq!(answer(two, &plain), "permessage-deflate; server_max_window_bits=10");
    }

    #[test]
    fn what_is_no_list_of_extensions_fails() {
        for value in [
            "permessage-deflate;",
            "permessage-deflate; =10",
            "permessage-deflate; client_max_window_bits=",
            "permessage-deflate; client_max_window_bits=\"10",
            "permessage-deflate; client_max_window_bits=\"\"",
            "permessage-deflate; client_max_window_bits=\"1 0\"",
            "permessage-deflate; client_max_window_bits=\"10\\",
            "permessage-deflate client_max_window_bits",
            "permessage-deflate; a=b c",
            "a/b",
            "; a",
            "\"permessage-deflate\"",
        ] {
            assert_eq!(offers(value), Err(HandshakeError::Extensions), "{value}");
        }
    }

    #[test]
    fn settings_bound_what_is_agreed() {
        let small = Compression {
            server_window: WindowBits(12),
            client_window: WindowBits(11),
            server_context: false,
            client_context: false,
            ..Compression::default()
        };
        let none = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        assert_eq!(answer("permessage-deflate", &small), none);
        assert_eq!(
            answer("permessage-deflate; client_max_window_bits", &small),
            format!("{none}; client_max_window_bits=11"),
        );
        for (asked, given) in [(15, 12), (12, 12), (10, 10)] {
            assert_eq!(
                answer(&format!("permessage-deflate; server_max_window_bits={asked}"), &small),
                format!("{none}; server_max_window_bits={given}"),
            );
        }
        let in_force = |value| agree(&offers(value).unwrap(), &small).unwrap().parameters;
        let parameters = in_force("permessage-deflate");
        // The server keeps to its own bound without a word; a client that named none may use all.
        assert_eq!(parameters.server_window, WindowBits(12));
        assert_eq!(parameters.client_window, WindowBits::MOST);
        assert!(!parameters.server_context && !parameters.client_context);
        // Nothing compresses with the least window, whoever wants it.
        let least = Compression { server_window: WindowBits::LEAST, ..small };
        let agreement = agree(&offers("permessage-deflate").unwrap(), &least).unwrap();
        assert_eq!(agreement.parameters.server_window, WindowBits(9));
        assert_eq!(
            in_force("permessage-deflate; client_max_window_bits=9").client_window.bits(),
            9
        );
    }
}
