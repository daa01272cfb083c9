"""Dirty apps for tests, and the web app that calls them: it does what the body says, as JSON.

The body is `{"app", "action", "args", "timeout", "take"}`; with `take` the call is a stream of
which so many items are read (-1: all). The answer is `{"result": ...}`, or `{"error": its class,
"text", "facts": its attributes}`.
"""

import asyncio
import ctypes
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from events import note

from monoceros.dirty import DirtyApp, DirtyError, get_dirty_client, stash


class Heavy(DirtyApp):
    """Does everything."""

    stashes = ("declared",)

    def init(self) -> None:
        self.calls = 0
        note("init", app="Heavy", declared=stash.exists("declared"))

    def close(self) -> None:
        note("close", app="Heavy")

    def who(self) -> dict[str, Any]:
        return {"pid": os.getpid(), "uid": os.getuid(), "parent": os.getppid()}

    def count(self) -> int:
        self.calls += 1
        return self.calls

    def echo(self, *values: Any, **named: Any) -> Any:
        return [list(values), named]

    def fail(self, text: str) -> None:
        raise ValueError(text)

    def unsendable(self) -> Any:
        return {"deep": [1, {2, 3}]}

    def sleep(self, seconds: float) -> str:
        note("sleeping")
        time.sleep(seconds)
        note("slept")
        return "slept"

    def spin(self) -> None:
        """Hold the interpreter in C until killed."""
        note("spinning")
        ctypes.PyDLL(None).pause()

    def meet(self, number: int) -> int:
        """Wait until `number` calls are here at the same time; how many threads that took."""
        with _meeting:
            _present.add(threading.get_ident())
            _meeting.notify_all()
            assert _meeting.wait_for(lambda: len(_present) >= number, 30)
            return len(_present)

    def die(self, number: int) -> None:
        note("dying")
        os.kill(os.getpid(), number)
        time.sleep(60)

    def items(self, number: int, size: int = 1) -> Iterator[Any]:
        """`number` items of `size` bytes; notes how many it was asked for."""
        made = 0
        try:
            for made in range(1, number + 1):
                yield "x" * size if size > 1 else made
        finally:
            note("items over", made=made)

    def broken_items(self) -> Iterator[int]:
        yield 1
        raise ValueError("after one")

    async def async_items(self, number: int, size: int = 1) -> AsyncIterator[Any]:
        made = 0
        try:
            for made in range(1, number + 1):
                await asyncio.sleep(0)
                yield "x" * size if size > 1 else made
        finally:
            note("async items over", made=made)

    async def endless(self) -> str:
        """Wait until cancelled."""
        note("endless")
        try:
            await asyncio.sleep(3600)
        finally:
            note("endless over")
        return ""

    async def coroutine(self, value: Any) -> Any:
        await asyncio.sleep(0)
        return value

    def put(self, table: str, key: Any, value: Any) -> None:
        stash.put(table, key, value)

    def get(self, table: str, key: Any, default: Any = None) -> Any:
        return stash.get(table, key, default)


_meeting = threading.Condition()
_present: set[int] = set()


class Limited(DirtyApp):
    """Two workers at most."""

    workers = 2

    def who(self) -> int:
        return os.getpid()


class Single(DirtyApp):
    """Says nothing about its workers."""

    def who(self) -> int:
        return os.getpid()


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """The web app."""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    start_response("200 OK", [("Content-Type", "application/json")])
    if not length:
        return [b"{}"]
    order = json.loads(environ["wsgi.input"].read(length))
    return [json.dumps(perform(order)).encode()]


def perform(order: dict[str, Any]) -> dict[str, Any]:
    """Make the call; without an action, tell where the dirty arbiter listens."""
    if "action" not in order:
        return {"result": os.environ["GUNICORN_DIRTY_SOCKET"]}
    client = get_dirty_client(order.get("timeout"))
    arguments = (order.get("app", "heavy:Heavy"), order["action"], *order.get("args", []))
    try:
        if "take" not in order:
            return {"result": client.execute(*arguments, **order.get("kwargs", {}))}
        stream = client.stream(*arguments)
        if order["take"] < 0:
            return {"result": list(stream)}
        taken = [next(stream) for _ in range(order["take"])]
        stream.close()
        return {"result": taken}
    except DirtyError as error:
        facts = {name: value for name, value in vars(error).items() if name != "details"}
        return {"error": type(error).__name__, "text": str(error), "facts": facts}
