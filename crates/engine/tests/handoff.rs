//! What a worker hands to a sibling, which the test plays.

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use monoceros_engine::clock::Span;
use monoceros_engine::scoreboard::{Scoreboard, State};
use monoceros_engine::{Handoff, Options};
use support::{Client, Server, options, wait_until};

/// A worker in slot 0, and a sibling in slot 1 that says whether it has room and never reads.
fn with_sibling(options: Options) -> (Server, Arc<Handoff>) {
    let handoff = Arc::new(Handoff::new().unwrap());
    let options = Options { handoff: Some(Arc::clone(&handoff)), ..options };
    let server = Server::start_with_slots(options, 2);
    server.board.slot(0).set_state(State::Ready);
    let sibling = server.board.slot(1);
    sibling.set_handoff(handoff.number());
    sibling.set_state(State::Ready);
    sibling.set_has_room(true);
    (server, handoff)
}

/// A client whose connection the worker has.
fn connected(server: &Server) -> Client {
    let mut client = server.connect();
    assert!(!client.get("/first").close);
    client
}

fn ask(client: &mut Client) {
    client.send(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[test]
fn a_request_that_waits_goes_where_there_is_room() {
    for threads in [1, 2] {
        let (server, handoff) = with_sibling(options(threads));
        let mut late = connected(&server);
        let _held: Vec<Client> = (0..threads).map(|_| server.hold()).collect();
        ask(&mut late);
        wait_until("the request to be under way", || handoff.under_way() > 0);
        // Who comes free first takes it: here that is who had sent it.
        server.record.open();
        assert_eq!(late.answer().body, b"/late");
        assert_eq!(late.get("/next").body, b"/next");
        assert_eq!(handoff.under_way(), 0);
    }
}

#[test]
fn it_stays_where_nobody_has_room() {
    type Change = fn(&Server);
    let changes: [Change; 3] = [
        |server| server.board.slot(1).set_has_room(false),
        |server| server.board.slot(1).set_state(State::Draining),
        |server| server.board.slot(1).set_handoff(u64::MAX),
    ];
    for change in changes {
        let (server, handoff) = with_sibling(options(1));
        change(&server);
        let mut late = connected(&server);
        let _held = server.hold();
        ask(&mut late);
        let begun = Instant::now();
        wait_until("the time to pass", || {
            assert_eq!(handoff.under_way(), 0);
            begun.elapsed() > Duration::from_millis(100)
        });
        server.record.open();
        assert_eq!(late.answer().body, b"/late");
    }
}

#[test]
fn what_nobody_has_room_for_any_more_comes_back() {
    let queue_timeout = Span::from_millis(500);
    let (server, handoff) = with_sibling(Options { queue_timeout, ..options(1) });
    let mut late = connected(&server);
    let _held = server.hold();
    ask(&mut late);
    wait_until("the request to be under way", || handoff.under_way() > 0);
    server.board.slot(1).set_has_room(false);
    wait_until("the request to be back", || handoff.under_way() == 0);
    assert_eq!(late.answer().status, 503, "its time counts on");
}

#[test]
fn idle_connections_stay_while_the_worker_does() {
    let (server, handoff) = with_sibling(options(1));
    let (mut idle, mut late) = (connected(&server), connected(&server));
    let _held = server.hold();
    ask(&mut late);
    wait_until("the request to be under way", || handoff.under_way() > 0);
    server.record.open();
    assert_eq!(idle.get("/2").body, b"/2");
}

#[test]
fn who_drains_hands_over_what_is_idle() {
    let (mut server, handoff) = with_sibling(options(1));
    let mut idle = connected(&server);
    server.engine.drain(Span::from_secs(60));
    wait_until("the connection to be under way", || handoff.under_way() > 0);
    server.wait_for_the_end();
    assert!(!idle.has_bytes(), "nor is it closed");
    assert_eq!(handoff.turn_away(), 0);
    assert!(idle.is_closed());
}

#[test]
fn who_drains_promises_to_keep_what_a_sibling_will_take() {
    let (server, handoff) = with_sibling(options(1));
    let mut held = server.hold();
    server.engine.drain(Span::from_secs(60));
    wait_until("the worker to drain", || server.board.slot(0).state() == State::Draining);
    server.record.open();
    assert!(!held.answer().close);
    wait_until("the connection to be under way", || handoff.under_way() > 0);
}

#[test]
fn who_drains_last_takes_what_is_left() {
    let (mut server, handoff) = with_sibling(options(2));
    let mut idle = connected(&server);
    let mut held = server.hold();
    server.engine.drain(Span::from_secs(60));
    wait_until("the connection to be under way", || handoff.under_way() > 0);
    server.board.slot(1).set_state(State::Draining);
    wait_until("the connection to be back", || handoff.under_way() == 0);
    let answer = idle.get("/2");
    assert!(answer.body == b"/2" && answer.close, "there is nobody else");
    assert!(idle.is_closed());
    server.record.open();
    assert_eq!(held.answer().body, b"/hold");
    drop(held);
    server.wait_for_the_end();
}

/// Two workers, each with a listener of its own.
fn pair(options: Options) -> (Server, Server) {
    let options = Options { handoff: Some(Arc::new(Handoff::new().unwrap())), ..options };
    let board = Arc::new(Scoreboard::new(2, options.threads).unwrap());
    board.set_fleet(2);
    let first = Server::start_in(options.clone(), Arc::clone(&board), 0);
    let second = Server::start_in(options, Arc::clone(&board), 1);
    for slot in [0, 1] {
        board.slot(slot).set_state(State::Ready);
        wait_until("workers to have room", || board.slot(slot).has_room());
    }
    (first, second)
}

#[test]
fn the_other_worker_serves_it_and_what_follows() {
    for threads in [1, 2] {
        let (busy, idle) = pair(options(threads));
        let mut client = connected(&busy);
        let _held: Vec<Client> = (0..threads).map(|_| busy.hold()).collect();
        let body = "b".repeat(5000);
        let posted = "POST /posted HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n".to_owned();
        client.send((posted + &body + "GET /next HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        assert_eq!(client.answer().body, ("/posted".to_owned() + &body).as_bytes());
        assert_eq!(client.answer().body, b"/next");
        assert_eq!(idle.record.called.load(SeqCst), 2);
        assert_eq!(client.get("/later").body, b"/later");
        assert_eq!(idle.record.called.load(SeqCst), 3);
        busy.record.open();
    }
}

/// A worker whose own queue is never empty looks at the exchange all the same.
#[test]
fn nobody_waits_for_ever_behind_the_requests_of_others() {
    let (stuck, flooded) = pair(options(1));
    let mut late = connected(&stuck);
    let _held = stuck.hold();
    let mut flood: Vec<Client> = (0..8).map(|_| connected(&flooded)).collect();
    let many = "GET /slow/10/x HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100);
    flood.iter_mut().for_each(|client| client.send(many.as_bytes()));
    wait_until("the flood", || flooded.record.called.load(SeqCst) > 20);
    // What the scoreboard says may be wrong for a moment: here it is for long.
    stuck.board.slot(1).set_has_room(true);
    ask(&mut late);
    assert_eq!(late.answer().body, b"/late");
    assert!(flooded.record.called.load(SeqCst) < 700, "there was more to do");
    drop(flood);
    stuck.record.open();
}
