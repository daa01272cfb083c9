"""What tests of ASGI share."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from support.server import Server
from support.serving import Serve

T = TypeVar("T")

#: The loops that an app is run on.
LOOPS = ("asyncio", "uvloop")

#: For tests of what could differ from loop to loop.
on_each_loop = pytest.mark.parametrize("loop", LOOPS)

#: Seconds that one conversation of a test may take; none does.
BOUND = 60.0


def serve_on(serve: Serve, loop: str, app: str, *options: str, **rest: Any) -> Server:
    """A server whose app runs on that loop."""
    return serve(app, "--asgi-loop", loop, *options, **rest)


def websocket_url(server: Server, target: str) -> str:
    return server.url(target).replace("http", "ws", 1)


def run(conversation: Callable[[], Awaitable[T]], bound: float = BOUND) -> T:
    """Run a client's coroutine in a loop of its own, within a bound."""

    async def bounded() -> T:
        async with asyncio.timeout(bound):
            return await conversation()

    return asyncio.run(bounded())
