//! A disk that is full. Alone in its binary, because the limit is the process's.

mod support;

use std::sync::atomic::Ordering::SeqCst;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{Server, chunks, options, wait_until};

const SIGXFSZ: i32 = 25;
const SIG_IGN: usize = 1;

unsafe extern "C" {
    fn signal(number: i32, action: usize) -> usize;
}

/// Blocked responses go to disk when they hold much memory. Where that fails half way they stay,
/// whole.
#[test]
fn a_response_that_cannot_be_spilled_is_sent_from_memory() {
    // SAFETY: ignoring a signal runs no code; the write that is too large then fails.
    unsafe { signal(SIGXFSZ, SIG_IGN) };
    let before = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: Some(6 << 20), ..before }).unwrap();
    let server = Server::start(options(1));
    let mut slow = server.connect();
    slow.send(b"GET /payloads/16/4194304 HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("the call", || server.record.called.load(SeqCst) == 1);
    assert_eq!(server.connect().get("/other").body, b"/other");
    assert!(slow.answer().body == chunks(16, 4 << 20));
    assert_eq!(slow.get("/next").body, b"/next");
    setrlimit(Resource::Fsize, before).unwrap();
}
