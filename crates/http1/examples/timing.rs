//! How long the hot paths take. Run it pinned to one CPU on a quiet machine:
//! `taskset -c 0 cargo run --release -p monoceros-http1 --example timing`

use std::hint::black_box;
use std::time::Instant;

use monoceros_http1::{
    ChunkedDecoder, DateCache, Finish, Head, HeadParser, Limits, Policy, Progress, ResponseHead,
    Version,
};

const PLAIN: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n";

const BROWSER: &[u8] = b"GET /articles/2026/spring?page=2&sort=date HTTP/1.1\r\n\
Host: www.example.com\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
Accept-Language: en-US,en;q=0.5\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Referer: https://www.example.com/articles/2026\r\n\
Connection: keep-alive\r\n\
Cookie: session=b8f1c2d3e4f5a6978877665544332211; theme=dark\r\n\
Upgrade-Insecure-Requests: 1\r\n\
Sec-Fetch-Dest: document\r\n\
Sec-Fetch-Mode: navigate\r\n\
Sec-Fetch-Site: same-origin\r\n\r\n";

const ROUNDS: usize = 31;
const CALLS: u32 = 50_000;

/// Prints the median time of a call over rounds.
fn time(what: &str, mut call: impl FnMut()) {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..CALLS {
                call();
            }
            start.elapsed().as_nanos() as f64 / f64::from(CALLS)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    println!("{what:<32} {:>8.1} ns (least {:.1})", rounds[ROUNDS / 2], rounds[0]);
}

fn main() {
    let (limits, policy) = (Limits::default(), Policy::default());
    let (mut parser, mut head) = (HeadParser::new(), Head::new());
    for (what, request) in [("plain head", PLAIN), ("browser head", BROWSER)] {
        time(what, || {
            parser.reset();
            let progress = parser.parse(black_box(request), &mut head, &limits, &policy);
            assert_eq!(progress, Ok(Progress::Complete));
            black_box(&head);
        });
        let mut fields = [httparse::EMPTY_HEADER; 64];
        time(&format!("{what}, httparse"), || {
            let mut request_head = httparse::Request::new(&mut fields);
            let status = request_head.parse(black_box(request));
            assert!(status.is_ok_and(|status| status.is_complete()));
        });
    }

    let mut chunked = Vec::new();
    for _ in 0..64 {
        chunked.extend_from_slice(b"400\r\n");
        chunked.extend_from_slice(&[b'x'; 1024]);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let mut sum = 0;
    time("64 chunks of 1 KiB", || {
        let mut sink = |data: &[u8]| {
            sum += data.len();
            Ok::<(), ()>(())
        };
        let decoded = ChunkedDecoder::new().decode(black_box(&chunked), &limits, &mut sink);
        assert!(decoded.is_ok_and(|decoded| decoded.complete));
    });
    black_box(sum);

    let mut date = DateCache::new();
    let mut out = Vec::with_capacity(1024);
    let date = *date.at(1_800_000_000);
    time("response head", || {
        out.clear();
        let finished = ResponseHead::begin(&mut out, Version::Http11, black_box(b"200 OK"))
            .and_then(|mut head| {
                head.field(&mut out, b"Content-Type", black_box(b"text/plain"))?;
                head.field(&mut out, b"Content-Length", black_box(b"13"))?;
                Ok(head.finish(
                    &mut out,
                    &Finish {
                        date: &date,
                        server: b"monoceros",
                        head_request: false,
                        request_version: Version::Http11,
                        keep_alive: true,
                        known_length: None,
                    },
                ))
            });
        assert!(finished.is_ok_and(|framing| framing.keep_alive));
        black_box(&out);
    });
}
