"""An ASGI app with a path for each thing that tests ask of a server: what is between both.

Bodies, answers right and wrong, ends. What concerns the event loop is in asgi_tasks.py, WebSockets
are in asgi_sockets.py.
"""

import asyncio
import contextlib
import hashlib
import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from events import note

Message = MutableMapping[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_routes: dict[str, App] = {}


def route(path: str) -> Callable[[App], App]:
    def register(function: App) -> App:
        _routes[path] = function
        return function

    return register


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
        return
    assert scope["type"] == "http", scope["type"]
    handler = _routes.get(scope["path"].removeprefix(scope["root_path"]))
    if handler is None:
        await answer(send, b"not found", status=404)
    else:
        await handler(scope, receive, send)


async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    assert (await receive())["type"] == "lifespan.startup"
    scope["state"]["made_at_startup"] = "ready"
    scope["state"]["shared"] = []
    await send({"type": "lifespan.startup.complete"})
    assert (await receive())["type"] == "lifespan.shutdown"
    note("shutdown")
    await send({"type": "lifespan.shutdown.complete"})


# What routes are made of.


async def start(
    send: Send, status: int = 200, fields: list[tuple[bytes, bytes]] | None = None, **more: Any
) -> None:
    await send({"type": "http.response.start", "status": status, "headers": fields or [], **more})


async def body(send: Send, content: bytes = b"", more: bool = False) -> None:
    await send({"type": "http.response.body", "body": content, "more_body": more})


async def answer(
    send: Send, content: bytes, status: int = 200, kind: bytes = b"text/plain"
) -> None:
    length = b"%d" % len(content)
    await start(send, status, [(b"content-type", kind), (b"content-length", length)])
    await body(send, content)


async def answer_json(send: Send, value: object) -> None:
    await answer(send, json.dumps(value).encode(), kind=b"application/json")


def query(scope: Scope, name: str, default: str = "") -> str:
    return parse_qs(scope["query_string"].decode()).get(name, [default])[0]


async def read(receive: Receive) -> bytes:
    """The whole body."""
    content = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client has left in its body")
        content += message.get("body", b"")
        if not message.get("more_body"):
            return content


def gate(name: str) -> Path:
    """A file that a test makes when the app shall go on."""
    return Path(os.environ["EVENTS"]).with_name(name)


async def wait_for_gate(name: str = "gate") -> None:
    while not gate(name).exists():
        await asyncio.sleep(0.01)


# Scope.


def shown(value: Any) -> Any:
    """A value with its type, as JSON has it: bytes are ["bytes", "..."]."""
    if isinstance(value, dict):
        return {key: shown(each) for key, each in value.items()}
    if isinstance(value, bytes):
        return ["bytes", value.decode("latin-1")]
    if isinstance(value, list | tuple):
        return [shown(each) for each in value]
    return value


@route("/")
async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"hello, world\n")


@route("/scope")
async def show_scope(scope: Scope, receive: Receive, send: Send) -> None:
    await answer_json(send, shown(scope))


@route("/state")
async def state(scope: Scope, receive: Receive, send: Send) -> None:
    """A key of its own, and an item of what all share."""
    before = dict(scope["state"])
    before["shared"] = list(before["shared"])
    scope["state"]["mine"] = True
    scope["state"]["shared"].append(len(before["shared"]))
    await answer_json(send, before)


# Request bodies.


@route("/echo")
async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, await read(receive))


@route("/messages")
async def messages(scope: Scope, receive: Receive, send: Send) -> None:
    """What receive() has brought, message by message: keys, types, size, more_body."""
    seen = []
    while True:
        message = await receive()
        kept = message.get("body", b"")
        seen.append([message["type"], type(kept).__name__, len(kept), message.get("more_body")])
        if not message.get("more_body"):
            break
    await answer_json(send, seen)


