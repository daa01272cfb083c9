//! Responses that can go neither to their clients nor to disk. Alone in its binary, because the
//! limit is the process's.

mod support;

use std::io::Read;
use std::sync::atomic::Ordering::SeqCst;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{Client, Server, chunks, options, wait_until};

const SIGXFSZ: i32 = 25;
const SIG_IGN: usize = 1;
const MIB: usize = 1 << 20;
/// Of one response; much more than the kernel keeps for a client that does not read.
const SIZE: usize = 16 * MIB;

unsafe extern "C" {
    fn signal(number: i32, action: usize) -> usize;
}

/// Whether the response is cut before its end.
fn is_cut(client: &mut Client) -> bool {
    let mut read = 0;
    let mut block = vec![0; MIB];
    loop {
        match client.stream.read(&mut block) {
            Ok(0) | Err(_) => return read < SIZE,
            Ok(count) => read += count,
        }
        if read > SIZE {
            return false;
        }
    }
}

/// Memory stays bounded: those that have read nothing for longest are cut, and seen to be cut. The
/// newest are served whole. One line tells of it.
#[test]
fn what_can_not_be_spilled_is_bounded() {
    // SAFETY: ignoring a signal runs no code; the write that is too large then fails.
    unsafe { signal(SIGXFSZ, SIG_IGN) };
    let limit = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: Some(MIB as u64), ..limit }).unwrap();
    let server = Server::start(options(1));
    let mut clients: Vec<Client> = Vec::new();
    for number in 0..20 {
        let mut client = server.connect();
        client.send(b"GET /payloads/16/1048576 HTTP/1.1\r\nHost: a\r\n\r\n");
        wait_until("the call", || server.record.called.load(SeqCst) == number + 1);
        clients.push(client);
    }
    // All of them are held by now, or cut.
    assert_eq!(server.connect().get("/other").body, b"/other");
    assert!(clients.last_mut().unwrap().answer().body == chunks(16, MIB));
    assert!(is_cut(&mut clients[0]) && is_cut(&mut clients[1]));
    let whole = clients[2..19].iter_mut().filter_map(Client::try_answer).count();
    assert!((2..=8).contains(&whole), "{whole} responses were kept in memory");
    let notices = server.record.notices.lock().unwrap();
    let told: Vec<_> = notices.iter().filter(|(_, text)| text.contains("cannot spool")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
}
