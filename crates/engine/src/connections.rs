//! Connections, where they are kept, and their deadlines.
//!
//! A connection is either here, in the hands of the reactor, or out, with the app thread that
//! answers its request. What happens to its socket meanwhile is noted in its entry and looked at
//! when it comes back. Keys carry a generation, so that an event for a connection that is gone
//! never reaches its successor.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use monoceros_http1::{Head, HeadParser};
use monoceros_proxy::proxy_protocol::Header;
use monoceros_uwsgi::Variables;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

use crate::body::{Body, BodyDecoder, BodyReader};
use crate::clock::{Moment, Span};
use crate::gateway::Gateway;
use crate::output::{Output, Written, unacknowledged};
use crate::poller::Watch;
use crate::system;
use crate::tls::{Received, Session};
use crate::trust::{Origin, Trust};

/// Generation in the upper half, index in the lower one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key(u64);

impl Key {
    pub fn from_token(token: u64) -> Key {
        Key(token)
    }

    pub fn token(self) -> u64 {
        self.0
    }

    fn new(generation: u32, index: usize) -> Key {
        Key((generation as u64) << 32 | index as u64)
    }

    /// Of connections that are there at the same time each has another one; low numbers are used
    /// again.
    pub fn index(self) -> usize {
        (self.0 & 0xffff_ffff) as usize
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// (Handshake ->) Idle -> Head -> Body -> Ready -> (out, with an app thread) -> Writing -> Idle, and
/// from anywhere to Lingering when the connection shall end but the peer may still have to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// TLS only: the keys are not agreed on yet.
    Handshake,
    /// Between requests, or before the first.
    Idle,
    Head,
    Body,
    /// A complete request waits for an app thread.
    Ready,
    /// The app has done its part (or has paused); the socket has to take more.
    Writing,
    /// Ours is said and shut; what the peer still sends is thrown away.
    Lingering,
}

/// A peer that sends less than this between two looks is not in the middle of an upload.
const STILL_SENDS: usize = 64 * 1024;

/// A complete request that waits.
pub struct Request {
    pub head: Box<Head>,
    pub bytes: Vec<u8>,
    pub body: Body,
    /// See `Exchange`.
    pub incoming: Option<Box<BodyDecoder>>,
    pub since: Moment,
}

/// What happens when a paused response has been written.
pub enum Paused<P> {
    /// Nothing: the app had finished.
    Nothing,
    /// The app goes on.
    Resume(P),
    /// The app has finished, but holds something that has to be released on an app thread.
    Release(P),
}

pub struct Connection<G: Gateway> {
    /// Goes before the socket does: it may know its number.
    pub peer_cache: Option<G::Peer>,
    pub socket: OwnedFd,
    /// What is said over the socket goes through this where there is one. The reactor may have to
    /// answer while the connection is out: hence shared.
    pub tls: Option<Arc<Session>>,
    pub key: Key,
    pub listener: usize,
    /// The socket's; None for a unix socket.
    pub peer: Option<SocketAddr>,
    /// What a PROXY protocol header has said of who is behind the peer.
    pub proxied: Option<Box<Header>>,
    /// A PROXY protocol header may have to come before the first request.
    pub awaits_preface: bool,
    /// What its requests say about their origin counts.
    pub trusted: bool,
    /// What trusted proxies say about the request under way.
    pub origin: Option<Box<Origin>>,
    /// What the front end tells about its one request, where it speaks uwsgi.
    pub variables: Option<Box<Variables>>,
    pub phase: Phase,
    pub watch: Watch,
    /// Read but not consumed: a part of a head, or what was pipelined.
    pub input: Vec<u8>,
    pub parser: HeadParser,
    /// Of the request whose head or body is under way.
    pub head: Option<Box<Head>>,
    pub head_bytes: Vec<u8>,
    pub body: Option<Box<BodyReader>>,
    pub request: Option<Request>,
    pub output: Output,
    pub paused: Paused<G::Paused>,
    pub keep_alive: bool,
    /// It was not the client who wants this connection to end.
    pub linger: bool,
    pub requests: u32,
    /// Bytes thrown away while lingering, and how many there were when we last looked.
    pub discarded: usize,
    discarded_before: usize,
    /// Bytes of the 100 that a client waits for and could not be sent yet.
    pub continue_owed: usize,
    /// There was no room for it: it does not count against `worker_connections`.
    pub refused: bool,
    /// Bytes of the output that count against the worker's budget.
    pub held: usize,
    /// Bytes that the kernel still held for the peer when we last looked.
    pub unacknowledged: u64,
    pub stalls: u32,
    /// Of the response that is being written.
    pub status: u16,
    pub sent: u64,
}

impl<G: Gateway> Connection<G> {
    pub fn new(socket: OwnedFd, listener: usize, peer: Option<SocketAddr>) -> Self {
        Connection {
            socket,
            tls: None,
            key: Key(u64::MAX),
            listener,
            peer,
            proxied: None,
            awaits_preface: false,
            trusted: false,
            origin: None,
            variables: None,
            peer_cache: None,
            phase: Phase::Idle,
            watch: Watch::Nothing,
            input: Vec::new(),
            parser: HeadParser::new(),
            head: None,
            head_bytes: Vec::new(),
            body: None,
            request: None,
            output: Output::default(),
            paused: Paused::Nothing,
            keep_alive: false,
            linger: false,
            requests: 0,
            discarded: 0,
            discarded_before: 0,
            continue_owed: 0,
            refused: false,
            held: 0,
            unacknowledged: 0,
            stalls: 0,
            status: 0,
            sent: 0,
        }
    }

