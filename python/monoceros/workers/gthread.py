"""The `gthread` worker: `threads` requests at a time."""

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Final

from monoceros import _core
from monoceros.workers.engined import EngineWorker
from monoceros.workers.overrides import Visit, is_overridden

#: How often the main thread proves that Python can run, seconds, at the least; and how many beats
#: fit into the shortest limit whose passing is judged by them.
BEAT_INTERVAL: Final = 1.0
SHORTEST_BEAT: Final = 0.1
BEATS_PER_LIMIT: Final = 4


def beat_interval(cfg: Any) -> float:
    """Seconds between two proofs that Python can run."""
    limits = [limit for limit in (cfg.timeout, cfg.request_timeout) if limit]
    beat: float = min([BEAT_INTERVAL, *(limit / BEATS_PER_LIMIT for limit in limits)])
    return max(beat, SHORTEST_BEAT)


class ThreadWorker(EngineWorker):
    """A pool of app threads. The main thread takes signals and proves that Python can run; so
    `timeout` bounds how long the interpreter may be held, not a request."""

    timeout_bounds_request: ClassVar[bool] = False
    multithread: ClassVar[bool] = True
    loop_methods: ClassVar[Mapping[str, str]] = {
        "accept": "override handle",
        "enqueue_req": "override handle",
        "murder_keepalived": "keepalive bounds idle connections",
        "murder_pending": "header_timeout bounds what has not sent a request",
        "on_client_socket_readable": "override handle",
        "finish_request": "override handle",
        "set_accept_enabled": "worker_connections bounds what is accepted",
        "wait_for_and_dispatch_events": "override notify for what has to happen regularly",
        "is_parent_alive": "a worker ends with its master by itself",
    }

    @property
    def threads(self) -> int:
        """The setting."""
        return max(1, int(self.cfg.threads))

    def serve(self, engine: _core.Engine) -> None:
        """Start the app threads and wait for the engine's end."""
        self._failure: BaseException | None = None
        pool = self.get_thread_pool() if is_overridden(type(self), "get_thread_pool") else None
        for number in range(self.threads):
            if pool is not None:
                pool.submit(self._run_app_thread, engine)
                continue
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

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """The threads that run the app, where a subclass overrides this: one that prepares its
        threads, say. It has to have room for `threads` of them."""
        return ThreadPoolExecutor(max_workers=self.threads)

    def take(self, visit: Visit) -> None:
        """By way of `handle`."""
        self.handle(visit.connection)

    def handle(self, conn: Any) -> None:  # type: ignore[override]
        """Serve the request that this thread has been given. For subclasses: called once per
        request where one of them overrides it, `handle_request` or `handle_error`."""
        try:
            self.handle_request(self.local.visit.request, conn)
        except Exception as error:
            self.keep_failure(error)

    def handle_request(self, req: Any, conn: Any) -> bool:  # type: ignore[override]
        """Run `pre_request` and the app. For subclasses, as `handle`. Raises what the app does.

        Returns whether the connection may be kept.
        """
        self.serve_visit()
        return not req.should_close()

    def _run_app_thread(self, engine: _core.Engine) -> None:
        try:
            engine.run()
        except BaseException as error:
            # The worker has lost a thread that it counts on: end it, and say why.
            self._failure = error
            engine.drain(self.cfg.graceful_timeout)
