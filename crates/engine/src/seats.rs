//! The requests that an event loop runs, as the reactor sees them, and their deadlines.
//!
//! A request has a seat from its beginning until its connection is given back. Low seats are taken
//! first, so that the scoreboard, which has cells for some of them, shows as many as it can. A seat
//! stands at most once in each queue of deadlines: what a busy worker keeps is bounded by what runs.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;

use crate::clock::{Moment, Span};
use crate::connections::Key;
use crate::scoreboard::{Incident, IncidentKind};

/// A report shows no more of a head than this.
const HEAD_SHOWN: usize = 2048;

/// The number of a seat.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Seat(usize);

impl Seat {
    pub fn index(self) -> usize {
        self.0
    }
}

/// What may become due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Due {
    Slow = 0,
    Overdue = 1,
}

const DUES: [Due; 2] = [Due::Slow, Due::Overdue];

struct Guest {
    /// None: the seat is free.
    key: Option<Key>,
    id: u64,
    since: Moment,
    client: Option<SocketAddr>,
    /// The request's head, as far as reports show it.
    head: Vec<u8>,
    told: [bool; DUES.len()],
    queued: [bool; DUES.len()],
}

/// A request that has become slow or overdue.
#[derive(Debug)]
pub struct Reminder {
    pub key: Key,
    pub seat: Seat,
    pub kind: IncidentKind,
}

pub struct Seats {
    guests: Vec<Guest>,
    free: BinaryHeap<Reverse<usize>>,
    spans: [Span; DUES.len()],
    queues: [VecDeque<(Moment, usize)>; DUES.len()],
    /// Reports that the arbiter's cell had no room for yet.
    pub unreported: VecDeque<Incident>,
}

impl Seats {
    pub fn new(slow_after: Span, deadline: Span) -> Seats {
        Seats {
            guests: Vec::new(),
            free: BinaryHeap::new(),
            spans: [slow_after, deadline],
            queues: Default::default(),
            unreported: VecDeque::new(),
        }
    }

    /// A request begins. The head is copied only where a report may have to show it.
    pub fn take(
        &mut self,
        key: Key,
        id: u64,
        now: Moment,
        client: Option<SocketAddr>,
        head: &[u8],
    ) -> Seat {
        let index = match self.free.pop() {
            Some(Reverse(index)) => index,
            None => {
                self.guests.push(Guest {
                    key: None,
                    id: 0,
                    since: now,
                    client: None,
                    head: Vec::new(),
                    told: [false; DUES.len()],
                    queued: [false; DUES.len()],
                });
                self.guests.len() - 1
            }
        };
        let guest = &mut self.guests[index];
        guest.key = Some(key);
        guest.id = id;
        guest.since = now;
        guest.client = client;
        guest.told = [false; DUES.len()];
        guest.head.clear();
        guest.head.extend_from_slice(&head[..head.len().min(HEAD_SHOWN)]);
        for due in DUES {
            let span = self.spans[due as usize];
            if span != Span::FOREVER && !guest.queued[due as usize] {
                guest.queued[due as usize] = true;
                self.queues[due as usize].push_back((now.after(span), index));
            }
        }
        Seat(index)
    }

    pub fn leave(&mut self, seat: Seat) {
        if self.guests[seat.0].key.take().is_some() {
            self.free.push(Reverse(seat.0));
        }
    }

    /// When to look for what is due next, at the latest.
    pub fn next_due(&self) -> Moment {
        let fronts = self.queues.iter().filter_map(|queue| queue.front());
        fronts.map(|(moment, _)| *moment).min().unwrap_or(Moment::NEVER)
    }

    /// The next request that has become slow or overdue. Each is told once.
    pub fn remind(&mut self, now: Moment) -> Option<Reminder> {
        for due in DUES {
            let queue = due as usize;
            while let Some(&(moment, index)) = self.queues[queue].front() {
                if moment > now {
                    break;
                }
                self.queues[queue].pop_front();
                let guest = &mut self.guests[index];
                guest.queued[queue] = false;
                let Some(key) = guest.key else { continue };
                if guest.told[queue] {
                    continue;
                }
                let moment = guest.since.after(self.spans[queue]);
                if moment > now {
                    // Another request has the seat by now.
                    guest.queued[queue] = true;
                    let queue = &mut self.queues[queue];
                    let place = queue.partition_point(|(other, _)| *other <= moment);
                    queue.insert(place, (moment, index));
                    continue;
                }
                guest.told[queue] = true;
                let kind = match due {
                    Due::Slow => IncidentKind::Slow,
                    Due::Overdue => IncidentKind::Overdue,
                };
                return Some(Reminder { key, seat: Seat(index), kind });
            }
        }
        None
    }