    /// Decides whose word counts, when the connection is new.
    pub fn judge(&mut self, trust: &Trust) {
        self.awaits_preface = trust.proxy.is_some();
        self.trusted = trust.counts(self.peer);
    }

    /// Who is connected: whom a PROXY protocol header has named, else the socket's peer.
    pub fn client(&self) -> Option<SocketAddr> {
        match self.proxied.as_deref() {
            Some(Header::Tcp { source, .. }) => Some(*source),
            _ => self.peer,
        }
    }

    pub fn is_paused(&self) -> bool {
        !matches!(self.paused, Paused::Nothing)
    }

    pub fn take_paused(&mut self) -> Option<G::Paused> {
        match std::mem::replace(&mut self.paused, Paused::Nothing) {
            Paused::Resume(paused) | Paused::Release(paused) => Some(paused),
            Paused::Nothing => None,
        }
    }

    /// What is there for us, into `buffer`. See `Session::receive` for errors of its own.
    #[inline]
    pub fn receive(&self, buffer: &mut [u8]) -> Result<Received, Errno> {
        match &self.tls {
            None => {
                let count = system::receive(&self.socket, buffer)?;
                Ok(Received { count, emptied: count < buffer.len() })
            }
            Some(session) => session.receive(self.socket.as_fd(), buffer),
        }
    }

    /// Sends as much of the output as the socket takes in one turn.
    pub fn write(&mut self) -> Result<Written, Errno> {
        let Connection { output, socket, tls, sent, .. } = self;
        output.write_to(tls.as_deref(), socket.as_fd(), sent)
    }

    /// There is output that the socket has not taken.
    pub fn owes(&self) -> bool {
        !self.output.is_empty()
            || self.continue_owed > 0
            || self.tls.as_ref().is_some_and(|session| session.owes())
    }

    /// How many times in a row, this one included, the peer was found to have taken nothing. A
    /// socket with a large buffer becomes writable again only when much of it is free: a slow
    /// reader makes progress long before.
    pub fn looks_without_progress(&mut self) -> u32 {
        let now = unacknowledged(self.socket.as_fd());
        let before = std::mem::replace(&mut self.unacknowledged, now);
        self.stalls = if now < before { 0 } else { self.stalls + 1 };
        self.stalls
    }

