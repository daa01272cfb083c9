//! What inflates and deflates, kept for the next message of its thread that needs it.
//!
//! Without context takeover a compressor is needed only while a message passes through, but it
//! holds hundreds of kilobytes that are made ready at every start. All connections of a thread
//! share a few.

use std::cell::RefCell;

use zlib_rs::{Deflate, DeflateConfig, Inflate, Method, Strategy};

use crate::extension::{Parameters, WindowBits};

/// Spares of each kind that a thread keeps. A message is deflated in one go, so that several are
/// needed only for several windows, and several messages are inflated at once only while they
/// come slowly.
const KEPT: usize = 2;

/// What a compressor was made for. It serves nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recipe {
    level: u8,
    memory_level: u8,
    window: WindowBits,
}

impl Recipe {
    pub(crate) fn new(parameters: &Parameters) -> Recipe {
        Recipe {
            level: parameters.level.clamp(1, 9),
            memory_level: parameters.memory_level.clamp(1, 9),
            window: parameters.server_window,
        }
    }
}

thread_local! {
    static DEFLATES: RefCell<Vec<(Recipe, Deflate)>> = const { RefCell::new(Vec::new()) };
    static INFLATES: RefCell<Vec<Inflate>> = const { RefCell::new(Vec::new()) };
}

/// A compressor for raw deflate that knows of no message.
pub(crate) fn take_deflate(recipe: Recipe) -> Deflate {
    let spare = DEFLATES.with_borrow_mut(|spares| {
        let index = spares.iter().position(|(of, _)| *of == recipe)?;
        Some(spares.swap_remove(index).1)
    });
    spare.unwrap_or_else(|| {
        Deflate::new_with_config(DeflateConfig {
            level: recipe.level.into(),
            method: Method::Deflated,
            // Negative: raw deflate, without zlib's head and checksum.
            window_bits: -i32::from(recipe.window.bits()),
            mem_level: recipe.memory_level.into(),
            strategy: Strategy::Default,
        })
    })
}

/// Takes a compressor back, for whoever needs one of its kind next.
pub(crate) fn keep_deflate(recipe: Recipe, mut deflate: Deflate) {
    DEFLATES.with_borrow_mut(|spares| {
        deflate.reset();
        if spares.len() == KEPT {
            spares.remove(0);
        }
        spares.push((recipe, deflate));
    });
}

/// What inflates raw deflate, and knows of no message. Always with the largest window, which is
/// right for every smaller one, too; zlib-rs allocates it anyway.
pub(crate) fn take_inflate() -> Inflate {
    let spare = INFLATES.with_borrow_mut(Vec::pop);
    spare.unwrap_or_else(|| Inflate::new(false, WindowBits::MOST.bits()))
}

/// Takes it back.
pub(crate) fn keep_inflate(mut inflate: Inflate) {
    INFLATES.with_borrow_mut(|spares| {
        if spares.len() < KEPT {
            inflate.reset(false);
            spares.push(inflate);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extension::{Compression, agree};

    #[test]
    fn few_are_kept_and_only_for_their_own_recipe() {
        let recipe = |bits| {
            let window = WindowBits::new(bits).unwrap();
            let compression = Compression { server_window: window, ..Compression::default() };
            Recipe::new(&agree(&[Default::default()], &compression).unwrap().parameters)
        };
        for bits in 9..=15 {
            keep_deflate(recipe(bits), take_deflate(recipe(bits)));
            keep_inflate(take_inflate());
        }
        let windows = DEFLATES.with_borrow(|spares| {
            spares.iter().map(|(recipe, _)| recipe.window.bits()).collect::<Vec<_>>()
        });
        assert_eq!(windows, [14, 15]);
        let _taken = take_deflate(recipe(14));
        assert_eq!(DEFLATES.with_borrow(|spares| spares[0].0), recipe(15));
        for inflate in [take_inflate(), take_inflate(), take_inflate()] {
            keep_inflate(inflate);
        }
        assert_eq!(INFLATES.with_borrow(Vec::len), KEPT);
    }
}
