"""Whose word counts about a client: proxies in front, their headers, and the PROXY protocol."""

from typing import Any

from monoceros.config.setting import Setting, Surroundings
from monoceros.config.validators import (
    validate_choice,
    validate_csv,
    validate_dict,
    validate_networks,
)
from monoceros.errors import ConfigError

#: What `trusted_proxy_headers` may name.
PROXY_HEADERS = ("x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "forwarded")

_SCHEME_HEADERS = {
    "X-FORWARDED-PROTOCOL": "ssl",
    "X-FORWARDED-PROTO": "https",
    "X-FORWARDED-SSL": "on",
}

#: The spellings of `proxy_protocol` that stand for one of its modes.
_PROXY_MODES = {"false": "off", "0": "off", "none": "off", "true": "auto", "1": "auto"}


def validate_scheme_headers(value: Any) -> dict[str, str]:
    """A dict of text to text."""
    for name, secure in validate_dict(value).items():
        if not isinstance(name, str) or not isinstance(secure, str):
            raise TypeError(f"must map names to values, both text, not {name!r} to {secure!r}")
    return dict(value)


def validate_proxy_headers(value: Any) -> list[str]:
    """Names of PROXY_HEADERS, in any case."""
    names = [name.lower() for name in validate_csv(value)]
    for name in names:
        validate_choice(*PROXY_HEADERS)(name)
    if "forwarded" in names and len(names) > 1:
        raise ValueError(
            "must name either forwarded or headers that begin with x-forwarded, not both: only "
            "those that the proxy sets or extends itself can be believed"
        )
    return names


def validate_proxy_protocol(value: Any) -> str:
    """off, v1, v2 or auto; Gunicorn's other words for off and auto; a bool; None."""
    if value is None or isinstance(value, bool):
        return "auto" if value else "off"
    if isinstance(value, str):
        value = _PROXY_MODES.get(value.strip().lower(), value)
    try:
        return validate_choice("off", "v1", "v2", "auto")(value)
    except ValueError as error:
        raise ValueError(
            f"{error} (on the command line, the app must not come right after a "
            "--proxy-protocol without a value)"
        ) from error


class SecureSchemeHeaders(Setting):
    """Headers by which trusted proxies say that a client uses https, with the value that says so.

    They count from peers in `forwarded_allow_ips` only. A listed header with any other value means
    http; headers that contradict each other are answered with 400. Header names are read in any
    case, values exactly as they stand.
    """

    name = "secure_scheme_headers"
    section = "Server Mechanics"
    validator = validate_scheme_headers
    default = _SCHEME_HEADERS


class ForwardedAllowIps(Setting):
    """Proxies whose headers about a request are believed: addresses, networks, or * for all.

    It decides about `secure_scheme_headers`, `forwarder_headers` and `trusted_proxy_headers`. The
    peer of a unix socket is always believed. Behind a PROXY protocol header it is whom the header
    names that has to be listed, because the rest of the connection is that client's word.

    Use * only where nobody but the proxy can connect: everybody else can pretend to be one, too.
    The default is the environment variable FORWARDED_ALLOW_IPS, else 127.0.0.1 and ::1.
    """

    name = "forwarded_allow_ips"
    section = "Server Mechanics"
    cli = ("--forwarded-allow-ips",)
    meta = "STRING"
    validator = validate_networks
    default = "127.0.0.1,::1"

    def default_in(self, surroundings: Surroundings) -> str:
        text = surroundings.environ.get("FORWARDED_ALLOW_IPS", self.default)
        try:
            validate_networks(text)
        except ValueError as error:
            raise ConfigError(f"the environment variable FORWARDED_ALLOW_IPS {error}") from error
        return text


class TrustedProxyHeaders(Setting):
    """Headers by which trusted proxies say who the client is: x-forwarded-for, or forwarded.

    REMOTE_ADDR, and with it the access log, then shows the client instead of the proxy. Name
    exactly the headers that the proxy sets or extends itself, with commas between: any other
    could come from the client. ``x-forwarded-for`` or ``forwarded`` (RFC 7239, with scheme and
    host) is read from right to left, as long as the addresses are in `forwarded_allow_ips`; the
    first that is not is the client. ``*`` lists nobody: with it the right-most entry is the
    client. ``x-forwarded-host`` and ``x-forwarded-port`` set HTTP_HOST, SERVER_NAME and
    SERVER_PORT. REMOTE_PORT is missing where the header has no port.

    By default none of them counts, and REMOTE_ADDR is the address that has connected.
    """

    name = "trusted_proxy_headers"
    section = "Server Mechanics"
    cli = ("--trusted-proxy-headers",)
    meta = "HEADERS"
    validator = validate_proxy_headers
    default = ""


class ForwarderHeaders(Setting):
    """Headers with an underscore in their name that trusted proxies may send; * for all.

    They pass whatever `header_map` says, from peers in `forwarded_allow_ips`. SCRIPT_NAME sets
    where the app is mounted; the others become HTTP_NAME in the environ.
    """

    name = "forwarder_headers"
    section = "Server Mechanics"
    cli = ("--forwarder-headers",)
    meta = "NAMES"
    validator = validate_csv
    default = "SCRIPT_NAME,PATH_INFO"


class HeaderMap(Setting):
    """What becomes of a header with an underscore in its name: drop, refuse or dangerous.

    In the environ X_Real_IP and X-Real-IP are one name, so that a client could speak in the
    proxy's place. ``drop`` removes such a header, ``refuse`` answers 400, ``dangerous`` lets it
    pass: only where a proxy in front removes them.
    """

    name = "header_map"
    section = "Server Mechanics"
    cli = ("--header-map",)
    meta = "MODE"
    validator = validate_choice("drop", "refuse", "dangerous")
    default = "drop"


class ProxyProtocol(Setting):
    """Expect a PROXY protocol header before the first request: off, v1, v2 or auto (both).

    For proxies that pass connections on as they are, such as HAProxy in TCP mode, stunnel or a
    network load balancer. A peer in `proxy_allow_ips`, and that of a unix socket, has to begin
    every connection with the header, or is answered with 400; any other peer that sends one is
    answered with 403, and served as itself when it sends none. The header sets REMOTE_ADDR and
    REMOTE_PORT for all requests of the connection, and adds PROXY_PROTOCOL, PROXY_ADDR and
    PROXY_PORT.
    """

    name = "proxy_protocol"
    section = "Server Mechanics"
    cli = ("--proxy-protocol",)
    meta = "MODE"
    nargs = "?"
    const = "auto"
    validator = validate_proxy_protocol
    default = "off"


class ProxyAllowIps(Setting):
    """Peers that send PROXY protocol headers: addresses, networks, or * for all."""

    name = "proxy_allow_ips"
    section = "Server Mechanics"
    cli = ("--proxy-allow-from",)
    meta = "STRING"
    validator = validate_networks
    default = "127.0.0.1,::1"
