"""What the sites of all frameworks have in common: each serves the same routes.

Only what a framework is there for is written with its own means.
"""

import asyncio
import contextvars
import hashlib
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from events import note

#: What the value of a request is kept in, across its awaits.
value_of_request = contextvars.ContextVar("value_of_request", default="nobody's")

#: The content of the file that every site serves under /static/.
FILE = b"".join(b"%07d\n" % number for number in range(40_000))

#: Pieces of the streams that have an end.
PIECES = 5


class Site:
    """State that is made at startup, and what routes need of it."""

    def __init__(self) -> None:
        self.started = 0
        self.waiting = 0
        self.all_here = asyncio.Event()

    def start(self) -> None:
        self.started += 1
        note("started", count=self.started)

    def stop(self) -> None:
        note("stopped")

    async def together(self, expected: int) -> int:
        """Comes back when that many requests are here at once: they have to run concurrently."""
        self.waiting += 1
        if self.waiting == expected:
            self.all_here.set()
        await asyncio.wait_for(self.all_here.wait(), 20)
        return self.waiting


async def pieces(number: int = PIECES) -> AsyncIterator[bytes]:
    """A stream that has an end."""
    for index in range(number):
        yield b"piece %d\n" % index
        await asyncio.sleep(0)


async def ticks() -> AsyncIterator[bytes]:
    """A stream that only its client's leaving ends."""
    while True:
        yield b"tick\n"
        await asyncio.sleep(0.01)


async def endless() -> AsyncIterator[bytes]:
    """The same; says when it ends, however it learns of it."""
    try:
        async for tick in ticks():
            yield tick
    finally:
        note("stream over")


async def broken() -> AsyncIterator[bytes]:
    """A stream that fails when a part of it is out."""
    yield b"good\n"
    await asyncio.sleep(0.05)
    raise RuntimeError("broken in the middle")


async def kept_in_context(value: str) -> str:
    """What the context says after others have had their turn."""
    value_of_request.set(value)
    for _ in range(5):
        await asyncio.sleep(0.01)
    return value_of_request.get()


def thread_name() -> str:
    """Where a synchronous endpoint runs."""
    return threading.current_thread().name


def described(name: str, content: bytes) -> dict[str, object]:
    """Of an upload."""
    return {"name": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def counted(sizes: Iterable[int]) -> dict[str, int]:
    """Of a body that came in pieces."""
    kept = list(sizes)
    return {"size": sum(kept), "pieces": len(kept)}


def static_folder() -> Path:
    """A folder with the file that is served; it lies beside the notes of the test."""
    folder = Path(os.environ["EVENTS"]).with_name("static")
    folder.mkdir(exist_ok=True)
    # Several workers may do so at once: the file appears whole.
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        file.write(FILE)
    Path(file.name).chmod(0o644)
    Path(file.name).replace(folder / "file.txt")
    return folder
