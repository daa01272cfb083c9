//! The closing handshake (RFC 6455, 7.1) as states.
//!
//! | state | a message, a ping | a pong | a close | bytes of the client |
//! |---|---|---|---|---|
//! | Open | sent | sent | sent, then CloseSent | read; its close leads to CloseReceived |
//! | CloseSent | refused | sent | refused | read; its close leads to Closed |
//! | CloseReceived | refused | refused | sent, then Closed | discarded |
//! | Closed | refused | refused | refused | discarded |
//!
//! A client that breaks a rule is heard no more, as if it had closed. Once Closed, the server closes
//! the transport; a transport that has ended leads to Closed from everywhere.

use std::fmt;

/// How far the closing handshake is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Closing {
    /// It has not begun.
    #[default]
    Open,
    /// The server has sent its close and waits for the client's.
    CloseSent,
    /// The client has sent its close, or has broken a rule; the server's is due.
    CloseReceived,
    /// Nothing more is sent or read.
    Closed,
}

/// What the server wants to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sending {
    Message,
    Ping,
    Pong,
    Close,
}

impl Closing {
    /// Whether bytes of the client mean anything.
    pub(crate) fn reads(self) -> bool {
        matches!(self, Closing::Open | Closing::CloseSent)
    }

    /// The state after something is sent, where it may be.
    pub(crate) fn send(self, what: Sending) -> Result<Closing, SendError> {
        match (self, what) {
            (Closing::Open, Sending::Close) => Ok(Closing::CloseSent),
            (Closing::CloseReceived, Sending::Close) => Ok(Closing::Closed),
            (Closing::Open, _) | (Closing::CloseSent, Sending::Pong) => Ok(self),
            _ => Err(SendError::Closing(self)),
        }
    }

    /// The state after the client has closed, or has broken a rule.
    pub(crate) fn receive_close(self) -> Closing {
        match self {
            Closing::Open | Closing::CloseReceived => Closing::CloseReceived,
            Closing::CloseSent | Closing::Closed => Closing::Closed,
        }
    }
}

/// What the server cannot send. Nothing is written then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The closing handshake is too far for it.
    Closing(Closing),
    /// A ping or a pong of more than [`CONTROL_MOST`](crate::CONTROL_MOST) bytes.
    ControlTooLong,
    /// A close with a code that is never sent.
    Code,
    /// A close with a reason of more than [`REASON_MOST`](crate::REASON_MOST) bytes, or with one
    /// but no code.
    Reason,
}

impl fmt::Display for SendError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            SendError::Closing(Closing::CloseSent) => {
                "the server has already closed this WebSocket: it sends no more"
            }
            SendError::Closing(Closing::CloseReceived) => {
                "the client has closed this WebSocket: nothing but a close can be sent"
            }
            SendError::Closing(_) => "this WebSocket is closed",
            SendError::ControlTooLong => "a WebSocket ping or pong has at most 125 bytes",
            SendError::Code => {
                "a WebSocket is closed with one of the codes 1000 to 1003, 1007 to 1014 and 3000 \
                 to 4999"
            }
            SendError::Reason => {
                "the reason for closing a WebSocket has at most 123 bytes in UTF-8, and a code"
            }
        })
    }
}

impl std::error::Error for SendError {}

#[cfg(test)]
mod tests {
    use super::Closing::{CloseReceived, CloseSent, Closed, Open};
    use super::Sending::{Close, Message, Ping, Pong};
    use super::*;

    #[test]
    fn the_table_says_what_may_be_sent_and_where_it_leads() {
        let refused = |state| Err(SendError::Closing(state));
        let rows = [
            (Open, [Ok(Open), Ok(Open), Ok(Open), Ok(CloseSent)]),
            (
                CloseSent,
                [refused(CloseSent), refused(CloseSent), Ok(CloseSent), refused(CloseSent)],
            ),
            (
                CloseReceived,
                [
                    refused(CloseReceived),
                    refused(CloseReceived),
                    refused(CloseReceived),
                    Ok(Closed),
                ],
            ),
            (Closed, [refused(Closed), refused(Closed), refused(Closed), refused(Closed)]),
        ];
        for (state, expected) in rows {
            assert_eq!([Message, Ping, Pong, Close].map(|what| state.send(what)), expected);
        }
    }

    #[test]
    fn the_table_says_what_is_read_and_where_a_close_leads() {
        let rows = [
            (Open, true, CloseReceived),
            (CloseSent, true, Closed),
            (CloseReceived, false, CloseReceived),
            (Closed, false, Closed),
        ];
        for (state, reads, then) in rows {
            assert_eq!((state.reads(), state.receive_close()), (reads, then), "{state:?}");
        }
    }
}
