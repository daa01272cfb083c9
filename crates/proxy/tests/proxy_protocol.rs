//! PROXY protocol headers, whole and in every split.

use std::net::SocketAddr;

use monoceros_proxy::proxy_protocol::{Error, Header, LONGEST, Progress, Versions, begins, parse};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What the input comes to when it arrives byte by byte; the last word is the same as that of one
/// read, because a reader asks again only while the header is partial.
fn read(input: &[u8], versions: Versions) -> Result<Progress, Error> {
    let whole = parse(input, versions);
    let mut by_bytes = Ok(Progress::Partial);
    for end in 1..=input.len() {
        by_bytes = parse(&input[..end], versions);
        if by_bytes != Ok(Progress::Partial) {
            break;
        }
    }
    assert_eq!(whole, by_bytes, "{}", input.escape_ascii());
    whole
}

fn tcp(source: &str, destination: &str) -> Header {
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    Header::Tcp { source: address(source), destination: address(destination) }
}

fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = (block.len() as u16).to_be_bytes();
    [SIGNATURE, &[command, family], &length, block].concat()
}

#[test]
fn lines_of_version_1() {
    let good: &[(&str, Header)] = &[
        ("PROXY TCP4 203.0.113.7 10.0.0.1 4711 80\r\n", tcp("203.0.113.7:4711", "10.0.0.1:80")),
        ("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", {
            tcp("0.0.0.0:0", "255.255.255.255:65535")
        }),
        ("PROXY TCP6 2001:db8::7 ::1 4711 80\r\n", tcp("[2001:db8::7]:4711", "[::1]:80")),
        ("PROXY UNKNOWN\r\n", Header::Unknown),
        ("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", Header::Unknown),
    ];
    for (line, header) in good {
        let input = [line.as_bytes(), b"GET / HTTP/1.1\r\n"].concat();
        for versions in [Versions::V1, Versions::Both] {
            assert_eq!(
                read(&input, versions),
                Ok(Progress::Complete(*header, line.len())),
                "{line}"
            );
        }
        assert_eq!(read(&input, Versions::V2), Err(Error::Missing));
        assert_eq!(begins(&input), Some(true));
    }
}

#[test]
fn lines_that_are_refused() {
    for line in [
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        "PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
        "PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP6 ::1%lo ::1 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r\n",
        "PROXY UNKNOWN\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY UNKNOWN a\rb\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\0\r\n",
    ] {
        assert_eq!(read(line.as_bytes(), Versions::Both), Err(Error::Line), "{line:?}");
    }
    let endless = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
    assert_eq!(read(&endless, Versions::Both), Err(Error::Line));
    let longest = [&b"PROXY UNKNOWN "[..], &[b'x'; 107 - 16], b"\r\n"].concat();
    assert_eq!(read(&longest, Versions::Both), Ok(Progress::Complete(Header::Unknown, 107)));
    let longer = [&b"PROXY UNKNOWN "[..], &[b'x'; 108 - 16], b"\r\n"].concat();
    assert_eq!(read(&longer, Versions::Both), Err(Error::Line));
    assert_eq!(read(&longest[..106], Versions::Both), Ok(Progress::Partial));
}

#[test]
fn headers_of_version_2() {
    let four = [203, 0, 113, 7, 10, 0, 0, 1, 0x12, 0x67, 0, 80];
    let mut six = [0; 36];
    six[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    six[15] = 7;
    six[31] = 1;
    six[32..].copy_from_slice(&[0x12, 0x67, 0, 80]);
    let extended = [&four[..], &[0x01, 0, 2, b'h', b'2', 0x20, 0, 0]].concat();
    let good = [
        (binary(0x21, 0x11, &four), tcp("203.0.113.7:4711", "10.0.0.1:80")),
        (binary(0x21, 0x11, &extended), tcp("203.0.113.7:4711", "10.0.0.1:80")),
        (binary(0x21, 0x21, &six), tcp("[2001:db8::7]:4711", "[::1]:80")),
        (binary(0x21, 0x00, b""), Header::Unknown),
        (binary(0x21, 0x00, b"whatever"), Header::Unknown),
        (binary(0x21, 0x31, &[0; 216]), Header::Unknown),
        (binary(0x20, 0x00, b""), Header::Local),
        (binary(0x20, 0x11, &four), Header::Local),
        (binary(0x20, 0x99, b"whatever"), Header::Local),
        (binary(0x20, 0x00, &vec![0; LONGEST - 16]), Header::Local),
    ];
    for (bytes, header) in good {
        let input = [&bytes[..], b"GET / HTTP/1.1\r\n"].concat();
        for versions in [Versions::V2, Versions::Both] {
            assert_eq!(read(&input, versions), Ok(Progress::Complete(header, bytes.len())));
        }
        assert_eq!(read(&input, Versions::V1), Err(Error::Missing));
        assert_eq!(begins(&input), Some(true));
    }
}

#[test]
fn headers_that_are_refused() {
    let four = [203, 0, 113, 7, 10, 0, 0, 1, 0x12, 0x67, 0, 80];
    for (command, family, block) in [
        (0x11, 0x11, &four[..]),
        (0x31, 0x11, &four),
        (0x22, 0x11, &four),
        (0x2f, 0x11, &four),
        (0x21, 0x12, &four),
        (0x21, 0x01, &four),
        (0x21, 0x10, &four),
        (0x21, 0x41, &four),
        (0x21, 0xff, &four),
        (0x21, 0x11, &four[..11]),
        (0x21, 0x11, b""),
        (0x21, 0x21, &four),
        (0x21, 0x31, &four),
        (0x21, 0x11, &[&four[..], &[1]].concat()),
        (0x21, 0x11, &[&four[..], &[1, 0]].concat()),
        (0x21, 0x11, &[&four[..], &[1, 0, 1]].concat()),
        (0x21, 0x11, &[&four[..], &[1, 255, 255, 0, 0]].concat()),
    ] {
        let input = binary(command, family, block);
        assert_eq!(read(&input, Versions::Both), Err(Error::Binary), "{command:x} {family:x}");
    }
    let long = binary(0x20, 0x00, &vec![0; LONGEST - 15]);
    assert_eq!(read(&long, Versions::Both), Err(Error::TooLong));
    let largest = [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat();
    assert_eq!(read(&largest, Versions::Both), Err(Error::TooLong));
}

#[test]
fn what_is_no_header_is_told_at_once() {
    for input in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"PRI * HTTP/2.0\r\n",
        b"PROXIED",
        b"PROXY\tTCP4",
        b"proxy TCP4",
        b"\r\nGET / HTTP/1.1",
        b"\r\n\r\nQUIT",
        b"\x16\x03\x01",
        b"\0",
    ] {
        assert_eq!(read(input, Versions::Both), Err(Error::Missing), "{}", input.escape_ascii());
        assert_eq!(begins(input), Some(false), "{}", input.escape_ascii());
    }
    for start in [&b""[..], b"P", b"PROXY", b"\r", b"\r\n\r\n", b"\r\n\r\n\0\r\nQUIT"] {
        assert_eq!(parse(start, Versions::Both), Ok(Progress::Partial));
        assert_eq!(begins(start), None);
    }
}
