//! What the tests of this crate share.
#![allow(dead_code, reason = "each test binary uses a part")]

pub mod drive;
pub mod frames;
pub mod random;
