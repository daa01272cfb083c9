//! The end of a worker: everybody who was promised an answer gets it, and then it ends.

mod support;

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use monoceros_engine::Options;
use monoceros_engine::clock::Span;
use monoceros_engine::scoreboard::State;
use support::{BOUND, Server, options, wait_until};

const GRACE: Span = Span::from_secs(20);

fn is_draining(server: &Server) -> bool {
    server.board.slot(0).state() == State::Draining
}

fn drain(server: &Server, grace: Span) {
    server.engine.drain(grace);
    wait_until("the draining", || is_draining(server));
}

#[test]
fn an_engine_without_connections_ends_at_once() {
    for threads in [1, 4] {
        let mut server = Server::start(options(threads));
        let begun = Instant::now();
        server.engine.drain(GRACE);
        server.wait_for_the_end();
        assert!(begun.elapsed() < BOUND / 2);
        assert_eq!(server.engine.cut(), [""; 0]);
    }
}

/// What runs, what waits for a thread, what is half sent and what is half read is all answered.
#[test]
fn what_was_begun_is_answered() {
    for threads in [1, 4] {
        let mut server = Server::start(options(threads));
        let mut slow = server.connect();
        slow.send(b"GET /chunks/12/4194304 HTTP/1.1\r\nHost: a\r\n\r\n");
        wait_until("the pause", || server.record.paused.load(SeqCst) > 0);
        let mut held: Vec<_> = (0..threads).map(|_| server.hold()).collect();
        let mut waiting = server.connect();
        waiting.send(b"GET /waiting HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut half = server.connect();
        half.send(b"POST /half HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab");
        server.settle();
        drain(&server, GRACE);
        server.record.open();
        for client in &mut held {
            assert_eq!(client.answer().body, b"/hold");
        }
        let answer = waiting.answer();
        assert_eq!((answer.body.as_slice(), answer.close), (&b"/waiting"[..], true));
        half.send(b"cd");
        let answer = half.answer();
        assert_eq!((answer.body.as_slice(), answer.close), (&b"/halfabcd"[..], true));
        assert!(slow.answer().body == support::chunks(12, 4 << 20));
        drop((held, waiting, half, slow));
        server.wait_for_the_end();
        assert_eq!(server.engine.cut(), [""; 0]);
    }
}

/// An idle client may have been just sending: it is served, and then told that this was the last.
#[test]
fn an_idle_client_has_its_last_call() {
    for threads in [1, 4] {
        let mut server = Server::start(options(threads));
        let mut sending = server.connect();
        let mut quiet = server.connect();
        assert_eq!(sending.get("/1").body, b"/1");
        assert_eq!(quiet.get("/1").body, b"/1");
        drain(&server, GRACE);
        let answer = sending.get("/2");
        assert_eq!((answer.body.as_slice(), answer.close), (&b"/2"[..], true));
        assert!(sending.is_closed());
        // The arbiter is in a hurry: the quiet one has two seconds left.
        let begun = Instant::now();
        server.board.slot(0).hurry();
        assert!(quiet.is_closed());
        assert!(begun.elapsed() > Duration::from_millis(1500), "{:?}", begun.elapsed());
        server.wait_for_the_end();
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}

#[test]
fn at_the_end_of_the_grace_the_rest_is_cut_and_listed() {
    for threads in [1, 4] {
        let mut server = Server::start(options(threads));
        let mut held: Vec<_> = (0..threads).map(|_| server.hold()).collect();
        let mut waiting = server.connect();
        waiting.send(b"GET /waiting HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut half = server.connect();
        half.send(b"GET /half");
        server.settle();
        server.engine.drain(Span::from_millis(300));
        wait_until("the cut", || !server.engine.cut().is_empty());
        let cut = server.engine.cut();
        assert_eq!(cut.iter().filter(|line| *line == "GET /hold").count(), threads, "{cut:?}");
        assert!(cut.iter().any(|line| line == "GET /waiting (waiting)"), "{cut:?}");
        assert!(cut.iter().any(|line| line.starts_with("1 connections")), "{cut:?}");
        server.record.open();
        server.wait_for_the_end();
        assert_eq!(server.record.called.load(SeqCst), threads);
        held.clear();
    }
}

/// A server that stops takes what the kernel has accepted for it.
#[test]
fn a_server_that_stops_empties_its_backlog() {
    let mut server = Server::start(Options { worker_connections: 1, ..options(1) });
    let mut held = server.hold();
    let mut backlog: Vec<_> = (0..5).map(|_| server.connect()).collect();
    for client in &mut backlog {
        client.send(b"GET /backlog HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    server.board.set_stopping(true);
    drain(&server, GRACE);
    server.record.open();
    assert_eq!(held.answer().body, b"/hold");
    for client in &mut backlog {
        let answer = client.answer();
        assert_eq!((answer.body.as_slice(), answer.close), (&b"/backlog"[..], true));
    }
    drop((held, backlog));
    server.wait_for_the_end();
}
