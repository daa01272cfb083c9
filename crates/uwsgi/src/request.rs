//! From a packet to the head of the request that it stands for.
//!
//! Which variables go where:
//! - REQUEST_METHOD, REQUEST_URI and SERVER_PROTOCOL make the request line. Without a REQUEST_URI
//!   it is SCRIPT_NAME, PATH_INFO and QUERY_STRING, encoded as a client would.
//! - HTTP_NAME, CONTENT_TYPE and CONTENT_LENGTH become fields. HTTP_CONTENT_TYPE and
//!   HTTP_CONTENT_LENGTH say the same once more and are left out (RFC 3875, 4.1.18);
//!   HTTP_TRANSFER_ENCODING speaks about the client's connection and stays a variable.
//! - The others are kept as [`Variables`], and so are those that make the request line.

use crate::packet::Place;
use crate::variables::URL_SCHEME;
use crate::{Error, Packet, Variables};

/// What a packet stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The head of an HTTP request. For the parser to judge: limits, method, target and fields.
    pub head: Vec<u8>,
    /// What else the front end tells.
    pub variables: Variables,
}

/// Prefixes of names that only the server gives to an app.
const RESERVED: [&[u8]; 2] = [b"wsgi.", b"gunicorn."];

/// Reads a packet.
///
/// # Errors
/// [`Error`] when it has no reading, or more than one.
pub fn read(packet: &Packet<'_>) -> Result<Request, Error> {
    let block = packet.block;
    let mut variables = Vec::with_capacity(32);
    let mut fields = Vec::with_capacity(block.len() + 128);
    let mut once = [Once::new(b"REQUEST_METHOD"), Once::new(b"CONTENT_LENGTH")];
    let mut content_type = None;
    let mut host = false;
    for place in packet.places()? {
        let (name, value) = (place.name(block), place.value(block));
        check(name, value)?;
        for only in &mut once {
            only.take(name, place, block)?;
        }
        match name {
            b"CONTENT_LENGTH" | b"HTTP_CONTENT_LENGTH" | b"HTTP_CONTENT_TYPE" => {}
            b"CONTENT_TYPE" => content_type = Some(place),
            b"HTTP_TRANSFER_ENCODING" => variables.push(place),
            [b'H', b'T', b'T', b'P', b'_', field @ ..] => {
                host |= field == b"HOST";
                write_field(&mut fields, field, value)?;
            }
            _ => variables.push(place),
        }
    }
    let [method, length] = once.map(|only| only.place);
    for (name, place) in [(&b"CONTENT_TYPE"[..], content_type), (b"CONTENT_LENGTH", length)] {
        let value = place.map_or(&b""[..], |place| place.value(block));
        if !value.is_empty() {
            write_field(&mut fields, name, value)?;
        }
    }
    fields.extend_from_slice(b"\r\n");
    let variables = Variables::new(block, variables);
    let method = method.map_or(&b""[..], |place| place.value(block));
    let mut head = Vec::with_capacity(fields.len() + 256);
    write_request_line(&mut head, method, &variables, host)?;
    head.extend_from_slice(&fields);
    Ok(Request { head, variables })
}

/// A variable that must not be told in two ways.
struct Once {
    name: &'static [u8],
    place: Option<Place>,
}

impl Once {
    fn new(name: &'static [u8]) -> Once {
        Once { name, place: None }
    }

    fn take(&mut self, name: &[u8], place: Place, block: &[u8]) -> Result<(), Error> {
        if name != self.name {
            return Ok(());
        }
        match self.place.replace(place) {
            Some(other) if other.value(block) != place.value(block) => Err(Error::Contradiction),
            _ => Ok(()),
        }
    }
}

/// What holds for every variable.
fn check(name: &[u8], value: &[u8]) -> Result<(), Error> {
    if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
        return Err(Error::Name);
    }
    if value.contains(&0) {
        return Err(Error::Nul);
    }
    if RESERVED.iter().any(|reserved| name.starts_with(reserved)) && name != URL_SCHEME {
        return Err(Error::Reserved);
    }
    Ok(())
}

fn is_control(byte: u8) -> bool {
    byte < b' ' && byte != b'\t' || byte == 0x7f
}

/// Writes a field whose name CGI has spelled with underscores.
fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) -> Result<(), Error> {
    // A colon would end the name early.
    if name.is_empty() || name.contains(&b':') {
        return Err(Error::Name);
    }
    if value.iter().any(|&byte| is_control(byte)) {
        return Err(Error::Value);
    }
    out.extend(name.iter().map(|&byte| if byte == b'_' { b'-' } else { byte }));
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Writes the line. HTTP/1.0 where the client speaks that, and where it has told no host: only
/// then it need not.
fn write_request_line(
    out: &mut Vec<u8>,
    method: &[u8],
    variables: &Variables,
    host: bool,
) -> Result<(), Error> {
    if method.is_empty() {
        return Err(Error::MethodMissing);
    }
    if is_broken(method) {
        return Err(Error::Value);
    }
    out.extend_from_slice(method);
    out.push(b' ');
    match variables.told(b"REQUEST_URI") {
        Some(target) if is_broken(target) => return Err(Error::Value),
        Some(target) => out.extend_from_slice(target),
        None => write_target(out, variables)?,
    }
    let old = !host || variables.get(b"SERVER_PROTOCOL") == Some(b"HTTP/1.0");
    out.extend_from_slice(if old { b" HTTP/1.0\r\n" } else { b" HTTP/1.1\r\n" });
    Ok(())
}

/// A part of a request line has no blanks and no control characters.
fn is_broken(part: &[u8]) -> bool {
    part.iter().any(|&byte| is_control(byte) || byte == b' ' || byte == b'\t')
}

/// The target that a client has sent, as far as its parts show it.
fn write_target(out: &mut Vec<u8>, variables: &Variables) -> Result<(), Error> {
    let start = out.len();
    for name in [&b"SCRIPT_NAME"[..], b"PATH_INFO"] {
        for &byte in variables.get(name).unwrap_or_default() {
            if byte.is_ascii_graphic() && !matches!(byte, b'%' | b'?' | b'#') {
                out.push(byte);
            } else {
                out.extend_from_slice(format!("%{byte:02X}").as_bytes());
            }
        }
    }
    if out.get(start) != Some(&b'/') {
        out.insert(start, b'/');
    }
    if let Some(query) = variables.told(b"QUERY_STRING") {
        if is_broken(query) {
            return Err(Error::Value);
        }
        out.push(b'?');
        out.extend_from_slice(query);
    }
    Ok(())
}
