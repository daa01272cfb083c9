//! A process without descriptors. Alone in its binary, because the limit is the process's.

mod support;

use std::fs::File;
use std::os::fd::AsRawFd;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{Server, descriptors, options, wait_until};

/// Clients are told while there are no descriptors, and are served when there are some again. The
/// log has one line about it, however many they are.
#[test]
fn clients_are_refused_while_there_are_no_descriptors() {
    let server = Server::start(options(1));
    let mut first = server.connect();
    assert_eq!(first.get("/first").body, b"/first");
    // The lowest free number is taken next: fill the holes, so that the limit leaves those that
    // the clients of this test need, and none for the server.
    let mut fillers = vec![File::open("/dev/null").unwrap()];
    while fillers.last().unwrap().as_raw_fd() < 100 {
        fillers.push(File::open("/dev/null").unwrap());
    }
    let before = getrlimit(Resource::Nofile);
    let open = descriptors();
    for _ in 0..20 {
        setrlimit(Resource::Nofile, Rlimit { current: Some(102), ..before }).unwrap();
        // It takes number 101, the last one.
        let mut late = server.connect();
        late.send(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = late.answer();
        assert_eq!(answer.status, 503);
        assert!(answer.close && late.is_closed());
        assert_eq!(first.get("/still").body, b"/still");
    }
    setrlimit(Resource::Nofile, before).unwrap();
    assert_eq!(server.connect().get("/again").body, b"/again");
    wait_until("descriptors to be closed", || descriptors() <= open);
    let notices = server.record.notices.lock().unwrap();
    let told: Vec<_> = notices.iter().filter(|(_, text)| text.contains("cannot accept")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
}
