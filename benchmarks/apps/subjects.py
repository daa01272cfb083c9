"""The apps that every server serves. Each does as little as its case allows."""

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

StartResponse = Callable[[str, list[tuple[str, str]]], object]
Environ = dict[str, Any]

GREETING = b"Hello, World!"
LARGE = b"x" * 102_400

#: What `sleeper` sleeps, in seconds: a query of a database.
QUERY = 0.020
#: What the slow requests of `mixed` sleep, in seconds.
SLOW = 0.500


def plain(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """13 bytes."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "13")])
    return [GREETING]


def upload(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Read the whole body; 200 only where all of it arrived."""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    whole = len(environ["wsgi.input"].read(length)) == length
    status = "200 OK" if whole else "500 Short Body"
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", "13")])
    return [GREETING]


def large(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """100 KiB."""
    start_response(
        "200 OK",
        [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(LARGE)))],
    )
    return [LARGE]


def sleeper(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Every request waits for something outside Python."""
    time.sleep(QUERY)
    return plain(environ, start_response)


def mixed(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Requests of /slow wait long, all others not at all."""
    if environ["PATH_INFO"] == "/slow":
        time.sleep(SLOW)
    return plain(environ, start_response)


def generation(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The number of the process that answers."""
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
