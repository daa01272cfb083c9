"""TLS by Python's module ssl, for worker classes that bring their own HTTP.

The engine's own TLS is another one (`monoceros.tls`) and never meets this.
"""

import socket
import ssl
from typing import Any


def ssl_context(conf: Any) -> ssl.SSLContext:
    """A context of a server from the settings of section SSL.

    Raises OSError (ssl.SSLError) when a certificate or key cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if conf.only_tls13:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    options = conf.ssl_options
    context.load_cert_chain(options["certfile"], options["keyfile"], options["password"])
    context.verify_mode = ssl.VerifyMode(int(options["cert_reqs"]))
    if options["ca_certs"]:
        context.load_verify_locations(cafile=options["ca_certs"])
    if options["ciphers"]:
        context.set_ciphers(options["ciphers"])
    return context


def ssl_wrap_socket(sock: socket.socket, conf: Any) -> ssl.SSLSocket:
    """The server's end of TLS on an accepted connection. Raises OSError."""
    return ssl_context(conf).wrap_socket(
        sock,
        server_side=True,
        suppress_ragged_eofs=bool(conf.ssl_options["suppress_ragged_eofs"]),
        do_handshake_on_connect=bool(conf.ssl_options["do_handshake_on_connect"]),
    )
