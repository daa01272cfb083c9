"""The grammars of `syslog_addr` and `statsd_host`.

    udp://HOST[:PORT]  tcp://HOST[:PORT]         syslog over the network; port 514
    unix://PATH[#dgram|#stream]                  a unix socket; without a kind both are tried
    HOST[:PORT]  unix://PATH                     statsd; port 8125

An IPv6 address stands in brackets. What cannot be sent to is refused here, before anybody logs.
"""

import socket

#: Kind of the socket (None: datagrams, then a stream), and a path or (host, port).
SyslogAddress = tuple[socket.SocketKind | None, str | tuple[str, int]]

StatsdAddress = str | tuple[str, int]

SYSLOG_PORT = 514
STATSD_PORT = 8125
HIGHEST_PORT = 65535

_UNIX_KINDS = {"dgram": socket.SOCK_DGRAM, "stream": socket.SOCK_STREAM}


def parse_syslog_address(text: str) -> SyslogAddress:
    """Read a `syslog_addr`. Raises ValueError."""
    scheme, separator, rest = text.partition("://")
    if separator and scheme == "unix":
        path, mark, word = rest.partition("#")
        if not path:
            raise ValueError(f"the path is missing in {text!r}")
        if mark and word not in _UNIX_KINDS:
            raise ValueError(f"a unix socket is #dgram or #stream, not {word!r}")
        return (_UNIX_KINDS[word] if mark else None), path
    if separator and scheme in ("udp", "tcp"):
        kind = socket.SOCK_DGRAM if scheme == "udp" else socket.SOCK_STREAM
        return kind, _host_and_port(text, rest, SYSLOG_PORT)
    raise ValueError(f"must be udp://HOST:PORT, tcp://HOST:PORT or unix://PATH, not {text!r}")


def parse_statsd_address(text: str) -> StatsdAddress:
    """Read a `statsd_host`. Raises ValueError."""
    if text.startswith("unix:"):
        rest = text.removeprefix("unix:")
        if rest.isascii() and rest.isdigit():
            return "unix", _port(text, rest)  # a host of this name, as it always was
        path = rest.removeprefix("//")
        if not path:
            raise ValueError(f"the path is missing in {text!r}")
        return path
    if "://" in text:
        raise ValueError(f"must be HOST:PORT or unix://PATH, not {text!r}")
    return _host_and_port(text, text, STATSD_PORT)


def _host_and_port(text: str, rest: str, default: int) -> tuple[str, int]:
    if rest.startswith("["):
        host, bracket, behind = rest[1:].partition("]")
        if not bracket or not host or (behind and not behind.startswith(":")):
            raise ValueError(f"an IPv6 address stands as [ADDRESS]:PORT, not as in {text!r}")
        port = behind[1:]
    else:
        host, _, port = rest.partition(":")
        if ":" in port:
            raise ValueError(f"an IPv6 address stands in brackets: [ADDRESS]:PORT, not {text!r}")
    if any(c.isspace() or c in "/,#\0" for c in host):
        raise ValueError(f"{host!r} is no host name")
    return host.lower() or "localhost", _port(text, port) if port else default


def _port(text: str, port: str) -> int:
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0
    if not 0 < number <= HIGHEST_PORT:
        raise ValueError(f"{port!r} is no port number (in {text!r})")
    return number