    /// The peer of a lingering connection still sends much, `looks` times in a row at most: it has
    /// not come to reading our last words.
    pub fn still_sends(&mut self, looks: u32) -> bool {
        let before = std::mem::replace(&mut self.discarded_before, self.discarded);
        self.stalls += 1;
        self.discarded - before >= STILL_SENDS && self.stalls < looks
    }
}

/// A kind of deadline. All deadlines of a class have the same length, so that they expire in the
/// order in which they were set and a queue does for them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Before the first byte of the first request.
    Silent = 0,
    /// Between requests.
    Idle = 1,
    Head = 2,
    Body = 3,
    Write = 4,
    Linger = 5,
    /// From accepting to the end of the TLS handshake.
    Handshake = 6,
    /// In an event loop: until its peer is asked for a sign of life.
    Ping = 7,
    /// Until the sign has to have come.
    Pong = 8,
}

impl Class {
    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

const CLASSES: [Class; 9] = [
    Class::Silent,
    Class::Idle,
    Class::Head,
    Class::Body,
    Class::Write,
    Class::Linger,
    Class::Handshake,
    Class::Ping,
    Class::Pong,
];

enum Place<G: Gateway> {
    Vacant,
    Here(Box<Connection<G>>),
    Out,
}

struct Entry<G: Gateway> {
    generation: u32,
    place: Place<G>,
    /// What happened to the socket while the connection was out.
    pending: EventFlags,
    class: Option<Class>,
    deadline: Moment,
    /// Classes in whose queue this entry stands, one bit each: setting a deadline anew does not
    /// queue again.
    queued: u16,
}

/// Looking a key up.
pub enum Found<G: Gateway> {
    Here(Box<Connection<G>>),
    Out,
    Gone,
}

pub struct Connections<G: Gateway> {
    entries: Vec<Entry<G>>,
    vacant: Vec<usize>,
    count: usize,
    spans: [Span; CLASSES.len()],
    queues: [VecDeque<(Moment, Key)>; CLASSES.len()],
}

impl<G: Gateway> Connections<G> {
    /// `spans` gives the length of each class, in the order of `Class`.
    pub fn new(spans: [Span; CLASSES.len()]) -> Self {
        Connections {
            entries: Vec::new(),
            vacant: Vec::new(),
            count: 0,
            spans,
            queues: Default::default(),
        }
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Gives the connection a key; it is out until it is put back.
    pub fn admit(&mut self, connection: &mut Connection<G>) {
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.entries.push(Entry {
                generation: 0,
                place: Place::Vacant,
                pending: EventFlags::empty(),
                class: None,
                deadline: Moment::NEVER,
                queued: 0,
            });
            self.entries.len() - 1
        });
        let entry = &mut self.entries[index];
        entry.place = Place::Out;
        entry.pending = EventFlags::empty();
        entry.class = None;
        self.count += 1;
        connection.key = Key::new(entry.generation, index);
    }

    fn entry(&mut self, key: Key) -> Option<&mut Entry<G>> {
        self.entries.get_mut(key.index()).filter(|entry| entry.generation == key.generation())
    }

    /// Takes a connection out.
    pub fn take(&mut self, key: Key) -> Found<G> {
        let Some(entry) = self.entry(key) else { return Found::Gone };
        match std::mem::replace(&mut entry.place, Place::Out) {
            Place::Here(connection) => Found::Here(connection),
            Place::Out => Found::Out,
            Place::Vacant => {
                entry.place = Place::Vacant;
                Found::Gone
            }
        }
    }

    /// The connection, where it is here.
    pub fn look(&self, key: Key) -> Option<&Connection<G>> {
        let entry = self.entries.get(key.index())?;
        match &entry.place {
            Place::Here(connection) if entry.generation == key.generation() => Some(connection),
            _ => None,
        }
    }

