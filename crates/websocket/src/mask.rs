//! Masks of clients' frames (RFC 6455, 5.3).

/// Bytes of a block: what two or four vector registers hold. The compiler makes vector code of the
/// loop over it because the length is constant.
const BLOCK: usize = 64;

/// The four bytes that a frame's payload is combined with, from where it stands in the payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mask([u8; 4]);

impl Mask {
    pub(crate) fn new(key: [u8; 4]) -> Mask {
        Mask(key)
    }

    /// Takes the mask off the next bytes of the payload.
    pub(crate) fn remove(&mut self, data: &mut [u8]) {
        let [a, b, c, d] = self.0;
        let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
        let (blocks, rest) = data.as_chunks_mut::<BLOCK>();
        for block in blocks {
            for bytes in block.as_chunks_mut::<8>().0 {
                *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
            }
        }
        let (words, rest) = rest.as_chunks_mut::<8>();
        for bytes in words {
            *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
        }
        for (byte, key) in rest.iter_mut().zip(self.0.iter().cycle()) {
            *byte ^= key;
        }
        // Blocks and words are multiples of four, so that only the rest turns the mask.
        self.0.rotate_left(rest.len() % 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_words_and_bytes_agree_at_every_length_and_split() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let data: Vec<u8> = (0..300).map(|index| (index * 7) as u8).collect();
        for length in 0..data.len() {
            let expected: Vec<u8> =
                data[..length].iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect();
            for split in [0, 1, 2, 3, 4, 7, 8, 63, 64, 65, length / 2, length] {
                let mut masked = data[..length].to_vec();
                let mut mask = Mask::new(key);
                let (first, second) = masked.split_at_mut(split.min(length));
                mask.remove(first);
                mask.remove(second);
                assert_eq!(masked, expected, "{length} bytes, split at {split}");
            }
        }
    }
}
