//! A cooperative worker: what is ready waits to be taken, and nothing waits for who takes it.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

use monoceros_engine::clock::Span;
use monoceros_engine::scoreboard::Scoreboard;
use monoceros_engine::{AppThread, Engine, Next, Options, Outcome};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use support::{BOUND, Toy, wait_until};

/// A worker whose app is the test.
struct Hub {
    engine: Engine<Toy>,
    board: Arc<Scoreboard>,
    listener: TcpListener,
}

impl Hub {
    fn new(options: Options) -> Hub {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let board = Arc::new(Scoreboard::new(1, 4).unwrap());
        board.set_fleet(1);
        let options = Options { cooperative: true, ..options };
        let engine = Engine::new(&[listener.as_raw_fd()], options, Arc::clone(&board), 0).unwrap();
        Hub { engine, board, listener }
    }

    fn ask(&self, target: &str) -> TcpStream {
        let mut client = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(BOUND)).unwrap();
        write!(client, "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        client
    }

    /// Until there is something to take.
    fn is_called(&self, seconds: i64) -> bool {
        // SAFETY: the engine keeps it open as long as it lives.
        let event = unsafe { BorrowedFd::borrow_raw(self.engine.hub_event().unwrap()) };
        let mut events = [PollFd::from_borrowed_fd(event, PollFlags::IN)];
        poll(&mut events, Some(&Timespec { tv_sec: seconds, tv_nsec: 0 })).unwrap() == 1
    }

    fn lane(&self) -> AppThread<Toy> {
        self.engine.lane().unwrap()
    }

    fn take_request(&self, lane: &mut AppThread<Toy>) {
        wait_until("a request", || matches!(self.engine.take(Some(lane)), Some(Next::Serve)));
    }

    fn answer(&self, lane: &mut AppThread<Toy>) {
        lane.exchange.set_status(204);
        lane.exchange.set_keep_alive(false);
        lane.exchange.tail().extend_from_slice(b"HTTP/1.1 204 No Content\r\n\r\n");
        self.engine.finish(lane, Outcome::Complete);
    }
}

fn status(mut client: TcpStream) -> String {
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn as_many_requests_at_a_time_as_there_are_lanes() {
    let hub = Hub::new(Options { threads: 2, ..Options::default() });
    let clients: Vec<TcpStream> = (0..3).map(|number| hub.ask(&format!("/{number}"))).collect();
    let (mut one, mut two) = (hub.lane(), hub.lane());
    assert!(hub.engine.lane().is_none(), "no more than the options say");
    hub.take_request(&mut one);
    hub.take_request(&mut two);
    // The third waits for a lane.
    wait_until("the third to be seen", || {
        assert!(hub.engine.take(None).is_none());
        hub.board.slot(0).connections() == 3
    });
    hub.answer(&mut two);
    assert!(hub.is_called(10));
    hub.take_request(&mut two);
    hub.answer(&mut one);
    hub.answer(&mut two);
    assert!(clients.into_iter().all(|client| status(client) == "204"));
}

#[test]
fn a_deadline_passes_while_the_hub_does_not_come() {
    let options =
        Options { threads: 10, request_deadline: Span::from_millis(100), ..Options::default() };
    let hub = Hub::new(options);
    let client = hub.ask("/stuck");
    let mut lane = hub.lane();
    hub.take_request(&mut lane);
    let number = lane.exchange.id();
    assert_eq!(status(client), "504");
    assert!(hub.is_called(10), "to explain it");
    let mut other = hub.lane();
    assert!(matches!(hub.engine.take(Some(&mut other)), Some(Next::Explain(it)) if it == number));
    // Others are served: it is one request of many.
    let client = hub.ask("/");
    hub.take_request(&mut other);
    hub.answer(&mut other);
    assert_eq!(status(client), "204");
    hub.answer(&mut lane);
}

#[test]
fn draining_ends_with_the_last_lane() {
    let hub = Hub::new(Options { threads: 2, ..Options::default() });
    let client = hub.ask("/");
    let mut lane = hub.lane();
    hub.take_request(&mut lane);
    hub.engine.drain(Span::from_secs(60));
    wait_until("the listener to be closed", || {
        !hub.engine.has_ended() && {
            hub.board.slot(0).state() == monoceros_engine::scoreboard::State::Draining
        }
    });
    hub.answer(&mut lane);
    assert_eq!(status(client), "204");
    wait_until("the end", || matches!(hub.engine.take(None), Some(Next::Done)));
    assert!(hub.engine.has_ended());
    assert!(hub.engine.cut().is_empty());
}

#[test]
fn more_requests_than_cells_are_counted_all_the_same() {
    let hub = Hub::new(Options { threads: 20, ..Options::default() });
    let clients: Vec<TcpStream> = (0..10).map(|_| hub.ask("/")).collect();
    let mut lanes: Vec<AppThread<Toy>> = (0..10).map(|_| hub.lane()).collect();
    lanes.iter_mut().for_each(|lane| hub.take_request(lane));
    let running = || hub.board.cells(0).filter(|cell| cell.running().is_some()).count();
    assert_eq!(running(), 5, "four cells, and one for the further ones");
    for lane in &mut lanes {
        hub.answer(lane);
    }
    assert_eq!(running(), 0);
    assert!(clients.into_iter().all(|client| status(client) == "204"));
    let counted: u64 = hub.board.cells(0).map(|cell| cell.requests()).sum();
    assert_eq!(counted, 10);
}
