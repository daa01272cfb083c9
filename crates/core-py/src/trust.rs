//! From the worker's options to the engine's rules of trust, and to how requests are read.

use monoceros_engine::{ClientField, Options, ProxyProtocol, Trust};
use monoceros_http1::{ForwarderNames, Policy, UnderscoreNames};
use monoceros_proxy::Networks;
use monoceros_proxy::proxy_protocol::Versions;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::engine::option;

/// The header by which a proxy tells where the app is mounted.
const SCRIPT_NAME: &str = "SCRIPT_NAME";

/// Fills in `policy`, `trusted_policy`, `trust` and `uwsgi`.
pub fn set_trust(options: &mut Options, given: &Bound<'_, PyDict>) -> PyResult<()> {
    options.policy = policy(given)?;
    let mut names: Vec<String> = option(given, "forwarder_headers")?;
    // A header by which the scheme is told has to reach who looks for it.
    let schemes: Vec<(String, String)> = option(given, "secure_scheme_headers")?;
    names.extend(schemes.into_iter().map(|(name, _)| name).filter(|name| name.contains('_')));
    let forwarder = forwarder_names(names);
    options.trust = trust(given, &forwarder)?;
    options.uwsgi = uwsgi(given)?;
    options.trusted_policy = Policy { forwarder, ..options.policy.clone() };
    Ok(())
}

fn policy(given: &Bound<'_, PyDict>) -> PyResult<Policy> {
    let underscores: String = option(given, "header_map")?;
    Ok(Policy {
        underscores: match underscores.as_str() {
            "drop" => UnderscoreNames::Drop,
            "refuse" => UnderscoreNames::Refuse,
            "dangerous" => UnderscoreNames::Map,
            _ => return Err(unknown("header_map", &underscores)),
        },
        forwarder: ForwarderNames::None,
        obsolete_folding: option(given, "permit_obsolete_folding")?,
        spaces_before_colon: option(given, "strip_header_spaces")?,
        any_method: option(given, "permit_unconventional_http_method")?,
        casefold_method: option(given, "casefold_http_method")?,
        any_version: option(given, "permit_unconventional_http_version")?,
    })
}

fn forwarder_names(names: Vec<String>) -> ForwarderNames {
    if names.iter().any(|name| name == "*") {
        ForwarderNames::All
    } else if names.is_empty() {
        ForwarderNames::None
    } else {
        ForwarderNames::Listed(names)
    }
}

fn trust(given: &Bound<'_, PyDict>, forwarder: &ForwarderNames) -> PyResult<Trust> {
    let mut trust = Trust::default();
    trust.forwarders = networks(given, "forwarded_allow_ips")?;
    trust.script_name = forwarder.admit(SCRIPT_NAME.as_bytes());
    let schemes: Vec<(String, String)> = option(given, "secure_scheme_headers")?;
    for (name, secure) in schemes {
        trust.add_scheme(&name, secure.as_bytes());
    }
    let headers: Vec<String> = option(given, "trusted_proxy_headers")?;
    for header in headers {
        match header.as_str() {
            "x-forwarded-for" => trust.client = ClientField::XForwardedFor,
            "forwarded" => trust.client = ClientField::Forwarded,
            "x-forwarded-host" => trust.host = true,
            "x-forwarded-port" => trust.port = true,
            _ => return Err(unknown("trusted_proxy_headers", &header)),
        }
    }
    let versions: String = option(given, "proxy_protocol")?;
    let versions = match versions.as_str() {
        "off" => return Ok(trust),
        "v1" => Versions::V1,
        "v2" => Versions::V2,
        "auto" => Versions::Both,
        _ => return Err(unknown("proxy_protocol", &versions)),
    };
    trust.proxy = Some(ProxyProtocol { versions, senders: networks(given, "proxy_allow_ips")? });
    Ok(trust)
}

/// Who may speak uwsgi; None where the protocol is HTTP.
fn uwsgi(given: &Bound<'_, PyDict>) -> PyResult<Option<Networks>> {
    let protocol: String = option(given, "protocol")?;
    match protocol.as_str() {
        "http" => Ok(None),
        "uwsgi" => networks(given, "uwsgi_allow_ips").map(Some),
        _ => Err(unknown("protocol", &protocol)),
    }
}

fn networks(given: &Bound<'_, PyDict>, name: &str) -> PyResult<Networks> {
    let items: Vec<String> = option(given, name)?;
    Networks::parse(items).map_err(|error| PyValueError::new_err(format!("{name}: {error}")))
}

fn unknown(name: &str, value: &str) -> PyErr {
    PyValueError::new_err(format!("the engine's option {name} cannot be {value:?}"))
}
