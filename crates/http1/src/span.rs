//! Positions in the buffer that holds a request head.

/// A range of bytes, kept as offsets so that it survives when the buffer moves or grows.
///
/// Offsets count from the first byte of the request. The limits on a head keep them within `u32`.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset after the last byte.
    pub end: u32,
}

impl Span {
    /// The span from `start` up to `end`; both are below the limit on a head, hence within `u32`.
    #[inline]
    pub(crate) fn new(start: usize, end: usize) -> Span {
        debug_assert!(start <= end && end <= u32::MAX as usize);
        Span { start: start as u32, end: end as u32 }
    }

    /// The bytes of this span in the buffer that it was made for.
    ///
    /// # Panics
    /// When `buffer` is shorter than the span's end: it is not the buffer that was parsed.
    #[inline]
    pub fn of(self, buffer: &[u8]) -> &[u8] {
        &buffer[self.start as usize..self.end as usize]
    }

    /// Number of bytes.
    #[inline]
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether there are no bytes.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}