    /// What the arbiter is to be told of a request. `writing`: its answer has begun; `answered`:
    /// the client has been told that it took too long.
    pub fn report(
        &mut self,
        seat: Seat,
        kind: IncidentKind,
        now: Moment,
        writing: bool,
        answered: bool,
    ) {
        let guest = &self.guests[seat.0];
        self.unreported.push_back(Incident {
            kind,
            id: guest.id,
            thread: seat.0,
            elapsed: now.since(guest.since),
            writing,
            answered,
            peer: guest.client.map_or(String::new(), |client| client.ip().to_string()),
            head: guest.head.clone(),
        });
    }

    /// Method and target of what runs, for people.
    pub fn titles(&self) -> impl Iterator<Item = String> {
        self.guests.iter().filter(|guest| guest.key.is_some()).map(|guest| {
            let line = guest.head.split(|byte| *byte == b'\r').next().unwrap_or_default();
            let mut words = line.split(|byte| *byte == b' ');
            let method = words.next().unwrap_or_default();
            let target = words.next().unwrap_or_default();
            format!("{} {}", String::from_utf8_lossy(method), String::from_utf8_lossy(target))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Span = Span::from_secs(1);
    const DEADLINE: Span = Span::from_secs(5);

    fn key(number: u64) -> Key {
        Key::from_token(number)
    }

    fn take(seats: &mut Seats, number: u64, now: Moment) -> Seat {
        seats.take(key(number), number, now, None, b"GET /path HTTP/1.1\r\nHost: x\r\n\r\n")
    }

    #[test]
    fn each_is_told_once_when_it_is_slow_and_when_it_is_overdue() {
        let mut seats = Seats::new(SLOW, DEADLINE);
        let start = Moment(1);
        take(&mut seats, 7, start);
        assert_eq!(seats.next_due(), start.after(SLOW));
        assert!(seats.remind(start).is_none());
        let told = seats.remind(start.after(SLOW)).unwrap();
        assert_eq!((told.key, told.kind), (key(7), IncidentKind::Slow));
        assert!(seats.remind(start.after(SLOW)).is_none());
        let told = seats.remind(start.after(DEADLINE)).unwrap();
        assert_eq!((told.key, told.kind), (key(7), IncidentKind::Overdue));
        assert!(seats.remind(Moment(u64::MAX)).is_none());
        assert_eq!(seats.next_due(), Moment::NEVER);
    }

    #[test]
    fn who_takes_a_seat_has_its_own_time() {
        let mut seats = Seats::new(SLOW, DEADLINE);
        let first = take(&mut seats, 1, Moment(1));
        seats.leave(first);
        let later = Moment(1).after(Span::from_millis(500));
        assert_eq!(take(&mut seats, 2, later), first);
        assert!(seats.remind(Moment(1).after(SLOW)).is_none());
        assert_eq!(seats.remind(later.after(SLOW)).unwrap().key, key(2));
    }

    #[test]
    fn queues_hold_no_more_than_there_are_seats() {
        let mut seats = Seats::new(SLOW, DEADLINE);
        for number in 0..1000 {
            let seat = take(&mut seats, number, Moment(number + 1));
            assert_eq!(seat.index(), 0);
            seats.leave(seat);
        }
        assert_eq!(seats.queues[0].len() + seats.queues[1].len(), 2);
    }

    #[test]
    fn the_lowest_seat_is_taken_first() {
        let mut seats = Seats::new(Span::FOREVER, Span::FOREVER);
        let all: Vec<Seat> = (0..4).map(|number| take(&mut seats, number, Moment(1))).collect();
        seats.leave(all[2]);
        seats.leave(all[1]);
        seats.leave(all[1]);
        assert_eq!(take(&mut seats, 9, Moment(1)), all[1]);
        assert_eq!(take(&mut seats, 9, Moment(1)), all[2]);
        assert_eq!(take(&mut seats, 9, Moment(1)).index(), 4);
        assert_eq!(seats.next_due(), Moment::NEVER);
        assert_eq!(seats.titles().next().as_deref(), Some("GET /path"));
    }
}
