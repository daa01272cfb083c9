//! The field names that browsers, proxies and apps send, as numbers.
//!
//! A name is found without allocation: a hash of its length and three of its bytes picks the only
//! candidate, one comparison decides. That no two names share a place is checked at compile time.

/// One row per name: its variant and its usual spelling.
macro_rules! names {
    ($($variant:ident $text:literal,)*) => {
        /// A field name of the table; everything else is `Unknown`.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
        #[repr(u8)]
        #[allow(missing_docs)]
        pub enum Name {
            #[default]
            Unknown = 0,
            $($variant,)*
        }

        impl Name {
            /// Every name by its number; `Unknown` is the first.
            pub const ALL: [Name; Self::COUNT] = [Name::Unknown, $(Name::$variant,)*];

            /// How many names there are, `Unknown` included.
            pub const COUNT: usize = TEXTS.len();
        }

        const TEXTS: &[&str] = &["", $($text,)*];
    };
}

names! {
    Host "Host",
    Connection "Connection",
    ContentLength "Content-Length",
    ContentType "Content-Type",
    TransferEncoding "Transfer-Encoding",
    Expect "Expect",
    Upgrade "Upgrade",
    Te "TE",
    Trailer "Trailer",
    Trailers "Trailers",
    KeepAlive "Keep-Alive",
    ProxyConnection "Proxy-Connection",
    ProxyAuthenticate "Proxy-Authenticate",
    ProxyAuthorization "Proxy-Authorization",
    Accept "Accept",
    AcceptCharset "Accept-Charset",
    AcceptEncoding "Accept-Encoding",
    AcceptLanguage "Accept-Language",
    Authorization "Authorization",
    CacheControl "Cache-Control",
    Cookie "Cookie",
    Date "Date",
    Dnt "DNT",
    Forwarded "Forwarded",
    From "From",
    IfMatch "If-Match",
    IfModifiedSince "If-Modified-Since",
    IfNoneMatch "If-None-Match",
    IfRange "If-Range",
    IfUnmodifiedSince "If-Unmodified-Since",
    MaxForwards "Max-Forwards",
    Origin "Origin",
    Pragma "Pragma",
    Priority "Priority",
    Range "Range",
    Referer "Referer",
    Server "Server",
    UserAgent "User-Agent",
    UpgradeInsecureRequests "Upgrade-Insecure-Requests",
    Via "Via",
    AccessControlRequestHeaders "Access-Control-Request-Headers",
    AccessControlRequestMethod "Access-Control-Request-Method",
    ContentDisposition "Content-Disposition",
    ContentEncoding "Content-Encoding",
    ContentLanguage "Content-Language",
    ContentLocation "Content-Location",
    ContentMd5 "Content-MD5",
    ContentRange "Content-Range",
    Http2Settings "HTTP2-Settings",
    IdempotencyKey "Idempotency-Key",
    SecChUa "Sec-CH-UA",
    SecChUaMobile "Sec-CH-UA-Mobile",
    SecChUaPlatform "Sec-CH-UA-Platform",
    SecFetchDest "Sec-Fetch-Dest",
    SecFetchMode "Sec-Fetch-Mode",
    SecFetchSite "Sec-Fetch-Site",
    SecFetchUser "Sec-Fetch-User",
    SecGpc "Sec-GPC",
    SecWebSocketExtensions "Sec-WebSocket-Extensions",
    SecWebSocketKey "Sec-WebSocket-Key",
    SecWebSocketProtocol "Sec-WebSocket-Protocol",
    SecWebSocketVersion "Sec-WebSocket-Version",
    Baggage "Baggage",
    Traceparent "Traceparent",
    Tracestate "Tracestate",
    CfConnectingIp "CF-Connecting-IP",
    CfIpcountry "CF-IPCountry",
    CfRay "CF-Ray",
    CfVisitor "CF-Visitor",
    CdnLoop "CDN-Loop",
    XAmznTraceId "X-Amzn-Trace-Id",
    XApiKey "X-API-Key",
    XCorrelationId "X-Correlation-ID",
    XCsrftoken "X-CSRFToken",
    XCsrfToken "X-CSRF-Token",
    XForwardedFor "X-Forwarded-For",
    XForwardedHost "X-Forwarded-Host",
    XForwardedPort "X-Forwarded-Port",
    XForwardedPrefix "X-Forwarded-Prefix",
    XForwardedProto "X-Forwarded-Proto",
    XForwardedProtocol "X-Forwarded-Protocol",
    XForwardedServer "X-Forwarded-Server",
    XForwardedSsl "X-Forwarded-SSL",
    XHttpMethodOverride "X-HTTP-Method-Override",
    XRealIp "X-Real-IP",
    XRequestId "X-Request-ID",
    XRequestStart "X-Request-Start",
    XRequestedWith "X-Requested-With",
    XScheme "X-Scheme",
}

impl Name {
    /// Finds a name in any case.
    #[inline]
    pub fn find(bytes: &[u8]) -> Name {
        if bytes.is_empty() || bytes.len() > LONGEST {
            return Name::Unknown;
        }
        let candidate = PLACES[place(bytes)];
        if equal(TEXTS[candidate as usize].as_bytes(), bytes) {
            Name::ALL[candidate as usize]
        } else {
            Name::Unknown
        }
    }

