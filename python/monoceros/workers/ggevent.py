"""The `gevent` worker: every request in a greenlet of its own, `worker_connections` at a time.

Rules:
- The process is patched (`gevent.monkey`) before the app is imported: in the worker, or with
  `preload_app` in the mold.
- The hub's thread is the only one that runs the app. The engine's thread reads, writes and keeps
  the deadlines beside it; a descriptor tells the hub when there is something to take. So a client
  never makes the hub wait, and a greenlet that holds the hub stops nothing but other greenlets.
- The main greenlet takes what is ready and starts a greenlet for each. It calls nothing that may
  wait for another greenlet, and neither do signal handlers, which run wherever they come: what is
  long in them gets a greenlet.
"""

import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any, ClassVar, Final

import gevent
import gevent.event
import gevent.socket

from monoceros import _core
from monoceros.errors import ConfigError
from monoceros.workers.engined import EngineWorker
from monoceros.workers.gevent_pywsgi import GeventPyWSGIWorker, PyWSGIHandler, PyWSGIServer
from monoceros.workers.gthread import beat_interval
from monoceros.workers.hub import HubWorker
from monoceros.workers.overrides import Visit

__all__ = [
    "GeventPyWSGIWorker",
    "GeventWorker",
    "PyWSGIHandler",
    "PyWSGIServer",
]

#: How long greenlets that are killed at the end may take for their `finally`, seconds.
LAST_WORDS: Final = 2.0


class _Expired(Exception):
    """The socket does not take more yet."""


class RequestGreenlet(gevent.Greenlet):  # type: ignore[misc]
    """The greenlet of one request. Where it was spawned says nothing, and costs to note."""

    spawning_stack_limit = 1


class GeventWorker(HubWorker, EngineWorker):
    """Greenlets on gevent's hub. `timeout` says how long a greenlet may hold the hub."""

    multithread: ClassVar[bool] = True

    #: In Gunicorn a subclass names another server here.
    server_class: ClassVar[Any] = None

    @property
    def threads(self) -> int:
        """Requests at a time."""
        return max(1, int(self.cfg.worker_connections))

    @classmethod
    def requests_at_once(cls, cfg: Any) -> int:
        """How many requests one worker runs at a time."""
        return max(2, int(cfg.worker_connections))

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Refuse a class that wants another server than the engine."""
        super().check_config(cfg, log)
        if cls.server_class is not None:
            raise ConfigError(
                f"{cls.__module__}.{cls.__qualname__} names a server_class: derive it from "
                "GeventPyWSGIWorker, whose server is gevent's"
            )

    def patch(self) -> None:
        """Make the process cooperative; a subclass may patch more, or less."""
        super().patch()
        #: What belongs to the greenlet that serves a request.
        self.local = threading.local()

    def take(self, visit: Visit) -> None:
        """By way of `handle`."""
        connection = visit.connection
        self.handle(connection.listener, connection.sock, connection.client)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve the request of this greenlet. For subclasses: called once per request where one of
        them overrides it, `handle_request` or `handle_error`.

        client: stands for the socket, which is not to be read from: the engine has done that.
        """
        try:
            self.handle_request(listener, self.local.visit.request, client, addr)
        except Exception as error:
            self.keep_failure(error)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:
        """Run `pre_request` and the app. For subclasses, as `handle`. Raises what the app does."""
        self.serve_visit()

    def serve(self, engine: _core.Engine) -> None:
        """Take requests and start greenlets until the engine ends."""
        self._failure: BaseException | None = None
        self._greenlets: dict[gevent.Greenlet, int | None] = {}
        self._orders: list[gevent.Greenlet] = []
        hub = gevent.get_hub()
        ready = hub.loop.io(engine.ready_fd(), 1)
        heart = gevent.spawn(self._beat, engine)
        try:
            while True:
                job = engine.take()
                if job is not None:
                    self._start(job)
                elif engine.ended:
                    break
                else:
                    hub.wait(ready)
            # A hook may run still, and `close()` of what was answered.
            gevent.joinall(self._orders, timeout=LAST_WORDS)
            gevent.sleep(0)
        finally:
            heart.kill(block=False)
            ready.close()
            # Python's `finally` and `with` of a request that is cut.
            gevent.killall(list(self._greenlets), timeout=LAST_WORDS)
            engine.write_lines()
        if self._failure is not None:
            raise self._failure

    def _start(self, job: _core.Job) -> None:
        if job.explains is not None:
            gevent.spawn(self._explain, job.explains)
            return
        greenlet = RequestGreenlet(self._run, job)
        self._greenlets[greenlet] = job.request
        greenlet.start()

    def _explain(self, request: int) -> None:
        """The stack of a greenlet that is switched out: the interpreter's dump of all threads,
        which the arbiter shows, has only the current one."""
        for greenlet, number in list(self._greenlets.items()):
            if number == request and greenlet.gr_frame is not None:
                stack = "".join(traceback.format_stack(greenlet.gr_frame))
                self.log.warning(
                    "Request %d of worker (pid:%s) waits in its greenlet:\n%s",
                    request,
                    self.pid,
                    stack.rstrip(),
                )

    def _run(self, job: _core.Job) -> None:
        try:
            job.run()
        except BaseException as error:
            if self.engine is None or self.aborted:
                raise
            # The app has asked for the worker's end; others may finish.
            self._failure = error
            self.engine.drain(self.cfg.graceful_timeout)
        finally:
            self._greenlets.pop(gevent.getcurrent(), None)

    def _beat(self, engine: _core.Engine) -> None:
        interval = beat_interval(self.cfg)
        while True:
            self.notify()
            engine.write_lines()
            gevent.sleep(interval)

    def wait_writable(self, descriptor: int, seconds: float | None) -> bool:
        """Let others run until a socket takes more; False when it does not within that time."""
        if descriptor < 0:
            gevent.sleep(seconds or 0)
            return False
        try:
            gevent.socket.wait_write(descriptor, seconds, _Expired())
        except _Expired:
            return False
        return True

    # Signal handlers run in whichever greenlet is current, the hub among them.

    def _order(self, handler: Callable[[int, FrameType | None], None], sig: int) -> None:
        if self.engine is None or not hasattr(self, "_orders"):
            handler(sig, None)
        else:
            self._orders = [order for order in self._orders if not order.dead]
            self._orders.append(gevent.spawn(handler, sig, None))

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """INT, QUIT: end now. The hook may wait for something."""
        self._order(super().handle_quit, sig)

    def handle_usr1(self, sig: int, frame: FrameType | None) -> None:
        """USR1: reopen the log files, whose locks a greenlet may hold."""
        self._order(super().handle_usr1, sig)
