"""`gunicorn.util`: the helpers of Gunicorn's that other code uses."""

import contextlib
import email.utils
import fcntl
import html
import inspect
import io
import os
import pwd
import random
import sys
import textwrap
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn

import setproctitle

from monoceros.compat import absent
from monoceros.config import classes
from monoceros.config.addresses import parse_address as _parse_address
from monoceros.config.setting import current_directory as getcwd
from monoceros.errors import ConfigError
from monoceros.importer import import_app as import_app
from monoceros.privileges import Identity

__all__ = [
    "bytes_to_str",
    "check_is_writable",
    "chown",
    "close",
    "close_on_exec",
    "get_arity",
    "get_username",
    "getcwd",
    "has_fileno",
    "http_date",
    "import_app",
    "is_hoppish",
    "is_ipv6",
    "load_class",
    "make_fail_app",
    "parse_address",
    "reraise",
    "seed",
    "set_non_blocking",
    "set_owner_process",
    "split_request_uri",
    "to_bytestring",
    "unlink",
    "unquote_to_wsgi_str",
    "warn",
    "write",
    "write_chunk",
    "write_error",
]

#: Fields that belong to one connection (RFC 9110, 7.6.1), and those that the server writes.
hop_headers: Final = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailers",
        "transfer-encoding",
        "upgrade",
        "server",
        "date",
    )
)


def load_class(
    uri: Any, default: str = "gunicorn.workers.sync.SyncWorker", section: str = "gunicorn.workers"
) -> type[Any]:
    """The worker or logger class that `uri` is or names. Raises RuntimeError."""
    try:
        if section == "gunicorn.loggers":
            return classes.load_logger_class(uri or default)
        return classes.load_worker_class(uri or default)
    except ConfigError as error:
        raise RuntimeError(str(error)) from error


def parse_address(netloc: str, default_port: str = "8000") -> Any:
    """The address that a `bind` means: (host, port), a path, or a descriptor.

    Raises RuntimeError.
    """
    try:
        address = _parse_address(netloc)
    except ConfigError as error:
        raise RuntimeError(str(error)) from error
    if isinstance(address, tuple) and not netloc.strip().endswith(f":{address[1]}"):
        return address[0], int(default_port)
    return address


def get_arity(function: Callable[..., Any]) -> int:
    """How many positional parameters a function has."""
    parameters = inspect.signature(function).parameters.values()
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def get_username(uid: int) -> str:
    """The name of a user. Raises KeyError."""
    return pwd.getpwuid(uid).pw_name


def set_owner_process(uid: int, gid: int, initgroups: bool = False) -> None:
    """Become another user for good. Raises OSError."""
    Identity(uid or os.geteuid(), gid or os.getegid(), initgroups).assume()


def chown(path: str, uid: int, gid: int) -> None:
    """Give a file to somebody. Raises OSError."""
    os.chown(path, uid, gid)


