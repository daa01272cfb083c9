//! httparse as an oracle: what it rejects must be rejected here, and what is accepted here it must
//! read alike. Also part of the fuzz targets.

use monoceros_http1::{Head, HeadParser, Limits, Policy, Progress, UnderscoreNames, Version};

/// Whether both accepted; panics when httparse contradicts what was accepted here.
pub fn agree(input: &[u8]) -> bool {
    let policy = Policy { underscores: UnderscoreNames::Map, ..Policy::default() };
    let mut head = Head::new();
    let progress = HeadParser::new().parse(input, &mut head, &Limits::default(), &policy);
    if progress != Ok(Progress::Complete) {
        return false;
    }
    let mut fields = [httparse::EMPTY_HEADER; 200];
    let mut other = httparse::Request::new(&mut fields);
    let status = other.parse(input);
    let text = input.escape_ascii();
    assert_eq!(status, Ok(httparse::Status::Complete(head.length)), "{text}");
    let method = head.method_span.of(input);
    assert_eq!(other.method.map(str::as_bytes), Some(method), "{text}");
    let target = head.target.of(input);
    assert_eq!(other.path.map(str::as_bytes), Some(target), "{text}");
    let minor = u8::from(head.version == Version::Http11);
    assert_eq!(other.version, Some(minor), "{text}");
    let theirs = other.headers.iter().map(|field| (field.name.as_bytes(), field.value));
    let ours = head.fields.iter().map(|field| (field.name.of(input), field.value.of(input)));
    assert!(ours.eq(theirs), "{text}");
    true
}
