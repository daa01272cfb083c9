"""An app that answers in the shape that the field X-Shape names; without it, with its environ.

It is the same under this server and under Gunicorn, and needs nothing of either.
"""

import io
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Environ = dict[str, Any]
Start = Callable[..., Any]

_shapes: dict[str, Callable[[Environ, Start], Any]] = {}

#: For files: more than one piece of a wrapper.
CONTENT = bytes(range(256)) * 100

TEXT = ("Content-Type", "text/plain")


def shape(function: Callable[[Environ, Start], Any]) -> Callable[[Environ, Start], Any]:
    _shapes[function.__name__.replace("_", "-")] = function
    return function


def names() -> list[str]:
    return list(_shapes)


def app(environ: Environ, start: Start) -> Any:
    return _shapes.get(environ.get("HTTP_X_SHAPE", ""), facts)(environ, start)


def facts(environ: Environ, start: Start) -> Iterable[bytes]:
    """What the app sees, as JSON: key -> [type, value], None for what is no plain value."""
    body = environ["wsgi.input"].read()
    shown = {
        key: [type(value).__name__, value if isinstance(value, str | bool | int | tuple) else None]
        for key, value in environ.items()
    }
    text = json.dumps({"environ": shown, "body": body.decode("latin-1")}).encode()
    start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(text)))])
    return [text]


def ok(start: Start, *fields: tuple[str, str], length: int | None = None) -> Any:
    given = [TEXT, *fields]
    if length is not None:
        given.append(("Content-Length", str(length)))
    return start("200 OK", given)


# Bodies.


@shape
def one_piece(environ: Environ, start: Start) -> Any:
    ok(start, length=5)
    return [b"hello"]


@shape
def one_piece_without_length(environ: Environ, start: Start) -> Any:
    ok(start)
    return [b"hello"]


@shape
def pieces(environ: Environ, start: Start) -> Any:
    ok(start, length=10)
    return [b"hello", b"", b"world"]


@shape
def pieces_without_length(environ: Environ, start: Start) -> Any:
    ok(start)
    return [b"hello", b"", b"world"]


@shape
def a_tuple(environ: Environ, start: Start) -> Any:
    ok(start)
    return (b"hello", b"world")


@shape
def generated(environ: Environ, start: Start) -> Iterator[bytes]:
    ok(start, length=10)
    yield b"hello"
    yield b"world"


@shape
def generated_without_length(environ: Environ, start: Start) -> Iterator[bytes]:
    ok(start)
    yield b"hello"
    yield b""
    yield b"world"


@shape
def nothing(environ: Environ, start: Start) -> Any:
    ok(start, length=0)
    return []


@shape
def nothing_without_length(environ: Environ, start: Start) -> Any:
    ok(start)
    return []


@shape
def one_empty_piece(environ: Environ, start: Start) -> Any:
    ok(start)
    return [b""]


@shape
def generated_nothing(environ: Environ, start: Start) -> Iterator[bytes]:
    ok(start)
    yield from ()


@shape
def large(environ: Environ, start: Start) -> Any:
    ok(start, length=200_000)
    return [b"x" * 200_000]


@shape
def large_without_length(environ: Environ, start: Start) -> Iterator[bytes]:
    ok(start)
    for _ in range(20):
        yield b"x" * 10_000


@shape
def written(environ: Environ, start: Start) -> Any:
    write = ok(start)
    write(b"written ")
    write(b"twice ")
    return [b"and returned"]


@shape
def written_with_length(environ: Environ, start: Start) -> Any:
    ok(start, length=7)(b"written")
    return []


@shape
def started_late(environ: Environ, start: Start) -> Iterator[bytes]:
    ok(start, ("X-When", "late"))
    yield b"hello"


@shape
def wrapped_file(environ: Environ, start: Start) -> Any:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the server closes it
    file.write(CONTENT)
    file.seek(0)
    ok(start, length=len(CONTENT))
    return environ["wsgi.file_wrapper"](file)


@shape
def wrapped_file_without_length(environ: Environ, start: Start) -> Any:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the server closes it
    file.write(CONTENT)
    file.seek(1000)
    ok(start)
    return environ["wsgi.file_wrapper"](file, 4096)


