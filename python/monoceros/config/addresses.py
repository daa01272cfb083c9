"""The grammar of `bind`.

    unix:PATH | unix://PATH      a unix socket                 -> PATH, a str
    fd://N                       an inherited descriptor       -> N, an int
    [tcp://]HOST[:PORT]          a TCP socket                  -> (HOST, PORT)
    [tcp://][IPV6][:PORT]        the same, brackets literal    -> (IPV6, PORT)

An empty HOST before a port means every address; an empty text means 0.0.0.0:8000. Whatever can not
be listened on is refused here, before any socket is opened.
"""

import re

from monoceros.errors import ConfigError

Address = tuple[str, int] | str | int

DEFAULT_HOST = "0.0.0.0"
DEFAULT_PORT = 8000
HIGHEST_PORT = 65535

#: The kernel keeps the path of a unix socket in 108 bytes, the last of them NUL.
LONGEST_UNIX_PATH = 107

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)


def parse_address(text: str) -> Address:
    """Read one `bind`. Raises ConfigError with one line that names it."""
    bind = text.strip(" \t\r\n")
    if bind.startswith("unix:"):
        return _parse_unix(text, bind.removeprefix("unix:").removeprefix("//"))
    if bind.startswith("fd://"):
        return _parse_descriptor(text, bind.removeprefix("fd://"))
    scheme = _SCHEME.match(bind)
    if scheme:
        if scheme[1].lower() != "tcp":
            raise _invalid(text, f"unknown scheme {scheme[1]!r}; use tcp://, unix: or fd://")
        bind = bind[scheme.end() :]
    return _parse_tcp(text, bind)


def _parse_unix(text: str, path: str) -> str:
    if not path:
        raise _invalid(text, "the path is missing")
    if len(path.encode("utf-8", "surrogateescape")) > LONGEST_UNIX_PATH:
        raise _invalid(text, f"the path is longer than {LONGEST_UNIX_PATH} bytes")
    return path


def _parse_descriptor(text: str, number: str) -> int:
    if not (number.isascii() and number.isdigit()):
        raise _invalid(text, f"{number!r} is no number of a descriptor")
    return int(number)


def _parse_tcp(text: str, bind: str) -> tuple[str, int]:
    if bind.startswith("["):
        host, bracket, rest = bind[1:].partition("]")
        if not bracket or not host:
            raise _invalid(text, "an IPv6 address stands as [ADDRESS]:PORT")
        if rest and not rest.startswith(":"):
            raise _invalid(text, f"{rest!r} follows the bracket where :PORT is expected")
        port = rest[1:]
    else:
        host, colon, port = bind.rpartition(":")
        if not colon:
            host, port = bind, ""
        if ":" in host:
            raise _invalid(text, "an IPv6 address stands in brackets: [ADDRESS]:PORT")
        if not host and not colon:
            host = DEFAULT_HOST
    if any(c.isspace() or c in "/,\0" for c in host):
        raise _invalid(text, f"{host!r} is no host name; several addresses go in a list")
    return host.lower(), _parse_port(text, port) if port else DEFAULT_PORT


def _parse_port(text: str, port: str) -> int:
    if not (port.isascii() and port.isdigit()):
        raise _invalid(text, f"{port!r} is no port number")
    number = int(port) if len(port) <= len(str(HIGHEST_PORT)) else HIGHEST_PORT + 1
    if number > HIGHEST_PORT:
        raise _invalid(text, f"the port must be between 0 and {HIGHEST_PORT}")
    return number


def _invalid(text: str, reason: str) -> ConfigError:
    return ConfigError(f"invalid address {text!r} to bind: {reason}")