    /// Of the connections here that hold memory for their output: the one that has made no
    /// progress for longest.
    pub fn slowest_holder(&self) -> Option<Key> {
        let holders = self.entries.iter().filter_map(|entry| match &entry.place {
            Place::Here(connection) if connection.held > 0 => {
                Some((entry.deadline, connection.key))
            }
            _ => None,
        });
        holders.min_by_key(|(deadline, _)| *deadline).map(|(_, key)| key)
    }

    /// Notes what happened to the socket of a connection that is out. True: nothing else was noted.
    pub fn note(&mut self, key: Key, flags: EventFlags) -> bool {
        let Some(entry) = self.entry(key) else { return false };
        let first = entry.pending.is_empty();
        entry.pending |= flags;
        first
    }

    /// The connection is in somebody's hands.
    pub fn is_out(&self, key: Key) -> bool {
        self.entries.get(key.index()).is_some_and(|entry| {
            entry.generation == key.generation() && matches!(entry.place, Place::Out)
        })
    }

    /// Something has been noted.
    pub fn has_pending(&self, key: Key) -> bool {
        self.entries.get(key.index()).is_some_and(|entry| !entry.pending.is_empty())
    }

    /// What has happened while it was out.
    pub fn take_pending(&mut self, key: Key) -> EventFlags {
        self.entry(key).map_or(EventFlags::empty(), |entry| {
            std::mem::replace(&mut entry.pending, EventFlags::empty())
        })
    }

    pub fn put(&mut self, connection: Box<Connection<G>>) {
        if let Some(entry) = self.entry(connection.key) {
            entry.place = Place::Here(connection);
        }
    }

    /// The connection has ended; its key is void.
    pub fn retire(&mut self, key: Key) {
        let Some(entry) = self.entry(key) else { return };
        entry.place = Place::Vacant;
        entry.class = None;
        // The token of the largest generation would collide with the reserved ones.
        entry.generation = (entry.generation + 1) % (u32::MAX - 1);
        entry.queued = 0;
        self.vacant.push(key.index());
        self.count -= 1;
    }

    pub fn set_deadline(&mut self, key: Key, class: Class, now: Moment) {
        let deadline = now.after(self.spans[class as usize]);
        let Some(entry) = self.entry(key) else { return };
        entry.class = Some(class);
        entry.deadline = deadline;
        let bit = class.bit();
        if entry.queued & bit == 0 && deadline != Moment::NEVER {
            entry.queued |= bit;
            self.queues[class as usize].push_back((deadline, key));
        }
    }

    pub fn has_deadline(&self, key: Key, class: Class) -> bool {
        self.entries
            .get(key.index())
            .is_some_and(|entry| entry.generation == key.generation() && entry.class == Some(class))
    }

    pub fn clear_deadline(&mut self, key: Key) {
        if let Some(entry) = self.entry(key) {
            entry.class = None;
        }
    }

    /// When to look for expired deadlines next.
    pub fn next_deadline(&self) -> Moment {
        self.queues
            .iter()
            .filter_map(|queue| queue.front())
            .map(|(deadline, _)| *deadline)
            .min()
            .unwrap_or(Moment::NEVER)
    }

    /// A connection whose deadline has passed. Entries that were set anew since they were queued
    /// go back to their place in it.
    pub fn expired(&mut self, now: Moment) -> Option<(Key, Class)> {
        for class in CLASSES {
            let queue = class as usize;
            while let Some(&(at, key)) = self.queues[queue].front() {
                if at > now {
                    break;
                }
                self.queues[queue].pop_front();
                let Some(entry) = self.entry(key) else { continue };
                if entry.class != Some(class) {
                    entry.queued &= !class.bit();
                } else if entry.deadline > now {
                    let deadline = entry.deadline;
                    let queue = &mut self.queues[queue];
                    let place = queue.partition_point(|(other, _)| *other <= deadline);
                    queue.insert(place, (deadline, key));
                } else {
                    entry.queued &= !class.bit();
                    entry.class = None;
                    return Some((key, class));
                }
            }
        }
        None
    }

