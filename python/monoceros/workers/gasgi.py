"""The `asgi` worker: an event loop that runs the app, and the engine's connections in it.

Its life: the loop is made, the app is loaded and its lifespan starts, the engine is made, READY; it
serves; when it is told to end the engine drains, the lifespan ends, what the app has left is
cancelled, the loop is closed.

Rules:
- The loop is the current one before the app is imported, because apps make things at import that
  belong to it; where the app is what decides that there is a loop, it is made after that.
- There is one thread. On asyncio's loop the engine waits for the loop; under uvloop it is one of
  the loop's descriptors.
- The loop beats: `timeout` says how long it may not have turned, not how long a request may take.
  It beats to the very end, so that a worker which drains is not taken to be stuck.
- The end has `graceful_timeout` in all: the lifespan gets what the draining has left, and
  `LAST_WORDS` in any case.
- INT and QUIT wait for nothing: no draining, no lifespan shutdown. Tasks are cancelled, so that
  their `finally` runs.
"""

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from monoceros import _core
from monoceros.asgi.closing import close_loop
from monoceros.asgi.lifespan import Lifespan
from monoceros.asgi.loops import EngineLoop, make_loop
from monoceros.asgi.stacks import describe_task
from monoceros.config.classes import stands_for_uvicorn
from monoceros.errors import StartupFailed, format_foreign_exception
from monoceros.workers.broken import BrokenApp
from monoceros.workers.engined import EngineWorker
from monoceros.workers.gthread import beat_interval
from monoceros.workers.observer import make_access, make_observer

#: What the end of a lifespan, and after it what is cancelled, has at the least, seconds: all of it
#: is within the master's margin after graceful_timeout.
LAST_WORDS: Final = 0.3

#: Settings that the engine is given under their own names.
_OPTIONS: Final = (
    "root_path",
    "websocket_max_message_size",
    "websocket_max_queue",
    "websocket_ping_interval",
    "websocket_ping_timeout",
    "websocket_deflate",
)


