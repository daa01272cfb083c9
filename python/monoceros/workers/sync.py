"""The `sync` worker: one request at a time, on the main thread."""

import threading
from collections.abc import Mapping
from typing import ClassVar, Final

from monoceros import _core
from monoceros.workers.engined import EngineWorker
from monoceros.workers.overrides import is_overridden

#: Seconds between two calls of a `notify` that a subclass overrides, at the most.
NOTIFY_INTERVAL: Final = 1.0


class SyncWorker(EngineWorker):
    """One app thread, the main thread. `timeout` bounds a request."""

    timeout_bounds_request: ClassVar[bool] = True
    loop_methods: ClassVar[Mapping[str, str]] = {
        "accept": "override handle",
        "wait": "override notify for what has to happen regularly",
        "run_for_one": "override run and call the one of this class",
        "run_for_multiple": "override run and call the one of this class",
        "is_parent_alive": "a worker ends with its master by itself",
    }

    def serve(self, engine: _core.Engine) -> None:
        """The main thread is the app thread; signal handlers run between an app's bytecodes."""
        if not is_overridden(type(self), "notify"):
            engine.run()
            return
        ended = threading.Event()
        threading.Thread(
            target=self._notify_while_idle, args=(ended,), name="notify", daemon=True
        ).start()
        try:
            engine.run()
        finally:
            ended.set()

    def _notify_while_idle(self, ended: threading.Event) -> None:
        """Call a subclass's `notify` as Gunicorn's loop does: between requests, so that whoever
        looks at what it leaves behind sees a stuck worker."""
        assert self.seat is not None
        status = self.seat.scoreboard.read(self.seat.slot)
        interval = min(NOTIFY_INTERVAL, self.timeout or NOTIFY_INTERVAL)
        answered = -1
        while not ended.wait(interval):
            now = status.requests
            if not status.running or now != answered:
                self.notify()
            answered = now

    def after_stop(self) -> None:
        """Leave a request that runs: nothing else could end it."""
        raise SystemExit(0)
