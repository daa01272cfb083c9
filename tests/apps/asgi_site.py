"""An ASGI app for worker classes of others: /pid, /slow (answers after a file appears), /block."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from events import note


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    body = await _answer(scope["path"])
    fields = [(b"content-type", b"text/plain"), (b"x-scheme", scope["scheme"].encode())]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            if os.environ.get("BROKEN"):
                await send({"type": "lifespan.startup.failed", "message": "broken on purpose"})
                return
            note("serving")
            await send({"type": "lifespan.startup.complete"})
        else:
            note("lifespan_shutdown")
            await send({"type": "lifespan.shutdown.complete"})
            return


async def _answer(path: str) -> bytes:
    if path == "/slow":
        note("slow")
        gate = Path(os.environ["EVENTS"]).with_name("gate")
        while not gate.exists():
            await asyncio.sleep(0.02)
    if path == "/block":
        note("block")
        time.sleep(60)  # holds the loop, as a mistake would
    return str(os.getpid()).encode()