class ASGIWorker(EngineWorker):
    """ASGI apps on asyncio or uvloop. See the module for its rules.

    loop: the event loop, from before the lifespan's start. state: what the lifespan fills and each
    request has a copy of. lifespan: None where asgi_lifespan is off. asgi: the app.
    """

    timeout_bounds_request: ClassVar[bool] = False
    interface: ClassVar[str | None] = "asgi"

    #: The engine in a loop's turns takes no part in the exchange.
    moves_connections: ClassVar[bool] = False
    loop_methods: ClassVar[Mapping[str, str]] = {
        "_setup_event_loop": "asgi_loop says which loop there is",
    }

    # Defaults here and not in a constructor: a worker may become one of this class.
    loop: Any = None
    lifespan: Lifespan | None = None
    asgi: Any = None
    _beating: asyncio.TimerHandle | None = None

    @classmethod
    def requests_at_once(cls, cfg: Any) -> int:
        """How many requests one worker runs at a time: more than one, however many."""
        return max(2, int(cfg.worker_connections))

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Say who stands for a worker class of uvicorn's that is not installed."""
        super().check_config(cfg, log)
        named = cfg.settings["worker_class"].get()
        if stands_for_uvicorn(named):
            log.info("%s is not installed: the worker class asgi stands for it", named)

    @property
    def nr_conns(self) -> int:
        """Open connections."""
        return 0 if self.seat is None else self.seat.scoreboard.read(self.seat.slot).connections

    @property
    def _shown(self) -> int:
        """How many of the requests that run have a place of their own on the scoreboard."""
        return 1 if self.seat is None else self.seat.scoreboard.threads

    def options(self) -> dict[str, Any]:
        """The engine's options."""
        cfg = self.cfg
        return {
            **super().options(),
            "threads": self._shown,
            "disconnect_grace": cfg.asgi_disconnect_grace_period,
            **{name: getattr(cfg, name) for name in _OPTIONS},
        }

    def make_engine(self) -> _core.AsgiEngine:  # type: ignore[override]
        """The engine of this process, in the loop. Call it when the app has started."""
        if self.seat is None:
            raise RuntimeError("an engine worker needs a seat in the scoreboard")
        access = make_access(self)
        self.observer = observer = make_observer(self, engine_logs=access is not None)
        loop = self.loop
        return _core.AsgiEngine(
            [sock.fileno() for sock in self.sockets],
            self.asgi,
            self.options(),
            self.seat.scoreboard,
            self.seat.slot,
            event_loop=loop,
            loop_fd=loop.selector.fileno() if isinstance(loop, EngineLoop) else None,
            state=self.state,
            explain=describe_task,
            observer=observer,
            access=access if observer is None else None,
            log=self.engine_log,
            tls=self.seat.tls,
        )

    def run(self) -> None:
        """From the loop's making to its closing."""
        self.booted = False  # an app that does not start is a boot failure
        self.state: dict[str, Any] = {}
        self.asgi = self.wsgi.asgi if isinstance(self.wsgi, BrokenApp) else self.wsgi
        self._make_loop()
        try:
            self._start_lifespan()
            super().run()
            if self.lifespan is not None and not self.quick:
                signal.set_wakeup_fd(self.PIPE[1], warn_on_full_buffer=False)
                self.loop.run_until_complete(self.lifespan.stop(self._time_left()))
        finally:
            if not self.aborted:
                self._close_loop()

    def load_wsgi(self) -> None:
        """Import the app, with its loop at hand."""
        self._make_loop()
        super().load_wsgi()

    def _make_loop(self) -> None:
        if self.loop is not None:
            return
        self.loop = make_loop(self.cfg.asgi_loop, self.log)
        asyncio.set_event_loop(self.loop)
        # While the engine is not there, a signal wakes the loop through a pipe.
        self.PIPE = list(os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))  # type: ignore[misc]
        self.loop.add_reader(self.PIPE[0], os.read, self.PIPE[0], 4096)
        signal.set_wakeup_fd(self.PIPE[1], warn_on_full_buffer=False)

    def _start_lifespan(self) -> None:
        if self.cfg.asgi_lifespan == "off" or isinstance(self.wsgi, BrokenApp):
            return
        is_news = self.seat.is_news if self.seat is not None else lambda _error: True
        self.lifespan = Lifespan(
            self.asgi,
            self.state,
            self.log,
            required=self.cfg.asgi_lifespan == "on",
            is_news=is_news,
        )
        try:
            self.loop.run_until_complete(self.lifespan.start())
        except StartupFailed as error:
            if not self.cfg.reload:
                raise
            self._stand_in(error, is_news(error))

    def _stand_in(self, error: StartupFailed, news: bool) -> None:
        """While somebody works on the app, one that does not start answers 500, as one does that
        cannot be loaded."""
        if news:
            cause = error.__cause__
            self.log.error(
                "The app does not start; until a file of it changes, requests get 500: %s%s",
                error,
                f"\n{format_foreign_exception(cause).rstrip()}" if cause is not None else "",
            )
        self.asgi = BrokenApp(error.__cause__ or error).asgi
        self.lifespan = None

    def serve(self, engine: _core.AsgiEngine) -> None:  # type: ignore[override]
        """Run the loop until the engine ends."""
        loop = self.loop
        self._beat(beat_interval(self.cfg))
        if isinstance(loop, EngineLoop):
            loop.selector.attach(engine, loop.stop)
            try:
                self._run_until_ended(engine)
            finally:
                loop.selector.detach()
            return

        def turn() -> None:
            engine.turn(0)
            if engine.ended:
                loop.remove_reader(engine.fileno())  # once: each order stops a run of the loop
                loop.stop()

        loop.add_reader(engine.fileno(), turn)
        loop.call_soon(engine.turn, 0)
        try:
            self._run_until_ended(engine)
        finally:
            loop.remove_reader(engine.fileno())

    def _run_until_ended(self, engine: _core.AsgiEngine) -> None:
        while not engine.ended:  # an app that stops the loop has stopped nothing else
            self.loop.run_forever()

    def _beat(self, interval: float) -> None:
        self.notify()
        self._beating = self.loop.call_later(interval, self._beat, interval)

    def _time_left(self) -> float:
        """What is left of graceful_timeout, seconds."""
        until = self.drains_until or time.monotonic() + self.cfg.graceful_timeout
        return max(LAST_WORDS, until - time.monotonic())

    def _close_loop(self) -> None:
        hurried = self.quick or not self.booted
        close_loop(self.loop, LAST_WORDS if hurried else self._time_left(), self.log)
        if self._beating is not None:
            self._beating.cancel()
        signal.set_wakeup_fd(-1)
        if not self.loop.is_closed():
            return
        for descriptor in self.PIPE:
            os.close(descriptor)
        self.PIPE = []  # type: ignore[misc]
        asyncio.set_event_loop(None)
