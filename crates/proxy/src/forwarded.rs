//! X-Forwarded-For and Forwarded (RFC 7239): who the client is, through how many proxies it came.
//!
//! Each proxy appends what it knows of who connected to it. So the last entry is the word of our
//! own peer; the entry before it is the word of whoever the last one names, and counts only when
//! that is a trusted proxy as well. The walk goes from right to left and ends at the first entry
//! that names nobody trusted: that is the client. What stands further left is the client's own
//! invention and is not looked at.

use std::borrow::Cow;

use crate::{Networks, Node};

/// What the outermost trusted proxy says about who connected to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hop<'a> {
    /// The client; none when the proxies have not told an address.
    pub client: Option<Node>,
    /// The scheme that the client used (RFC 7239, section 5.4).
    pub proto: Option<Cow<'a, [u8]>>,
    /// The Host that the client sent (RFC 7239, section 5.3).
    pub host: Option<Cow<'a, [u8]>>,
}

/// A Forwarded field that does not follow its grammar: where one entry ends and the next begins,
/// two readers could see differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Reads the lines of X-Forwarded-For, in the order in which they came.
///
/// `trusted` are the proxies whose word counts; the peer that sent the lines is one of them. An
/// entry that is no address ends the walk: the one to the right of it is the last that is known.
pub fn x_forwarded_for<'a>(
    lines: impl DoubleEndedIterator<Item = &'a [u8]>,
    trusted: &Networks,
) -> Option<Node> {
    let mut client = None;
    for line in lines.rev() {
        for entry in line.rsplit(|&byte| byte == b',').map(trim) {
            if entry.is_empty() {
                continue;
            }
            let Some(node) = Node::read_bare(entry) else { return client };
            client = Some(node);
            if !trusted.list(node.address) {
                return client;
            }
        }
    }
    client
}

/// Reads the lines of Forwarded, in the order in which they came.
///
/// # Errors
/// [`Malformed`] when a line does not follow the grammar, wherever it comes from: an open quote of
/// a client's may hide what a proxy has appended.
pub fn forwarded<'a>(
    lines: impl IntoIterator<Item = &'a [u8]>,
    trusted: &Networks,
) -> Result<Option<Hop<'a>>, Malformed> {
    let mut entries = Vec::new();
    for line in lines {
        read_line(line, &mut entries)?;
    }
    let mut client = None;
    let mut outermost = None;
    while let Some(entry) = entries.pop() {
        let node = entry.node.as_deref().and_then(Node::read);
        client = node.or(client);
        let goes_on = node.is_some_and(|node| trusted.list(node.address));
        outermost = Some(Hop { client, proto: entry.proto, host: entry.host });
        if !goes_on {
            break;
        }
    }
    Ok(outermost)
}

/// An element of the list; parameters that say nothing about the client are dropped.
#[derive(Default)]
struct Entry<'a> {
    node: Option<Cow<'a, [u8]>>,
    proto: Option<Cow<'a, [u8]>>,
    host: Option<Cow<'a, [u8]>>,
    by: Option<Cow<'a, [u8]>>,
}

fn read_line<'a>(line: &'a [u8], entries: &mut Vec<Entry<'a>>) -> Result<(), Malformed> {
    let mut rest = trim(line);
    let mut entry = Entry::default();
    let mut is_empty = true;
    loop {
        if !matches!(rest.first(), None | Some(b';' | b',')) {
            is_empty = false;
            rest = trim(entry.read_pair(rest)?);
        }
        match rest.split_first() {
            Some((b';', after)) => rest = trim(after),
            separator => {
                // Empty elements of a list are no elements (RFC 9110, section 5.6.1.2).
                let done = std::mem::take(&mut entry);
                if !std::mem::replace(&mut is_empty, true) {
                    entries.push(done);
                }
                match separator {
                    None => return Ok(()),
                    Some((b',', after)) => rest = trim(after),
                    Some(_) => return Err(Malformed),
                }
            }
        }
    }
}

impl<'a> Entry<'a> {
    /// Takes up `token "=" ( token / quoted-string )` and returns what follows it.
    fn read_pair(&mut self, input: &'a [u8]) -> Result<&'a [u8], Malformed> {
        let (name, rest) = split_token(input)?;
        let rest = rest.strip_prefix(b"=").ok_or(Malformed)?;
        let (value, rest) = match rest.strip_prefix(b"\"") {
            Some(quoted) => split_quoted(quoted)?,
            None => split_token(rest).map(|(token, rest)| (Cow::Borrowed(token), rest))?,
        };
        let place = match &name.to_ascii_lowercase()[..] {
            b"for" => &mut self.node,
            b"proto" => &mut self.proto,
            b"host" => &mut self.host,
            b"by" => &mut self.by,
            _ => return Ok(rest),
        };
        // Each parameter may occur once in an element (RFC 7239, section 4).
        match place.replace(value) {
            None => Ok(rest),
            Some(_) => Err(Malformed),
        }
    }
}

/// A token, which is not empty, and what follows it.
fn split_token(input: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let length = input.iter().position(|&byte| !is_token(byte)).unwrap_or(input.len());
    if length == 0 { Err(Malformed) } else { Ok(input.split_at(length)) }
}

/// A quoted string behind its opening quote, without its backslashes, and what follows it.
fn split_quoted(input: &[u8]) -> Result<(Cow<'_, [u8]>, &[u8]), Malformed> {
    let mut plain = Vec::new();
    let mut rest = input;
    loop {
        let special = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).ok_or(Malformed)?;
        let (text, after) = rest.split_at(special);
        match after {
            [b'"', after @ ..] if rest.len() == input.len() => {
                return Ok((Cow::Borrowed(text), after));
            }
            [b'"', after @ ..] => {
                plain.extend_from_slice(text);
                return Ok((Cow::Owned(plain), after));
            }
            [_, escaped, after @ ..] => {
                plain.extend_from_slice(text);
                plain.push(*escaped);
                rest = after;
            }
            _ => return Err(Malformed),
        }
    }
}

/// A character of a token (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Without SP and TAB on both sides.
fn trim(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let [b' ' | b'\t', tail @ ..] = rest {
        rest = tail;
    }
    while let [head @ .., b' ' | b'\t'] = rest {
        rest = head;
    }
    rest
}
