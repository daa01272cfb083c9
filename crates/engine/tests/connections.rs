//! What clients do with their connections: pipelining, half-closing, asking for too much at once.

mod support;

use std::io::Read;
use std::sync::atomic::Ordering::SeqCst;

use monoceros_engine::Options;
use support::{Server, options, wait_until};

#[test]
fn pipelined_requests_are_answered_in_order() {
    for threads in [1, 4] {
        let server = Server::start(options(threads));
        let mut client = server.connect();
        let mut all = Vec::new();
        for number in 0..200 {
            let length = number % 7;
            let head =
                format!("POST /p{number} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
            all.extend_from_slice(head.as_bytes());
            all.extend_from_slice(&b"abcdefg"[..length]);
        }
        // In pieces that end anywhere.
        for piece in all.chunks(333) {
            client.send(piece);
        }
        client.shut_write();
        for number in 0..200 {
            let expected = format!("/p{number}{}", &"abcdefg"[..number % 7]);
            assert_eq!(client.answer().body, expected.as_bytes());
        }
        assert!(client.is_closed());
        assert_eq!(server.record.called.load(SeqCst), 200);
    }
}

#[test]
fn pipelined_requests_behind_one_that_holds_wait_for_it() {
    for threads in [1, 4] {
        let server = Server::start(options(threads));
        let mut client = server.hold();
        client.send(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\nGET /c");
        server.settle();
        assert_eq!(server.record.called.load(SeqCst), 1);
        server.record.open();
        assert_eq!(client.answer().body, b"/hold");
        assert_eq!(client.answer().body, b"/a");
        assert_eq!(client.answer().body, b"/b");
        client.send(b" HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.answer().body, b"/c");
    }
}

#[test]
fn a_client_that_has_said_its_last_gets_its_answer() {
    for threads in [1, 4] {
        let server = Server::start(options(threads));
        let mut early = server.connect();
        early.send(b"GET /early HTTP/1.1\r\nHost: a\r\n\r\n");
        early.shut_write();
        assert_eq!(early.answer().body, b"/early");
        assert!(early.is_closed());
        let mut held = server.hold();
        held.shut_write();
        let mut waiting = server.connect();
        waiting.send(b"GET /waiting HTTP/1.1\r\nHost: a\r\n\r\n");
        waiting.shut_write();
        server.settle();
        server.record.open();
        assert_eq!(held.answer().body, b"/hold");
        assert_eq!(waiting.answer().body, b"/waiting");
        assert!(held.is_closed() && waiting.is_closed());
    }
}

/// What a client begins and does not finish never reaches the app.
#[test]
fn half_a_request_is_none() {
    let server = Server::start(options(1));
    for half in [&b"GET /x HTT"[..], b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab"] {
        let mut client = server.connect();
        client.send(half);
        client.shut_write();
        assert!(client.is_closed());
    }
    assert_eq!(server.record.called.load(SeqCst), 0);
}

#[test]
fn bodies_beyond_the_buffer_are_spooled_and_whole() {
    let server = Server::start(Options { body_buffer: 10_000, ..options(1) });
    let body: Vec<u8> = (0..300_000u32).map(|number| b'a' + (number % 23) as u8).collect();
    let mut client = server.connect();
    for _ in 0..3 {
        let head = format!("POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
        client.send(head.as_bytes());
        client.send(&body);
        let answer = client.answer();
        assert_eq!(&answer.body[..2], b"/b");
        assert!(answer.body[2..] == body);
        client.send(b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        for piece in body.chunks(7001) {
            client.send(format!("{:x}\r\n", piece.len()).as_bytes());
            client.send(piece);
            client.send(b"\r\n");
        }
        client.send(b"0\r\n\r\nGET /behind HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = client.answer();
        assert_eq!(&answer.body[..2], b"/c");
        assert!(answer.body[2..] == body);
        assert_eq!(client.answer().body, b"/behind");
    }
}

#[test]
fn a_body_that_cannot_be_spooled_is_refused_and_told() {
    let options = Options { body_buffer: 10, spool_dir: "/nowhere".into(), ..options(1) };
    let server = Server::start(options);
    let mut client = server.connect();
    client.send(b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    client.send(&[b'x'; 100_000]);
    assert_eq!(client.answer().status, 507);
    wait_until("the notice", || !server.record.notices.lock().unwrap().is_empty());
    assert_eq!(server.record.called.load(SeqCst), 0);
}

#[test]
fn connections_beyond_the_capacity_wait_for_room() {
    for threads in [1, 4] {
        let server = Server::start(Options { worker_connections: 2, ..options(threads) });
        let mut first = server.connect();
        let mut second = server.connect();
        assert_eq!(first.get("/1").body, b"/1");
        assert_eq!(second.get("/2").body, b"/2");
        let mut third = server.connect();
        third.send(b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
        for _ in 0..20 {
            assert_eq!(first.get("/again").body, b"/again");
        }
        assert_eq!(server.record.called.load(SeqCst), 22);
        drop(second);
        assert_eq!(third.answer().body, b"/3");
        assert_eq!(first.get("/still").body, b"/still");
    }
}

#[test]
fn an_expected_continue_is_sent() {
    let server = Server::start(options(1));
    let mut client = server.connect();
    client
        .send(b"POST /e HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    let mut interim = [0; 25];
    client.stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.send(b"ok");
    assert_eq!(client.answer().body, b"/eok");
}

/// A client that has yet to read earlier answers, so that the socket has no room, is told later.
#[test]
fn an_expected_continue_waits_for_room() {
    let server = Server::start(options(1));
    let mut client = server.connect();
    // More than a socket holds; what is left of it waits in the server until the client reads.
    for _ in 0..3 {
        client.send(b"GET /payloads/8/1048576 HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    client
        .send(b"POST /e HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    for _ in 0..3 {
        assert_eq!(client.answer().body.len(), 8 << 20);
    }
    let mut interim = client.take_read(25);
    let read = interim.len();
    interim.resize(25, 0);
    client.stream.read_exact(&mut interim[read..]).unwrap();
    assert_eq!(&interim[..], b"HTTP/1.1 100 Continue\r\n\r\n");
    client.send(b"ok");
    assert_eq!(client.answer().body, b"/eok");
}

/// After a refusal, what the peer still sends does not destroy what it has yet to read.
#[test]
fn a_refusal_can_be_read_by_a_client_that_still_sends() {
    let server = Server::start(options(1));
    let mut client = server.connect();
    client.send(b"nonsense\r\n\r\n");
    for _ in 0..20 {
        client.send(&[b'x'; 10_000]);
    }
    server.settle();
    assert_eq!(client.answer().status, 400);
}