@shape
def wrapped_part_of_a_file(environ: Environ, start: Start) -> Any:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the server closes it
    file.write(CONTENT)
    file.seek(100)
    ok(start, length=50)
    return environ["wsgi.file_wrapper"](file)


@shape
def wrapped_memory(environ: Environ, start: Start) -> Any:
    ok(start, length=len(CONTENT))
    return environ["wsgi.file_wrapper"](io.BytesIO(CONTENT))


@shape
def wrapped_memory_without_length(environ: Environ, start: Start) -> Any:
    ok(start)
    return environ["wsgi.file_wrapper"](io.BytesIO(CONTENT), 8192)


# Statuses.


def _status(line: str, *fields: tuple[str, str], body: bytes = b"") -> None:
    def answer(environ: Environ, start: Start) -> Any:
        start(line, list(fields))
        return [body] if body else []

    name = "status " + line + (" with a body" if body else "")
    _shapes[name + "".join(f" {key}" for key, _ in fields)] = answer


for _line in ("201 Created", "400 Bad Request", "404 Not Found", "418 I'm a teapot", "500 Oops"):
    _status(_line, TEXT, ("Content-Length", "4"), body=b"body")
for _line in ("204 No Content", "205 Reset Content", "304 Not Modified"):
    _status(_line)
    _status(_line, body=b"body")
    _status(_line, ("Content-Length", "0"))
    _status(_line, ("Content-Length", "4"))
_status("302 Found", ("Location", "/elsewhere"))
_status("200 ", ("Content-Length", "0"))
_status("200", ("Content-Length", "0"))
_status("299 Words of its own", ("Content-Length", "0"))
_status("999 Far", ("Content-Length", "0"))
_status("200 caf\xe9", ("Content-Length", "0"))


# Fields.


def _fields(name: str, *fields: tuple[Any, Any]) -> None:
    def answer(environ: Environ, start: Start) -> Any:
        start("200 OK", [TEXT, ("Content-Length", "5"), *fields])
        return [b"hello"]

    _shapes["fields " + name] = answer


