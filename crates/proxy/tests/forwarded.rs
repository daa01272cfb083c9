//! Who the client is, by the words of proxies.

use monoceros_proxy::{Hop, Malformed, Networks, Node, forwarded, x_forwarded_for};

fn proxies() -> Networks {
    Networks::parse(["10.0.0.0/8", "2001:db8:1::/48"]).unwrap()
}

fn node(address: &str, port: Option<u16>) -> Option<Node> {
    Some(Node { address: address.parse().unwrap(), port })
}

#[test]
fn x_forwarded_for_is_walked_from_the_right_over_trusted_hops() {
    let cases: &[(&[&str], Option<Node>)] = &[
        (&[], None),
        (&[""], None),
        (&["203.0.113.7"], node("203.0.113.7", None)),
        (&["203.0.113.7:4711"], node("203.0.113.7", Some(4711))),
        (&["2001:db8::7"], node("2001:db8::7", None)),
        (&["[2001:db8::7]:4711"], node("2001:db8::7", Some(4711))),
        // What the client has written itself stands further left.
        (&["127.0.0.1, 203.0.113.7"], node("203.0.113.7", None)),
        (&["127.0.0.1", "203.0.113.7"], node("203.0.113.7", None)),
        (&["10.0.0.1, 203.0.113.7"], node("203.0.113.7", None)),
        (&["garbage, 203.0.113.7"], node("203.0.113.7", None)),
        (&["garbage \"'\0, 203.0.113.7"], node("203.0.113.7", None)),
        // Through several proxies of ours.
        (&["203.0.113.7, 10.0.0.2"], node("203.0.113.7", None)),
        (&["1.1.1.1, 203.0.113.7, 10.0.0.2, 2001:db8:1::5"], node("203.0.113.7", None)),
        (&["203.0.113.7,", ", 10.0.0.2 ,,"], node("203.0.113.7", None)),
        (&["203.0.113.7", "", "10.0.0.2"], node("203.0.113.7", None)),
        // All of them ours: the one furthest out.
        (&["10.0.0.3, 10.0.0.2"], node("10.0.0.3", None)),
        // Where the chain breaks, the last address that is known.
        (&["unknown, 10.0.0.2"], node("10.0.0.2", None)),
        (&["203.0.113.7, unknown, 10.0.0.2"], node("10.0.0.2", None)),
        (&["203.0.113.7, 10.0.0.2 10.0.0.3"], None),
        (&["unknown"], None),
        (&["_hidden"], None),
    ];
    for (lines, expected) in cases {
        let lines_of_bytes = lines.iter().map(|line| line.as_bytes());
        assert_eq!(x_forwarded_for(lines_of_bytes, &proxies()), *expected, "{lines:?}");
    }
}

#[test]
fn when_everybody_is_trusted_only_the_peers_own_word_counts() {
    let everybody = Networks::parse(["*"]).unwrap();
    let line = &b"127.0.0.1, 203.0.113.7"[..];
    assert_eq!(x_forwarded_for([line].into_iter(), &everybody), node("203.0.113.7", None));
    let line = &b"for=127.0.0.1;host=a, for=203.0.113.7;host=b"[..];
    let hop = forwarded([line], &everybody).unwrap().unwrap();
    assert_eq!(hop.client, node("203.0.113.7", None));
    assert_eq!(hop.host.as_deref(), Some(&b"b"[..]));
}

fn hop(client: Option<Node>, proto: &str, host: &str) -> Option<Hop<'static>> {
    let value = |text: &str| (!text.is_empty()).then(|| text.as_bytes().to_vec().into());
    Some(Hop { client, proto: value(proto), host: value(host) })
}

#[test]
fn forwarded_is_walked_the_same_way() {
    let cases: &[(&[&str], Option<Hop<'static>>)] = &[
        (&[], None),
        (&["", ", ,"], None),
        (&["for=203.0.113.7"], hop(node("203.0.113.7", None), "", "")),
        (&["For=\"203.0.113.7:99\""], hop(node("203.0.113.7", Some(99)), "", "")),
        (
            &["for=203.0.113.7;proto=https;by=10.0.0.1;host=shop.example"],
            hop(node("203.0.113.7", None), "https", "shop.example"),
        ),
        (&["FOR=\"[2001:db8::7]:4711\""], hop(node("2001:db8::7", Some(4711)), "", "")),
        (
            &["for=127.0.0.1;host=evil, for=203.0.113.7;host=\"a.example:8443\""],
            hop(node("203.0.113.7", None), "", "a.example:8443"),
        ),
        (
            &["for=203.0.113.7;proto=https;host=a", "for=10.0.0.2;proto=http;host=b"],
            hop(node("203.0.113.7", None), "https", "a"),
        ),
        (&["for=203.0.113.7; proto=https ; secret=\"x,y;z\""], {
            hop(node("203.0.113.7", None), "https", "")
        }),
        (&[";for=203.0.113.7;;proto=http;"], hop(node("203.0.113.7", None), "http", "")),
        (&["for=203.0.113.7, for=unknown;proto=https"], hop(None, "https", "")),
        (
            &["for=1.1.1.1, for=_hidden;proto=https, for=10.0.0.2;proto=http"],
            hop(node("10.0.0.2", None), "https", ""),
        ),
        (&["for=\"203.0.\\113.7\""], hop(node("203.0.113.7", None), "", "")),
        (&["proto=https"], hop(None, "https", "")),
        (&["for=not-an-address"], hop(None, "", "")),
    ];
    for (lines, expected) in cases {
        let lines_of_bytes = lines.iter().map(|line| line.as_bytes());
        assert_eq!(forwarded(lines_of_bytes, &proxies()), Ok(expected.clone()), "{lines:?}");
    }
}

#[test]
fn a_malformed_forwarded_is_refused_wherever_it_stands() {
    for line in [
        "for",
        "for=",
        "=1.2.3.4",
        "for =1.2.3.4",
        "for= 1.2.3.4",
        "for=1.2.3.4 proto=https",
        "for=1.2.3.4:80",
        "for=[::1]",
        "for=\"1.2.3.4",
        "for=\"1.2.3.4\\",
        "for=\"1.2.3.4\"x",
        "for=1.2.3.4;for=1.2.3.4",
        "for=1.2.3.4;proto=http;Proto=https",
        "for=\"_x, for=203.0.113.7;proto=https",
        "f@r=1.2.3.4",
    ] {
        assert_eq!(forwarded([line.as_bytes()], &proxies()), Err(Malformed), "{line}");
        let lines = [line.as_bytes(), b"for=203.0.113.7"];
        assert_eq!(forwarded(lines, &proxies()), Err(Malformed), "{line}");
    }
}
