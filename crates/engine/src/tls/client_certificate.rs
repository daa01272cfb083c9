//! What a certificate says, in the words that apps know from mod_ssl: `SSL_CLIENT_S_DN` and its
//! like (Apache's documentation of mod_ssl, "Environment Variables").

use std::net::IpAddr;

use pkcs8::der::Decode;
use pkcs8::der::pem::{LineEnding, encode_string};
use x509_cert::Certificate;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::time::Time;

const SUBJECT_ALTERNATIVE_NAME: &str = "2.5.29.17";

/// The names that a certificate is for; those of hosts only. Empty for what cannot be read.
pub fn dns_names(der: &[u8]) -> Vec<String> {
    let names = Certificate::from_der(der).map_or(Vec::new(), |it| alternative_names(&it));
    let host = |name| match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        _ => None,
    };
    names.into_iter().filter_map(host).collect()
}

/// When a certificate ends, seconds since 1970; None for what cannot be read.
pub fn end_of(der: &[u8]) -> Option<u64> {
    let certificate = Certificate::from_der(der).ok()?;
    Some(certificate.tbs_certificate.validity.not_after.to_unix_duration().as_secs())
}

fn alternative_names(certificate: &Certificate) -> Vec<GeneralName> {
    let extensions = certificate.tbs_certificate.extensions.iter().flatten();
    extensions
        .filter(|extension| extension.extn_id.to_string() == SUBJECT_ALTERNATIVE_NAME)
        .filter_map(|extension| SubjectAltName::from_der(extension.extn_value.as_bytes()).ok())
        .flat_map(|names| names.0)
        .collect()
}

/// Keys and values for an environ. `chain`: what the client has shown, its own certificate first;
/// empty when it has shown none. It has been verified.
pub fn environ_of(chain: &[Vec<u8>]) -> Vec<(String, String)> {
    let mut environ = Vec::new();
    let mut put = |key: &str, value: String| environ.push((format!("SSL_CLIENT_{key}"), value));
    let Some((own, others)) = chain.split_first() else {
        put("VERIFY", "NONE".into());
        return environ;
    };
    put("VERIFY", "SUCCESS".into());
    put("CERT", pem(own));
    for (index, other) in others.iter().enumerate() {
        put(&format!("CERT_CHAIN_{index}"), pem(other));
    }
    let Ok(certificate) = Certificate::from_der(own) else { return environ };
    let about = &certificate.tbs_certificate;
    put("M_VERSION", (about.version as u8 + 1).to_string());
    put("M_SERIAL", hexadecimal(about.serial_number.as_bytes()));
    put("S_DN", about.subject.to_string());
    put("I_DN", about.issuer.to_string());
    put("V_START", moment(&about.validity.not_before));
    put("V_END", moment(&about.validity.not_after));
    let mut counts = [0; 4];
    for name in alternative_names(&certificate) {
        let (kind, text, index) = match &name {
            GeneralName::DnsName(name) => ("DNS", name.to_string(), 0),
            GeneralName::Rfc822Name(name) => ("Email", name.to_string(), 1),
            GeneralName::UniformResourceIdentifier(name) => ("URI", name.to_string(), 2),
            GeneralName::IpAddress(bytes) => match address(bytes.as_bytes()) {
                Some(address) => ("IP", address.to_string(), 3),
                None => continue,
            },
            _ => continue,
        };
        put(&format!("SAN_{kind}_{}", counts[index]), text);
        counts[index] += 1;
    }
    environ
}

fn pem(der: &[u8]) -> String {
    encode_string("CERTIFICATE", LineEnding::LF, der).unwrap_or_default()
}

fn hexadecimal(bytes: &[u8]) -> String {
    // A leading zero only says that the number is not negative.
    let bytes = if bytes.len() > 1 && bytes[0] == 0 { &bytes[1..] } else { bytes };
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// As OpenSSL prints it: `Nov 25 10:00:00 2026 GMT`.
fn moment(time: &Time) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let it = time.to_date_time();
    let month = MONTHS[(it.month() as usize - 1).min(11)];
    let (day, year) = (it.day(), it.year());
    format!("{month} {day:>2} {:02}:{:02}:{:02} {year} GMT", it.hour(), it.minutes(), it.seconds())
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}
