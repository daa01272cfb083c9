//! Nothing that a client writes changes what a trusted proxy has appended behind it: the client is
//! the one that the proxy names, or, for a Forwarded that the client has broken, nobody.
#![no_main]

use libfuzzer_sys::fuzz_target;
use monoceros_proxy::{Networks, forwarded, x_forwarded_for};

fuzz_target!(|input: &[u8]| {
    let trusted = Networks::parse(["10.0.0.0/8", "2001:db8::/32"]).unwrap();
    let client = "203.0.113.7".parse().unwrap();
    // Lines of a head have no CR and LF; the fuzzer's LF parts them.
    let lines: Vec<&[u8]> = input.split(|&byte| byte == b'\n').collect();

    let alone = x_forwarded_for(lines.iter().copied(), &trusted);
    assert!(alone.is_none_or(|node| node.address.to_canonical() == node.address));
    let appended = [input, b", 203.0.113.7"].concat();
    let appended: Vec<&[u8]> = appended.split(|&byte| byte == b'\n').collect();
    let found = x_forwarded_for(appended.into_iter(), &trusted);
    assert_eq!(found.map(|node| node.address), Some(client));
    let added = lines.iter().copied().chain([&b"203.0.113.7, 10.0.0.1"[..]]).collect::<Vec<_>>();
    let found = x_forwarded_for(added.into_iter(), &trusted);
    assert_eq!(found.map(|node| node.address), Some(client));

    let alone = forwarded(lines.iter().copied(), &trusted);
    let added = lines.iter().copied().chain([&b"for=203.0.113.7;proto=https"[..]]);
    match forwarded(added, &trusted) {
        Ok(hop) => {
            let hop = hop.expect("the proxy's own entry");
            assert_eq!(hop.client.map(|node| node.address), Some(client));
            assert_eq!(hop.proto.as_deref(), Some(&b"https"[..]));
            assert_eq!(hop.host, None);
        }
        Err(_) => assert!(alone.is_err()),
    }
    let appended = [input, b", for=203.0.113.7;proto=https"].concat();
    let appended = appended.split(|&byte| byte == b'\n');
    if let Ok(hop) = forwarded(appended, &trusted) {
        let hop = hop.expect("the proxy's own entry");
        assert_eq!(hop.client.map(|node| node.address), Some(client));
        assert_eq!(hop.host, None);
    }
});
