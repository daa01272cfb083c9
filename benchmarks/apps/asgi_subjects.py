"""The apps that every ASGI server serves. Each does as little as its case allows."""

from collections.abc import Awaitable, Callable
from typing import Any

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

GREETING = b"Hello, World!"
LARGE = b"x" * 102_400
#: What the case with a body posts.
UPLOAD = 10_240

PLAIN_HEADERS = [(b"content-type", b"text/plain"), (b"content-length", b"13")]
LARGE_HEADERS = [
    (b"content-type", b"application/octet-stream"),
    (b"content-length", str(len(LARGE)).encode()),
]


async def lifespan(receive: Receive, send: Send) -> None:
    """Start and stop with nothing to do."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def plain(scope: Scope, receive: Receive, send: Send) -> None:
    """13 bytes."""
    if scope["type"] != "http":
        return await lifespan(receive, send)
    await send({"type": "http.response.start", "status": 200, "headers": PLAIN_HEADERS})
    return await send({"type": "http.response.body", "body": GREETING})


async def upload(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the whole body; 200 only where all of it arrived. A GET asks whether we are there."""
    if scope["type"] != "http":
        return await lifespan(receive, send)
    length, more = 0, True
    while more:
        message = await receive()
        length += len(message.get("body", b""))
        more = message.get("more_body", False)
    whole = length == UPLOAD or scope["method"] == "GET"
    status = 200 if whole else 500
    await send({"type": "http.response.start", "status": status, "headers": PLAIN_HEADERS})
    return await send({"type": "http.response.body", "body": GREETING})


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    """100 KiB."""
    if scope["type"] != "http":
        return await lifespan(receive, send)
    await send({"type": "http.response.start", "status": 200, "headers": LARGE_HEADERS})
    return await send({"type": "http.response.body", "body": LARGE})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Send back each message of a WebSocket, text as text; a request is answered as by `plain`."""
    if scope["type"] != "websocket":
        return await plain(scope, receive, send)
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return None
        text = message.get("text")
        if text is not None:
            await send({"type": "websocket.send", "text": text})
        else:
            await send({"type": "websocket.send", "bytes": message["bytes"]})
