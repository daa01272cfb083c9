//! Why a connection ends, as a number (RFC 6455, 7.4, and IANA's registry).

use std::fmt;

/// The code of a close frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The purpose of the connection is fulfilled.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// The server stops, or a page is left.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: CloseCode = CloseCode(1002);
    /// A kind of message that is not accepted here.
    pub const UNSUPPORTED: CloseCode = CloseCode(1003);
    /// Never sent: the peer's close frame had no code.
    pub const NO_STATUS: CloseCode = CloseCode(1005);
    /// Never sent: there was no close frame.
    pub const ABNORMAL: CloseCode = CloseCode(1006);
    /// Data that are not of the message's type: no UTF-8 in a text, or nothing that inflates.
    pub const INVALID_DATA: CloseCode = CloseCode(1007);
    /// A message that breaks the receiver's rules.
    pub const POLICY: CloseCode = CloseCode(1008);
    /// A message larger than the receiver takes.
    pub const TOO_BIG: CloseCode = CloseCode(1009);
    /// The server failed.
    pub const INTERNAL_ERROR: CloseCode = CloseCode(1011);
    /// The server restarts: come again.
    pub const SERVICE_RESTART: CloseCode = CloseCode(1012);
    /// The server is overloaded: come again later.
    pub const TRY_AGAIN_LATER: CloseCode = CloseCode(1013);
    /// What the gateway asked gave no valid answer.
    pub const BAD_GATEWAY: CloseCode = CloseCode(1014);
    /// Never sent: the TLS handshake failed.
    pub const TLS_HANDSHAKE: CloseCode = CloseCode(1015);

    /// A number as a code, whether or not it may be sent.
    pub const fn new(number: u16) -> CloseCode {
        CloseCode(number)
    }

    /// Its number.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Whether a close frame may carry it: those of the protocol that do not stand for the lack of
    /// a frame, those registered by libraries (3000 to 3999) and those of apps (4000 to 4999).
    pub const fn may_be_sent(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CloseCode({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_codes_of_the_registry_and_of_apps_may_be_sent() {
        let expected = |number| {
            let of_the_protocol =
                [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];
            of_the_protocol.contains(&number) || (3000..5000).contains(&number)
        };
        for number in 0..=u16::MAX {
            assert_eq!(CloseCode::new(number).may_be_sent(), expected(number), "{number}");
        }
    }
}
