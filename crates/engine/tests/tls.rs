//! TLS inside the engine, with a client that sends records in pieces and reads when it likes.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use monoceros_engine::Options;
use monoceros_engine::clock::Span;
use monoceros_engine::tls::{ClientAuthentication, KeyPair, Settings, Store, TicketKeys, load};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use support::{BOUND, Server, options, wait_until};

/// A certificate and its key, in a folder of their own that goes when this goes.
struct Files {
    folder: PathBuf,
    certificate: String,
}

impl Files {
    fn new(name: &str) -> Files {
        let folder = std::env::temp_dir().join(format!("tls-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let made = rcgen::generate_simple_self_signed(["test.example".to_owned()]).unwrap();
        let certificate = made.cert.pem();
        fs::write(folder.join("cert.pem"), &certificate).unwrap();
        fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        Files { folder, certificate }
    }

    fn settings(&self) -> Settings {
        let pair = KeyPair {
            certificates: self.folder.join("cert.pem"),
            key: self.folder.join("key.pem"),
        };
        Settings {
            pairs: vec![pair],
            password: None,
            authorities: None,
            authentication: ClientAuthentication::None,
            ciphers: None,
            only_tls13: false,
        }
    }

    fn options(&self, threads: usize) -> Options {
        let mut tickets = TicketKeys::default();
        assert!(tickets.rotate());
        let material = load(&self.settings(), tickets).unwrap();
        let store = Arc::new(Store::new().unwrap());
        store.publish(&material.encode()).unwrap();
        let tls = monoceros_engine::tls::Server::new(store).unwrap();
        Options { tls: Some(tls), ..options(threads) }
    }

    fn client(&self, server: &Server) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = "test.example".try_into().unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        stream.set_nodelay(true).unwrap();
        StreamOwned::new(connection, stream)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

type Client = StreamOwned<ClientConnection, TcpStream>;

/// Reads one response with a Content-Length: its status line and body.
fn answer(client: &mut impl Read) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    client.read_exact(&mut body).unwrap();
    (head.lines().next().unwrap_or_default().to_owned(), body)
}

#[test]
fn requests_are_answered_one_after_the_other() {
    let files = Files::new("requests");
    for threads in [1, 4] {
        let server = Server::start(files.options(threads));
        let mut client = files.client(&server);
        for number in 0..50 {
            write!(client, "GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            assert_eq!(answer(&mut client).1, format!("/{number}").as_bytes());
        }
        let mut all = String::new();
        for number in 0..50 {
            all += &format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        client.write_all(all.as_bytes()).unwrap();
        for number in 0..50 {
            assert_eq!(answer(&mut client).1, format!("/{number}").as_bytes());
        }
    }
}

#[test]
fn large_bodies_go_through_whole_both_ways() {
    let files = Files::new("large");
    for threads in [1, 4] {
        let server = Server::start(files.options(threads));
        let mut client = files.client(&server);
        for size in [1, 16_384, 40_960, 65_536, 3_000_000] {
            let body: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            let head = format!("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
            client.write_all(head.as_bytes()).unwrap();
            let mut writer = client.sock.try_clone().unwrap();
            for piece in body.chunks(50_000) {
                client.conn.writer().write_all(piece).unwrap();
                while client.conn.wants_write() {
                    client.conn.write_tls(&mut writer).unwrap();
                }
            }
            let (_, echoed) = answer(&mut client);
            assert_eq!(echoed.len(), body.len() + 2);
            assert_eq!(echoed[2..], body);
        }
        write!(client, "GET /file/2000000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(answer(&mut client).1.len(), 2_000_000);
        write!(client, "GET /payloads/40/50000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(answer(&mut client).1.len(), 2_000_000);
    }
}

#[test]
fn a_client_that_does_not_read_pauses_the_response_only() {
    let files = Files::new("pause");
    let server = Server::start(files.options(1));
    let mut slow = files.client(&server);
    write!(slow, "GET /chunks/200/100000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    wait_until("the response to pause", || server.record.paused.load(SeqCst) > 0);
    let mut other = files.client(&server);
    write!(other, "GET /other HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(answer(&mut other).1, b"/other");
    assert_eq!(answer(&mut slow).1.len(), 200 * 100_000);
}

#[test]
fn an_overdue_request_is_answered_through_its_session() {
    let files = Files::new("overdue");
    let options = Options { request_deadline: Span::from_millis(100), ..files.options(1) };
    let server = Server::start(options);
    let mut client = files.client(&server);
    write!(client, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(answer(&mut client).0, "HTTP/1.1 504 Gateway Timeout");
    // The end is said, not cut.
    let mut rest = Vec::new();
    assert_eq!(client.read_to_end(&mut rest).unwrap(), 0);
    server.record.open();
}

#[test]
fn an_aborted_response_is_never_taken_for_a_whole_one() {
    let files = Files::new("abort");
    let server = Server::start(files.options(1));
    let mut client = files.client(&server);
    write!(client, "GET /abort HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut received = Vec::new();
    assert!(client.read_to_end(&mut received).is_err());
}

#[test]
fn a_handshake_that_takes_too_long_is_ended() {
    let files = Files::new("handshake");
    let options = Options { handshake_timeout: Span::from_millis(200), ..files.options(1) };
    let server = Server::start(options);
    let mut silent = TcpStream::connect(server.address).unwrap();
    silent.set_read_timeout(Some(BOUND)).unwrap();
    silent.write_all(b"\x16\x03").unwrap();
    let mut rest = Vec::new();
    silent.read_to_end(&mut rest).unwrap();
    assert_eq!(server.record.called.load(SeqCst), 0);
}

#[test]
fn plain_http_is_told_that_it_is_wrong_here() {
    let files = Files::new("plain");
    let server = Server::start(files.options(1));
    let mut plain = TcpStream::connect(server.address).unwrap();
    plain.set_read_timeout(Some(BOUND)).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(answer(&mut plain).0, "HTTP/1.1 400 Bad Request");
    plain.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.record.called.load(SeqCst), 0);
}

#[test]
fn what_is_published_is_used_by_the_next_connection() {
    let (first, second) = (Files::new("first"), Files::new("second"));
    let store = Arc::new(Store::new().unwrap());
    let publish = |files: &Files| {
        let material = load(&files.settings(), TicketKeys::default()).unwrap();
        store.publish(&material.encode()).unwrap();
    };
    publish(&first);
    let tls = monoceros_engine::tls::Server::new(Arc::clone(&store)).unwrap();
    let server = Server::start(Options { tls: Some(tls), ..options(1) });
    let mut kept = first.client(&server);
    for number in 0..3 {
        write!(kept, "GET /kept HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(answer(&mut kept).1, b"/kept");
        if number == 1 {
            publish(&second);
        }
    }
    let mut new = second.client(&server);
    write!(new, "GET /new HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(answer(&mut new).1, b"/new");
    let mut wrong = first.client(&server);
    assert!(write!(wrong, "GET / HTTP/1.1\r\n\r\n").and_then(|()| wrong.flush()).is_err());
}
