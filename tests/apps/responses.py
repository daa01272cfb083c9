"""An app with a path for each way to answer, right and wrong."""

import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from events import note

Environ = dict[str, Any]
Start = Callable[..., Any]
Handler = Callable[[Environ, Start], Any]

_routes: dict[str, Handler] = {}


def route(function: Handler) -> Handler:
    _routes["/" + function.__name__.replace("_", "-")] = function
    return function


def length(body: bytes) -> tuple[str, str]:
    return ("Content-Length", str(len(body)))


@route
def hello(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", [length(b"hello")])
    return [b"hello"]


# start_response.


@route
def twice(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", [])
    start("500 Internal Server Error", [])
    return [b"never"]


@route
def replaced(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", [("X-First", "1")])
    try:
        raise ValueError("replaced on purpose")
    except ValueError:
        start("503 Service Unavailable", [("X-Second", "2")], sys.exc_info())
    return [b"replaced"]


@route
def too_late(environ: Environ, start: Start) -> Iterator[bytes]:
    start("200 OK", [])
    yield b"first"
    try:
        raise ValueError("too late on purpose")
    except ValueError:
        start("500 Internal Server Error", [], sys.exc_info())
    yield b"never"


@route
def never_started(environ: Environ, start: Start) -> Iterable[bytes]:
    return [b"no head"]


@route
def started_while_iterated(environ: Environ, start: Start) -> Iterator[bytes]:
    start("201 Created", [("X-When", "late")])
    yield b"first "
    yield b"second"


@route
def empty_pieces_first(environ: Environ, start: Start) -> Iterator[bytes]:
    """The head may still be replaced while only empty pieces were given (PEP 3333)."""
    start("200 OK", [])
    yield b""
    try:
        raise ValueError("on purpose")
    except ValueError:
        start("503 Service Unavailable", [], sys.exc_info())
    yield b"replaced"


@route
def write(environ: Environ, start: Start) -> Iterable[bytes]:
    send = start("200 OK", [])
    send(b"written ")
    send(b"")
    send(b"twice ")
    return [b"and returned"]


@route
def write_only(environ: Environ, start: Start) -> Iterable[bytes]:
    send = start("200 OK", [("Content-Length", "7")])
    send(b"written")
    return []


@route
def write_then_fail(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", [])(b"written")
    raise RuntimeError("failing on purpose after write")


@route
def returns_none(environ: Environ, start: Start) -> Any:
    start("200 OK", [])


@route
def returns_tuple(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", [])
    return (b"a ", b"tuple")


@route
def returns_bytes(environ: Environ, start: Start) -> Any:
    """Bytes iterate as numbers: wrong, but an easy mistake."""
    start("200 OK", [])
    return b"raw"


@route
def yields_text(environ: Environ, start: Start) -> Any:
    start("200 OK", [])
    return ["text"]


@route
def memoryview_piece(environ: Environ, start: Start) -> Any:
    start("200 OK", [])
    return [memoryview(b"a view")]


@route
def subclassed_list(environ: Environ, start: Start) -> Iterable[bytes]:
    class Body(list[bytes]):
        def close(self) -> None:
            note("closed", name="subclassed-list")

    start("200 OK", [])
    return Body([b"one ", b"two"])


@route
def many_empty(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", [])
    return [b"", b"a", b"", b"b", b""]


# Heads.


@route
def repeated(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", [("Set-Cookie", "a=1"), ("X-Other", "x"), ("Set-Cookie", "b=2"), length(b"")])
    return [b""]


@route
def own_server_and_date(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", [("Server", "mine"), ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"), length(b"x")])
    return [b"x"]


@route
def asks_close(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", [("Connection", "close"), length(b"bye")])
    return [b"bye"]


@route
def reason_with_spaces(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 All is well", [length(b"x")])
    return [b"x"]


@route
def own_status(environ: Environ, start: Start) -> Iterable[bytes]:
    start("299 Own Status", [length(b"x")])
    return [b"x"]


#: What an app may get wrong in its head: status, fields.
WRONG: dict[str, tuple[Any, Any]] = {
    "status-without-digits": ("OK", []),
    "status-short": ("20 OK", []),
    "status-newline": ("200 OK\r\nX-Injected: 1", []),
    "status-number": (200, []),
    "status-bytes": (b"200 OK", []),
    "name-space": ("200 OK", [("X Name", "1")]),
    "name-empty": ("200 OK", [("", "1")]),
    "name-colon": ("200 OK", [("X:Name", "1")]),
    "name-newline": ("200 OK", [("X\r\nY", "1")]),
    "name-bytes": ("200 OK", [(b"X-Name", "1")]),
    "value-newline": ("200 OK", [("X-Name", "1\r\nX-Injected: 1")]),
    "value-lf": ("200 OK", [("X-Name", "1\nX-Injected: 1")]),
    "value-cr": ("200 OK", [("X-Name", "1\rX-Injected: 1")]),
    "value-nul": ("200 OK", [("X-Name", "1\x002")]),
    "value-number": ("200 OK", [("X-Name", 1)]),
    "value-none": ("200 OK", [("X-Name", None)]),
    "value-not-latin-1": ("200 OK", [("X-Name", "\u20ac")]),
    "fields-none": ("200 OK", None),
    "field-not-a-pair": ("200 OK", [("X-Name",)]),
    "length-negative": ("200 OK", [("Content-Length", "-1")]),
    "length-text": ("200 OK", [("Content-Length", "many")]),
    "length-plus": ("200 OK", [("Content-Length", "+5")]),
    "length-twice": ("200 OK", [("Content-Length", "5"), ("Content-Length", "6")]),
    "hop-transfer-encoding": ("200 OK", [("Transfer-Encoding", "chunked")]),
    "hop-keep-alive": ("200 OK", [("Keep-Alive", "timeout=5")]),
    "hop-te": ("200 OK", [("TE", "trailers")]),
    "hop-proxy": ("200 OK", [("Proxy-Authenticate", "Basic")]),
}


@route
def wrong(environ: Environ, start: Start) -> Iterable[bytes]:
    status, fields = WRONG[environ["QUERY_STRING"]]
    start(status, fields)
    return [b"hello"]


# Lengths and bodies that do not belong together.


@route
def short(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", [("Content-Length", "10")])
    return [b"short"]


@route
def short_stream(environ: Environ, start: Start) -> Iterator[bytes]:
    start("200 OK", [("Content-Length", "10")])
    yield b"sh"
    yield b"ort"


@route
def long(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", [("Content-Length", "4")])
    return [b"longer than said"]


@route
def long_stream(environ: Environ, start: Start) -> Iterator[bytes]:
    start("200 OK", [("Content-Length", "4")])
    yield b"lo"
    yield b"nger"
    yield b" than said"


@route
def bodiless(environ: Environ, start: Start) -> Iterable[bytes]:
    """A body for a status that has none."""
    start(environ["QUERY_STRING"].replace("+", " "), [])
    return [b"not for the wire"]


@route
def bodiless_with_length(environ: Environ, start: Start) -> Iterable[bytes]:
    start(environ["QUERY_STRING"].replace("+", " "), [("Content-Length", "5")])
    return []


# Files.

#: More than a socket's buffers, so that a file is sent in several steps.
CONTENT = bytes(range(256)) * 20_000


def _file() -> Path:
    path = Path(os.environ["EVENTS"]).parent / "content.bin"
    if not path.exists():
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_bytes(CONTENT)
        draft.rename(path)
    return path


class _Closing:
    """A file whose close is noted; `fileno` and all else as the file's own."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def close(self) -> None:
        note("closed", name="file")
        self._file.close()


@route
def file(environ: Environ, start: Start) -> Iterable[bytes]:
    """A file by the server's wrapper. The query has `offset`, `length`, `kind` as a/b/c."""
    offset, size, kind = environ["QUERY_STRING"].split("/")
    source: Any
    if kind == "memory":
        source = io.BytesIO(CONTENT)
    elif kind == "temporary":
        source = tempfile.TemporaryFile()  # noqa: SIM115 the server closes it
        source.write(CONTENT)
    else:
        source = _file().open("rb")
    source.seek(int(offset))
    start("200 OK", [("Content-Length", size)] if size else [])
    return environ["wsgi.file_wrapper"](_Closing(source), 32_768)


@route
def file_iterated(environ: Environ, start: Start) -> Iterator[bytes]:
    """The wrapper inside a generator: the server cannot see it and iterates."""
    start("200 OK", [])
    yield from environ["wsgi.file_wrapper"](_file().open("rb"))


@route
def file_that_fails(environ: Environ, start: Start) -> Iterable[bytes]:
    class Failing:
        def __init__(self) -> None:
            self.left = 3

        def read(self, size: int = -1) -> bytes:
            self.left -= 1
            if not self.left:
                raise OSError("failing on purpose in read")
            return b"x" * 1000

        def close(self) -> None:
            note("closed", name="failing file")

    start("200 OK", [])
    return environ["wsgi.file_wrapper"](Failing())


def app(environ: Environ, start: Start) -> Any:
    handler = _routes.get(environ["PATH_INFO"], hello)
    return handler(environ, start)
