//! OpenSSL's cipher lists (man 1 openssl-ciphers), as far as there is something to choose.
//!
//! Every suite here is one with forward secrecy and authenticated encryption, so the groups that
//! people use to keep the bad ones out (`!aNULL`, `!MD5`) have nothing left to take away. As in
//! OpenSSL, a list orders the suites of TLS 1.2; those of TLS 1.3 are all allowed unless some
//! are named.

use rustls::CipherSuite;

struct Suite {
    /// OpenSSL's name.
    name: &'static str,
    number: CipherSuite,
    /// Groups that it belongs to, beside those of all.
    groups: &'static [&'static str],
}

/// Groups of every suite of TLS 1.2 that there is.
const GROUPS_OF_ALL: &[&str] =
    &["ALL", "DEFAULT", "HIGH", "ECDHE", "EECDH", "KECDHE", "KEECDH", "AEAD", "TLSV1.2", "FIPS"];

const RSA_256: &[&str] = &["ARSA", "AES", "AES256", "AESGCM"];
const RSA_128: &[&str] = &["ARSA", "AES", "AES128", "AESGCM"];
const ECDSA_256: &[&str] = &["AECDSA", "ECDSA", "AES", "AES256", "AESGCM"];
const ECDSA_128: &[&str] = &["AECDSA", "ECDSA", "AES", "AES128", "AESGCM"];

/// Best first.
const TLS12: &[Suite] = &[
    Suite {
        name: "ECDHE-ECDSA-AES256-GCM-SHA384",
        number: CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        groups: ECDSA_256,
    },
    Suite {
        name: "ECDHE-RSA-AES256-GCM-SHA384",
        number: CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        groups: RSA_256,
    },
    Suite {
        name: "ECDHE-ECDSA-CHACHA20-POLY1305",
        number: CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        groups: &["AECDSA", "ECDSA", "CHACHA20"],
    },
    Suite {
        name: "ECDHE-RSA-CHACHA20-POLY1305",
        number: CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        groups: &["ARSA", "CHACHA20"],
    },
    Suite {
        name: "ECDHE-ECDSA-AES128-GCM-SHA256",
        number: CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        groups: ECDSA_128,
    },
    Suite {
        name: "ECDHE-RSA-AES128-GCM-SHA256",
        number: CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        groups: RSA_128,
    },
];

