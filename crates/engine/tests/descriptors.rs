//! A process without descriptors. Alone in its binary, because the limit is the process's.

mod support;

use std::fs::File;
use std::os::fd::AsRawFd;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{Server, options, wait_until};

/// Clients wait while there are no descriptors, and are served when there are some again.
#[test]
fn accepting_goes_on_when_there_are_descriptors_again() {
    let server = Server::start(options(1));
    let mut first = server.connect();
    assert_eq!(first.get("/first").body, b"/first");
    // The lowest free number is taken next: fill the holes, so that the limit leaves one.
    let mut fillers = vec![File::open("/dev/null").unwrap()];
    while fillers.last().unwrap().as_raw_fd() < 50 {
        fillers.push(File::open("/dev/null").unwrap());
    }
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(52), ..before }).unwrap();
    let mut late = server.connect();
    late.send(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("the notice", || !server.record.notices.lock().unwrap().is_empty());
    assert!(server.record.notices.lock().unwrap()[0].1.contains("cannot accept a connection"));
    assert_eq!(first.get("/still").body, b"/still");
    setrlimit(Resource::Nofile, before).unwrap();
    assert_eq!(late.answer().body, b"/late");
}
