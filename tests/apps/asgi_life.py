"""An ASGI app for the life of its worker.

LIFESPAN says what its lifespan does: nothing (it starts and ends), `fails`, `raises`, `absent` (it
is refused), `stuck-end` (its end never comes), `late-start` (it waits for the file `started`).
"""

import asyncio
import contextvars
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from events import note

#: Set by the lifespan, in a context of its own.
VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="untouched")

TASKS: set[asyncio.Task[Any]] = set()


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await lifespan(scope["state"], receive, send)
        return
    text = await ANSWERS[scope["path"]](scope["state"])
    fields = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": text.encode()})


# The lifespan.


async def lifespan(state: dict[str, Any], receive: Any, send: Any) -> None:
    way = os.environ.get("LIFESPAN", "")
    assert way != "absent", "no lifespan"
    await receive()
    note("startup")
    if way == "fails":
        await send({"type": "lifespan.startup.failed", "message": "no database today"})
        return
    if way == "raises":
        opens_the_database()
    if way == "late-start":
        await file_is_there("started")
    VARIABLE.set("set by the lifespan")
    state["number"] = 1
    state["shared"] = []
    await send({"type": "lifespan.startup.complete"})
    await receive()
    note("shutdown")
    if way == "stuck-end":
        await never_closes()
    await asyncio.sleep(0.05)
    note("closed")
    await send({"type": "lifespan.shutdown.complete"})


def opens_the_database() -> None:
    raise ConnectionError("no database today")


async def never_closes() -> None:
    await asyncio.Event().wait()


async def file_is_there(name: str) -> None:
    path = Path(os.environ["EVENTS"]).with_name(name)
    while not path.exists():
        await asyncio.sleep(0.01)


# What requests do.


async def pid(_state: dict[str, Any]) -> str:
    return str(os.getpid())


async def kind_of_loop(_state: dict[str, Any]) -> str:
    return type(asyncio.get_running_loop()).__name__


async def in_state(state: dict[str, Any]) -> str:
    """Each request has a copy, of what is the same for all."""
    state["number"] = state.get("number", 0) + 1
    state.setdefault("shared", []).append(state["number"])
    return json.dumps(state)


async def variable(_state: dict[str, Any]) -> str:
    return VARIABLE.get()


async def slow(_state: dict[str, Any]) -> str:
    note("slow")
    await file_is_there("gate")
    return str(os.getpid())


async def blocks(_state: dict[str, Any]) -> str:
    note("blocks")
    holds_the_loop()
    return ""


def holds_the_loop() -> None:
    time.sleep(60)


async def computes(_state: dict[str, Any]) -> str:
    """Busy, a fifth of a second at a time."""
    until = time.monotonic() + 0.2
    while time.monotonic() < until:
        pass
    return "done"


async def leaves_a_task(_state: dict[str, Any]) -> str:
    async def background() -> None:
        try:
            await asyncio.sleep(600)
        finally:
            await asyncio.sleep(0)
            note("task-ended")

    TASKS.add(asyncio.create_task(background()))
    return ""


async def thread_and_subprocess(_state: dict[str, Any]) -> str:
    in_thread = await asyncio.to_thread(lambda: 6 * 7)
    process = await asyncio.create_subprocess_exec(
        "echo", "from a process", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return f"{in_thread} {output.decode().strip()} {process.returncode}"


async def hears_term(_state: dict[str, Any]) -> str:
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, note, "heard-term")
    return ""


async def stops_the_loop(_state: dict[str, Any]) -> str:
    asyncio.get_running_loop().stop()
    return "stopped"


ANSWERS: dict[str, Callable[[dict[str, Any]], Awaitable[str]]] = {
    "/": pid,
    "/loop": kind_of_loop,
    "/state": in_state,
    "/variable": variable,
    "/slow": slow,
    "/block": blocks,
    "/compute": computes,
    "/task": leaves_a_task,
    "/elsewhere": thread_and_subprocess,
    "/hear": hears_term,
    "/stop": stops_the_loop,
}
