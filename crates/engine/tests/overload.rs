//! Those for whom there is no room in time.

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use monoceros_engine::clock::{Moment, Span};
use monoceros_engine::scoreboard::State;
use monoceros_engine::{Options, Severity};
use support::{Client, Server, options, wait_until};

const SHORT: Span = Span::from_millis(300);

fn with_queue_timeout(options: Options) -> Server {
    let server = Server::start(Options { queue_timeout: SHORT, ..options });
    server.board.slot(0).set_state(State::Ready);
    server
}

fn ask(server: &Server, target: &str) -> Client {
    let mut client = server.connect();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    client
}

#[test]
fn a_request_that_waits_too_long_for_a_thread_is_refused() {
    for threads in [1, 2] {
        let server = with_queue_timeout(options(threads));
        let mut held: Vec<Client> = (0..threads).map(|_| ask(&server, "/hold")).collect();
        server.record.wait_for_holding(threads);
        let begun = Instant::now();
        let mut late: Vec<Client> = (0..5).map(|_| ask(&server, "/late")).collect();
        for client in &mut late {
            let answer = client.answer();
            assert!(answer.status == 503 && answer.close);
            assert!(client.is_closed());
        }
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(290) && took < Duration::from_secs(3), "{took:?}");
        let mut soon = ask(&server, "/soon");
        server.settle();
        server.record.open();
        assert_eq!(soon.answer().body, b"/soon");
        held.iter_mut().for_each(|client| assert_eq!(client.answer().body, b"/hold"));
        assert_eq!(server.record.called.load(SeqCst), threads + 1);
        wait_until("the notice", || {
            let notices = server.record.notices.lock().unwrap();
            notices.iter().any(|(severity, text)| {
                *severity == Severity::Warning && text.starts_with("overloaded: ")
            })
        });
    }
}

#[test]
fn connections_beyond_the_capacity_are_refused_in_the_end() {
    let server = with_queue_timeout(Options { worker_connections: 2, ..options(1) });
    let (mut first, mut second) = (server.connect(), server.connect());
    assert_eq!(first.get("/1").body, b"/1");
    assert_eq!(second.get("/2").body, b"/2");
    let mut late: Vec<Client> = (0..300).map(|_| ask(&server, "/late")).collect();
    for client in &mut late {
        let answer = client.answer();
        assert!(answer.status == 503 && answer.close);
    }
    assert_eq!(first.get("/still").body, b"/still");
    drop(second);
    // There is room again.
    wait_until("room", || ask(&server, "/new").answer().status == 200);
    assert_eq!(first.get("/still").body, b"/still");
}

/// As long as one worker has room, the others leave connections to it.
#[test]
fn a_sibling_with_room_is_waited_for() {
    let listener = Options { worker_connections: 1, ..options(1) };
    let server = Server::start_with_slots(Options { queue_timeout: SHORT, ..listener }, 2);
    server.board.slot(0).set_state(State::Ready);
    server.board.slot(1).set_state(State::Ready);
    let mut first = server.connect();
    assert_eq!(first.get("/1").body, b"/1");
    let mut waiting = ask(&server, "/waiting");
    let begun = Instant::now();
    let board = Arc::clone(&server.board);
    wait_until("the worker to be crowded", || board.slot(0).crowded_since() != Moment(0));
    wait_until("more than the time", || begun.elapsed() > Duration::from_secs(3));
    assert!(!waiting.has_bytes(), "refused although a sibling has room");
    // Now the sibling has none either.
    board.slot(1).set_crowded_since(board.slot(0).crowded_since());
    assert_eq!(waiting.answer().status, 503);
    assert_eq!(first.get("/still").body, b"/still");
}

/// The time in the kernel's queue counts, too.
#[test]
fn a_request_that_has_waited_in_the_backlog_is_refused() {
    let few = Options { worker_connections: 1, queue_timeout: SHORT, ..options(1) };
    let server = Server::start_with_slots(few, 2);
    // There is a sibling that has room, though it takes nobody.
    server.board.slot(0).set_state(State::Ready);
    server.board.slot(1).set_state(State::Ready);
    let mut only = server.connect();
    assert_eq!(only.get("/1").body, b"/1");
    let mut late = ask(&server, "/late");
    let silent = server.connect();
    let begun = Instant::now();
    wait_until("the time to pass", || begun.elapsed() > Duration::from_millis(600));
    assert_eq!(only.get("/2").body, b"/2");
    drop(only);
    assert_eq!(late.answer().status, 503);
    drop(late);
    // Who has not asked for anything yet is not late.
    let mut silent = silent;
    assert_eq!(silent.get("/new").body, b"/new");
    assert_eq!(server.record.called.load(SeqCst), 3);
}
