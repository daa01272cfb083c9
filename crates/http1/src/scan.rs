//! Byte classes, and the search for the first byte of a kind, eight bytes at a time.

/// A token's character (RFC 9110, section 5.6.2).
pub(crate) const TOKEN: u8 = 1;
/// What a method may consist of: a token without lower case and `#`.
pub(crate) const METHOD: u8 = 1 << 1;
/// `_`, which is a token's character, too.
pub(crate) const UNDERSCORE: u8 = 1 << 2;
/// A character of a registered host name: unreserved or sub-delims (RFC 3986, section 3.2.2).
pub(crate) const HOST: u8 = 1 << 3;
/// What a field value may consist of: VCHAR, SP, TAB, obs-text (RFC 9110, section 5.5).
pub(crate) const VALUE: u8 = 1 << 4;
/// What a quoted string may hold without a backslash (RFC 9110, section 5.6.4).
pub(crate) const QUOTED: u8 = 1 << 5;

static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut index = 0;
    while index < 256 {
        let byte = index as u8;
        let mut class = 0;
        let token = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_'
            )
            || matches!(byte, b'`' | b'|' | b'~');
        if token {
            class |= TOKEN;
            if !byte.is_ascii_lowercase() && byte != b'#' {
                class |= METHOD;
            }
        }
        if byte == b'_' {
            class |= UNDERSCORE;
        }
        if byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'')
            || matches!(byte, b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
        {
            class |= HOST;
        }
        if byte == b'\t' || (byte >= b' ' && byte != 0x7f) {
            class |= VALUE;
            if byte != b'"' && byte != b'\\' {
                class |= QUOTED;
            }
        }
        classes[index] = class;
        index += 1;
    }
    classes
};

/// Whether a byte belongs to a class.
#[inline]
pub(crate) fn is(byte: u8, class: u8) -> bool {
    CLASSES[byte as usize] & class != 0
}

/// Whether all bytes belong to a class; true of none.
#[inline]
pub(crate) fn all(bytes: &[u8], class: u8) -> bool {
    bytes.iter().all(|&byte| is(byte, class))
}

/// Whether the bytes are a token, hence at least one.
#[inline]
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && all(bytes, TOKEN)
}

/// The bytes without SP and TAB on both sides.
#[inline]
pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    trim_end(trim_start(bytes))
}

/// The bytes without SP and TAB before them.
#[inline]
pub(crate) fn trim_start(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let [b' ' | b'\t', tail @ ..] = rest {
        rest = tail;
    }
    rest
}

/// The bytes without SP and TAB behind them.
#[inline]
pub(crate) fn trim_end(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let [head @ .., b' ' | b'\t'] = rest {
        rest = head;
    }
    rest
}

/// The first colon at or after `from`; the buffer's length if there is none.
#[inline]
pub(crate) fn colon(buffer: &[u8], from: usize) -> usize {
    find(buffer, from, |word| equal(word, b':'), |byte| byte == b':')
}

/// The first byte at or after `from` that no field value has: a control other than TAB, or DEL.
#[inline]
pub(crate) fn value_end(buffer: &[u8], from: usize) -> usize {
    let mut at = from;
    loop {
        at = find(
            buffer,
            at,
            |word| below(word, b' ') | equal(word, 0x7f),
            |byte| byte < b' ' || byte == 0x7f,
        );
        if buffer.get(at) != Some(&b'\t') {
            return at;
        }
        at += 1;
    }
}

/// The first byte at or after `from` that ends a path: `?`, `#`, or what no target has.
#[inline]
pub(crate) fn path_end(buffer: &[u8], from: usize) -> usize {
    find(
        buffer,
        from,
        |word| not_visible(word) | equal(word, b'?') | equal(word, b'#'),
        |byte| !byte.is_ascii_graphic() || byte == b'?' || byte == b'#',
    )
}

/// The first byte at or after `from` that ends a query: `#`, or what no target has.
#[inline]
pub(crate) fn query_end(buffer: &[u8], from: usize) -> usize {
    find(
        buffer,
        from,
        |word| not_visible(word) | equal(word, b'#'),
        |byte| !byte.is_ascii_graphic() || byte == b'#',
    )
}

