"""The `gthread` worker: `threads` requests at a time."""

import threading
from typing import ClassVar

from monoceros import _core
from monoceros.workers.engined import BEAT_INTERVAL, EngineWorker


class ThreadWorker(EngineWorker):
    """A pool of app threads. The main thread takes signals and proves that Python can run; so
    `timeout` bounds how long the interpreter may be held, not a request."""

    timeout_bounds_request: ClassVar[bool] = False

    @property
    def threads(self) -> int:
        """The setting."""
        return max(1, int(self.cfg.threads))

    def serve(self, engine: _core.Engine) -> None:
        """Start the app threads and wait for the engine's end."""
        self._failure: BaseException | None = None
        for number in range(self.threads):
            # Daemons: one that is stuck in the app must not keep the process.
            threading.Thread(
                target=self._run_app_thread,
                args=(engine,),
                name=f"app-{number}",
                daemon=True,
            ).start()
        while not engine.wait(BEAT_INTERVAL):
            self.notify()
        if self._failure is not None:
            raise self._failure

    def _run_app_thread(self, engine: _core.Engine) -> None:
        try:
            engine.run()
        except BaseException as error:
            # The worker has lost a thread that it counts on: end it, and say why.
            self._failure = error
            engine.drain(self.cfg.graceful_timeout)
