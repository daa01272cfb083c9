//! What a front end tells about a request beside its header fields.

use crate::packet::Place;

/// Variables as they came. Where a name is told more than once, the last counts, because that is
/// what an operator adds behind a list that is included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    block: Vec<u8>,
    places: Vec<Place>,
}

/// By this name Gunicorn lets a front end tell the scheme. The app's key is the server's all the
/// same.
pub(crate) const URL_SCHEME: &[u8] = b"wsgi.url_scheme";

impl Variables {
    pub(crate) fn new(block: &[u8], places: Vec<Place>) -> Variables {
        Variables { block: block.to_vec(), places }
    }

    /// The value of a variable.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let place = self.places.iter().rev().find(|place| place.name(&self.block) == name)?;
        Some(place.value(&self.block))
    }

    /// The same, where an empty value says nothing: nginx sends empty ones for what it lacks.
    pub fn told(&self, name: &[u8]) -> Option<&[u8]> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Names and values for the app, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let pairs = self.places.iter().map(|it| (it.name(&self.block), it.value(&self.block)));
        pairs.filter(|(name, _)| *name != URL_SCHEME)
    }

    /// Whether the client's connection to the front end is encrypted. What an operator writes by
    /// hand precedes what nginx's list says: UWSGI_SCHEME, wsgi.url_scheme, HTTPS, REQUEST_SCHEME.
    pub fn is_https(&self) -> Option<bool> {
        let is = |value: &[u8], words: &[&str]| {
            words.iter().any(|word| word.as_bytes().eq_ignore_ascii_case(value))
        };
        if let Some(scheme) = self.told(b"UWSGI_SCHEME").or(self.told(URL_SCHEME)) {
            return Some(is(scheme, &["https"]));
        }
        if let Some(https) = self.told(b"HTTPS") {
            return Some(is(https, &["on", "1", "true", "https"]));
        }
        self.told(b"REQUEST_SCHEME").map(|scheme| is(scheme, &["https"]))
    }
}
