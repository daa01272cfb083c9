//! What the engine has to say in the error log. It writes no log itself: an app thread does, as
//! soon as one is free.

use std::net::SocketAddr;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    Debug,
    Info,
    Warning,
    Error,
}

#[derive(Debug)]
pub struct Notice {
    pub severity: Severity,
    pub text: String,
}

/// More than this at once helps nobody: an attacker shall not fill the disk or the memory.
const MOST: usize = 100;

#[derive(Default)]
pub struct Notices {
    notices: Vec<Notice>,
    dropped: usize,
}

impl Notices {
    pub fn push(&mut self, severity: Severity, text: impl FnOnce() -> String) {
        if self.notices.len() < MOST {
            self.notices.push(Notice { severity, text: text() });
        } else {
            self.dropped += 1;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.notices.is_empty()
    }

    pub fn take(&mut self) -> Vec<Notice> {
        let mut notices = std::mem::take(&mut self.notices);
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            let text = format!("{dropped} more messages of this kind were left out");
            notices.push(Notice { severity: Severity::Warning, text });
        }
        notices
    }
}

/// How messages name a client.
pub fn peer_name(peer: Option<SocketAddr>) -> String {
    peer.map_or_else(|| "unix".into(), |address| address.ip().to_string())
}