@route("/digest")
async def digest(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads piece by piece and keeps nothing; waits for the gate `after` before the first."""
    if query(scope, "gate"):
        note("waiting")
        await wait_for_gate(query(scope, "gate"))
    checksum, size, largest = hashlib.sha256(), 0, 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            note("disconnected", size=size)
            return
        piece = message.get("body", b"")
        checksum.update(piece)
        size += len(piece)
        largest = max(largest, len(piece))
        if not message.get("more_body"):
            break
    found = {"size": size, "largest": largest, "sha256": checksum.hexdigest()}
    await answer_json(send, found)


@route("/converse")
async def converse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers each piece when it comes, while the body goes on."""
    await start(send)
    more = True
    while more:
        message = await receive()
        assert message["type"] == "http.request", message
        more = message.get("more_body", False)
        if message.get("body"):
            await body(send, b"got %d;" % len(message["body"]), more=True)
    await body(send, b"end")


@route("/ignore")
async def ignore(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers without a look at the body."""
    await answer(send, b"ignored")


# Disconnects.


@route("/wait")
async def wait(scope: Scope, receive: Receive, send: Send) -> None:
    """Waits for what comes behind the body, twice, then tries to send."""
    await read(receive)
    note("waiting")
    for _ in range(2):
        note("received", type=(await receive())["type"])
    try:
        await start(send)
        await body(send, b"late")
    except OSError as error:
        note("refused", error=type(error).__name__)
    else:
        note("sent")


@route("/after")
async def after(scope: Scope, receive: Receive, send: Send) -> None:
    """What receive() says when the answer is complete and the client still there."""
    await read(receive)
    await answer(send, b"answered")
    for _ in range(2):
        note("received", type=(await receive())["type"])


@route("/unread")
async def unread(scope: Scope, receive: Receive, send: Send) -> None:
    """The same for an app that has never read its body."""
    await answer(send, b"answered")
    note("received", type=(await receive())["type"])


@route("/stream")
async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends for ever, until that fails."""
    size = int(query(scope, "size", "65536"))
    await start(send)
    sent = 0
    try:
        while True:
            await body(send, bytes(size), more=True)
            sent += size
            if sent == size:
                note("streaming")
    except OSError as error:
        note("refused", error=type(error).__name__, sent=sent)
        raise
    except asyncio.CancelledError:
        note("cancelled", sent=sent)
        raise


@route("/deaf")
async def deaf(scope: Scope, receive: Receive, send: Send) -> None:
    """Neither reads nor sends: does not learn that the client has left."""
    note("waiting")
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        note("cancelled")
        raise
    finally:
        note("over")


@route("/warned")
async def warned(scope: Scope, receive: Receive, send: Send) -> None:
    """Is told that the client has left, and cleans up for a moment."""
    note("waiting")
    message = await receive()
    while message["type"] != "http.disconnect":
        message = await receive()
    note("told")
    await asyncio.sleep(0.3)
    note("clean")


# Answers.


@route("/pieces")
async def pieces(scope: Scope, receive: Receive, send: Send) -> None:
    """`n` pieces; with `length` their sum as Content-Length."""
    number = int(query(scope, "n", "3"))
    parts = [b"piece %d\n" % index for index in range(number)]
    fields = [(b"content-type", b"text/plain")]
    if query(scope, "length"):
        fields.append((b"content-length", b"%d" % sum(map(len, parts))))
    await start(send, fields=fields)
    for part in parts:
        await body(send, part, more=True)
    await body(send)


@route("/dribble")
async def dribble(scope: Scope, receive: Receive, send: Send) -> None:
    """A piece, and another one when the test has seen that."""
    await start(send)
    await body(send, b"first", more=True)
    await wait_for_gate()
    await body(send, b"second")


@route("/status")
async def status(scope: Scope, receive: Receive, send: Send) -> None:
    """Any status, with or without a body."""
    await start(send, int(query(scope, "code")), [(b"x-kept", b"yes")])
    await body(send, query(scope, "body").encode())


@route("/fields")
async def fields(scope: Scope, receive: Receive, send: Send) -> None:
    await start(
        send,
        fields=[
            (b"x-one", b"1"),
            (b"set-cookie", b"a=1"),
            (b"set-cookie", b"b=2"),
            (b"X-Mixed", b"caf\xe9"),
            (b"server", b"mine"),
            (b"date", b"Mon, 01 Jan 2024 00:00:00 GMT"),
        ],
    )
    await body(send, b"ok")


@route("/defaults")
async def defaults(scope: Scope, receive: Receive, send: Send) -> None:
    """Messages with nothing that is optional."""
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body"})


@route("/shapes")
async def shapes(scope: Scope, receive: Receive, send: Send) -> None:
    """Header pairs as lists, headers as an iterator, a body that is not bytes but like them."""
    pairs = iter([[b"x-one", b"1"], (b"content-length", b"4")])
    await send({"type": "http.response.start", "status": 200, "headers": pairs})
    await send({"type": "http.response.body", "body": bytearray(b"ab"), "more_body": True})
    await send({"type": "http.response.body", "body": memoryview(b"cd")})


@route("/close")
async def close(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send, fields=[(b"connection", b"close"), (b"content-length", b"2")])
    await body(send, b"ok")


@route("/coded")
async def coded(scope: Scope, receive: Receive, send: Send) -> None:
    """Names the framing itself, as some apps do, and leaves it to the server."""
    await start(send, fields=[(b"transfer-encoding", b"chunked")])
    await body(send, b"one", more=True)
    await body(send, b"two")


@route("/more")
async def more(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends on after the end; that is ignored."""
    await answer(send, b"answered")
    with contextlib.suppress(OSError, RuntimeError):
        await body(send, b"too late")
    note("over")


@route("/large")
async def large(scope: Scope, receive: Receive, send: Send) -> None:
    """One body of that size."""
    await answer(send, b"x" * int(query(scope, "size")))


# Mistakes.


@route("/raise")
async def fail(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("failed before the start")


@route("/raise-started")
async def fail_started(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send, fields=[(b"content-length", b"10")])
    raise RuntimeError("failed behind the start")


@route("/raise-inside")
async def fail_inside(scope: Scope, receive: Receive, send: Send) -> None:
    length = query(scope, "length")
    await start(send, fields=[(b"content-length", length.encode())] if length else [])
    await body(send, b"part", more=True)
    await wait_for_gate()
    raise RuntimeError("failed in the middle")


@route("/raise-after")
async def fail_after(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"answered")
    raise RuntimeError("failed behind the end")


@route("/exit")
async def leave(scope: Scope, receive: Receive, send: Send) -> None:
    """A base exception that is the app's, not the loop's."""
    raise OddError("odd failure")


class OddError(BaseException):
    """Not an Exception."""


@route("/nothing")
async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Returns without an answer."""


@route("/started")
async def started(scope: Scope, receive: Receive, send: Send) -> None:
    """Returns when it has only begun."""
    await start(send)


@route("/unfinished")
async def unfinished(scope: Scope, receive: Receive, send: Send) -> None:
    """Returns in the middle of its body."""
    await start(send)
    await body(send, b"part", more=True)


@route("/body-first")
async def body_first(scope: Scope, receive: Receive, send: Send) -> None:
    await body(send, b"no head")


@route("/twice")
async def twice(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send)
    await start(send)


@route("/too-long")
async def too_long(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send, fields=[(b"content-length", b"4")])
    await body(send, b"abcdef")


@route("/too-long-in-pieces")
async def too_long_in_pieces(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send, fields=[(b"content-length", b"4")])
    await body(send, b"abc", more=True)
    await wait_for_gate()
    await body(send, b"def")


@route("/too-short")
async def too_short(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send, fields=[(b"content-length", b"10")])
    await body(send, b"abc")


@route("/too-short-in-pieces")
async def too_short_in_pieces(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send, fields=[(b"content-length", b"10")])
    await body(send, b"abc", more=True)
    await wait_for_gate()
    await body(send, b"def")


#: Messages that are wrong, by name: each is sent as the first one.
WRONG: dict[str, Any] = {
    "unknown type": {"type": "http.response.nonsense"},
    "no type": {"status": 200},
    "websocket": {"type": "websocket.accept"},
    "no dict": "http.response.start",
    "none": None,
    "no status": {"type": "http.response.start"},
    "text status": {"type": "http.response.start", "status": "200"},
    "status 99": {"type": "http.response.start", "status": 99},
    "status 1000": {"type": "http.response.start", "status": 1000},
    "status 101": {"type": "http.response.start", "status": 101},
    "text headers": {"type": "http.response.start", "status": 200, "headers": [("a", "b")]},
    "flat headers": {"type": "http.response.start", "status": 200, "headers": [b"a: b"]},
    "three parts": {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b", b"c")]},
    "no iterable": {"type": "http.response.start", "status": 200, "headers": 7},
    "line feed": {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b\nc: d")]},
    "return": {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b\rc")]},
    "null": {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b\0c")]},
    "bad name": {"type": "http.response.start", "status": 200, "headers": [(b"a b", b"c")]},
    "empty name": {"type": "http.response.start", "status": 200, "headers": [(b"", b"c")]},
    "line in name": {"type": "http.response.start", "status": 200, "headers": [(b"a\r\nb", b"c")]},
    "bad length": {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"content-length", b"many")],
    },
    "two lengths": {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"content-length", b"2"), (b"content-length", b"3")],
    },
}


@route("/wrong")
async def wrong(scope: Scope, receive: Receive, send: Send) -> None:
    await send(WRONG[query(scope, "name").replace("+", " ")])
    await body(send, b"ok")


@route("/wrong-body")
async def wrong_body(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send)
    await send({"type": "http.response.body", "body": "text"})


@route("/recover")
async def recover(scope: Scope, receive: Receive, send: Send) -> None:
    """A message that is refused is an exception in the app, and that may go on."""
    try:
        await send(WRONG["line feed"])
    except Exception as error:
        await answer(send, type(error).__name__.encode())


# Extensions.


@route("/hints")
async def hints(scope: Scope, receive: Receive, send: Send) -> None:
    """Before the start, as servers of old want it, and behind it, as the specification says."""
    offered = "http.response.early_hint" in scope["extensions"]
    assert offered == (scope["http_version"] != "1.0")
    if not offered:
        await answer(send, b"not offered")
        return
    hint = {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload", b"</b>"]}
    if query(scope, "when") == "before":
        await send(hint)
    await start(send)
    if query(scope, "when") == "behind":
        await send(hint)
    await body(send, b"hinted")


@route("/trailers")
async def trailers(scope: Scope, receive: Receive, send: Send) -> None:
    assert "http.response.trailers" in scope["extensions"]
    fields = [(b"trailer", b"x-sum, x-more")]
    if query(scope, "length"):
        fields.append((b"content-length", b"8"))
    await start(send, fields=fields, trailers=True)
    await body(send, b"some", more=True)
    await body(send, b"body")
    await send(
        {"type": "http.response.trailers", "headers": [(b"x-sum", b"8")], "more_trailers": True}
    )
    await send({"type": "http.response.trailers", "headers": [(b"x-more", b"yes")]})


@route("/trailers-forgotten")
async def trailers_forgotten(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send, trailers=True)
    await body(send, b"some")


@route("/pathsend")
async def pathsend(scope: Scope, receive: Receive, send: Send) -> None:
    assert "http.response.pathsend" in scope["extensions"]
    path = str(gate(query(scope, "name", "file")))
    fields = [(b"content-type", b"application/octet-stream")]
    if query(scope, "length"):
        fields.append((b"content-length", query(scope, "length").encode()))
    await start(send, fields=fields)
    await send({"type": "http.response.pathsend", "path": path})
    note("over")


@route("/zerocopy")
async def zerocopy(scope: Scope, receive: Receive, send: Send) -> None:
    """A part of a file between two pieces of bytes, and then the rest of the file."""
    if "http.response.zerocopysend" not in scope["extensions"]:
        await answer(send, b"not offered", status=501)
        return
    await start(send)
    with gate("file").open("rb") as file:
        await body(send, b"<", more=True)
        await send(
            {
                "type": "http.response.zerocopysend",
                "file": file.fileno(),
                "offset": 10,
                "count": 20,
                "more_body": True,
            }
        )
        await body(send, b">", more=True)
        await send({"type": "http.response.zerocopysend", "file": file.fileno(), "offset": 100})
