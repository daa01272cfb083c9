//! Which certificate a client is shown: the one for the name that it asks for (RFC 6066, 3).

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

#[derive(Debug, Default)]
pub struct Resolver {
    /// In the order of the configuration; the first is for everybody else.
    all: Vec<Arc<CertifiedKey>>,
    /// By name in lower case; `*.example.com` under `.example.com`.
    names: HashMap<String, Vec<Arc<CertifiedKey>>>,
}

impl Resolver {
    /// `names`: those that the certificate is for.
    pub fn add(&mut self, certificate: Arc<CertifiedKey>, names: &[String]) {
        for name in names {
            let name = name.to_ascii_lowercase();
            let name = name.strip_prefix('*').map_or(name.clone(), str::to_owned);
            self.names.entry(name).or_default().push(Arc::clone(&certificate));
        }
        self.all.push(certificate);
    }

    fn candidates(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let known = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            // A wildcard stands for one label (RFC 9525, 6.3).
            let parent = name.find('.').map(|dot| &name[dot..]);
            self.names.get(&name).or_else(|| self.names.get(parent?))
        });
        known.map_or(&self.all[..self.all.len().min(1)], Vec::as_slice)
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = self.candidates(hello.server_name());
        // One host may have an ECDSA and an RSA certificate.
        let fitting = candidates
            .iter()
            .find(|candidate| candidate.key.choose_scheme(hello.signature_schemes()).is_some());
        fitting.or(candidates.first()).cloned()
    }
}