def unlink(filename: str) -> None:
    """Remove a file that may be gone already. Raises OSError."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        Path(filename).unlink()


def is_ipv6(addr: str) -> bool:
    """Whether a text is an IPv6 address."""
    import socket

    try:
        socket.inet_pton(socket.AF_INET6, addr)
    except (OSError, ValueError):
        return False
    return True


def close_on_exec(fd: int) -> None:
    """Close a descriptor in programs that this process becomes."""
    os.set_inheritable(fd, False)


def set_non_blocking(fd: int) -> None:
    """Let no call on a descriptor wait."""
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK)


def close(sock: Any) -> None:
    """Close a socket, whatever state it is in."""
    with contextlib.suppress(OSError):
        sock.close()


def write_chunk(sock: Any, data: bytes | str) -> None:
    """Send one chunk (RFC 9112, 7.1). Raises OSError."""
    payload = data.encode("utf-8") if isinstance(data, str) else data
    sock.sendall(b"%X\r\n%b\r\n" % (len(payload), payload))


def write(sock: Any, data: bytes, chunked: bool = False) -> None:
    """Send data, as a chunk where the response is made of them. Raises OSError."""
    if chunked:
        write_chunk(sock, data)
    else:
        sock.sendall(data)


def write_error(sock: Any, status_int: int, reason: str, mesg: str) -> None:
    """Send a whole response that says what went wrong. Raises OSError."""
    text = html.escape(mesg)
    body = (
        f"<html>\n  <head>\n    <title>{reason}</title>\n  </head>\n  <body>\n"
        f"    <h1><p>{reason}</p></h1>\n    {text}\n  </body>\n</html>\n"
    )
    head = (
        f"HTTP/1.1 {status_int} {reason}\r\nConnection: close\r\nContent-Type: text/html\r\n"
        f"Content-Length: {len(body.encode('latin-1', 'replace'))}\r\n\r\n"
    )
    sock.sendall((head + body).encode("latin-1", "replace"))


def http_date(timestamp: float | None = None) -> str:
    """A moment as HTTP writes it (RFC 9110, 5.6.7); now when there is none."""
    return email.utils.formatdate(timestamp, localtime=False, usegmt=True)


def is_hoppish(header: str) -> bool:
    """Whether a field is not the app's to send."""
    return header.lower().strip() in hop_headers


def seed() -> None:
    """A new sequence of random numbers for this process."""
    random.seed()


def check_is_writable(path: str) -> None:
    """Raises RuntimeError when a file cannot be appended to."""
    try:
        with Path(path).open("a"):
            pass
    except OSError as error:
        raise RuntimeError(f"Error: '{path}' isn't writable [{error!r}]") from error


def to_bytestring(value: Any, encoding: str = "utf8") -> bytes:
    """Text as bytes; bytes as they are. Raises TypeError."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value.encode(encoding)


def has_fileno(obj: Any) -> bool:
    """Whether an object has a descriptor."""
    if not hasattr(obj, "fileno"):
        return False
    try:
        obj.fileno()
    except (AttributeError, OSError, io.UnsupportedOperation):
        return False
    return True


def warn(msg: str) -> None:
    """Show a text on standard error, framed."""
    print("!!!\n!!! WARNING:", *(f"!!! {line}" for line in textwrap.wrap(msg)), "!!!\n",
          sep="\n", file=sys.stderr)  # fmt: skip


def make_fail_app(msg: str) -> Callable[..., Any]:
    """An app that answers everything with status 500 and a text."""
    body = msg.encode("utf-8")

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response(
            "500 Internal Server Error",
            [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))],
        )
        return [body]

    return app


def split_request_uri(uri: str) -> urllib.parse.SplitResult:
    """The parts of a request's target; one that begins with two slashes has no host."""
    if uri.startswith("//"):
        parts = urllib.parse.urlsplit("." + uri)
        return parts._replace(path=parts.path[1:])
    return urllib.parse.urlsplit(uri)


def reraise(tp: type[BaseException], value: BaseException | None, tb: Any = None) -> NoReturn:
    """Raise what sys.exc_info() has told."""
    raised = tp() if value is None else value
    kept: TracebackType | None = tb
    raise raised.with_traceback(kept if kept is not None else raised.__traceback__)


def bytes_to_str(b: bytes | str) -> str:
    """Bytes as text, each byte a character (PEP 3333, "Unicode Issues")."""
    return b if isinstance(b, str) else b.decode("latin-1")


def unquote_to_wsgi_str(string: str) -> str:
    """A path without percent-encoding, as PEP 3333 wants it in PATH_INFO."""
    return urllib.parse.unquote_to_bytes(string).decode("latin-1")


def _setproctitle(title: str) -> None:
    """What `ps` shows of this process."""
    setproctitle.setproctitle(f"monoceros: {title}")


__getattr__ = absent(
    "gunicorn.util",
    {
        "daemonize": "set `daemon`, or run under a service manager",
        "write_nonblock": "sockets are the engine's",
        "close_graceful": "sockets are the engine's",
        "load_entry_point": "use importlib.metadata.entry_points",
    },
)
