"""The `gevent_pywsgi` worker: gevent's own HTTP server on our listeners.

For apps that need what gevent's server hands out, a WebSocket handler most of all. HTTP is
gevent.pywsgi's: limits, trusted proxies, request hooks and the PROXY protocol are the engine's, and
`check_config` says so. Signals, readiness, the heartbeat, draining and `max_requests` are as in
every class.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from types import FrameType
from typing import Any, ClassVar, Final

import gevent
import gevent.event
import gevent.pool
import gevent.pywsgi
import gevent.socket

from monoceros.workers.errors import ErrorStream
from monoceros.workers.gthread import beat_interval
from monoceros.workers.hub import HubWorker

#: How long idle connections of a worker that drains may still bring a request, seconds.
LAST_CALL: Final = 2.0
#: How often a worker that drains looks how far it is, seconds.
LOOK: Final = 0.05


@dataclass
class PyWSGIResponse:
    """What became of a request, with the attributes that the access log reads."""

    status: str
    sent: int | None
    headers: list[tuple[str, str]] = field(default_factory=list)

    @property
    def status_code(self) -> int:
        """The number of the status; 0 where none was sent."""
        number = self.status.split(None, 1)[:1]
        return int(number[0]) if number and number[0].isdigit() else 0


class PyWSGIHandler(gevent.pywsgi.WSGIHandler):  # type: ignore[misc]
    """Requests of one connection; a `wsgi_handler` of an own class derives from it."""

    def log_request(self) -> None:
        """The access log is the worker's."""
        finished = self.time_finish or time.time()
        status = self.status or ""
        if isinstance(status, bytes):
            status = status.decode("latin-1")
        request = list(self.headers.items()) if getattr(self, "headers", None) else []
        response = PyWSGIResponse(status, self.response_length, list(self.response_headers or []))
        elapsed = timedelta(seconds=finished - self.time_start)
        self.server.worker.log.access(response, request, self.environ or {}, elapsed)

    def get_environ(self) -> dict[str, Any]:
        """With Gunicorn's two keys."""
        environ: dict[str, Any] = super().get_environ()
        environ["gunicorn.sock"] = self.socket
        environ["RAW_URI"] = self.path
        return environ


class PyWSGIServer(gevent.pywsgi.WSGIServer):  # type: ignore[misc]
    """gevent's server, which knows its worker."""

    worker: "GeventPyWSGIWorker"


class GeventPyWSGIWorker(HubWorker):
    """A greenlet per connection, `worker_connections` at a time."""

    ready_at_first_notify: ClassVar[bool] = True
    uses_engine: ClassVar[bool] = False
    interface: ClassVar[str | None] = "wsgi"

    server_class: ClassVar[Any] = PyWSGIServer
    wsgi_handler: ClassVar[Any] = PyWSGIHandler

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Say what gevent's server does not do."""
        super().check_config(cfg, log)
        if cfg.proxy_protocol not in (False, "off"):
            log.warning("%s: gevent's server speaks no PROXY protocol.", cls.__name__)

    def init_process(self) -> None:
        """Boot as any worker."""
        self._busy = 0
        self._told: gevent.event.Event | None = None
        super().init_process()

    def run(self) -> None:
        """Serve until told to end, then drain."""
        self._told = gevent.event.Event()
        servers = [self._make_server(listener) for listener in self.sockets]
        for server in servers:
            server.start()
        interval = beat_interval(self.cfg)
        while self.alive:
            self.notify()
            self._told.wait(interval)
        if self.seat is not None:
            self.seat.draining()
        self._drain(servers, interval)

    def _make_server(self, listener: Any) -> Any:
        # The listener's own descriptor, so that `doors` finds it.
        sock = gevent.socket.socket(fileno=listener.fileno())
        sock.setblocking(False)
        more = {}
        if self.cfg.is_ssl:
            # Not before the process has been patched.
            from monoceros.openssl import ssl_context

            more["ssl_context"] = ssl_context(self.cfg)
        server = self.server_class(
            sock,
            application=self._call,
            spawn=gevent.pool.Pool(max(1, int(self.cfg.worker_connections))),
            log=None,
            error_log=ErrorStream(self.log),
            handler_class=self.wsgi_handler,
            environ={"wsgi.multithread": True, "wsgi.multiprocess": self.cfg.workers > 1},
            **more,
        )
        server.worker = self
        if self.cfg.workers > 1:
            # The next one may go to a worker with more room.
            server.max_accept = 1
        return server

    def _call(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        """The app, counted: what runs has to end before the worker does."""
        self.nr += 1
        if self.nr == self.max_requests:
            self.log.info("Autorestarting worker after current request.")
            self._end()

        def start(status: str, headers: Any, exc_info: Any = None) -> Any:
            if not self.alive:
                headers = [*headers, ("Connection", "close")]
            return start_response(status, headers, exc_info)

        self._busy += 1
        try:
            result = self.wsgi(environ, start)
        except BaseException:
            self._busy -= 1
            raise
        # gevent's server measures what has a length.
        body = _SizedBody if hasattr(result, "__len__") else _Body
        return body(result, self._finish)

    def _finish(self) -> None:
        self._busy -= 1

    def _drain(self, servers: list[Any], interval: float) -> None:
        for server in servers:
            server.stop_accepting()
        began = time.monotonic()
        while (elapsed := time.monotonic() - began) < self.cfg.graceful_timeout:
            idle = not self._busy and (
                elapsed >= LAST_CALL or not any(len(server.pool) for server in servers)
            )
            if idle or self.quick:
                break
            self.notify()
            gevent.sleep(min(LOOK, interval))
        if self._busy and not self.quick:
            self.log.log(
                logging.WARNING,
                "Worker (pid:%s) ended before %d requests could be finished. A longer "
                "graceful_timeout would let them.",
                self.pid,
                self._busy,
            )
        for server in servers:
            server.stop(timeout=0.0)

    def _end(self) -> None:
        self.alive = False
        if self._told is not None:
            self._told.set()

    # Signal handlers run in whichever greenlet is current, the hub among them.

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """TERM: drain."""
        super().handle_exit(sig, frame)
        self._end()

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """INT, QUIT: end now. The hook may wait for something."""
        if self._told is None:
            super().handle_quit(sig, frame)
        elif not self.quick:
            self.quick = True
            gevent.spawn(self._quit)

    def _quit(self) -> None:
        self.cfg.worker_int(self)
        self._end()

    def handle_usr1(self, sig: int, frame: FrameType | None) -> None:
        """USR1: reopen the log files, whose locks a greenlet may hold."""
        gevent.spawn(super().handle_usr1, sig, frame)


class _Body:
    """What the app returned, up to its close()."""

    def __init__(self, result: Any, finished: Callable[[], None]) -> None:
        self._result = result
        self._finished: Callable[[], None] | None = finished

    def __iter__(self) -> Any:
        return iter(self._result)

    def close(self) -> None:
        """Close the app's; the request is over, however often this is called."""
        finished, self._finished = self._finished, None
        try:
            if finished is not None and hasattr(self._result, "close"):
                self._result.close()
        finally:
            if finished is not None:
                finished()


class _SizedBody(_Body):
    def __len__(self) -> int:
        return len(self._result)