/// The first byte at or after `from` that no target has: a space, a control, DEL, beyond ASCII.
#[inline]
pub(crate) fn target_end(buffer: &[u8], from: usize) -> usize {
    find(buffer, from, not_visible, |byte| !byte.is_ascii_graphic())
}

const ONES: u64 = u64::from_le_bytes([0x01; 8]);
const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);

/// Searches by words, then by bytes. Of a word's hits only the lowest has to be right: a borrow can
/// set wrong bits only above a true hit.
#[inline(always)]
fn find(
    buffer: &[u8],
    from: usize,
    word_hits: impl Fn(u64) -> u64,
    byte_hits: impl Fn(u8) -> bool,
) -> usize {
    let mut rest = &buffer[from.min(buffer.len())..];
    // Blocks of four words first: their hits are independent, so that they run side by side.
    while let Some((block, after)) = rest.split_first_chunk::<32>() {
        let mut hits = 0;
        for bytes in block.as_chunks::<8>().0 {
            hits |= word_hits(u64::from_le_bytes(*bytes));
        }
        if hits != 0 {
            break;
        }
        rest = after;
    }
    while let Some((bytes, after)) = rest.split_first_chunk::<8>() {
        let hits = word_hits(u64::from_le_bytes(*bytes));
        if hits != 0 {
            return buffer.len() - rest.len() + hits.trailing_zeros() as usize / 8;
        }
        rest = after;
    }
    while let Some((&byte, after)) = rest.split_first() {
        if byte_hits(byte) {
            break;
        }
        rest = after;
    }
    buffer.len() - rest.len()
}

/// Marks the high bit of every byte below `limit`, which is at most 0x80.
#[inline(always)]
fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(ONES * limit as u64) & !word & HIGHS
}

/// Marks the high bit of every byte that equals `wanted`.
#[inline(always)]
fn equal(word: u64, wanted: u8) -> u64 {
    let difference = word ^ (ONES * wanted as u64);
    difference.wrapping_sub(ONES) & !difference & HIGHS
}

/// Marks the high bit of every byte outside `!` to `~`.
#[inline(always)]
fn not_visible(word: u64) -> u64 {
    below(word, b'!') | equal(word, 0x7f) | (word & HIGHS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte value at every place among every kind of neighbour: words and bytes must agree.
    #[test]
    fn searches_by_words_find_what_searches_by_bytes_find() {
        type Search = fn(&[u8], usize) -> usize;
        type Hit = fn(u8) -> bool;
        let searches: [(Search, Hit); 5] = [
            (colon, |byte| byte == b':'),
            (value_end, |byte| !is(byte, VALUE)),
            (path_end, |byte| !(0x21..=0x7e).contains(&byte) || b"?#".contains(&byte)),
            (query_end, |byte| !(0x21..=0x7e).contains(&byte) || byte == b'#'),
            (target_end, |byte| !(0x21..=0x7e).contains(&byte)),
        ];
        for (search, hit) in searches {
            for filler in [b'a', b'~', b'!', b';', b'9', b'@', b'>', b'"', b'$'] {
                for byte in 0..=255 {
                    for at in 0..20 {
                        let mut buffer = [filler; 20];
                        buffer[at] = byte;
                        if at + 1 < 20 {
                            buffer[at + 1] = byte.wrapping_add(1);
                        }
                        for from in 0..=20 {
                            let expected = (from..20).find(|&at| hit(buffer[at])).unwrap_or(20);
                            assert_eq!(search(&buffer, from), expected);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_token_class_is_that_of_the_rfc() {
        let others = b"!#$%&'*+-.^_`|~";
        for byte in 0..=255u8 {
            let expected = byte.is_ascii_alphanumeric() || others.contains(&byte);
            assert_eq!(is(byte, TOKEN), expected, "{byte}");
        }
        assert!(!is_token(b""));
    }
}
