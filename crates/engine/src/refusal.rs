//! Requests that the engine has answered itself, for the access log: nobody else has seen them.

use std::net::SocketAddr;

/// A log shows no more of a request line than this; what is refused may be of any length.
const SHOWN: usize = 2048;

/// More of them at once are only counted: an app thread writes them, and all may be busy.
const MOST: usize = 1000;

/// A request that was refused, or the beginning of one.
#[derive(Debug)]
pub struct Refusal {
    /// The client, so far as is known; None for a unix socket.
    pub client: Option<SocketAddr>,
    /// The request line as it came, without its end; empty when nothing had come.
    pub line: Vec<u8>,
    pub status: u16,
}

/// Those that have not been told yet.
#[derive(Default)]
pub struct Refusals {
    refusals: Vec<Refusal>,
    dropped: u64,
}

impl Refusals {
    pub fn push(&mut self, refusal: Refusal) {
        if self.refusals.len() < MOST {
            self.refusals.push(refusal);
        } else {
            self.dropped += 1;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.refusals.is_empty()
    }

    /// All of them, and how many more there were.
    pub fn take(&mut self) -> (Vec<Refusal>, u64) {
        (std::mem::take(&mut self.refusals), std::mem::take(&mut self.dropped))
    }
}

/// The request line in what has come so far. Empty lines may come before it (RFC 9112, 2.2).
pub fn request_line(bytes: &[u8]) -> &[u8] {
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let start = bytes.iter().position(|byte| !is_end(byte)).unwrap_or(bytes.len());
    let line = &bytes[start..];
    let end = line.iter().position(is_end).unwrap_or(line.len());
    &line[..end.min(SHOWN)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_wherever_it_ends() {
        assert_eq!(request_line(b""), b"");
        assert_eq!(request_line(b"\r\n\r\n"), b"");
        assert_eq!(request_line(b"GET /"), b"GET /");
        assert_eq!(request_line(b"\r\nGET / HTTP/1.1\r\nHost: a"), b"GET / HTTP/1.1");
        assert_eq!(request_line(b"GET / HTTP/1.1\nHost: a"), b"GET / HTTP/1.1");
        assert_eq!(request_line(&[b'x'; 3 * SHOWN]).len(), SHOWN);
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let mut refusals = Refusals::default();
        for _ in 0..MOST + 3 {
            refusals.push(Refusal { client: None, line: Vec::new(), status: 400 });
        }
        let (told, dropped) = refusals.take();
        assert_eq!((told.len(), dropped), (MOST, 3));
        assert!(refusals.is_empty());
    }
}
