"""The `gthread` worker: `threads` requests at a time."""

import threading
from typing import Any, ClassVar, Final

from monoceros import _core
from monoceros.workers.engined import EngineWorker

#: How often the main thread proves that Python can run, seconds, at the least; and how many beats
#: fit into the shortest limit whose passing is judged by them.
BEAT_INTERVAL: Final = 1.0
SHORTEST_BEAT: Final = 0.1
BEATS_PER_LIMIT: Final = 4


def beat_interval(cfg: Any) -> float:
    """Seconds between two proofs that Python can run."""
    limits: list[float] = [limit for limit in (cfg.timeout, cfg.request_timeout) if limit]
    beat = min([BEAT_INTERVAL, *(limit / BEATS_PER_LIMIT for limit in limits)])
    return max(beat, SHORTEST_BEAT)


class ThreadWorker(EngineWorker):
    """A pool of app threads. The main thread takes signals and proves that Python can run; so
    `timeout` bounds how long the interpreter may be held, not a request."""

    timeout_bounds_request: ClassVar[bool] = False
    multithread: ClassVar[bool] = True

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
        beat = beat_interval(self.cfg)
        while not engine.wait(beat):
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
