//! What is told of requests that the engine refuses.

mod support;

use std::sync::atomic::Ordering::SeqCst;

use monoceros_engine::Options;
use support::{Server, options, wait_until};

const REFUSED: [(&[u8], &str, u16); 4] = [
    (b"GET /a HTTP/1.1\r\n\r\n", "GET /a HTTP/1.1", 400),
    (
        b"GET /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "GET /b HTTP/1.1",
        501,
    ),
    (b"POST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", "POST /c HTTP/1.1", 413),
    (b"\r\nGET\xff /d HTTP/1.1\r\nHost: a\r\n\r\n", "GET\u{fffd} /d HTTP/1.1", 400),
];

/// The request line is that of the request, whether it came whole or in pieces, and wherever the
/// engine kept it until then.
#[test]
fn a_refused_request_is_told_with_its_line() {
    for pieces in [1, 3] {
        for (request, line, status) in REFUSED {
            let few = Options { limit_request_body: 3, tells_refusals: true, ..options(1) };
            let server = Server::start(few);
            let mut client = server.connect();
            for piece in request.chunks(request.len().div_ceil(pieces)) {
                client.send(piece);
                if pieces > 1 {
                    server.settle();
                }
            }
            assert_eq!(client.answer().status, status);
            let told = || {
                let refusals = server.record.refusals.lock().unwrap();
                // What `settle` sends is refused as well.
                let mut ours = refusals.iter().filter(|it| it.line != b"nonsense");
                ours.next().map(|it| (it.status, it.line.clone(), it.client))
            };
            wait_until("it to be told", || told().is_some());
            let (told_status, told_line, told_client) = told().unwrap();
            assert_eq!(told_status, status);
            assert!(told_client.is_some_and(|client| client.ip().is_loopback()));
            // Who errs early is refused before the line is there in whole.
            let shown = String::from_utf8_lossy(&told_line);
            assert!(line.starts_with(&*shown), "{shown} in {pieces} pieces");
            assert!(!shown.is_empty() && (shown == line || pieces > 1));
            assert_eq!(server.record.called.load(SeqCst), 0);
        }
    }
}

#[test]
fn nothing_is_kept_where_nobody_wants_to_know() {
    let server = Server::start(options(1));
    let mut client = server.connect();
    client.send(b"GET /a HTTP/1.1\r\n\r\n");
    assert_eq!(client.answer().status, 400);
    wait_until("the notice", || !server.record.notices.lock().unwrap().is_empty());
    assert!(server.record.refusals.lock().unwrap().is_empty());
}
