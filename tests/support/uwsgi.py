"""uwsgi packets, as nginx sends them with its usual list of variables."""

import struct
from collections.abc import Iterable, Mapping
from urllib.parse import unquote_to_bytes

from support.client import Connection, Response


def packet(
    variables: Iterable[tuple[str, str]], modifier1: int = 0, modifier2: int = 0, size: int = -1
) -> bytes:
    """A packet; `size` other than -1 is what its header claims instead of the truth."""
    block = b""
    for pair in variables:
        for text in pair:
            data = text.encode("latin-1")
            block += struct.pack("<H", len(data)) + data
    return struct.pack("<BHB", modifier1, len(block) if size < 0 else size, modifier2) + block


def variables_of(
    method: str = "GET",
    target: str = "/",
    length: int | None = None,
    fields: Iterable[tuple[str, str]] = (),
    more: Mapping[str, str | None] | None = None,
) -> list[tuple[str, str]]:
    """What nginx tells of a request from 203.0.113.7. `more` replaces, or with None leaves out."""
    path, _, query = target.partition("?")
    told: dict[str, str | None] = {
        "QUERY_STRING": query,
        "REQUEST_METHOD": method,
        "CONTENT_TYPE": "",
        "CONTENT_LENGTH": "" if length is None else str(length),
        "REQUEST_URI": target,
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "DOCUMENT_ROOT": "/srv/www",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REQUEST_SCHEME": "http",
        "REMOTE_ADDR": "203.0.113.7",
        "REMOTE_PORT": "4711",
        "SERVER_PORT": "8080",
        "SERVER_NAME": "www.example",
        "HTTP_HOST": "www.example:8080",
    } | dict(more or {})
    headers = [("HTTP_" + name.upper().replace("-", "_"), value) for name, value in fields]
    return [(name, value) for name, value in told.items() if value is not None] + headers


def message(
    method: str = "GET",
    target: str = "/",
    body: bytes | None = None,
    fields: Iterable[tuple[str, str]] = (),
    more: Mapping[str, str | None] | None = None,
) -> bytes:
    """A packet and its body."""
    length = None if body is None else len(body)
    return packet(variables_of(method, target, length, fields, more)) + (body or b"")


def exchange(
    connection: Connection,
    method: str = "GET",
    target: str = "/",
    body: bytes | None = None,
    fields: Iterable[tuple[str, str]] = (),
    more: Mapping[str, str | None] | None = None,
) -> Response:
    """The one request of a connection, and its answer."""
    connection.send(message(method, target, body, fields, more))
    return connection.read_response(method)
