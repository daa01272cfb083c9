//! The chunked decoder: what was encoded comes out again, however it is split; sinks that fail;
//! limits that no single line shows.

mod support;

use monoceros_http1::{CHUNK_SUFFIX, Error};
use monoceros_http1::{ChunkedDecoder, DecodeError, Decoded, LAST_CHUNK, Limits, chunk_prefix};
use support::random::Random;

/// Decodes pieces; returns the data and how many bytes were consumed, or the error's rule.
fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, usize, bool), DecodeError<()>> {
    let mut decoder = ChunkedDecoder::new();
    let (mut data, mut consumed, mut complete) = (Vec::new(), 0, false);
    for piece in pieces {
        let decoded = decoder.decode(piece, &Limits::default(), &mut |bytes| {
            data.extend_from_slice(bytes);
            Ok(())
        })?;
        consumed += decoded.consumed;
        complete = decoded.complete;
    }
    Ok((data, consumed, complete))
}

fn rule(result: Result<(Vec<u8>, usize, bool), DecodeError<()>>) -> &'static str {
    match result {
        Err(DecodeError::Peer(error)) => Error::rule(&error),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn what_is_encoded_is_decoded_in_any_split() {
    let mut random = Random::new(7);
    for _ in 0..2_000 {
        let (mut encoded, mut data) = (Vec::new(), Vec::new());
        for _ in 0..random.below(6) {
            let chunk: Vec<u8> = (0..1 + random.below(300)).map(|_| random.next() as u8).collect();
            chunk_prefix(&mut encoded, chunk.len());
            encoded.extend_from_slice(&chunk);
            encoded.extend_from_slice(CHUNK_SUFFIX);
            data.extend_from_slice(&chunk);
        }
        encoded.extend_from_slice(LAST_CHUNK);
        let length = encoded.len();
        encoded.extend_from_slice(b"GET / HTTP/1.1\r\n");

        assert_eq!(decode(&[&encoded]), Ok((data.clone(), length, true)));
        let pieces = random.split(&encoded);
        assert_eq!(decode(&pieces), Ok((data.clone(), length, true)));
        let cut = random.below(length);
        let (got, consumed, complete) = decode(&[&encoded[..cut]]).unwrap();
        assert!(data.starts_with(&got) && consumed == cut && !complete);
    }
}

#[test]
fn prefixes_are_upper_case_hexadecimal_without_zeros() {
    for (length, expected) in [
        (1, &b"1\r\n"[..]),
        (15, b"F\r\n"),
        (16, b"10\r\n"),
        (0xabcdef, b"ABCDEF\r\n"),
        (usize::MAX, b"FFFFFFFFFFFFFFFF\r\n"),
    ] {
        let mut out = Vec::new();
        chunk_prefix(&mut out, length);
        assert_eq!(out, expected);
    }
}

#[test]
fn a_failing_sink_stops_the_decoder_with_its_own_error() {
    let mut calls = 0;
    let result = ChunkedDecoder::new().decode(
        b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n",
        &Limits::default(),
        &mut |_| {
            calls += 1;
            if calls == 2 { Err("disk full") } else { Ok(()) }
        },
    );
    assert_eq!(result, Err(DecodeError::Sink("disk full")));
    assert_eq!(calls, 2);
}

#[test]
fn a_complete_decoder_consumes_nothing_more() {
    let mut decoder = ChunkedDecoder::new();
    let mut sink = |_: &[u8]| Err("no data was sent");
    for (input, consumed) in [(&b"0\r\n\r\n"[..], 5), (b"1\r\na\r\n", 0), (b"", 0)] {
        let decoded = decoder.decode(input, &Limits::default(), &mut sink);
        let complete = true;
        assert_eq!(decoded, Ok(Decoded { consumed, complete }));
    }
}

#[test]
fn the_largest_chunk_is_2_to_the_63_minus_1() {
    let (data, ..) = decode(&[b"7fffffffffffffff\r\nabc"]).unwrap();
    assert_eq!(data, b"abc");
    assert_eq!(rule(decode(&[b"8000000000000000\r\n"])), "chunk-overflow");
    let zeros = [&[b'0'; 900][..], b"3\r\nabc\r\n0\r\n\r\n"].concat();
    assert_eq!(decode(&[&zeros]).unwrap().0, b"abc");
}

#[test]
fn a_size_line_has_a_limit() {
    let line = |length: usize| [b"3;".to_vec(), vec![b'x'; length - 2], b"\r\n".to_vec()].concat();
    assert!(decode(&[&line(1024)]).is_ok());
    assert_eq!(rule(decode(&[&line(1025)])), "chunk-line-limit");
    let zeros = vec![b'0'; 1025];
    assert_eq!(rule(decode(&[&zeros])), "chunk-line-limit");
    let never_ending = vec![b' '; 1025];
    assert_eq!(rule(decode(&[b"3", &never_ending])), "chunk-line-limit");
}

#[test]
fn extensions_far_larger_than_the_data_are_refused() {
    let mut chunk = b"1;".to_vec();
    chunk.resize(1000, b'x');
    chunk.extend_from_slice(b"\r\na\r\n");
    // Each costs 1000 bytes, of which 18 are free: 16 KiB are reached with the seventeenth.
    assert!(decode(&[&chunk.repeat(16)]).is_ok());
    assert_eq!(rule(decode(&[&chunk.repeat(17)])), "chunk-overhead");

    // A signed upload: 85 bytes of extension for each 8 KiB, as long as it likes.
    let mut signed = Vec::new();
    signed.extend_from_slice(b"2000;chunk-signature=");
    signed.extend_from_slice(&[b'0'; 64]);
    signed.extend_from_slice(b"\r\n");
    signed.extend_from_slice(&[b'x'; 0x2000]);
    signed.extend_from_slice(b"\r\n");
    assert!(decode(&[&signed.repeat(1000)]).is_ok());

    // Tiny chunks without extensions are wasteful, but what some clients send.
    assert!(decode(&[&b"1\r\nx\r\n".repeat(100_000)]).is_ok());
}

/// Also where each of them may be large and there may be many: nobody may trail for ever.
#[test]
fn trailers_have_a_limit_in_all() {
    let mut decoder = ChunkedDecoder::new();
    let lifted = Limits::new(0, 0, 0);
    let mut sink = |_: &[u8]| Ok::<(), ()>(());
    decoder.decode(b"0\r\n", &lifted, &mut sink).unwrap();
    let line = [b"X-Long: ", &[b'y'; 100_000][..], b"\r\n"].concat();
    let refused = (1..1000).find(|_| decoder.decode(&line, &lifted, &mut sink).is_err());
    let bytes = refused.expect("endless trailers") * line.len();
    assert!(((16 << 20)..(17 << 20)).contains(&bytes), "refused after {bytes} bytes");
}
