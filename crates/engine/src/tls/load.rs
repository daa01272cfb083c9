//! From files and settings to material. Runs in the arbiter; every error here is a sentence for
//! the operator that names the file and says what to do.

use std::fs;
use std::path::{Path, PathBuf};

use pkcs8::EncryptedPrivateKeyInfo;
use pkcs8::der::Decode;
use pkcs8::der::pem::decode_vec;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::tls::material::{ClientAuthentication, Identity, KeyForm, Material};
use crate::tls::tickets::TicketKeys;
use crate::tls::{ciphers, config};

/// A certificate file and the file with its key, which may be the same.
#[derive(Clone, Debug)]
pub struct KeyPair {
    pub certificates: PathBuf,
    pub key: PathBuf,
}

/// What the operator has set.
#[derive(Clone)]
pub struct Settings {
    /// At least one; the first is for clients that name nobody, or somebody unknown.
    pub pairs: Vec<KeyPair>,
    /// Of encrypted keys.
    pub password: Option<String>,
    pub authorities: Option<PathBuf>,
    pub authentication: ClientAuthentication,
    /// A cipher list of OpenSSL's.
    pub ciphers: Option<String>,
    pub only_tls13: bool,
}

impl Settings {
    /// Every file that is read.
    pub fn files(&self) -> Vec<PathBuf> {
        let pairs = self.pairs.iter().flat_map(|pair| [&pair.certificates, &pair.key]);
        let mut files: Vec<PathBuf> = pairs.chain(&self.authorities).cloned().collect();
        files.sort();
        files.dedup();
        files
    }
}

/// Reads and checks everything: what comes back can be used.
pub fn load(settings: &Settings, tickets: TicketKeys) -> Result<Material, String> {
    let suites = match &settings.ciphers {
        Some(list) => ciphers::parse(list).map_err(|reason| format!("ciphers: {reason}"))?,
        None => Vec::new(),
    };
    let identities = settings.pairs.iter().map(|pair| identity(pair, settings.password.as_deref()));
    let material = Material {
        identities: identities.collect::<Result<_, _>>()?,
        authentication: settings.authentication,
        authorities: match &settings.authorities {
            Some(file) => certificates(file)?,
            None => Vec::new(),
        },
        only_tls13: settings.only_tls13,
        suites,
        tickets,
    };
    config::build(&material).map_err(|reason| match &settings.authorities {
        Some(file) => format!("the certificates in {} cannot be used: {reason}", file.display()),
        None => format!("TLS cannot be set up: {reason}"),
    })?;
    Ok(material)
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| {
        let reason = match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
            std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            _ => error.to_string(),
        };
        format!("cannot read {}: {reason}", file.display())
    })
}

fn certificates(file: &Path) -> Result<Vec<Vec<u8>>, String> {
    let pem = read(file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|_| format!("{} is damaged: it is no PEM file", file.display()))?;
    if found.is_empty() {
        return Err(format!(
            "there is no certificate in {}: it needs a section BEGIN CERTIFICATE (PEM)",
            file.display()
        ));
    }
    Ok(found.into_iter().map(|der| der.to_vec()).collect())
}

fn identity(pair: &KeyPair, password: Option<&str>) -> Result<Identity, String> {
    let chain = certificates(&pair.certificates)?;
    let (key_form, key) = private_key(&pair.key, password)?;
    let identity = Identity { chain, key_form, key };
    config::certified(&identity, &ring::default_provider()).map_err(|reason| {
        format!(
            "the certificate {} and the key {} do not go together: {reason}",
            pair.certificates.display(),
            pair.key.display()
        )
    })?;
    Ok(identity)
}

fn private_key(file: &Path, password: Option<&str>) -> Result<(KeyForm, Vec<u8>), String> {
    let name = file.display();
    let pem = read(file)?;
    if let Some(section) = section(&pem, "ENCRYPTED PRIVATE KEY") {
        let Some(password) = password else {
            return Err(format!(
                "the key {name} is encrypted: give its pass phrase in the environment variable \
                 MONOCEROS_KEYFILE_PASSWORD or as keyfile_password in the configuration file"
            ));
        };
        return Ok((KeyForm::Pkcs8, decrypt(section, password, &name.to_string())?));
    }
    // The traditional form has no key derivation that deserves the name.
    if String::from_utf8_lossy(&pem).contains("Proc-Type: 4,ENCRYPTED") {
        return Err(format!(
            "the key {name} is encrypted in OpenSSL's old form, which is not supported; convert \
             it: openssl pkcs8 -topk8 -v2 aes-256-cbc -in {name} -out NEW_FILE"
        ));
    }
    match PrivateKeyDer::from_pem_slice(&pem) {
        Ok(PrivateKeyDer::Pkcs1(key)) => Ok((KeyForm::Pkcs1, key.secret_pkcs1_der().to_vec())),
        Ok(PrivateKeyDer::Sec1(key)) => Ok((KeyForm::Sec1, key.secret_sec1_der().to_vec())),
        Ok(PrivateKeyDer::Pkcs8(key)) => Ok((KeyForm::Pkcs8, key.secret_pkcs8_der().to_vec())),
        _ => Err(format!(
            "there is no private key in {name}: it needs a section BEGIN PRIVATE KEY (PEM)"
        )),
    }
}

/// The PEM section with this label, its markers included.
fn section<'a>(pem: &'a [u8], label: &str) -> Option<&'a [u8]> {
    let end = format!("-----END {label}-----");
    let start = memchr::memmem::find(pem, format!("-----BEGIN {label}-----").as_bytes())?;
    let length = memchr::memmem::find(&pem[start..], end.as_bytes())? + end.len();
    Some(&pem[start..start + length])
}

fn decrypt(section: &[u8], password: &str, name: &str) -> Result<Vec<u8>, String> {
    let (_, der) = decode_vec(section).map_err(|_| format!("the key {name} is damaged"))?;
    let sealed = EncryptedPrivateKeyInfo::from_der(&der).map_err(|_| {
        format!(
            "the key {name} is encrypted in a way that is not supported; convert it: openssl \
             pkcs8 -topk8 -v2 aes-256-cbc -in {name} -out NEW_FILE"
        )
    })?;
    match sealed.decrypt(password) {
        Ok(opened) => Ok(opened.as_bytes().to_vec()),
        Err(_) => Err(format!("the pass phrase does not open the key {name}")),
    }
}
