//! Percent-decoding of paths (RFC 3986, section 2.1).

use memchr::memchr;

/// Appends `input` to `out` with every `%XX` replaced by its byte. A malformed escape is kept as it
/// is, as Python's `urllib.parse.unquote_to_bytes` does.
pub fn percent_decode(input: &[u8], out: &mut Vec<u8>) {
    let mut rest = input;
    while let Some(percent) = memchr(b'%', rest) {
        out.extend_from_slice(&rest[..percent]);
        let escape = &rest[percent..];
        let decoded = match escape {
            [_, high, low, ..] => hex_digit(*high).zip(hex_digit(*low)),
            _ => None,
        };
        rest = match decoded {
            Some((high, low)) => {
                out.push(high << 4 | low);
                &escape[3..]
            }
            None => {
                out.push(b'%');
                &escape[1..]
            }
        };
    }
    out.extend_from_slice(rest);
}

/// The value of a hexadecimal digit.
#[inline]
pub(crate) fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::percent_decode;

    #[test]
    fn decodes_escapes_and_keeps_what_is_malformed() {
        let cases: &[(&[u8], &[u8])] = &[
            (b"", b""),
            (b"/plain", b"/plain"),
            (b"%2F%2f", b"//"),
            (b"/a%20b", b"/a b"),
            (b"%C3%A9", b"\xc3\xa9"),
            (b"%00", b"\0"),
            (b"%", b"%"),
            (b"%2", b"%2"),
            (b"%zz%41", b"%zzA"),
            (b"%%41", b"%A"),
            (b"%2%41", b"%2A"),
            (b"100%", b"100%"),
            (b"%252e", b"%2e"),
        ];
        for (input, expected) in cases {
            let mut out = b"before".to_vec();
            percent_decode(input, &mut out);
            assert_eq!(&out[6..], *expected, "{}", input.escape_ascii());
        }
    }
}
