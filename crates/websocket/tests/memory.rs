//! What connections hold on to. Counted by the allocator, for the thread of the test.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use monoceros_websocket::{CloseCode, Compression, Connection, Kind, Parameters};

mod support;

use support::drive::{agreed, deflate};
use support::frames::{
    BINARY, COMPRESSED, CONTINUATION, FINAL, PING, TEXT, announced, binary, close, frame,
};
use support::random::Random;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is done by the system's allocator; counting touches cells that need no
// memory and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.set(HELD.get() + layout.size() as isize);
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.set(HELD.get() - layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LIMIT: usize = 1 << 20;

/// Bytes that this thread holds more after than before.
fn held(work: impl FnOnce()) -> isize {
    let before = HELD.get();
    work();
    HELD.get() - before
}

fn feed(connection: &mut Connection, mut input: Vec<u8>, piece: usize) {
    for piece in input.chunks_mut(piece) {
        let mut at = 0;
        while at < piece.len() {
            at += connection.receive(&mut piece[at..]).unwrap().consumed;
        }
    }
}

/// "Hello" (RFC 7692, 7.2.3.1).
fn hello() -> Vec<u8> {
    frame(FINAL | COMPRESSED | TEXT, &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00])
}

fn alone() -> Option<Parameters> {
    let offer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    Some(agreed(offer, &Compression::default()))
}

#[test]
fn a_connection_that_waits_holds_no_buffer() {
    let mut connection = Connection::new(LIMIT, deflate());
    let mut out = Vec::with_capacity(1000);
    let held = held(|| {
        for piece in [1, 7, 1000, LIMIT] {
            feed(&mut connection, binary(&Random::new(1).bytes(3000)), piece);
            feed(&mut connection, frame(FINAL | PING, &[b'p'; 125]), piece);
            feed(&mut connection, frame(TEXT, b"one"), piece);
            feed(&mut connection, frame(FINAL | CONTINUATION, b"two"), piece);
        }
        connection.message(Kind::Text, b"short", &mut out).unwrap();
    });
    assert_eq!(held, 0);
    assert!(size_of::<Connection>() <= 400, "{}", size_of::<Connection>());
}

#[test]
fn what_compresses_is_made_when_it_is_needed_and_goes_with_the_close() {
    let mut connection = Connection::new(LIMIT, deflate());
    let mut out = Vec::with_capacity(1000);
    let inflating = held(|| feed(&mut connection, hello(), 3));
    assert!((1..=64 * 1024).contains(&inflating), "{inflating}");
    let deflating = held(|| connection.message(Kind::Text, &[b'x'; 300], &mut out).unwrap());
    assert!((1..=200 * 1024).contains(&deflating), "{deflating}");
    // One is enough for all messages.
    let more = held(|| {
        feed(&mut connection, hello(), 3);
        connection.message(Kind::Text, &[b'x'; 300], &mut out).unwrap();
    });
    assert_eq!(more, 0);
    let closed = held(|| {
        connection.close(CloseCode::NORMAL, "", &mut out).unwrap();
        feed(&mut connection, close(1000, b""), LIMIT);
    });
    // The thread keeps the compressor for the next connection, and a list of such.
    assert!(closed <= -inflating + 1000, "{closed}");
    let next = held(|| {
        let mut next = Connection::new(LIMIT, deflate());
        next.message(Kind::Text, &[b'x'; 300], &mut out).unwrap();
        drop(next);
    });
    assert_eq!(next, -deflating);
}

#[test]
fn a_compressor_can_be_given_up() {
    let mut connection = Connection::new(LIMIT, deflate());
    let mut other = Connection::new(LIMIT, deflate());
    let mut out = Vec::with_capacity(1000);
    connection.message(Kind::Text, &[b'x'; 300], &mut out).unwrap();
    let held = held(|| {
        connection.release();
        other.message(Kind::Text, &[b'x'; 300], &mut out).unwrap();
    });
    // What one gives up, another one takes.
    assert!(held < 1000, "{held}");
}

#[test]
fn without_context_connections_share_what_compresses() {
    let mut connections: Vec<_> = (0..500).map(|_| Connection::new(LIMIT, alone())).collect();
    let mut out = Vec::with_capacity(1000);
    let held = held(|| {
        for connection in &mut connections {
            feed(connection, hello(), 3);
            out.clear();
            connection.message(Kind::Text, &[b'x'; 300], &mut out).unwrap();
        }
    });
    assert!(held <= 256 * 1024, "{held}");
}

#[test]
fn memory_follows_bytes_not_announcements() {
    let mut connection = Connection::new(usize::MAX, None);
    let held_after = |connection: &mut Connection, bytes: Vec<u8>| {
        held(|| assert_eq!(connection.receive(&mut bytes.clone()).unwrap().event, None))
    };
    let start = [announced(FINAL | BINARY, 1 << 40), vec![0; 10]].concat();
    let held = held_after(&mut connection, start);
    assert!((10..=128 * 1024).contains(&held), "{held}");
    let held = held + held_after(&mut connection, vec![0; 200_000]);
    assert!((200_010..=500_000).contains(&held), "{held}");
}

/// Each growth copies what has come: there may only be few.
#[test]
fn many_small_pieces_are_put_together_in_few_steps() {
    let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 1, 2, 3, 4, 5];
    for (first, next, piece) in [
        (frame(BINARY, b"x"), frame(CONTINUATION, b"y"), LIMIT),
        (frame(BINARY, b"x"), frame(CONTINUATION, b"y"), 1),
        (frame(COMPRESSED | BINARY, &stored), frame(CONTINUATION, &stored), LIMIT),
    ] {
        let mut connection = Connection::new(LIMIT, deflate());
        let input = [first, next.repeat(50_000)].concat();
        let before = ALLOCATIONS.get();
        feed(&mut connection, input, piece);
        let allocations = ALLOCATIONS.get() - before;
        assert!(allocations < 50, "{allocations}");
    }
    let mut connection = Connection::new(LIMIT, None);
    let input = binary(&vec![0; LIMIT]);
    let before = ALLOCATIONS.get();
    feed(&mut connection, input, 1);
    let allocations = ALLOCATIONS.get() - before;
    assert!(allocations < 50, "{allocations}");
}
