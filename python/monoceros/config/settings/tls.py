"""TLS: certificates and keys, who may connect, and with which versions and ciphers.

One of `certfile` and `keyfile` turns TLS on for every listener. What cannot be had as it is asked
for keeps the server from starting: it never falls back to less.
"""

from monoceros.config.setting import Setting, Surroundings
from monoceros.config.validators import (
    Secret,
    seconds,
    validate_bool,
    validate_cert_reqs,
    validate_list_string,
    validate_seconds,
    validate_secret,
    validate_ssl_version,
    validate_string,
)

SECTION = "SSL"


class KeyFile(Setting):
    """The file with the private key, PEM. Without it the key is looked for in `certfile`.

    An encrypted key has to be in the form PKCS#8 (BEGIN ENCRYPTED PRIVATE KEY), see
    `keyfile_password`. The file is read by the arbiter only: workers need no access to it.
    """

    name = "keyfile"
    section = SECTION
    cli = ("--keyfile",)
    meta = "FILE"
    validator = validate_string


class CertFile(Setting):
    """The file with the certificate and those that lead to a root, PEM. Turns TLS on.

    A new file is in use a second or two after it was put in place, for connections that begin
    from then on; so is one after a reload. A pair that is broken, or of which only one half is
    new, leaves the former in use, and the log says so.
    """

    name = "certfile"
    section = SECTION
    cli = ("--certfile",)
    meta = "FILE"
    validator = validate_string


class SniCerts(Setting):
    """A further certificate: CERTFILE:KEYFILE, or one file with both. May be given several times.

    A client gets the one for the host that it names (SNI); which hosts a certificate is for stands
    in itself (subjectAltName; wildcards count). Everybody else gets `certfile`.
    """

    name = "sni_certs"
    section = SECTION
    cli = ("--sni-cert",)
    meta = "FILES"
    action = "append"
    validator = validate_list_string


class KeyFilePassword(Setting):
    """The pass phrase of encrypted private keys.

    It comes from the environment variable MONOCEROS_KEYFILE_PASSWORD or the config file. There is
    no flag: everybody on a machine can read command lines. All encrypted keys have the same.
    """

    name = "keyfile_password"
    section = SECTION
    validator = validate_secret

    def default_in(self, surroundings: Surroundings) -> Secret | None:
        return validate_secret(surroundings.environ.get("MONOCEROS_KEYFILE_PASSWORD"))


class SslVersion(Setting):
    """The lowest version of TLS: TLSv1_2 or TLSv1_3. Others of Gunicorn's values mean TLSv1_2.

    TLS 1.0 and 1.1 cannot be had (RFC 8996), nor a highest version.
    """

    name = "ssl_version"
    section = SECTION
    cli = ("--ssl-version",)
    meta = "VERSION"
    validator = validate_ssl_version
    default = 2


class CertReqs(Setting):
    """Whether clients are asked for a certificate: 0 = no, 1 = they may show one, 2 = they must.

    One that is shown must be signed by one of `ca_certs` in either case. What it says is in the
    environ, in the keys of Apache's mod_ssl: SSL_CLIENT_VERIFY (SUCCESS or NONE),
    SSL_CLIENT_S_DN, SSL_CLIENT_I_DN, SSL_CLIENT_M_SERIAL, SSL_CLIENT_V_START, SSL_CLIENT_V_END,
    SSL_CLIENT_SAN_DNS_0 and so on, SSL_CLIENT_CERT (PEM), SSL_CLIENT_CERT_CHAIN_0 and so on.
    """

    name = "cert_reqs"
    section = SECTION
    cli = ("--cert-reqs",)
    meta = "INT"
    validator = validate_cert_reqs
    default = 0


class CACerts(Setting):
    """The file with the certificates that may sign those of clients, PEM. See `cert_reqs`."""

    name = "ca_certs"
    section = SECTION
    cli = ("--ca-certs",)
    meta = "FILE"
    validator = validate_string


class Ciphers(Setting):
    """The cipher suites, in the order of preference, as a list of OpenSSL's (openssl-ciphers).

    There are only suites with forward secrecy and authenticated encryption; without this setting
    all of them, in the client's order. Names of others are passed over as long as one is left; a
    name that OpenSSL does not know keeps the server from starting. As in OpenSSL, suites of
    TLS 1.3 are all there, unless some are named.
    """

    name = "ciphers"
    section = SECTION
    cli = ("--ciphers",)
    meta = "LIST"
    validator = validate_string


class HandshakeTimeout(Setting):
    """Seconds from accepting a connection to the end of its TLS handshake; 0 switches it off."""

    name = "handshake_timeout"
    section = SECTION
    cli = ("--handshake-timeout",)
    meta = "SECONDS"
    type = seconds
    validator = validate_seconds
    default = 10


class SuppressRaggedEofs(Setting):
    """Has no effect: a connection that ends without a word of TLS never completes a request."""

    name = "suppress_ragged_eofs"
    section = SECTION
    cli = ("--suppress-ragged-eofs",)
    action = "store_true"
    validator = validate_bool
    default = True


class DoHandshakeOnConnect(Setting):
    """Has no effect: handshakes never keep anybody waiting."""

    name = "do_handshake_on_connect"
    section = SECTION
    cli = ("--do-handshake-on-connect",)
    action = "store_true"
    validator = validate_bool
    default = False
