"""The event loops that a worker can have, and what is the same in all of them.

Rules:
- Signals: the worker's own handlers are Python's (`signal.signal`), because a worker has to hear
  before there is a loop and after. Where an app adds one of its own to the loop
  (`add_signal_handler`), it is called after the worker's, not in its place: an app that waits for
  TERM to end its streams gets to know, and the worker drains as ever.
- The descriptor that wakes a loop for a signal belongs to the engine or the worker, so that
  `add_signal_handler` takes it from nobody.
"""

import asyncio
import contextvars
import inspect
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from monoceros.asgi.selector import EngineSelector


class ChainedSignals:
    """Mixed into a loop: handlers of an app come behind those of the worker."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        #: By signal: what was there before, and what the app wants to be called.
        self._chained: dict[int, tuple[Any, Callable[[], object]]] = {}

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: Any) -> None:
        """As asyncio's, after the worker's own handler."""
        if inspect.iscoroutine(callback) or inspect.iscoroutinefunction(callback):
            raise TypeError("coroutines cannot be used with add_signal_handler()")
        context = contextvars.copy_context()
        loop: Any = self

        def schedule() -> None:
            loop.call_soon_threadsafe(callback, *args, context=context)

        former = self._chained[sig][0] if sig in self._chained else signal.getsignal(sig)
        try:
            signal.signal(sig, self._deliver)
            signal.siginterrupt(sig, False)
        except (ValueError, OSError) as error:
            # The loop runs elsewhere than in the main thread, or it is a signal that nobody takes.
            raise RuntimeError(f"signal {sig} cannot be handled: {error}") from error
        self._chained[sig] = former, schedule

    def remove_signal_handler(self, sig: int) -> bool:
        """As asyncio's: only what the app has added is removed."""
        if sig not in self._chained:
            return False
        former, _ = self._chained.pop(sig)
        signal.signal(sig, signal.SIG_DFL if former is None else former)
        return True

    def _deliver(self, sig: int, frame: FrameType | None) -> None:
        former, schedule = self._chained[sig]
        schedule()
        if callable(former):
            former(sig, frame)

    def close(self) -> None:
        """As asyncio's."""
        for sig in list(self._chained):
            self.remove_signal_handler(sig)
        super().close()  # type: ignore[misc]


class EngineLoop(ChainedSignals, asyncio.SelectorEventLoop):  # type: ignore[misc]
    """asyncio's loop, in which the engine waits."""

    def __init__(self) -> None:
        self.selector = EngineSelector()
        super().__init__(self.selector)


def make_loop(wanted: str, log: Any) -> asyncio.AbstractEventLoop:
    """The loop that the setting `asgi_loop` names. An EngineLoop, or uvloop's."""
    if wanted != "asyncio":
        try:
            return _make_uvloop()
        except ImportError as error:
            if wanted == "uvloop":
                log.warning(
                    "asgi_loop is uvloop, which cannot be imported (%s): asyncio is used. "
                    "pip install 'monoceros[uvloop]' brings it.",
                    error,
                )
    return EngineLoop()


def _make_uvloop() -> asyncio.AbstractEventLoop:
    import uvloop

    base: Any = uvloop.Loop  # its annotations are narrower than those of asyncio's base class

    class UvLoop(ChainedSignals, base):  # type: ignore[misc]
        """uvloop's loop; the engine is one of its descriptors."""

    made: asyncio.AbstractEventLoop = UvLoop()
    return made
