//! UTF-8 as it streams: pieces of a text may end within a character.

use std::str;

/// What is known of a text so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Utf8 {
    /// The start of a character whose end has not come: at most three bytes.
    pending: [u8; 3],
    length: u8,
}

/// The text has bytes that no UTF-8 has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Invalid;

impl Utf8 {
    /// The next bytes of the text. Fails at the first byte that cannot belong to it, without
    /// waiting for the end of its character.
    pub(crate) fn feed(&mut self, mut piece: &[u8]) -> Result<(), Invalid> {
        while self.length > 0 {
            let Some((&byte, rest)) = piece.split_first() else {
                return Ok(());
            };
            piece = rest;
            let length = usize::from(self.length);
            let mut character = [0; 4];
            character[..length].copy_from_slice(&self.pending[..length]);
            character[length] = byte;
            match str::from_utf8(&character[..=length]) {
                Ok(_) => self.length = 0,
                Err(error) if error.error_len().is_some() => return Err(Invalid),
                Err(_) => {
                    self.pending[length] = byte;
                    self.length += 1;
                }
            }
        }
        if let Err(error) = str::from_utf8(piece) {
            if error.error_len().is_some() {
                return Err(Invalid);
            }
            let start = &piece[error.valid_up_to()..];
            self.pending[..start.len()].copy_from_slice(start);
            self.length = start.len() as u8;
        }
        Ok(())
    }

    /// Whether the text may end here. Ready for the next one.
    pub(crate) fn finish(&mut self) -> Result<(), Invalid> {
        let length = std::mem::take(&mut self.length);
        if length == 0 { Ok(()) } else { Err(Invalid) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(pieces: &[&[u8]]) -> Result<(), Invalid> {
        let mut text = Utf8::default();
        pieces.iter().try_for_each(|piece| text.feed(piece))?;
        text.finish()
    }

    /// All of the first three bytes, with a fourth that continues, at every split.
    #[test]
    fn agrees_with_the_standard_library_at_every_split() {
        let seconds =
            [0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2, 0xe0, 0xff];
        let ends = [0x41, 0x80, 0xbf, 0xc2, 0xff];
        for first in 0..=255 {
            for second in seconds {
                for third in ends {
                    for fourth in ends {
                        let text = [b'a', first, second, third, fourth, b'b'];
                        let expected = str::from_utf8(&text).map(|_| ()).map_err(|_| Invalid);
                        let bytes: Vec<&[u8]> = text.chunks(1).collect();
                        assert_eq!(verdict(&bytes), expected, "{text:x?}");
                        for split in 0..=text.len() {
                            let (start, end) = text.split_at(split);
                            assert_eq!(verdict(&[start, end]), expected, "{text:x?} at {split}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn fails_at_the_first_byte_that_cannot_belong() {
        // Surrogates, beyond U+10FFFF, overlong forms: wrong with their second byte.
        for start in [b"\xed\xa0", b"\xf4\x90", b"\xe0\x9f", b"\xf0\x8f"] {
            let mut text = Utf8::default();
            assert_eq!(text.feed(&start[..1]), Ok(()));
            assert_eq!(text.feed(&start[1..]), Err(Invalid), "{start:x?}");
        }
        for byte in [0x80, 0xbf, 0xc0, 0xc1, 0xf5, 0xff] {
            assert_eq!(Utf8::default().feed(&[byte]), Err(Invalid), "{byte:x}");
        }
    }

    #[test]
    fn a_text_does_not_end_within_a_character() {
        for start in [&b"\xc3"[..], b"\xe2\x82", b"\xf0\x9f\x92"] {
            assert_eq!(verdict(&[b"a", start]), Err(Invalid), "{start:x?}");
        }
        let mut text = Utf8::default();
        text.feed(b"\xf0\x9f").unwrap();
        text.finish().unwrap_err();
        assert_eq!(text.feed(b"next").and_then(|()| text.finish()), Ok(()));
    }
}