    /// The connection whose deadline of this class comes next.
    pub fn oldest(&mut self, class: Class) -> Option<Key> {
        let queue = class as usize;
        while let Some(&(_, key)) = self.queues[queue].front() {
            match self.entry(key) {
                Some(entry) if entry.class == Some(class) => return Some(key),
                Some(entry) => entry.queued &= !class.bit(),
                None => {}
            }
            self.queues[queue].pop_front();
        }
        None
    }

    /// Keys of the connections that are here and in `phase`.
    pub fn keys_in(&self, phase: Phase) -> Vec<Key> {
        self.here().filter(|connection| connection.phase == phase).map(|it| it.key).collect()
    }

    /// What a connection that is here holds for the app, where one holds something.
    pub fn take_paused(&mut self) -> Option<G::Paused> {
        self.entries.iter_mut().find_map(|entry| match &mut entry.place {
            Place::Here(connection) => connection.take_paused(),
            Place::Vacant | Place::Out => None,
        })
    }

    pub fn here(&self) -> impl Iterator<Item = &Connection<G>> {
        self.entries.iter().filter_map(|entry| match &entry.place {
            Place::Here(connection) => Some(connection.as_ref()),
            Place::Vacant | Place::Out => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::tests::Nothing;
    use rustix::event::{EventfdFlags, eventfd};

    fn connections() -> Connections<Nothing> {
        Connections::new([Span::from_secs(1); CLASSES.len()])
    }

    fn admit(connections: &mut Connections<Nothing>) -> Key {
        let socket = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let mut connection = Box::new(Connection::new(socket, 0, None));
        connections.admit(&mut connection);
        let key = connection.key;
        connections.put(connection);
        key
    }

    #[test]
    fn a_retired_key_reaches_nobody() {
        let mut connections = connections();
        let first = admit(&mut connections);
        connections.retire(first);
        let second = admit(&mut connections);
        assert_ne!(first, second);
        assert!(matches!(connections.take(first), Found::Gone));
        assert!(matches!(connections.take(second), Found::Here(_)));
        assert!(matches!(connections.take(second), Found::Out));
    }

    #[test]
    fn a_deadline_set_anew_expires_late() {
        let mut connections = connections();
        let key = admit(&mut connections);
        let start = Moment(1);
        connections.set_deadline(key, Class::Idle, start);
        connections.set_deadline(key, Class::Idle, start.after(Span::from_millis(500)));
        assert!(connections.expired(start.after(Span::from_secs(1))).is_none());
        let late = start.after(Span::from_millis(1500));
        assert_eq!(connections.expired(late), Some((key, Class::Idle)));
        assert!(connections.expired(late).is_none());
    }

    #[test]
    fn every_class_has_a_queue_of_its_own() {
        for class in CLASSES {
            for other in CLASSES {
                let mut connections = connections();
                let key = admit(&mut connections);
                connections.set_deadline(key, other, Moment(1));
                connections.set_deadline(key, class, Moment(2));
                let late = Moment(2).after(Span::from_secs(1));
                assert_eq!(connections.expired(late), Some((key, class)), "after {other:?}");
            }
        }
    }

    #[test]
    fn a_deadline_of_another_class_does_not_count() {
        let mut connections = connections();
        let key = admit(&mut connections);
        connections.set_deadline(key, Class::Head, Moment(1));
        connections.set_deadline(key, Class::Body, Moment(2));
        let late = Moment(2).after(Span::from_secs(1));
        assert_eq!(connections.expired(late), Some((key, Class::Body)));
        assert!(connections.expired(late).is_none());
        connections.set_deadline(key, Class::Head, late);
        assert_eq!(connections.next_deadline(), late.after(Span::from_secs(1)));
    }
}
