"""The `sync` worker: one request at a time, on the main thread."""

from typing import ClassVar

from monoceros import _core
from monoceros.workers.engined import EngineWorker


class SyncWorker(EngineWorker):
    """One app thread, the main thread. `timeout` bounds a request."""

    timeout_bounds_request: ClassVar[bool] = True

    def serve(self, engine: _core.Engine) -> None:
        """The main thread is the app thread; signal handlers run between an app's bytecodes."""
        engine.run()

    def after_stop(self) -> None:
        """Leave a request that runs: nothing else could end it."""
        raise SystemExit(0)
