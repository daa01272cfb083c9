"""A WebSocket app that sends back what it receives, text as text and binary as binary. A request
is answered with 200."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

Message = dict[str, Any]


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"echoing"})
        return
    assert scope["type"] == "websocket", "it has no lifespan"
    assert await receive() == {"type": "websocket.connect"}
    await send({"type": "websocket.accept"})
    # A message that finds its client gone raises OSError, as the specification has it.
    with contextlib.suppress(OSError):
        while (message := await receive())["type"] == "websocket.receive":
            if message.get("text") is not None:
                await send({"type": "websocket.send", "text": message["text"]})
            else:
                await send({"type": "websocket.send", "bytes": message["bytes"]})
