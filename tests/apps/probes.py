"""An app with a path for each thing that tests ask of a server."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs

from events import note

Environ = dict[str, Any]
Start = Callable[..., Any]
App = Callable[[Environ, Start], Iterable[bytes]]

_routes: dict[str, App] = {}


def route(path: str) -> Callable[[App], App]:
    def register(function: App) -> App:
        _routes[path] = function
        return function

    return register


def query(environ: Environ, name: str, default: str) -> str:
    return parse_qs(environ["QUERY_STRING"]).get(name, [default])[0]


def answer(start: Start, body: bytes, kind: str = "text/plain") -> list[bytes]:
    start("200 OK", [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]


@route("/")
def hello(environ: Environ, start: Start) -> Iterable[bytes]:
    return answer(start, b"hello, world\n")


@route("/environ")
def show_environ(environ: Environ, start: Start) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    shown = {}
    for key, value in environ.items():
        plain = isinstance(value, str | bool | int | tuple)
        shown[key] = [type(value).__name__, value if plain else None]
    text = json.dumps({"environ": shown, "body": body.decode("latin-1")})
    return answer(start, text.encode(), "application/json")


@route("/echo")
def echo(environ: Environ, start: Start) -> Iterable[bytes]:
    return answer(start, environ["wsgi.input"].read(), "application/octet-stream")


@route("/digest")
def digest(environ: Environ, start: Start) -> Iterable[bytes]:
    """The size and checksum of a body, read in pieces."""
    import hashlib

    checksum, size = hashlib.sha256(), 0
    while piece := environ["wsgi.input"].read(65_536):
        checksum.update(piece)
        size += len(piece)
    note("digest", size=size)
    return answer(start, f"{size} {checksum.hexdigest()}".encode())


@route("/received")
def received(environ: Environ, start: Start) -> Iterable[bytes]:
    """Note that the app was called, and with how much of a body, before and after reading it."""
    note("called", query=environ["QUERY_STRING"])
    size = len(environ["wsgi.input"].read())
    note("received", query=environ["QUERY_STRING"], size=size)
    return answer(start, str(size).encode())


@route("/unread")
def unread(environ: Environ, start: Start) -> Iterable[bytes]:
    """Answer without a look at the body."""
    return answer(start, b"unread\n")


@route("/pid")
def pid(environ: Environ, start: Start) -> Iterable[bytes]:
    return answer(start, str(os.getpid()).encode())


@route("/busy-pid")
def busy_pid(environ: Environ, start: Start) -> Iterable[bytes]:
    """The pid, after a moment in which other requests go to other workers."""
    time.sleep(0.05)
    return answer(start, str(os.getpid()).encode())


@route("/sleep")
def sleep(environ: Environ, start: Start) -> Iterable[bytes]:
    note("sleeping", query=environ["QUERY_STRING"])
    time.sleep(float(query(environ, "seconds", "0.02")))
    return answer(start, b"slept\n")


@lru_cache(maxsize=4)
def _block(size: int) -> bytes:
    return b"x" * size


@route("/large")
def large(environ: Environ, start: Start) -> Iterable[bytes]:
    """One bytes object, the same for every request."""
    return answer(start, _block(int(query(environ, "bytes", "1000000"))))


@route("/stream")
def stream(environ: Environ, start: Start) -> Iterable[bytes]:
    """Many pieces without Content-Length."""
    start("200 OK", [("Content-Type", "text/plain")])
    piece = _block(int(query(environ, "size", "65536")))
    for _ in range(int(query(environ, "pieces", "10"))):
        yield piece


@route("/ticks")
def ticks(environ: Environ, start: Start) -> Iterable[bytes]:
    """Pieces with a pause between them."""
    start("200 OK", [("Content-Type", "text/plain")])
    for number in range(int(query(environ, "count", "5"))):
        yield f"tick {number}\n".encode()
        time.sleep(float(query(environ, "pause", "0.1")))


@route("/fail")
def fail(environ: Environ, start: Start) -> Iterable[bytes]:
    raise RuntimeError("failing on purpose before the head")


@route("/fail-late")
def fail_late(environ: Environ, start: Start) -> Iterable[bytes]:
    length = query(environ, "length", "")
    start("200 OK", [("Content-Length", length)] if length else [])
    yield b"first piece\n"
    raise RuntimeError("failing on purpose after the head")


_pairs = threading.Barrier(2)


@route("/meet")
def meet(environ: Environ, start: Start) -> Iterable[bytes]:
    """Answers only when two requests are in this process at the same time."""
    try:
        _pairs.wait(timeout=float(query(environ, "seconds", "3")))
    except threading.BrokenBarrierError:
        if _pairs.broken:
            _pairs.reset()
        start("503 Service Unavailable", [("Content-Length", "6")])
        return [b"alone\n"]
    return answer(start, b"met\n")


class Tracked:
    """A body that notes when it is begun, ended and closed."""

    def __init__(self, pieces: Iterable[bytes], name: str) -> None:
        self._pieces = iter(pieces)
        self._name = name

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._pieces)
        except StopIteration:
            note("exhausted", name=self._name)
            raise

    def close(self) -> None:
        note("closed", name=self._name)


def _repeated(piece: bytes, count: int, pause: float) -> Iterator[bytes]:
    for _ in range(count):
        yield piece
        if pause:
            time.sleep(pause)


def _breaking() -> Iterator[bytes]:
    yield b"first piece\n"
    raise RuntimeError("failing on purpose in the iteration")


@route("/tracked")
def tracked(environ: Environ, start: Start) -> Iterable[bytes]:
    name = query(environ, "name", "")
    if query(environ, "fail", ""):
        start("200 OK", [])
        return Tracked(_breaking(), name)
    size, count = int(query(environ, "size", "10")), int(query(environ, "count", "3"))
    fields = []
    if query(environ, "length", ""):
        fields = [("Content-Length", str(size * count))]
    start(query(environ, "status", "200 OK"), fields)
    return Tracked(_repeated(_block(size), count, float(query(environ, "pause", "0"))), name)


def app(environ: Environ, start: Start) -> Iterable[bytes]:
    handler = _routes.get(environ["PATH_INFO"])
    if handler is None:
        start("404 Not Found", [("Content-Length", "10")])
        return [b"not found\n"]
    return handler(environ, start)
