//! Writes seeds for the fuzz target `uwsgi_packet`: `uwsgi_fuzz_seeds CORPUS`.

use std::error::Error;
use std::fs;
use std::path::Path;

#[path = "../tests/support/mod.rs"]
mod support;

use support::{packet, packet_of};

fn main() -> Result<(), Box<dyn Error>> {
    let corpus = std::env::args_os().nth(1).ok_or("the corpus folder is missing")?;
    let folder = Path::new(&corpus).join("uwsgi_packet");
    fs::create_dir_all(&folder)?;
    let browser = [
        ("QUERY_STRING", "b=c"),
        ("REQUEST_METHOD", "POST"),
        ("CONTENT_TYPE", "text/plain"),
        ("CONTENT_LENGTH", "4"),
        ("REQUEST_URI", "/a?b=c"),
        ("PATH_INFO", "/a"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REQUEST_SCHEME", "https"),
        ("REMOTE_ADDR", "203.0.113.7"),
        ("REMOTE_PORT", "4711"),
        ("HTTP_HOST", "example.com"),
        ("HTTP_X_FORWARDED_FOR", "1.1.1.1"),
    ];
    let mounted = [
        ("REQUEST_METHOD", "GET"),
        ("SCRIPT_NAME", "/app"),
        ("PATH_INFO", "/a b\r\n%"),
        ("wsgi.url_scheme", "https"),
        ("HTTP_A_B", "c\td"),
    ];
    let seeds = [
        [packet(&browser), b"body".to_vec()].concat(),
        packet(&mounted),
        packet(&[("wsgi.input", "x"), ("HTTP_A:B", "\r\n")]),
        packet_of(b"\x02\0AB\x09\0C"),
        b"GET / HTTP/1.1\r\n".to_vec(),
    ];
    for (number, seed) in seeds.into_iter().enumerate() {
        fs::write(folder.join(format!("seed-{number}")), [vec![0], seed].concat())?;
    }
    Ok(())
}
