//! From material to what rustls wants.

use std::sync::Arc;

use ::ring::digest::{Context, SHA256};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use rustls::server::{ClientCertVerifierBuilder, NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};

use crate::tls::client_certificate::dns_names;
use crate::tls::material::{ClientAuthentication, Identity, KeyForm, Material};
use crate::tls::resolver::Resolver;
use crate::tls::tickets::Ticketer;

const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
const ONLY_TLS13: &[&SupportedProtocolVersion] = &[&version::TLS13];
const ONLY_TLS12: &[&SupportedProtocolVersion] = &[&version::TLS12];

/// Fails with the reason, for people.
pub fn build(material: &Material) -> Result<Arc<ServerConfig>, String> {
    let provider = Arc::new(provider(&material.suites));
    let has = |version: &SupportedProtocolVersion| {
        provider.cipher_suites.iter().any(|suite| suite.version() == version)
    };
    let versions = match (has(&version::TLS13), has(&version::TLS12) && !material.only_tls13) {
        (true, false) => ONLY_TLS13,
        (false, true) => ONLY_TLS12,
        _ => BOTH,
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|error| error.to_string())?;
    let builder = match material.authentication {
        ClientAuthentication::None => builder.with_no_client_auth(),
        ClientAuthentication::Optional => {
            let verifier = verifier(material, &provider)?.allow_unauthenticated().build();
            builder.with_client_cert_verifier(verifier.map_err(|error| error.to_string())?)
        }
        ClientAuthentication::Required => {
            let verifier = verifier(material, &provider)?.build();
            builder.with_client_cert_verifier(verifier.map_err(|error| error.to_string())?)
        }
    };
    let mut resolver = Resolver::default();
    for identity in &material.identities {
        let names = identity.chain.first().map_or(Vec::new(), |der| dns_names(der));
        resolver.add(Arc::new(certified(identity, &provider)?), &names);
    }
    let mut config = builder.with_cert_resolver(Arc::new(resolver));
    // Some clients offer nothing else than what they were told to speak (curl --http1.0).
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"http/1.0".to_vec()];
    config.ignore_client_order = !material.suites.is_empty();
    // Tickets carry the session: no worker has to remember one, and all can resume it.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Arc::new(Ticketer::new(&material.tickets, binding(material)));
    Ok(Arc::new(config))
}

fn provider(suites: &[u16]) -> CryptoProvider {
    let mut provider = ring::default_provider();
    if !suites.is_empty() {
        let all = std::mem::take(&mut provider.cipher_suites);
        let numbered = |number: &u16| all.iter().find(|it| u16::from(it.suite()) == *number);
        provider.cipher_suites = suites.iter().filter_map(numbered).copied().collect();
    }
    provider
}

fn verifier(
    material: &Material,
    provider: &Arc<CryptoProvider>,
) -> Result<ClientCertVerifierBuilder, String> {
    let mut roots = RootCertStore::empty();
    for der in &material.authorities {
        roots.add(CertificateDer::from(der.clone())).map_err(|error| error.to_string())?;
    }
    let provider = Arc::clone(provider);
    Ok(WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider))
}

/// A certificate and the key that it is for. Fails, with the reason for people, when they are not
/// each other's, or of a kind that is not known.
pub fn certified(identity: &Identity, provider: &CryptoProvider) -> Result<CertifiedKey, String> {
    let chain = identity.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let key = identity.key.clone();
    let key = match identity.key_form {
        KeyForm::Pkcs1 => PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(key)),
        KeyForm::Sec1 => PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(key)),
        KeyForm::Pkcs8 => PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key)),
    };
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            "the private key is not the certificate's: it is another pair's".into()
        }
        other => other.to_string(),
    })
}

/// What a session's worth depends on: whom we ask of clients, and who may vouch for them.
fn binding(material: &Material) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(&[material.authentication as u8]);
    for authority in &material.authorities {
        context.update(&(authority.len() as u64).to_be_bytes());
        context.update(authority);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}
