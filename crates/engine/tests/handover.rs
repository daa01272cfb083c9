//! The lead passes on: what is slow holds nobody else, and nothing is lost on the way.

mod support;

use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Instant;

use monoceros_engine::Engine;
use support::{BOUND, Server, Toy, options, wait_until};

#[test]
fn a_request_that_holds_does_not_hold_others() {
    let server = Server::start(options(4));
    let mut held: Vec<_> = (0..3).map(|_| server.hold()).collect();
    let mut other = server.connect();
    for number in 0..50 {
        let target = format!("/{number}");
        assert_eq!(other.get(&target).body, target.as_bytes());
    }
    server.record.open();
    for client in &mut held {
        assert_eq!(client.answer().body, b"/hold");
    }
}

/// With every thread in an app, the sentinel reads on and refuses what is no request; whole
/// requests wait and are all answered, each once.
#[test]
fn requests_that_wait_for_a_thread_are_answered_once() {
    for threads in [1, 4] {
        let server = Server::start(options(threads));
        let mut held: Vec<_> = (0..threads).map(|_| server.hold()).collect();
        let mut waiting: Vec<_> = (0..20).map(|_| server.connect()).collect();
        for (number, client) in waiting.iter_mut().enumerate() {
            let body =
                format!("POST /wait{number} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
            client.send(body.as_bytes());
            client.send(b"abc");
        }
        server.settle();
        assert_eq!(server.record.called.load(SeqCst), threads);
        server.record.open();
        for client in &mut held {
            assert_eq!(client.answer().body, b"/hold");
        }
        for (number, client) in waiting.iter_mut().enumerate() {
            assert_eq!(client.answer().body, format!("/wait{number}abc").as_bytes());
        }
        assert_eq!(server.record.called.load(SeqCst), threads + 20);
        for client in &mut waiting {
            assert_eq!(client.get("/again").body, b"/again");
        }
    }
}

/// Requests that all take longer than a tick, from more clients than there are threads.
#[test]
fn slow_requests_are_answered_once_and_in_order() {
    for threads in [1, 4] {
        let server = Server::start(options(threads));
        thread::scope(|scope| {
            for client_number in 0..8 {
                let server = &server;
                scope.spawn(move || {
                    let mut client = server.connect();
                    for number in 0..10 {
                        let millis = if (client_number + number) % 2 == 0 { 3 } else { 0 };
                        let target = format!("/slow/{millis}/{client_number}/{number}");
                        assert_eq!(client.get(&target).body, target.as_bytes());
                    }
                });
            }
        });
        assert_eq!(server.record.called.load(SeqCst), 80);
    }
}

/// A request whose client is gone before a thread was free may be skipped; what comes after it
/// must not wait for that.
#[test]
fn a_client_that_leaves_the_queue_holds_nobody() {
    let server = Server::start(options(1));
    server.board.set_fleet(2);
    let mut held = server.hold();
    let mut gone = server.connect();
    gone.send(b"GET /gone HTTP/1.1\r\nHost: a\r\n\r\n");
    server.record.open();
    assert_eq!(held.answer().body, b"/hold");
    drop(gone);
    assert_eq!(server.connect().get("/other").body, b"/other");
}

#[test]
fn an_engine_that_nobody_ran_ends() {
    let board = std::sync::Arc::new(monoceros_engine::scoreboard::Scoreboard::new(1, 1).unwrap());
    let engine = Engine::<Toy>::new(&[], options(1), board, 0).unwrap();
    let dropped = thread::spawn(move || drop(engine));
    wait_until("the sentinel's end", || dropped.is_finished());
}

#[test]
fn notices_are_written_as_soon_as_a_thread_is_free() {
    let server = Server::start(options(1));
    let held = server.hold();
    server.settle();
    assert!(server.record.notices.lock().unwrap().is_empty());
    server.record.open();
    wait_until("the notice", || !server.record.notices.lock().unwrap().is_empty());
    let begun = Instant::now();
    server.settle();
    wait_until("the second notice", || server.record.notices.lock().unwrap().len() == 2);
    assert!(begun.elapsed() < BOUND / 2);
    drop(held);
}

/// Whoever serves a request, and however it got there: the scoreboard counts its bytes once.
#[test]
fn bytes_are_counted_once() {
    for threads in [1, 4] {
        let server = Server::start(options(threads));
        let mut first = server.connect();
        assert_eq!(first.get("/finish/30000").body.len(), 30_000);
        let mut clients: Vec<_> = (0..threads).map(|_| server.hold()).collect();
        let mut waiting: Vec<_> = (0..10).map(|_| server.connect()).collect();
        for client in &mut waiting {
            client.send(b"GET /waiting HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        server.settle();
        server.record.open();
        clients.append(&mut waiting);
        clients.iter_mut().for_each(|client| drop(client.answer()));
        clients.push(first);
        let taken: usize = clients.iter().map(|client| client.taken).sum();
        let counted = || server.board.cells(0).map(|cell| cell.bytes_out()).sum::<u64>();
        wait_until("the last count", || counted() >= taken as u64);
        assert_eq!(counted(), taken as u64);
    }
}

/// A client that takes a large answer as fast as it comes does not keep others waiting for its end.
#[test]
fn a_large_answer_to_a_fast_client_holds_nobody() {
    // More than could be sent while the others are answered, on however busy a machine.
    const SIZE: usize = 8 << 30;
    for threads in [1, 4] {
        let server = Server::start(options(threads));
        let mut other = server.connect();
        assert_eq!(other.get("/1").body, b"/1");
        let mut fast = server.connect();
        fast.send(format!("GET /file/{SIZE} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        let read = AtomicUsize::new(0);
        let enough = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut block = vec![0; 1 << 20];
                while read.load(SeqCst) < SIZE && !enough.load(SeqCst) {
                    read.fetch_add(fast.stream.read(&mut block).unwrap(), SeqCst);
                }
            });
            wait_until("the beginning", || read.load(SeqCst) > 0);
            for _ in 0..10 {
                assert_eq!(other.get("/2").body, b"/2");
            }
            let so_far = read.load(SeqCst);
            enough.store(true, SeqCst);
            assert!(so_far < SIZE, "the others were answered at its end");
        });
    }
}