_fields("repeated", ("Set-Cookie", "a=1; Path=/"), ("X-Other", "x"), ("Set-Cookie", "b=2"))
_fields("case", ("x-lower", "1"), ("X-UPPER", "2"), ("x-MiXeD", "3"))
_fields("empty", ("X-Empty", ""))
_fields("spaces", ("X-Spaces", "  around  and  within  "))
_fields("latin-1", ("X-Name", "caf\xe9"))
_fields("tab", ("X-Tab", "a\tb"))
_fields("long", ("X-Long", "x" * 5000))
_fields("many", *((f"X-{number}", str(number)) for number in range(80)))
_fields("token", ("X!#$%&'*+-.^_`|~1", "odd but allowed"))
_fields("server", ("Server", "mine"))
_fields("date", ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"))
_fields("close", ("Connection", "close"))
_fields("keep-alive", ("Connection", "keep-alive"))
_fields("hop-keep-alive", ("Keep-Alive", "timeout=5"))
_fields("hop-transfer-encoding", ("Transfer-Encoding", "chunked"))
_fields("hop-te", ("TE", "trailers"))
_fields("hop-trailers", ("Trailers", "X"))
_fields("hop-upgrade", ("Upgrade", "h2c"))
_fields("hop-proxy", ("Proxy-Authenticate", "Basic"))
_fields("bad-name", ("X Name", "1"))
_fields("no-name", ("", "1"))
_fields("newline", ("X-Name", "1\r\nX-Injected: 1"))
_fields("nul", ("X-Name", "1\x002"))
_fields("number", ("X-Name", 1))
_fields("bytes", (b"X-Name", "1"))
_fields("not-latin-1", ("X-Name", "\u20ac"))
_fields("two-lengths", ("Content-Length", "6"))


# Mistakes and lengths that do not fit.


@shape
def raises(environ: Environ, start: Start) -> Any:
    raise RuntimeError("on purpose")


@shape
def raises_after_start(environ: Environ, start: Start) -> Any:
    ok(start)
    raise RuntimeError("on purpose")


@shape
def raises_before_the_first_piece(environ: Environ, start: Start) -> Iterator[bytes]:
    ok(start)
    raise RuntimeError("on purpose")
    yield b"never"


@shape
def raises_in_the_middle(environ: Environ, start: Start) -> Iterator[bytes]:
    ok(start)
    yield b"hello"
    raise RuntimeError("on purpose")


@shape
def raises_in_the_middle_with_length(environ: Environ, start: Start) -> Iterator[bytes]:
    ok(start, length=10)
    yield b"hello"
    raise RuntimeError("on purpose")


@shape
def starts_twice(environ: Environ, start: Start) -> Any:
    ok(start)
    ok(start)
    return [b"never"]


@shape
def starts_anew_after_an_error(environ: Environ, start: Start) -> Any:
    ok(start, ("X-First", "1"))
    try:
        raise ValueError("on purpose")
    except ValueError:
        start("503 Service Unavailable", [TEXT], sys.exc_info())
    return [b"replaced"]


@shape
def never_starts(environ: Environ, start: Start) -> Any:
    return [b"never"]


@shape
def returns_none(environ: Environ, start: Start) -> Any:
    ok(start)


@shape
def returns_text(environ: Environ, start: Start) -> Any:
    ok(start)
    return ["text"]


@shape
def status_number(environ: Environ, start: Start) -> Any:
    start(200, [])
    return [b"never"]


@shape
def status_without_number(environ: Environ, start: Start) -> Any:
    start("OK", [])
    return [b"never"]


@shape
def length_text(environ: Environ, start: Start) -> Any:
    start("200 OK", [("Content-Length", "five")])
    return [b"hello"]


@shape
def length_negative(environ: Environ, start: Start) -> Any:
    start("200 OK", [("Content-Length", "-5")])
    return [b"hello"]


@shape
def longer_than_said(environ: Environ, start: Start) -> Any:
    ok(start, length=5)
    return [b"hello, world"]


@shape
def generated_longer_than_said(environ: Environ, start: Start) -> Iterator[bytes]:
    ok(start, length=7)
    yield b"hello"
    yield b"world"
    yield b"again"


@shape
def shorter_than_said(environ: Environ, start: Start) -> Any:
    ok(start, length=10)
    return [b"hello"]


@shape
def generated_shorter_than_said(environ: Environ, start: Start) -> Iterator[bytes]:
    ok(start, length=10)
    yield b"hello"


# Input, and what else a server offers.


def _reads(name: str, read: Callable[[Any], Any]) -> None:
    def answer(environ: Environ, start: Start) -> Any:
        got = read(environ["wsgi.input"])
        body = repr(got).encode()
        ok(start, length=len(body))
        return [body]

    _shapes["reads " + name] = answer


_reads("all", lambda source: source.read())
_reads("all-by-none", lambda source: source.read(None))
_reads("all-by-minus-one", lambda source: source.read(-1))
_reads("five", lambda source: (source.read(5), source.read(5), source.read(100), source.read(5)))
_reads("nothing", lambda source: source.read(0))
_reads("a-line", lambda source: (source.readline(), source.readline(), source.readline()))
_reads("part-of-a-line", lambda source: (source.readline(3), source.readline(100)))
_reads("lines", lambda source: source.readlines())
_reads("by-iteration", list)
_reads("mixed", lambda source: (source.read(2), source.readline(), source.read()))
_reads("beyond-the-end", lambda source: (source.read(), source.read(), source.readline()))
_reads("not-at-all", lambda source: None)


@shape
def hints(environ: Environ, start: Start) -> Any:
    environ["wsgi.early_hints"]([("Link", "</style.css>; rel=preload")])
    ok(start, length=5)
    return [b"hello"]


@shape
def object_with_close(environ: Environ, start: Start) -> Any:
    class Body:
        def __iter__(self) -> Iterator[bytes]:
            yield b"hello"

        def close(self) -> None:
            pass

    ok(start)
    return Body()
