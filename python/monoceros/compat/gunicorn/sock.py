"""`gunicorn.sock`: listening sockets, and TLS for worker classes that do it in Python."""

from monoceros.compat import absent
from monoceros.listeners import Listener as BaseSocket
from monoceros.listeners import TCPListener as TCPSocket
from monoceros.listeners import UnixListener as UnixSocket
from monoceros.openssl import ssl_context as ssl_context
from monoceros.openssl import ssl_wrap_socket as ssl_wrap_socket

__all__ = ["BaseSocket", "TCPSocket", "UnixSocket", "ssl_context", "ssl_wrap_socket"]

_INSTEAD = "the arbiter opens and closes listening sockets; find them in `server.LISTENERS` and \
`worker.sockets`"

__getattr__ = absent(
    "gunicorn.sock", dict.fromkeys(("create_sockets", "close_sockets", "TCP6Socket"), _INSTEAD)
)
