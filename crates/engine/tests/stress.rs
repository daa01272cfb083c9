//! Clients of every kind at once against 1 and 4 threads: every answer is checked by its content,
//! none may be lost, doubled or damaged, and nothing is left behind. Alone in its binary, because
//! it counts the descriptors and the CPU time of the process.
//!
//! `STRESS_SECONDS` sets how long each round takes.

mod support;

use std::net::Shutdown;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use monoceros_engine::Options;
use monoceros_engine::clock::Span;
use support::{Client, Server, chunks, cpu, descriptors, options, wait_until};

/// A small generator of numbers: the same storm for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    /// A request, and what the answer's body has to be.
    fn request(&mut self, tag: &str) -> (Vec<u8>, Vec<u8>) {
        let millis = if self.roll(20) == 0 { self.roll(5) } else { 0 };
        match self.roll(10) {
            0 => {
                let length = self.roll(40_000) as usize;
                let body = vec![b'a' + self.roll(26) as u8; length];
                let target = format!("/slow/{millis}/{tag}");
                let head = format!(
                    "POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
                );
                ([head.as_bytes(), &body].concat(), [target.as_bytes(), &body].concat())
            }
            1 => {
                let body = vec![b'c'; 1 + self.roll(9_000) as usize];
                let target = format!("/slow/{millis}/{tag}");
                let head = format!(
                    "PUT {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n",
                    body.len()
                );
                let bytes = [head.as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
                (bytes, [target.as_bytes(), &body].concat())
            }
            2 => {
                let (count, size) = (1 + self.roll(8) as usize, self.roll(60_000) as usize);
                let head = format!("GET /chunks/{count}/{size} HTTP/1.1\r\nHost: a\r\n\r\n");
                (head.into_bytes(), chunks(count, size))
            }
            3 => {
                let size = self.roll(200_000) as usize;
                let head = format!("GET /finish/{size} HTTP/1.1\r\nHost: a\r\n\r\n");
                (head.into_bytes(), vec![b'f'; size])
            }
            _ => {
                let target = format!("/slow/{millis}/{tag}");
                let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
                (head.into_bytes(), target.into_bytes())
            }
        }
    }
}

/// One client's life: some connections, one after the other, each of a kind of its own.
fn live(server: &Server, name: usize, until: Instant, answered: &AtomicUsize) {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15 ^ (name as u64 + 1));
    let mut number = 0;
    while Instant::now() < until {
        let mut client = server.connect();
        let requests = 1 + dice.roll(12) as usize;
        let mut made = Vec::new();
        for _ in 0..requests {
            number += 1;
            made.push(dice.request(&format!("{name}-{number}")));
        }
        match dice.roll(6) {
            0 => pipelined(&mut client, &made, false),
            1 => pipelined(&mut client, &made, true),
            2 => in_pieces(&mut client, &made, &mut dice),
            3 => {
                abort(&client, &made, &mut dice);
                continue;
            }
            _ => one_by_one(&mut client, &made),
        }
        answered.fetch_add(requests, SeqCst);
    }
}

fn expect(client: &mut Client, body: &[u8]) {
    let answer = client.answer();
    assert_eq!(answer.status, 200);
    assert!(answer.body == body, "{} bytes, not {}", answer.body.len(), body.len());
}

fn one_by_one(client: &mut Client, made: &[(Vec<u8>, Vec<u8>)]) {
    for (request, body) in made {
        client.send(request);
        expect(client, body);
    }
}

/// All at once, while the answers are read by another thread; `shut`: and then no more is said.
fn pipelined(client: &mut Client, made: &[(Vec<u8>, Vec<u8>)], shut: bool) {
    let mut writer = client.stream.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            for (request, _) in made {
                std::io::Write::write_all(&mut writer, request).unwrap();
            }
            if shut {
                writer.shutdown(Shutdown::Write).unwrap();
            }
        });
        for (_, body) in made {
            expect(client, body);
        }
    });
    if shut {
        assert!(client.is_closed());
    }
}

fn in_pieces(client: &mut Client, made: &[(Vec<u8>, Vec<u8>)], dice: &mut Dice) {
    for (request, body) in made {
        let mut rest = &request[..];
        while !rest.is_empty() {
            let length = (1 + dice.roll(rest.len().min(3000) as u64) as usize).min(rest.len());
            client.send(&rest[..length]);
            rest = &rest[length..];
            thread::yield_now();
        }
        expect(client, body);
    }
}

/// Sends a part, reads a part perhaps, and is gone.
fn abort(client: &Client, made: &[(Vec<u8>, Vec<u8>)], dice: &mut Dice) {
    let all: Vec<u8> = made.iter().flat_map(|(request, _)| request.clone()).collect();
    let length = dice.roll(all.len().min(20_000) as u64 + 1) as usize;
    // The server may have refused or closed already; this client does not care.
    let sent = std::io::Write::write_all(&mut &client.stream, &all[..length]);
    if sent.is_ok() && length > 0 && dice.roll(2) == 0 {
        drop(std::io::Read::read(&mut &client.stream, &mut [0; 100]));
    }
}

#[test]
fn every_answer_is_right_and_nothing_is_left_behind() {
    let seconds = std::env::var("STRESS_SECONDS").ok().and_then(|text| text.parse().ok());
    let seconds = Duration::from_secs_f64(seconds.unwrap_or(1.5));
    for threads in [1, 4] {
        let before = descriptors();
        let made = Options {
            body_buffer: 8192,
            body_timeout: Span::from_secs(1),
            header_timeout: Span::from_secs(1),
            write_timeout: Span::from_secs(2),
            ..options(threads)
        };
        let mut server = Server::start(made);
        let open = descriptors();
        let answered = AtomicUsize::new(0);
        let until = Instant::now() + seconds;
        thread::scope(|scope| {
            for name in 0..12 {
                let (server, answered) = (&server, &answered);
                scope.spawn(move || live(server, name, until, answered));
            }
        });
        assert!(answered.load(SeqCst) > 100, "{answered:?} answers are no storm");
        assert!(server.record.called.load(SeqCst) >= answered.load(SeqCst));
        wait_until("the end of all connections", || descriptors() == open);
        idles(&server);
        server.engine.drain(Span::from_secs(5));
        server.wait_for_the_end();
        drop(server);
        wait_until("the descriptors", || descriptors() == before);
    }
}

/// Nothing to do costs nothing: also with a client that does not read, and while draining.
fn idles(server: &Server) {
    let mut stuck = server.connect();
    stuck.send(b"GET /chunks/12/4194304 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut idle = server.connect();
    assert_eq!(idle.get("/idle").body, b"/idle");
    server.settle();
    let before = cpu();
    thread::sleep(Duration::from_secs(1));
    let used = cpu() - before;
    // A busy loop would use the whole second; a machine that is busy itself makes wake-ups dear.
    assert!(used <= Duration::from_millis(150), "an idle second cost {used:?}");
}
