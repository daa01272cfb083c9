//! Fields of a request come to a handshake or not, without harm, and what is agreed is within what
//! was offered: the answer is one that the same client could have offered.
#![no_main]

use libfuzzer_sys::fuzz_target;
use monoceros_websocket::{Compression, Upgrade, WindowBits, accept_key};

type Field<'a> = (&'a [u8], &'a [u8]);

/// What every request for a WebSocket has.
const RIGHT: [Field<'static>; 4] = [
    (b"Upgrade", b"websocket"),
    (b"Connection", b"Upgrade"),
    (b"Sec-WebSocket-Version", b"13"),
    (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
];

fn compression(choice: u8) -> Compression {
    Compression {
        server_context: choice & 1 == 0,
        client_context: choice & 2 == 0,
        server_window: WindowBits::new(8 + (choice >> 2 & 7)).unwrap_or(WindowBits::MOST),
        client_window: WindowBits::new(8 + (choice >> 5)).unwrap_or(WindowBits::MOST),
        ..Compression::default()
    }
}

fuzz_target!(|data: &[u8]| {
    let [choice, data @ ..] = data else {
        return;
    };
    let compression = compression(*choice);
    // One line per field; the rest of the first is a list of extensions.
    let mut lines = data.split(|&byte| byte == b'\n');
    let extensions = lines.next().unwrap_or_default();
    let others = lines.map(|line| {
        let colon = line.iter().position(|&byte| byte == b':').unwrap_or(line.len());
        (&line[..colon], line.get(colon + 1..).unwrap_or_default())
    });
    let offer: Field<'_> = (b"Sec-WebSocket-Extensions", extensions);
    let fields: Vec<Field<'_>> = RIGHT.into_iter().chain([offer]).chain(others).collect();
    let upgrade = match Upgrade::judge(fields) {
        Ok(Some(upgrade)) => upgrade,
        Ok(None) => unreachable!("nothing that is added takes away what was asked"),
        Err(error) => {
            assert!(matches!(error.status(), 400 | 426) && !error.to_string().is_empty());
            return;
        }
    };
    assert!(accept_key(upgrade.key).is_ascii());
    assert!(upgrade.subprotocols.iter().all(|name| !name.is_empty() && !name.contains(',')));
    let Some(agreement) = upgrade.agree(&compression) else {
        return;
    };
    let parameters = agreement.parameters;
    assert!((9..=15).contains(&parameters.server_window.bits()));
    assert!(parameters.server_window <= compression.server_window.max(WindowBits::new(9).unwrap()));
    assert!(compression.server_context || !parameters.server_context);
    assert!(compression.client_context || !parameters.client_context);
    let answer: Field<'_> = (b"Sec-WebSocket-Extensions", agreement.field.as_bytes());
    let again = Upgrade::judge(RIGHT.into_iter().chain([answer]));
    let again = again.unwrap().unwrap().agree(&compression).unwrap();
    assert_eq!(again, agreement);
});
