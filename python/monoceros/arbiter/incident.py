"""What the access log and the error log read of a request that passed its deadline."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from monoceros import _core

#: What the client got, or would have got had nothing been sent yet.
STATUS: Final = "504 Gateway Timeout"


@dataclass
class TimedOutRequest:
    """Gunicorn's request attributes, as far as the head tells them."""

    method: str = "-"
    uri: str = "-"
    path: str = ""
    query: str = ""
    fragment: str = ""
    version: tuple[int, int] = (1, 1)
    headers: list[tuple[str, str]] = field(default_factory=list)
    trailers: list[tuple[str, str]] = field(default_factory=list)
    remote_addr: tuple[str, int] = ("", 0)
    scheme: str = "http"


@dataclass
class TimedOutResponse:
    """Gunicorn's response attributes for an answer that the app did not give."""

    status: str = STATUS
    status_code: int = 504
    headers: list[tuple[str, str]] = field(default_factory=list)
    response_length: int | None = None
    sent: int = 0
    headers_sent: bool = True


def parse_head(head: bytes, peer: str) -> TimedOutRequest:
    """Read a head that the engine has parsed before; a truncated one gives what it has."""
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    request = TimedOutRequest(remote_addr=(peer, 0))
    if len(words) >= 2:
        request.method, request.uri = words[0], words[1]
        request.path, _, request.query = words[1].partition("?")
    if len(words) >= 3 and words[2].startswith("HTTP/"):
        major, _, minor = words[2][5:].partition(".")
        if major.isdigit() and minor.isdigit():
            request.version = (int(major), int(minor))
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            break
        request.headers.append((name.upper(), value.strip()))
    return request


def make_environ(request: TimedOutRequest) -> dict[str, Any]:
    """The part of a WSGI environ that log formats use."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "RAW_URI": request.uri,
        "PATH_INFO": request.path,
        "QUERY_STRING": request.query,
        "SERVER_PROTOCOL": f"HTTP/{request.version[0]}.{request.version[1]}",
        "REMOTE_ADDR": request.remote_addr[0],
    }
    for name, value in request.headers:
        key = name.replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


def log_access(log: Any, incident: _core.Incident) -> None:
    """The access-log line that the worker can no longer write."""
    request = parse_head(incident.head, incident.peer)
    environ = make_environ(request)
    log.access(TimedOutResponse(), request, environ, timedelta(seconds=incident.elapsed))


def describe(incident: _core.Incident) -> str:
    """`request 7 "GET /report" from 10.0.0.1`."""
    request = parse_head(incident.head, incident.peer)
    peer = f" from {incident.peer}" if incident.peer else ""
    return f'request {incident.id} "{request.method} {request.uri}"{peer}'
