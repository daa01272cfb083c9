"""An app inside the validator of the standard library.

The validator raises AssertionError when the server breaks PEP 3333, and the request fails.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator


def _digest(environ: dict[str, Any]) -> bytes:
    checksum, size = hashlib.sha256(), 0
    stream = environ["wsgi.input"]
    how = environ.get("HTTP_X_READ", "read")
    if how == "read":
        while piece := stream.read(10_000):
            checksum.update(piece)
            size += len(piece)
    else:
        lines: Iterable[bytes] = {
            "readline": lambda: iter(stream.readline, b""),
            "readlines": stream.readlines,
            "iterate": lambda: iter(stream),
        }[how]()
        for line in lines:
            checksum.update(line)
            size += len(line)
    return f"{environ['REQUEST_METHOD']} {size} {checksum.hexdigest()}".encode()


def plain(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    body = _digest(environ)
    environ["wsgi.errors"].flush()
    shape = environ.get("HTTP_X_ANSWER", "list")
    length = [("Content-Length", str(len(body)))]
    kind = [("Content-Type", "text/plain")]
    if shape == "list":
        start("200 OK", kind + length)
        return [body]
    if shape == "write":
        write = start("200 OK", kind)
        write(body[:10])
        return [body[10:]]
    if shape == "none":
        start("204 No Content", [])
        return []
    return _generated(body, lambda: start("200 OK", kind))


def _generated(body: bytes, begin: Callable[[], Any]) -> Iterator[bytes]:
    begin()
    for index in range(0, len(body), 16):
        yield body[index : index + 16]


app = validator(plain)
