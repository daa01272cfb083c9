//! Writes seeds for the fuzz targets `proxy_protocol` and `forwarded`: `proxy_fuzz_seeds CORPUS`.

use std::error::Error;
use std::fs;
use std::path::Path;

const HEADERS: [&[u8]; 7] = [
    b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 443\r\nGET",
    b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\nGET",
    b"PROXY UNKNOWN\r\nGET",
    b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0GET",
    b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\x03abcGET",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\xc6\x33\x64\x01\x12\x67\x01\xbbGET",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x11\xcb\0\x71\x07\xc6\x33\x64\x01\x12\x67\x01\xbb\x01\0\x02h2GET",
];

const LINES: [&str; 8] = [
    "1.1.1.1, 203.0.113.7:80, 10.0.0.1",
    "[2001:db8::7]:80, 2001:db8::1",
    "unknown, _hidden",
    "a\nb, 10.0.0.1\n,,",
    "for=192.0.2.60;proto=http;by=203.0.113.43",
    "For=\"[2001:db8:cafe::17]:4711\", for=10.0.0.1;host=\"a:80\"",
    "for=\"_gazonk\"; secret=\"a\\\"b,c;d\"\nfor=unknown",
    "for=192.0.2.43, for=\"open",
];

fn main() -> Result<(), Box<dyn Error>> {
    let corpus = std::env::args_os().nth(1).ok_or("the corpus folder is missing")?;
    let folder = Path::new(&corpus).join("proxy_protocol");
    fs::create_dir_all(&folder)?;
    for (number, header) in HEADERS.iter().enumerate() {
        fs::write(folder.join(format!("seed-{number}")), [&[2], *header].concat())?;
    }
    let folder = Path::new(&corpus).join("forwarded");
    fs::create_dir_all(&folder)?;
    for (number, lines) in LINES.iter().enumerate() {
        fs::write(folder.join(format!("seed-{number}")), lines)?;
    }
    Ok(())
}
