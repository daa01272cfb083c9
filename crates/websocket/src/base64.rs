//! Base64 (RFC 4648, 4), as far as a handshake needs it: two lengths, both fixed. That is less than
//! what a crate for it would have to be told.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes in base64 of a digest of 20.
pub(crate) const DIGEST_LENGTH: usize = 28;

/// A SHA-1 digest in base64.
pub(crate) fn encode_digest(digest: &[u8; 20]) -> [u8; DIGEST_LENGTH] {
    let mut text = [b'='; DIGEST_LENGTH];
    for (bytes, characters) in digest.chunks(3).zip(text.chunks_mut(4)) {
        let mut padded = [0; 4];
        padded[1..=bytes.len()].copy_from_slice(bytes);
        let word = u32::from_be_bytes(padded);
        // n bytes are n + 1 characters; the rest stays as padding.
        for (index, character) in characters.iter_mut().take(bytes.len() + 1).enumerate() {
            *character = ALPHABET[(word >> (18 - 6 * index) & 63) as usize];
        }
    }
    text
}

/// Whether the text stands for 16 bytes. The four bits that its last character has too many may be
/// anything: the key is never decoded, and clients exist that choose its characters.
pub(crate) fn is_16_bytes(text: &[u8]) -> bool {
    matches!(text, [characters @ .., b'=', b'='] if characters.len() == 22
        && characters.iter().all(|byte| ALPHABET.contains(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_28_characters() {
        assert_eq!(&encode_digest(&[0; 20]), b"AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        assert_eq!(&encode_digest(&[0xff; 20]), b"//////////////////////////8=");
        let digest = *b"Many hands make ligh";
        assert_eq!(&encode_digest(&digest), b"TWFueSBoYW5kcyBtYWtlIGxpZ2g=");
    }

    #[test]
    fn a_key_is_16_bytes() {
        for key in
            ["dGhlIHNhbXBsZSBub25jZQ==", "AAAAAAAAAAAAAAAAAAAAAA==", "+/+/+/+/+/+/+/+/+/+/+/=="]
        {
            assert!(is_16_bytes(key.as_bytes()), "{key}");
        }
        for key in [
            "",
            "==",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZQ===",
            "dGhlIHNhbXBsZSBub25jZVE=",
            "dGhlIHNhbXBsZSBub25jZ===",
            "dGhlIHNhbXBsZSBub25j-Q==",
            "dGhlIHNhbXBsZSBub25jZQAA==",
            "dGhlIHNhbXBsZSBub25 ZQ==",
        ] {
            assert!(!is_16_bytes(key.as_bytes()), "{key}");
        }
    }
}
