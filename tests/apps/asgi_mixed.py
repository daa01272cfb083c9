"""The paths of probes.py that the soak asks for, as an ASGI app, and a WebSocket beside them."""

import asyncio
import hashlib
from functools import lru_cache

import asgi_sockets
from asgi_probes import App, Receive, Scope, Send, answer, body, lifespan, query, start

_routes: dict[str, App] = {}


def route(path: str):  # type: ignore[no-untyped-def]
    def register(function: App) -> App:
        _routes[path] = function
        return function

    return register


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
    elif scope["type"] == "websocket":
        await asgi_sockets.app(scope, receive, send)
    elif scope["path"] in _routes:
        await _routes[scope["path"]](scope, receive, send)
    else:
        await answer(send, b"not found", status=404)


@lru_cache(maxsize=4)
def _block(size: int) -> bytes:
    return b"x" * size


async def _pieces(receive: Receive):  # type: ignore[no-untyped-def]
    """The body; ends early when the client leaves."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        yield message["body"]
        if not message["more_body"]:
            return


@route("/")
async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"hello, world\n")


@route("/echo")
async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"".join([piece async for piece in _pieces(receive)]))


@route("/digest")
async def digest(scope: Scope, receive: Receive, send: Send) -> None:
    checksum, size = hashlib.sha256(), 0
    async for piece in _pieces(receive):
        checksum.update(piece)
        size += len(piece)
    await answer(send, f"{size} {checksum.hexdigest()}".encode())


@route("/sleep")
async def sleep(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.sleep(float(query(scope, "seconds", "0.02")))
    await answer(send, b"slept\n")


@route("/large")
async def large(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, _block(int(query(scope, "bytes", "1000000"))))


@route("/stream")
async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send, fields=[(b"content-type", b"text/plain")])
    piece = _block(int(query(scope, "size", "65536")))
    for _ in range(int(query(scope, "pieces", "10"))):
        await body(send, piece, more=True)
    await body(send)


@route("/ticks")
async def ticks(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send, fields=[(b"content-type", b"text/plain")])
    for number in range(int(query(scope, "count", "5"))):
        await body(send, b"tick %d\n" % number, more=True)
        await asyncio.sleep(float(query(scope, "pause", "0.01")))
    await body(send)
