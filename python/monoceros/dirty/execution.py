"""A call in the dirty worker: run the action, send what it returns or yields.

Rules:
- A call takes one of the worker's threads from its first to its last word. Coroutines and async
  generators run on the worker's event loop, and the thread waits for them.
- What has been sent and not yet been taken by the client is bounded by `WINDOW`: then the
  generator rests.
- A call that nobody waits for any more stops at its next yield or await; a plain function runs to
  its end.
- Whatever an app raises goes to the client, and into the log.
"""

import asyncio
import inspect
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, Final

from monoceros.dirty.errors import DirtyAppError, DirtyAppNotFoundError, DirtyError
from monoceros.dirty.frames import Kind, encode_frame
from monoceros.dirty.values import decode, encode
from monoceros.errors import format_foreign_exception

#: Bytes of chunks that may be on their way to a client. Enough that a quick client never waits
#: for the next chunk, little enough that a slow one costs nothing.
WINDOW: Final = 256 * 1024


class Cancelled(Exception):
    """Nobody waits for this call any more."""


class Execution:
    """One call.

    send: takes a frame's bytes, from any thread. loop: where async code of apps runs.
    """

    def __init__(
        self,
        number: int,
        payload: bytes,
        send: Callable[[bytes], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._number = number
        self._payload = payload
        self._send = send
        self._loop = loop
        self._lock = threading.Condition()
        self._unread = 0
        self._cancelled = False
        self._future: Any = None
        self._may_send: asyncio.Event | None = None

    # From the worker's event loop.

    def cancel(self) -> None:
        """Nobody waits any more."""
        with self._lock:
            self._cancelled = True
            self._lock.notify_all()
            future = self._future
        if future is not None:
            future.cancel()

    def credit(self, count: int) -> None:
        """The client has taken `count` bytes."""
        with self._lock:
            self._unread -= count
            self._lock.notify_all()
        if self._may_send is not None:
            self._may_send.set()

    # From the thread that runs it.

    def run(self, apps: dict[str, Any], log: Any) -> bytes:
        """Run the call, send what it yields, and return its last word; raises nothing."""
        app_path, action = "", ""
        try:
            (app_path, action), end = decode(self._payload)
            args, end = decode(self._payload, end)
            kwargs, _ = decode(self._payload, end)
            self._payload = b""
            if app_path not in apps:
                raise DirtyAppNotFoundError(app_path)
            return self._answer(apps[app_path](action, *args, **kwargs), f"{app_path}.{action}")
        except Cancelled:
            return encode_frame(Kind.END, self._number)
        except DirtyError as error:
            return self._fail(error)
        except BaseException as error:
            text = format_foreign_exception(error)
            log.error("Error executing %s.%s: %s\n%s", app_path, action, error, text)
            return self._fail(DirtyAppError(str(error), app_path, action, text))

    def _answer(self, result: Any, what: str) -> bytes:
        if inspect.isgenerator(result):
            self._stream(result, what)
            return encode_frame(Kind.END, self._number)
        if inspect.isasyncgen(result):
            self._on_loop(self._stream_async(result, what))
            return encode_frame(Kind.END, self._number)
        if inspect.isawaitable(result):
            result = self._on_loop(_await(result))
        return self._frame(Kind.RESULT, result, f"The result of {what}")

    def _fail(self, error: DirtyError) -> bytes:
        try:
            return encode_frame(Kind.ERROR, self._number, encode(error.to_dict()))
        except DirtyError:
            # Its text or details cannot be sent.
            plain = DirtyError(str(error).encode("ascii", "backslashreplace").decode()[:10_000])
            return encode_frame(Kind.ERROR, self._number, encode(plain.to_dict()))

    def _frame(self, kind: Kind, value: Any, what: str) -> bytes:
        try:
            return encode_frame(kind, self._number, encode(value))
        except DirtyError as error:
            error.message = f"{what}: {error.message}"
            raise

    def _on_loop(self, coroutine: Any) -> Any:
        with self._lock:
            if self._cancelled:
                coroutine.close()
                raise Cancelled
            self._future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return self._future.result()
        except BaseException:
            if self._cancelled:
                raise Cancelled from None
            raise

    def _stream(self, generator: Generator[Any, Any, Any], what: str) -> None:
        try:
            for item in generator:
                self._send_chunk(item, what)
        finally:
            generator.close()

    def _send_chunk(self, item: Any, what: str) -> None:
        frame = self._frame(Kind.CHUNK, item, f"An item of {what}")
        with self._lock:
            while self._unread >= WINDOW and not self._cancelled:
                self._lock.wait()
            if self._cancelled:
                raise Cancelled
            self._unread += len(frame)
        self._send(frame)

    async def _stream_async(self, generator: AsyncGenerator[Any, Any], what: str) -> None:
        self._may_send = asyncio.Event()
        try:
            async for item in generator:
                frame = self._frame(Kind.CHUNK, item, f"An item of {what}")
                while self._unread >= WINDOW:
                    self._may_send.clear()
                    await self._may_send.wait()
                with self._lock:
                    self._unread += len(frame)
                self._send(frame)
        finally:
            await generator.aclose()


async def _await(awaitable: Any) -> Any:
    return await awaitable
