//! A packet: four bytes of header, then variables as length and bytes of name and value.
//!
//! ```text
//! modifier1 (1) | size of what follows (2, little-endian) | modifier2 (1)
//! length (2, little-endian) | name | length (2) | value | ...
//! ```

use crate::Error;

/// Bytes of a packet's header.
const HEADER: usize = 4;

/// Bytes of the longest packet: its size has 16 bits.
pub const LONGEST: usize = HEADER + u16::MAX as usize;

/// Variables of a packet. nginx sends some fifteen and one per header field; without a bound of its
/// own, 64 KiB could hold sixteen thousand empty ones. Gunicorn's number.
pub const VARIABLES_MOST: usize = 1000;

/// What packets for a WSGI app carry in both modifiers. Others ask for other languages, for
/// spooling or for signals between servers.
const WSGI: u8 = 0;

/// How far a packet has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// It is not complete.
    Partial,
    /// It is complete.
    Complete(Packet<'a>),
}

/// A complete packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    pub(crate) block: &'a [u8],
}

/// Where a variable lies in the block: the value follows two bytes after the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub name: u16,
    pub name_end: u16,
    pub value_end: u16,
}

impl Place {
    pub(crate) fn name(self, block: &[u8]) -> &[u8] {
        &block[usize::from(self.name)..usize::from(self.name_end)]
    }

    pub(crate) fn value(self, block: &[u8]) -> &[u8] {
        &block[usize::from(self.name_end) + 2..usize::from(self.value_end)]
    }
}

impl<'a> Packet<'a> {
    /// Reads the packet at the start of a connection; `input` is all that has come of it so far.
    ///
    /// # Errors
    /// [`Error::Modifier`] as soon as it is certain that this is no packet for a WSGI app.
    pub fn read(input: &'a [u8]) -> Result<Progress<'a>, Error> {
        if input.first().is_some_and(|&modifier| modifier != WSGI) {
            return Err(Error::Modifier);
        }
        let Some((&[_, low, high, modifier], rest)) = input.split_first_chunk() else {
            return Ok(Progress::Partial);
        };
        if modifier != WSGI {
            return Err(Error::Modifier);
        }
        let size = usize::from(u16::from_le_bytes([low, high]));
        Ok(match rest.get(..size) {
            Some(block) => Progress::Complete(Packet { block }),
            None => Progress::Partial,
        })
    }

    /// Bytes of the packet: the body starts behind them.
    pub fn length(&self) -> usize {
        HEADER + self.block.len()
    }

    /// Where its variables lie, in their order.
    pub(crate) fn places(&self) -> Result<Vec<Place>, Error> {
        let mut places = Vec::with_capacity(32);
        let mut at = 0;
        while at < self.block.len() {
            if places.len() == VARIABLES_MOST {
                return Err(Error::TooMany);
            }
            let (name, name_end) = self.string(at)?;
            let (_, value_end) = self.string(name_end)?;
            at = value_end;
            // A block is no longer than its size can say.
            places.push(Place {
                name: name as u16,
                name_end: name_end as u16,
                value_end: value_end as u16,
            });
        }
        Ok(places)
    }

    /// The start and the end of the string whose length stands at `at`.
    fn string(&self, at: usize) -> Result<(usize, usize), Error> {
        let rest = self.block.get(at..).unwrap_or_default();
        let (&length, rest) = rest.split_first_chunk().ok_or(Error::Length)?;
        let length = usize::from(u16::from_le_bytes(length));
        if length > rest.len() {
            return Err(Error::Length);
        }
        Ok((at + 2, at + 2 + length))
    }
}