const TLS13: &[(&str, CipherSuite)] = &[
    ("TLS_AES_256_GCM_SHA384", CipherSuite::TLS13_AES_256_GCM_SHA384),
    ("TLS_CHACHA20_POLY1305_SHA256", CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
    ("TLS_AES_128_GCM_SHA256", CipherSuite::TLS13_AES_128_GCM_SHA256),
];

/// OpenSSL's groups of which no suite is here.
const EMPTY_GROUPS: &[&str] = &[
    "3DES",
    "ADH",
    "AECDH",
    "AES128-CCM",
    "AESCCM",
    "AESCCM8",
    "ANULL",
    "ADSS",
    "AGOST",
    "AGOST01",
    "ARIA",
    "ARIA128",
    "ARIA256",
    "ARIAGCM",
    "CAMELLIA",
    "CAMELLIA128",
    "CAMELLIA256",
    "CBC",
    "COMPLEMENTOFALL",
    "COMPLEMENTOFDEFAULT",
    "DES",
    "DH",
    "DHE",
    "DSS",
    "EDH",
    "ENULL",
    "EXP",
    "EXPORT",
    "EXPORT40",
    "EXPORT56",
    "GOST94",
    "GOST89MAC",
    "IDEA",
    "KDHE",
    "KDHEPSK",
    "KDH",
    "KECDH",
    "KECDHEPSK",
    "KEDH",
    "KGOST",
    "KPSK",
    "KRSA",
    "KRSAPSK",
    "KSRP",
    "LOW",
    "MD5",
    "MEDIUM",
    "NULL",
    "PSK",
    "RC2",
    "RC4",
    "RSA",
    "SEED",
    "SHA",
    "SHA1",
    "SHA256",
    "SHA384",
    "SRP",
    "SSLV2",
    "SSLV3",
    "TLSV1",
    "TLSV1.0",
    "TLSV1.1",
];

/// Words that names of OpenSSL's suites are made of.
const WORDS: &[&str] = &[
    "ADH",
    "AECDH",
    "AES128",
    "AES256",
    "ARIA128",
    "ARIA256",
    "CAMELLIA128",
    "CAMELLIA256",
    "CBC",
    "CBC3",
    "CCM",
    "CCM8",
    "CHACHA20",
    "DES",
    "DH",
    "DHE",
    "DSS",
    "ECDH",
    "ECDHE",
    "ECDSA",
    "EDH",
    "EXP",
    "GCM",
    "IDEA",
    "MD5",
    "NULL",
    "POLY1305",
    "PSK",
    "RC2",
    "RC4",
    "RSA",
    "SEED",
    "SHA",
    "SHA256",
    "SHA384",
    "SRP",
];

#[derive(PartialEq, Eq)]
enum Effect {
    Append,
    /// For good (`!`).
    Kill,
    /// Until it is added again (`-`).
    Remove,
    /// To the end (`+`).
    MoveLast,
}

/// The suites that a list of OpenSSL's names, in our order, by number. Fails, with the reason for
/// people, when it names what OpenSSL does not know, or nothing that there is here.
pub fn parse(list: &str) -> Result<Vec<u16>, String> {
    let mut chosen: Vec<usize> = Vec::new();
    let mut killed: Vec<usize> = Vec::new();
    let mut tls13: Vec<CipherSuite> = Vec::new();
    let mut unavailable: Vec<&str> = Vec::new();
    for item in list.split([':', ',', ' ', ';']).filter(|item| !item.is_empty()) {
        if item.starts_with('@') {
            // Every suite here is of the highest strength, and security level.
            if item == "@STRENGTH" || item.starts_with("@SECLEVEL=") {
                continue;
            }
            return Err(unknown(item));
        }
        let (effect, names) = match item.as_bytes()[0] {
            b'!' => (Effect::Kill, &item[1..]),
            b'-' => (Effect::Remove, &item[1..]),
            b'+' => (Effect::MoveLast, &item[1..]),
            _ => (Effect::Append, item),
        };
        if let Some((_, suite)) = TLS13.iter().find(|(name, _)| *name == names) {
            match effect {
                Effect::Append | Effect::MoveLast if !tls13.contains(suite) => tls13.push(*suite),
                Effect::Kill | Effect::Remove => {
                    return Err(format!(
                        "{item} takes a suite of TLS 1.3 away; name those that shall be there"
                    ));
                }
                _ => {}
            }
            continue;
        }
        let named = matching(names).ok_or_else(|| unknown(item))?;
        if named.is_empty() && effect == Effect::Append {
            unavailable.push(item);
        }
        match effect {
            Effect::Append => {
                for suite in named {
                    if !chosen.contains(&suite) && !killed.contains(&suite) {
                        chosen.push(suite);
                    }
                }
            }
            Effect::Kill | Effect::Remove => {
                chosen.retain(|suite| !named.contains(suite));
                if effect == Effect::Kill {
                    killed.extend(named);
                }
            }
            Effect::MoveLast => {
                let (moved, kept): (Vec<_>, Vec<_>) =
                    chosen.iter().partition(|suite| named.contains(suite));
                chosen = [kept, moved].concat();
            }
        }
    }
    if chosen.is_empty() && tls13.is_empty() {
        let none = match &unavailable[..] {
            [] => "it leaves no cipher suite".to_owned(),
            names => format!("there is no cipher suite for {}", names.join(", ")),
        };
        return Err(format!("{none}; the server has {}", available()));
    }
    if tls13.is_empty() {
        tls13.extend(TLS13.iter().map(|(_, suite)| *suite));
    }
    let tls12 = chosen.iter().map(|suite| TLS12[*suite].number);
    Ok(tls13.into_iter().chain(tls12).map(u16::from).collect())
}

/// Indices of the suites that a name, or several joined by `+`, stands for; None when OpenSSL
/// knows no such name.
fn matching(names: &str) -> Option<Vec<usize>> {
    let mut found: Vec<usize> = (0..TLS12.len()).collect();
    for name in names.split('+') {
        if let Some(exact) = TLS12.iter().position(|suite| suite.name == name) {
            found.retain(|suite| *suite == exact);
            continue;
        }
        let group = name.to_ascii_uppercase();
        let group = group.as_str();
        if GROUPS_OF_ALL.contains(&group) {
            continue;
        }
        let has = |suite: &usize| TLS12[*suite].groups.contains(&group);
        if (0..TLS12.len()).any(|suite| has(&suite)) {
            found.retain(has);
        } else if EMPTY_GROUPS.contains(&group) || is_suite_of_openssl(name) {
            found.clear();
        } else {
            return None;
        }
    }
    Some(found)
}

fn is_suite_of_openssl(name: &str) -> bool {
    name.contains('-') && name.split('-').all(|word| WORDS.contains(&word))
}

fn unknown(item: &str) -> String {
    format!("{item:?} is no cipher suite or group that OpenSSL knows")
}

fn available() -> String {
    let tls12 = TLS12.iter().map(|suite| suite.name);
    let names: Vec<&str> = TLS13.iter().map(|(name, _)| *name).chain(tls12).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls12_of(list: &str) -> Vec<&'static str> {
        let numbers = parse(list).unwrap();
        let named = |number: &u16| TLS12.iter().find(|it| u16::from(it.number) == *number);
        numbers.iter().filter_map(named).map(|suite| suite.name).collect()
    }

    #[test]
    fn usual_lists_leave_what_is_good() {
        for list in
            ["HIGH:!aNULL", "DEFAULT", "ALL:!EXPORT:!LOW:!MD5:@STRENGTH", "ECDHE+AESGCM:HIGH"]
        {
            assert_eq!(tls12_of(list).len(), TLS12.len(), "{list}");
        }
        assert_eq!(tls12_of("HIGH:!CHACHA20:!AES128").len(), 2);
        assert_eq!(
            tls12_of("ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES128-GCM-SHA256:AES256-SHA"),
            ["ECDHE-RSA-AES128-GCM-SHA256"]
        );
        assert_eq!(
            tls12_of("ECDHE+AESGCM+aRSA:+AES256"),
            ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384"]
        );
        assert_eq!(
            tls12_of("HIGH:-AES:AES128+ECDSA").last(),
            Some(&"ECDHE-ECDSA-AES128-GCM-SHA256")
        );
        assert_eq!(tls12_of("!AES128:HIGH:AES128").len(), 4);
    }

    #[test]
    fn suites_of_tls13_are_all_there_unless_some_are_named() {
        assert_eq!(parse("HIGH").unwrap().len(), TLS13.len() + TLS12.len());
        assert_eq!(parse("TLS_AES_128_GCM_SHA256").unwrap(), [0x1301]);
        assert_eq!(
            parse("TLS_AES_128_GCM_SHA256:ECDHE-RSA-AES128-GCM-SHA256").unwrap(),
            [0x1301, 0xc02f]
        );
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (list, named) in [
            ("HIGH:ECDHE-RSA-AES512", "ECDHE-RSA-AES512"),
            ("HIHG", "HIHG"),
            ("AES256-SHA", "AES256-SHA"),
            ("RC4:MD5", "RC4, MD5"),
            ("HIGH:@LEVEL", "@LEVEL"),
            ("ALL:!ALL", "leaves no cipher suite"),
            ("ALL:!TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
        ] {
            let error = parse(list).unwrap_err();
            assert!(error.contains(named), "{list}: {error}");
        }
    }
}
