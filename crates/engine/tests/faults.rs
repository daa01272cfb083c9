//! Whether the faults that were ordered happen. Empty without the feature `testing`.
#![cfg(feature = "testing")]

mod support;

use monoceros_engine::faults::{VARIABLE, injected};
use support::{Server, options};

#[test]
fn what_is_ordered_happens() {
    let server = Server::start(options(1));
    for _ in 0..20 {
        assert_eq!(server.connect().get("/answer").body, b"/answer");
    }
    let ordered = std::env::var(VARIABLE).is_ok_and(|orders| !orders.is_empty());
    assert_eq!(injected() > 0, ordered);
}
