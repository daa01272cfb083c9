//! What the tests of this crate share.
#![allow(dead_code, reason = "each test binary uses a part")]

pub mod case;
pub mod drive;
pub mod oracle;
pub mod random;
