"""The `tornado` worker: a tornado.web.Application on Tornado's own loop and HTTP server.

A WSGI app runs through Tornado's WSGIContainer, one request at a time. HTTP is Tornado's: limits,
trusted proxies, request hooks, the access log and the PROXY protocol are the engine's. Signals,
readiness, the heartbeat, draining and `max_requests` are as in every class.

A worker that drains stops accepting, answers what it has with `Connection: close`, and closes idle
connections after their last call.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, ClassVar, Final

import tornado.httpserver
import tornado.httputil
import tornado.ioloop
import tornado.web
import tornado.wsgi

from monoceros.openssl import ssl_context
from monoceros.workers.base import Worker
from monoceros.workers.gthread import beat_interval

#: How long idle connections of a worker that drains may still bring a request, seconds.
LAST_CALL: Final = 2.0
#: How often a worker that drains looks how far it is, seconds.
LOOK: Final = 0.05


class CountingServer(tornado.httpserver.HTTPServer):
    """Tornado's server, which tells its worker when a request begins and ends."""

    # Tornado's servers are configured after their constructor.
    worker: "TornadoWorker"

    def start_request(self, server_conn: object, request_conn: Any) -> Any:
        """A connection is ready for its next request, which may never come."""
        delegate = super().start_request(server_conn, request_conn)
        return _Counted(delegate, request_conn, self.worker)

    @property
    def open_connections(self) -> int:
        """Connections, idle ones among them."""
        return len(self._connections)


class _Counted(tornado.httputil.HTTPMessageDelegate):
    """Passes on a request, and notes when it begins and when its answer is complete."""

    def __init__(self, delegate: Any, connection: Any, worker: "TornadoWorker") -> None:
        self._delegate = delegate
        self._connection = connection
        self._worker = worker
        self._runs = False

    def headers_received(self, start_line: Any, headers: Any) -> Any:
        self._runs = True
        self._worker.request_begins()
        connection = self._connection
        finish: Callable[[], None] = connection.finish

        def finish_and_tell() -> None:
            finish()
            self._end()

        connection.finish = finish_and_tell
        return self._delegate.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Any:
        return self._delegate.data_received(chunk)

    def finish(self) -> None:
        self._delegate.finish()

    def on_connection_close(self) -> None:
        self._delegate.on_connection_close()
        self._end()

    def _end(self) -> None:
        if self._runs:
            self._runs = False
            self._worker.request_ends()


class TornadoWorker(Worker):
    """Tornado's loop on the main thread."""

    ready_at_first_notify: ClassVar[bool] = True
    uses_engine: ClassVar[bool] = False

    _loop: tornado.ioloop.IOLoop | None = None

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Say what Tornado's server does not do."""
        super().check_config(cfg, log)
        if cfg.proxy_protocol not in (False, "off"):
            log.warning("%s: Tornado's server speaks no PROXY protocol.", cls.__name__)

    def init_process(self) -> None:
        """A loop of this process's own, which the app may find when it is imported."""
        asyncio.set_event_loop(asyncio.new_event_loop())
        self._busy = 0
        super().init_process()

    def run(self) -> None:
        """Serve until told to end, then drain."""
        self._loop = tornado.ioloop.IOLoop.current()
        self._loop.run_sync(self._serve)

    async def _serve(self) -> None:
        self._told = asyncio.Event()
        server = self._make_server()
        interval = beat_interval(self.cfg)
        while self.alive:
            self.notify()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), interval)
        if self.seat is not None:
            self.seat.draining()
        await self._drain(server)

    def _make_server(self) -> CountingServer:
        app = self.wsgi
        if not isinstance(app, tornado.web.Application):
            app = tornado.wsgi.WSGIContainer(app)
        context = ssl_context(self.cfg) if self.cfg.is_ssl else None
        keepalive = self.cfg.keepalive
        server = CountingServer(
            app,
            ssl_options=context,
            no_keep_alive=keepalive <= 0,
            idle_connection_timeout=keepalive if keepalive > 0 else None,
        )
        server.worker = self
        for listener in self.sockets:
            # The listener's own descriptor, so that `doors` finds it.
            listener.sock.setblocking(False)
            server.add_socket(listener.sock)
        return server

    async def _drain(self, server: CountingServer) -> None:
        server.stop()
        server.conn_params.no_keep_alive = True
        began = time.monotonic()
        while (elapsed := time.monotonic() - began) < self.cfg.graceful_timeout:
            idle = not self._busy and (elapsed >= LAST_CALL or not server.open_connections)
            if idle or self.quick:
                break
            self.notify()
            await asyncio.sleep(LOOK)
        if self._busy and not self.quick:
            self.log.log(
                logging.WARNING,
                "Worker (pid:%s) ended before %d requests could be finished. A longer "
                "graceful_timeout would let them.",
                self.pid,
                self._busy,
            )
        await server.close_all_connections()

    def request_begins(self) -> None:
        """Its head has come."""
        self._busy += 1
        self.nr += 1
        if self.nr == self.max_requests:
            self.log.info("Autorestarting worker after current request.")
            self._end()

    def request_ends(self) -> None:
        """It has been answered, or its client is gone."""
        self._busy -= 1

    def _end(self) -> None:
        self.alive = False
        if self._loop is not None:
            self._loop.add_callback_from_signal(self._told.set)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """TERM: drain."""
        super().handle_exit(sig, frame)
        self._end()
