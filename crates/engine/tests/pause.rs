//! Responses that wait for their client: none is lost, doubled, reordered or kept for ever.

mod support;

use std::io::Read;
use std::sync::atomic::Ordering::SeqCst;

use support::{Server, chunks, options, wait_until};

const MIB: usize = 1024 * 1024;

#[test]
fn a_slow_reader_gets_every_byte() {
    for threads in [1, 4] {
        let server = Server::start(options(threads));
        let mut slow = server.connect();
        slow.send(b"GET /chunks/48/262144 HTTP/1.1\r\nHost: a\r\n\r\n");
        wait_until("the pause", || server.record.paused.load(SeqCst) > 0);
        assert_eq!(server.connect().get("/other").body, b"/other");
        let answer = slow.answer();
        assert!(answer.body == chunks(48, MIB / 4));
        assert_eq!(slow.get("/next").body, b"/next");
        wait_until("the release", || server.record.dropped.load(SeqCst) == 1);
    }
}

/// While every thread is busy, a paused response has become writable, and its client sends more:
/// the response must be resumed once for each pause.
#[test]
fn what_a_client_sends_while_its_response_waits_does_not_reorder_it() {
    let server = Server::start(options(1));
    let mut slow = server.connect();
    slow.send(b"GET /chunks/8/4194304 HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("the pause", || server.record.paused.load(SeqCst) > 0);
    let held = server.hold();
    let (resumed, paused) = (server.record.resumed.load(SeqCst), server.record.paused.load(SeqCst));
    // The client takes what there is, so that the response waits for a thread and not for it.
    let mut taken = vec![0; 4 * MIB];
    slow.stream.read_exact(&mut taken).unwrap();
    for _ in 0..5 {
        slow.send(b"GET /more HTTP/1.1\r\nHost: a\r\n\r\n");
        server.settle();
    }
    assert_eq!(server.record.resumed.load(SeqCst), resumed);
    server.record.open();
    wait_until("the next pause", || server.record.paused.load(SeqCst) > paused);
    slow.unread(taken);
    let answer = slow.answer();
    assert!(answer.body == chunks(8, 4 * MIB), "reordered or damaged");
    for _ in 0..5 {
        assert_eq!(slow.answer().body, b"/more");
    }
    drop(held);
}

#[test]
fn a_client_that_leaves_while_its_response_is_paused_releases_it_once() {
    for threads in [1, 4] {
        let server = Server::start(options(threads));
        let mut slow = server.connect();
        slow.send(b"GET /chunks/48/1048576 HTTP/1.1\r\nHost: a\r\n\r\n");
        wait_until("the pause", || server.record.paused.load(SeqCst) > 0);
        drop(slow);
        wait_until("the release", || server.record.dropped.load(SeqCst) == 1);
        assert_eq!(server.connect().get("/other").body, b"/other");
        assert_eq!(server.record.dropped.load(SeqCst), 1);
    }
}

/// The same while no thread is free: it happens as soon as one is.
#[test]
fn a_client_that_leaves_while_threads_are_busy_releases_its_response_once() {
    let server = Server::start(options(1));
    let mut slow = server.connect();
    slow.send(b"GET /chunks/48/1048576 HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("the pause", || server.record.paused.load(SeqCst) > 0);
    let mut held = server.hold();
    let mut taken = vec![0; MIB];
    slow.stream.read_exact(&mut taken).unwrap();
    server.settle();
    drop(slow);
    server.settle();
    server.record.open();
    assert_eq!(held.answer().body, b"/hold");
    wait_until("the release", || server.record.dropped.load(SeqCst) == 1);
    assert_eq!(server.connect().get("/other").body, b"/other");
    assert_eq!(server.record.dropped.load(SeqCst), 1);
}

#[test]
fn what_is_to_be_released_is_when_the_response_has_been_written() {
    let server = Server::start(options(1));
    let mut slow = server.connect();
    slow.send(b"GET /finish/33554432 HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("the call", || server.record.called.load(SeqCst) == 1);
    assert_eq!(server.connect().get("/other").body, b"/other");
    assert_eq!(server.record.dropped.load(SeqCst), 0);
    let answer = slow.answer();
    assert_eq!(answer.body.len(), 32 * MIB);
    wait_until("the release", || server.record.dropped.load(SeqCst) == 1);
    assert_eq!(slow.get("/next").body, b"/next");
}

#[test]
fn a_response_that_fails_half_way_does_not_look_complete() {
    let server = Server::start(options(1));
    let mut client = server.connect();
    client.send(b"GET /abort HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.try_answer(), None);
    assert_eq!(server.connect().get("/other").body, b"/other");
}