    /// The usual spelling, such as `Content-Length`; empty for `Unknown`.
    #[inline]
    pub const fn as_str(self) -> &'static str {
        TEXTS[self as usize]
    }

    /// Whether the field speaks about this connection only, so that it is the server's to send and
    /// not the app's (RFC 9110, section 7.6.1).
    #[inline]
    pub const fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Name::Connection
                | Name::KeepAlive
                | Name::ProxyConnection
                | Name::ProxyAuthenticate
                | Name::ProxyAuthorization
                | Name::Te
                | Name::Trailer
                | Name::Trailers
                | Name::TransferEncoding
                | Name::Upgrade
        )
    }
}

impl Name {
    /// Whether proxies speak by this field about the request that they forward.
    #[inline]
    pub const fn is_forwarding(self) -> bool {
        matches!(
            self,
            Name::Forwarded
                | Name::XForwardedFor
                | Name::XForwardedHost
                | Name::XForwardedPort
                | Name::XForwardedPrefix
                | Name::XForwardedProto
                | Name::XForwardedProtocol
                | Name::XForwardedServer
                | Name::XForwardedSsl
        )
    }

    /// Whether the parser itself draws conclusions from the field.
    pub(crate) const fn is_understood(self) -> bool {
        matches!(
            self,
            Name::Connection
                | Name::ContentLength
                | Name::ContentType
                | Name::Expect
                | Name::Host
                | Name::TransferEncoding
                | Name::Upgrade
        )
    }
}

/// Whether `bytes` are `text`, a name of the table, in any case; eight bytes at a time.
#[inline]
fn equal(text: &[u8], bytes: &[u8]) -> bool {
    if text.len() != bytes.len() {
        return false;
    }
    let (Some(text_end), Some(bytes_end)) = (text.last_chunk(), bytes.last_chunk()) else {
        return text.eq_ignore_ascii_case(bytes);
    };
    let (text_words, _) = text.as_chunks::<8>();
    let (words, _) = bytes.as_chunks::<8>();
    // The last word overlaps the one before.
    equal_words(text_end, bytes_end)
        && text_words.iter().zip(words).all(|(text, word)| equal_words(text, word))
}

/// Names are letters, digits and hyphens: of these only letters have the bit 0x40, and only they
/// may differ in 0x20.
#[inline]
fn equal_words(text: &[u8; 8], word: &[u8; 8]) -> bool {
    const LETTER: u64 = u64::from_le_bytes([0x40; 8]);
    let (text, word) = (u64::from_le_bytes(*text), u64::from_le_bytes(*word));
    let may_differ = (text & LETTER) >> 1;
    (text ^ word) & !may_differ == 0
}

/// Length of the longest name of the table.
pub(crate) const LONGEST: usize = {
    let mut longest = 0;
    let mut index = 0;
    while index < TEXTS.len() {
        if TEXTS[index].len() > longest {
            longest = TEXTS[index].len();
        }
        index += 1;
    }
    longest
};

const PLACE_COUNT: usize = 512;

/// Which name may stand at a place; 0 for none.
static PLACES: [u8; PLACE_COUNT] = {
    assert!(TEXTS.len() <= 256);
    let mut places = [0; PLACE_COUNT];
    let mut index = 1;
    while index < TEXTS.len() {
        let place = place(TEXTS[index].as_bytes());
        // When a new name fails here, search other factors.
        assert!(places[place] == 0, "two names share a place");
        places[place] = index as u8;
        index += 1;
    }
    places
};

/// The place of a name that is not empty. 0x20 folds the case of letters; the factors were found by
/// trial.
#[inline]
const fn place(name: &[u8]) -> usize {
    const CASE: u8 = 0x20;
    let length = name.len();
    let first = (name[0] | CASE) as usize;
    let inner = (name[length * 3 / 4] | CASE) as usize;
    let last = (name[length - 1] | CASE) as usize;
    (length * 204 + first * 45 + inner * 187 + last * 139) % PLACE_COUNT
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, Name};

    #[test]
    fn every_name_is_found_in_any_case() {
        assert_eq!(Name::ALL.len(), Name::COUNT);
        for (index, name) in Name::ALL.into_iter().enumerate() {
            assert_eq!(name as usize, index);
            let text = name.as_str();
            assert_eq!(text.is_empty(), name == Name::Unknown);
            assert_eq!(Name::find(text.as_bytes()), name, "{text}");
            assert_eq!(Name::find(text.to_ascii_lowercase().as_bytes()), name);
            assert_eq!(Name::find(text.to_ascii_uppercase().as_bytes()), name);
        }
    }

    #[test]
    fn one_other_byte_makes_another_name() {
        for name in Name::ALL.into_iter().skip(1) {
            let text = name.as_str().as_bytes();
            for at in 0..text.len() {
                for other in 0..=255 {
                    let mut changed = text.to_vec();
                    changed[at] = other;
                    let same = other.eq_ignore_ascii_case(&text[at]);
                    assert_eq!(Name::find(&changed) == name, same, "{changed:?}");
                }
                assert_ne!(Name::find(&text[..at]), name);
            }
            assert_ne!(Name::find(&[text, b"-"].concat()), name);
        }
        assert_eq!(Name::find(&[b'x'; LONGEST + 1]), Name::Unknown);
    }

    #[test]
    fn hop_by_hop_names_are_the_ten() {
        let names: Vec<&str> =
            Name::ALL.into_iter().filter(|name| name.is_hop_by_hop()).map(Name::as_str).collect();
        assert_eq!(
            names,
            [
                "Connection",
                "Transfer-Encoding",
                "Upgrade",
                "TE",
                "Trailer",
                "Trailers",
                "Keep-Alive",
                "Proxy-Connection",
                "Proxy-Authenticate",
                "Proxy-Authorization",
            ]
        );
    }
}
