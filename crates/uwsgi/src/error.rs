//! What can be wrong with a packet, and which status follows.

use std::fmt;

use monoceros_http1::Status;

/// A packet that is refused. Never repeats what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// It asks for something else than a WSGI app, or is no packet at all.
    Modifier,
    /// The lengths in it do not add up.
    Length,
    /// More than [`VARIABLES_MOST`](crate::VARIABLES_MOST).
    TooMany,
    /// A name that is empty or has other than visible ASCII, or a header's that is no token.
    Name,
    /// A NUL in a value.
    Nul,
    /// A name that only the server gives to an app.
    Reserved,
    /// There is no REQUEST_METHOD.
    MethodMissing,
    /// REQUEST_METHOD or CONTENT_LENGTH twice, with different values.
    Contradiction,
    /// A control character in a header's value, or one or a blank in the request line.
    Value,
}

impl Error {
    /// The status to answer with: 400, or 431 for too much of it.
    pub fn status(self) -> Status {
        match self {
            Error::TooMany => Status::REQUEST_HEADER_FIELDS_TOO_LARGE,
            _ => Status::BAD_REQUEST,
        }
    }

    /// A stable identifier of the broken rule.
    pub fn rule(self) -> &'static str {
        match self {
            Error::Modifier => "uwsgi-modifier",
            Error::Length => "uwsgi-length",
            Error::TooMany => "uwsgi-variables-limit",
            Error::Name => "uwsgi-name",
            Error::Nul => "uwsgi-nul",
            Error::Reserved => "uwsgi-reserved",
            Error::MethodMissing => "uwsgi-method-missing",
            Error::Contradiction => "uwsgi-contradiction",
            Error::Value => "uwsgi-value",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Error::Modifier => {
                "no uwsgi packet for a WSGI app (modifiers 0 and 0): let the front end speak uwsgi \
                 to this server (nginx: uwsgi_pass, without uwsgi_modifier1 and uwsgi_modifier2), \
                 or take away --protocol uwsgi"
            }
            Error::Length => "a uwsgi packet whose lengths do not add up",
            Error::TooMany => "a uwsgi packet with more than 1000 variables",
            Error::Name => {
                "a uwsgi variable whose name is empty, or has characters that no name has"
            }
            Error::Nul => "a uwsgi variable with a NUL in its value",
            Error::Reserved => {
                "a uwsgi variable whose name begins with wsgi. or gunicorn.: these are the \
                 server's own; let the front end leave it out"
            }
            Error::MethodMissing => {
                "a uwsgi packet without REQUEST_METHOD: let the front end send the variables of a \
                 request (nginx: include uwsgi_params)"
            }
            Error::Contradiction => {
                "two values of REQUEST_METHOD or of CONTENT_LENGTH in a uwsgi packet: let the \
                 front end set each once"
            }
            Error::Value => {
                "a uwsgi variable with a control character where a request line or a header field \
                 has none"
            }
        })
    }
}

impl std::error::Error for Error {}
