//! Deadlines fire for the connection that they are for, in time, and for no other.

mod support;

use std::io::Read;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use monoceros_engine::clock::Span;
use monoceros_engine::scoreboard::IncidentKind;
use monoceros_engine::{Options, Severity};
use support::{Client, Server, options, wait_until};

const SHORT: Span = Span::from_millis(300);
/// A deadline is noticed at the latest with the next beat, on a machine that is busy.
const LATE: Duration = Duration::from_millis(300 + 2500);

fn in_time(begun: Instant) {
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(SHORT.as_micros() / 1000), "too early: {took:?}");
    assert!(took < LATE, "too late: {took:?}");
}

fn has_notice(server: &Server, severity: Severity, words: &str) -> bool {
    let notices = server.record.notices.lock().unwrap();
    notices.iter().any(|(of, text)| *of == severity && text.contains(words))
}

/// Another connection, in the middle of the same thing but not late, is left alone.
fn stays(mut client: Client, rest: &[u8], body: &[u8]) {
    client.send(rest);
    assert_eq!(client.answer().body, body);
}

#[test]
fn a_head_that_takes_too_long_is_answered_408() {
    let server = Server::start(Options { header_timeout: SHORT, ..options(1) });
    let mut late = server.connect();
    let begun = Instant::now();
    late.send(b"GET /late HTTP/1.1\r\nHo");
    let mut idle = server.connect();
    assert_eq!(idle.get("/idle").body, b"/idle");
    assert_eq!(late.answer().status, 408);
    in_time(begun);
    assert!(late.is_closed());
    assert_eq!(idle.get("/still").body, b"/still");
    wait_until("the notice", || has_notice(&server, Severity::Info, "request head"));
    let mut other = server.connect();
    other.send(b"GET /other HTTP/1.1\r\n");
    stays(other, b"Host: a\r\n\r\n", b"/other");
}

#[test]
fn a_body_that_stands_still_is_answered_408() {
    let server = Server::start(Options { body_timeout: SHORT, ..options(1) });
    let mut late = server.connect();
    late.send(b"POST /late HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
    let begun = Instant::now();
    assert_eq!(late.answer().status, 408);
    in_time(begun);
    let mut other = server.connect();
    other.send(b"POST /other HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
    stays(other, b"abc", b"/otherabc");
    assert_eq!(server.record.called.load(SeqCst), 1);
}

#[test]
fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let server = Server::start(Options { keepalive: SHORT, ..options(1) });
    let mut idle = server.connect();
    assert_eq!(idle.get("/idle").body, b"/idle");
    let begun = Instant::now();
    let mut held = server.hold();
    assert!(idle.is_closed());
    in_time(begun);
    server.record.open();
    assert_eq!(held.answer().body, b"/hold");
    assert_eq!(held.get("/next").body, b"/next");
}

#[test]
fn a_client_that_never_speaks_is_closed() {
    let server = Server::start(Options { keepalive: SHORT, header_timeout: SHORT, ..options(1) });
    let begun = Instant::now();
    let mut silent = server.connect();
    assert!(silent.is_closed());
    in_time(begun);
}

#[test]
fn a_client_that_does_not_read_is_cut_and_a_slow_one_is_not() {
    let timeout = Span::from_millis(800);
    let server = Server::start(Options { write_timeout: timeout, ..options(1) });
    let request = b"GET /chunks/12/4194304 HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut stuck = server.connect();
    stuck.send(request);
    let mut slow = server.connect();
    slow.send(request);
    // A little at a time, for as long as the other is patient with: that is progress.
    let deadline = Instant::now() + support::BOUND;
    let mut taken = Vec::new();
    let mut block = vec![0; 128 * 1024];
    while server.record.dropped.load(SeqCst) == 0 {
        assert!(Instant::now() < deadline, "the client that does not read is kept");
        if taken.len() < 40 << 20 {
            let count = slow.stream.read(&mut block).unwrap();
            taken.extend_from_slice(&block[..count]);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    slow.unread(taken);
    assert!(slow.answer().body == support::chunks(12, 4 << 20));
    assert_eq!(stuck.try_answer(), None);
    wait_until("the notice", || has_notice(&server, Severity::Info, "stopped reading"));
}

#[test]
fn an_overdue_request_is_answered_504_once_and_its_own_answer_goes_nowhere() {
    for threads in [1, 4] {
        let server = Server::start(Options { request_deadline: SHORT, ..options(threads) });
        let begun = Instant::now();
        let mut late = server.hold();
        let answer = late.answer();
        assert_eq!(answer.status, 504);
        in_time(begun);
        assert!(answer.close);
        assert!(late.is_closed());
        let mut incident = None;
        wait_until("the report", || {
            incident =
                (0..threads).find_map(|thread| server.board.incident_cell(0, thread).take(thread));
            incident.is_some()
        });
        let incident = incident.unwrap();
        assert_eq!(incident.kind, IncidentKind::Overdue);
        assert!(incident.answered && incident.head.starts_with(b"GET /hold "));
        server.record.open();
        server.record.wait_for_holding(0);
        assert_eq!(server.connect().get("/other").body, b"/other");
    }
}

/// With every thread overdue nobody is left to answer: clients that wait are told so.
#[test]
fn clients_that_wait_behind_overdue_requests_are_refused() {
    let server = Server::start(Options { request_deadline: SHORT, ..options(1) });
    let mut late = server.hold();
    let mut waiting = server.connect();
    waiting.send(b"GET /waiting HTTP/1.1\r\nHost: a\r\n\r\n");
    server.settle();
    assert_eq!(late.answer().status, 504);
    assert_eq!(waiting.answer().status, 503);
    server.record.open();
    server.record.wait_for_holding(0);
    assert_eq!(server.connect().get("/other").body, b"/other");
    assert_eq!(server.record.called.load(SeqCst), 2);
}

#[test]
fn a_slow_request_is_reported_and_answered() {
    for threads in [1, 4] {
        let server = Server::start(Options { slow_after: SHORT, ..options(threads) });
        let mut slow = server.hold();
        let mut kinds = Vec::new();
        wait_until("the report", || {
            let taken = (0..threads).filter_map(|it| server.board.incident_cell(0, it).take(it));
            kinds.extend(taken.map(|incident| incident.kind));
            !kinds.is_empty()
        });
        assert_eq!(kinds, [IncidentKind::Slow]);
        server.record.open();
        assert_eq!(slow.answer().body, b"/hold");
    }
}

/// What the engine says is for people: it names the peer.
#[test]
fn a_refused_request_is_told_with_its_peer() {
    let server = Server::start(options(1));
    server.settle();
    wait_until("the notice", || has_notice(&server, Severity::Warning, "ip=127.0.0.1"));
}
