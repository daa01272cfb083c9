//! What clients may ask for at most, and how slowly they may bring it.

mod support;

use std::io::Read;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use monoceros_engine::Options;
use monoceros_engine::clock::Span;
use support::{Client, Server, options};

const LIMIT: usize = 100_000;

fn limited() -> Server {
    let few = Options { limit_request_body: LIMIT as u64, body_buffer: 10_000, ..options(1) };
    Server::start(few)
}

fn post(client: &mut Client, length: usize) {
    let head = format!("POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    client.send(head.as_bytes());
}

fn chunked(client: &mut Client) {
    client.send(b"POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
}

#[test]
fn a_length_beyond_the_limit_is_refused_before_the_body() {
    let server = limited();
    let mut client = server.connect();
    post(&mut client, LIMIT);
    client.send(&vec![b'x'; LIMIT]);
    assert_eq!(client.answer().status, 200);
    post(&mut client, LIMIT + 1);
    let answer = client.answer();
    assert!(answer.status == 413 && answer.close);
    assert!(client.is_closed());
    assert_eq!(server.record.called.load(SeqCst), 1);
}

/// Head and body in one packet are no way round the limit, nor is a head in pieces.
#[test]
fn a_small_limit_holds_for_bodies_that_are_here_already() {
    let server = Server::start(Options { limit_request_body: 3, ..options(1) });
    for pieces in [1, 2, 40] {
        let request = b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd";
        let mut client = server.connect();
        for piece in request.chunks(request.len().div_ceil(pieces)) {
            client.send(piece);
            server.settle();
        }
        assert_eq!(client.answer().status, 413, "in {pieces} pieces");
    }
    assert_eq!(server.record.called.load(SeqCst), 0);
}

#[test]
fn a_chunked_body_is_refused_when_it_passes_the_limit() {
    let server = limited();
    for piece in [1000, 7001, LIMIT] {
        let mut client = server.connect();
        chunked(&mut client);
        let mut sent = 0;
        while sent < LIMIT {
            let size = piece.min(LIMIT - sent);
            client.send(format!("{size:x}\r\n").as_bytes());
            client.send(&vec![b'x'; size]);
            client.send(b"\r\n");
            sent += size;
        }
        client.send(b"0\r\n\r\n");
        assert_eq!(client.answer().body.len(), LIMIT + 2);
        chunked(&mut client);
        client.send(format!("{:x}\r\n", LIMIT + 1).as_bytes());
        client.send(&vec![b'x'; LIMIT + 1]);
        assert_eq!(client.answer().status, 413);
        assert!(client.is_closed());
    }
    assert_eq!(server.record.called.load(SeqCst), 3);
}

#[test]
fn a_body_that_is_too_large_is_not_asked_for() {
    let server = limited();
    let mut client = server.connect();
    client.send(
        b"POST /b HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 100001\r\n\r\n",
    );
    let mut start = [0; 12];
    client.stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 413");
}

/// A client that sends all of its upload before it reads finds the refusal, not a reset.
#[test]
fn a_refusal_outlives_an_upload() {
    let server = limited();
    let mut client = server.connect();
    post(&mut client, 40 << 20);
    let block = vec![b'x'; 1 << 20];
    for _ in 0..40 {
        client.send(&block);
    }
    client.shut_write();
    assert_eq!(client.answer().status, 413);
    assert!(client.is_closed());
}

/// It makes progress all the time, and too little of it.
#[test]
fn a_body_that_drips_is_cut() {
    let stretch = Span::from_millis(600);
    let few = Options { body_timeout: stretch, body_min_rate: 1000, ..options(1) };
    let server = Server::start(few);
    let mut steady = server.connect();
    post(&mut steady, 4000);
    let mut client = server.connect();
    post(&mut client, 1000);
    let begun = Instant::now();
    client.stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut answer = Vec::new();
    let mut sent = 0;
    while answer.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it may drip for ever");
        client.send(b"x");
        if sent < 4000 {
            sent += 200;
            steady.send(&[b's'; 200]);
        }
        let mut block = [0; 100];
        if let Ok(count) = client.stream.read(&mut block) {
            answer.extend_from_slice(&block[..count]);
        }
    }
    assert!(answer.starts_with(b"HTTP/1.1 408"));
    assert!(begun.elapsed() >= Duration::from_millis(600));
    steady.send(&vec![b's'; 4000 - sent]);
    assert_eq!(steady.answer().status, 200);
}
