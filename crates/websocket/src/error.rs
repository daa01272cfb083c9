//! What a client can do wrong within a connection, and which close code follows.

use std::fmt;

use crate::CloseCode;

/// A client that breaks a rule. The connection is closed with [`Error::close_code`]; nothing more
/// is read from it. Never repeats what the client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
}

impl Error {
    /// The code to close with: 1002, 1007 or 1009.
    pub fn close_code(self) -> CloseCode {
        self.kind.row().0
    }

    /// A stable identifier of the broken rule, such as `frame-mask`: for tests, metrics, searches.
    pub fn rule(self) -> &'static str {
        self.kind.row().1
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.kind.row().2)
    }
}

impl std::error::Error for Error {}

impl From<Kind> for Error {
    #[cold]
    fn from(kind: Kind) -> Error {
        Error { kind }
    }
}

/// One row per rule: its name here, the code, the identifier, and the sentence for the log.
macro_rules! kinds {
    ($($kind:ident $code:ident $rule:literal $sentence:literal,)*) => {
        /// The rules that a client can break.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Kind {
            $($kind,)*
        }

        impl Kind {
            fn row(self) -> (CloseCode, &'static str, &'static str) {
                match self {
                    $(Kind::$kind => (CloseCode::$code, $rule, $sentence),)*
                }
            }
        }
    };
}

kinds! {
    ReservedBits PROTOCOL_ERROR "frame-reserved-bits"
        "a frame with reserved bits that no agreed extension gives a meaning (RFC 6455, 5.2)",
    Opcode PROTOCOL_ERROR "frame-opcode"
        "a frame with an opcode that is reserved (RFC 6455, 5.2)",
    Unmasked PROTOCOL_ERROR "frame-mask"
        "a frame that is not masked (RFC 6455, 5.1)",
    LengthEncoding PROTOCOL_ERROR "frame-length"
        "a frame whose length is not written in the shortest way, or has its highest bit set \
         (RFC 6455, 5.2)",
    ControlFragmented PROTOCOL_ERROR "control-fragmented"
        "a control frame in fragments (RFC 6455, 5.5)",
    ControlTooLong PROTOCOL_ERROR "control-length"
        "a control frame with more than 125 bytes (RFC 6455, 5.5)",
    ContinuationUnexpected PROTOCOL_ERROR "continuation-unexpected"
        "a continuation where no message has begun (RFC 6455, 5.4)",
    ContinuationMissing PROTOCOL_ERROR "continuation-missing"
        "a message that begins within another one (RFC 6455, 5.4)",
    ClosePayload PROTOCOL_ERROR "close-payload"
        "a close frame with half a code (RFC 6455, 5.5.1)",
    CloseCode PROTOCOL_ERROR "close-code"
        "a close frame with a code that is never sent (RFC 6455, 7.4)",
    CloseReason INVALID_DATA "close-reason"
        "a close frame whose reason is not UTF-8 (RFC 6455, 5.5.1)",
    Text INVALID_DATA "text"
        "a text message that is not UTF-8 (RFC 6455, 8.1)",
    Deflate INVALID_DATA "deflate"
        "a compressed message that does not inflate (RFC 7692, 7.2.2)",
    TooBig TOO_BIG "message-limit"
        "a message larger than websocket_max_message_size",
}
