"""The uwsgi protocol: how front ends such as nginx pass on requests that they have read."""

from typing import Any

from monoceros.config.setting import Setting
from monoceros.config.validators import validate_choice, validate_networks


class Protocol(Setting):
    """What is spoken on the listeners: http, or uwsgi behind a front end's ``uwsgi_pass``.

    With uwsgi every listener speaks it and nothing else. A connection carries one request; its
    variables become keys of the environ: REMOTE_ADDR, SERVER_NAME, SCRIPT_NAME and the others as
    the front end tells them, PATH_INFO decoded by it and not decoded again. What a client sends,
    its request line, header fields and body, is held to the same limits and rules as over HTTP;
    ``X-Forwarded-*`` in it counts where REMOTE_ADDR is in `forwarded_allow_ips`. The scheme is the
    first that is told of UWSGI_SCHEME, HTTPS and REQUEST_SCHEME.

    Only peers in `uwsgi_allow_ips` may speak it. It works over TLS (nginx: ``suwsgi://``) and
    behind a PROXY protocol header. Answers are HTTP/1.1 heads, never chunked; an answer without
    Content-Length ends with its connection, and ``wsgi.early_hints`` does nothing.
    """

    name = "protocol"
    section = "Server Mechanics"
    cli = ("--protocol",)
    meta = "STRING"
    validator = validate_choice("http", "uwsgi")
    default = "http"


class UwsgiAllowIps(Setting):
    """Peers that may speak uwsgi: addresses, networks, or * for all.

    Others are answered with 403. The peer of a unix socket always may. Behind a PROXY protocol
    header it is whom the header names that has to be listed. Who may speak uwsgi is believed
    whatever it tells about a client, so that * is for where nobody but the front end can connect.
    """

    name = "uwsgi_allow_ips"
    section = "Server Mechanics"
    cli = ("--uwsgi-allow-from",)
    meta = "STRING"
    validator = validate_networks
    default = "127.0.0.1,::1"


def announcement(cfg: Any) -> str:
    """One line about who may speak uwsgi, and what it is spoken over."""
    peers = ", ".join(cfg.uwsgi_allow_ips) or "nobody"
    layers = ["over TLS"] if cfg.is_ssl else []
    if cfg.proxy_protocol != "off":
        layers.append("behind a PROXY protocol header")
    manner = " ".join(["The listeners speak uwsgi", *layers])
    return f"{manner}; unix sockets and these peers may use it (uwsgi_allow_ips): {peers}"
