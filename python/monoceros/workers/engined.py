"""What the worker classes that run on the engine share."""

import ipaddress
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import FrameType
from typing import Any, ClassVar, Final

from monoceros import _core
from monoceros.compat import server_names
from monoceros.config.settings.permissions import PERMISSIONS, warnings
from monoceros.config.settings.uwsgi import announcement
from monoceros.workers.base import Worker
from monoceros.workers.errors import ErrorStream
from monoceros.workers.observer import Observer, make_access, make_observer
from monoceros.workers.overrides import Route, Visit, needs_route, unheard

#: The signals that order a worker to end.
ENDING_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


def trust_options(cfg: Any) -> dict[str, Any]:
    """Whose word counts about a request, and what a request may look like."""
    return {
        "forwarded_allow_ips": normalized(cfg.forwarded_allow_ips),
        "secure_scheme_headers": list(cfg.secure_scheme_headers.items()),
        "trusted_proxy_headers": cfg.trusted_proxy_headers,
        "forwarder_headers": cfg.forwarder_headers,
        "header_map": cfg.header_map,
        "proxy_protocol": cfg.proxy_protocol,
        "proxy_allow_ips": normalized(cfg.proxy_allow_ips),
        "protocol": cfg.protocol,
        "uwsgi_allow_ips": normalized(cfg.uwsgi_allow_ips),
        **{name: bool(getattr(cfg, name)) for name in PERMISSIONS},
    }


def normalized(networks: Iterable[str]) -> list[str]:
    """Addresses and networks as ADDRESS/BITS; ``*`` stays."""
    return [text if text == "*" else str(ipaddress.ip_network(text)) for text in networks]


class EngineWorker(Worker):
    """A worker whose sockets, parsing, deadlines and connections are the engine's.

    Subclasses say how many app threads there are and who runs them.
    """

    #: The setting `timeout` is the deadline of a request, not of the interpreter's heartbeat.
    timeout_bounds_request: ClassVar[bool] = False

    uses_engine: ClassVar[bool] = True

    interface: ClassVar[str | None] = "wsgi"

    #: Its connections move to siblings that have room, and to those that follow it.
    moves_connections: ClassVar[bool] = True

    engine: _core.Engine | None = None

    #: Where the app runs in greenlets: lets others run until a descriptor takes more, or so many
    #: seconds have passed (None: any time); whether it takes more.
    wait_writable: Callable[[int, float | None], bool] | None = None

    #: The app is told that it may be called by several threads (`wsgi.multithread`).
    multithread: ClassVar[bool] = False

    #: Methods of Gunicorn's loop, with what to override instead.
    loop_methods: ClassVar[Mapping[str, str]] = {}

    observer: Observer | None = None
    route: Route | None = None

    #: What belongs to the thread, or greenlet, that serves a request.
    local: threading.local

    @property
    def threads(self) -> int:
        """App threads of this worker."""
        return 1

    @property
    def alive(self) -> bool:
        """False when the worker shall finish what it has and end. Whoever sets it to False, a hook
        that finds the process too large, say, has the worker drained and replaced."""
        return self._alive

    @alive.setter
    def alive(self, value: bool) -> None:
        self._alive = value
        if not value and not self.quick and self.engine is not None:
            if self.seat is not None:
                self.seat.draining()
            if self.drains_until is None:
                self.drains_until = time.monotonic() + self.cfg.graceful_timeout
            self.engine.drain(self.cfg.graceful_timeout)

    quick = False  # `alive` is set before the base has set it
    _alive = True

    #: When graceful_timeout is over, monotonic seconds; None before it has begun.
    drains_until: float | None = None

    @property
    def nr(self) -> int:
        """Requests so far. Where hooks are told of requests, the one whose `pre_request` has run
        is counted; else those that have been answered."""
        if self.observer is not None or self.seat is None:
            return self._nr
        return self._nr + self.seat.scoreboard.read(self.seat.slot).requests

    @nr.setter
    def nr(self, value: int) -> None:
        self._nr = value

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Say in the log what the configuration lets in that a strict server would refuse."""
        super().check_config(cfg, log)
        server_names()  # what a config file has put in the place of Gunicorn's may be refused
        for line in warnings(cfg):
            log.warning("%s", line)
        if cfg.protocol == "uwsgi":
            log.info("%s", announcement(cfg))
        for line in unheard(cls, cls.loop_methods):
            log.warning("%s", line)

    def options(self) -> dict[str, Any]:
        """The engine's options; times in seconds, 0 = off."""
        cfg = self.cfg
        assert self.seat is not None
        timeout = cfg.timeout
        server, server_software = server_names()
        return {
            "threads": self.threads,
            "multithread": self.multithread,
            "workers": self.seat.fleet,
            "worker_connections": cfg.worker_connections,
            "keepalive": cfg.keepalive,
            "handshake_timeout": cfg.handshake_timeout,
            "header_timeout": cfg.header_timeout,
            "body_timeout": cfg.body_timeout,
            "body_min_rate": cfg.body_min_rate,
            "queue_timeout": cfg.queue_timeout,
            "limit_request_body": cfg.limit_request_body,
            "write_timeout": cfg.write_timeout,
            "graceful_timeout": cfg.graceful_timeout,
            "timeout": timeout if self.timeout_bounds_request else 0,
            "request_timeout": cfg.request_timeout,
            "slow_after": 0 if self.timeout_bounds_request else timeout,
            "max_requests": 0 if self.max_requests == sys.maxsize else self.max_requests,
            "body_buffer": cfg.body_buffer,
            "spool_dir": cfg.spool_folder,
            "limit_request_line": cfg.limit_request_line,
            "limit_request_fields": cfg.limit_request_fields,
            "limit_request_field_size": cfg.limit_request_field_size,
            **trust_options(cfg),
            "sendfile": cfg.sendfile,
            "server": server,
            "server_software": server_software,
            "lifeline": self.seat.lifeline,
        }

    def make_engine(self) -> _core.Engine:
        """The engine of this process. Call it after fork, with the app loaded."""
        if self.seat is None:
            raise RuntimeError("an engine worker needs a seat in the scoreboard")
        access = make_access(self)
        routed = needs_route(type(self))
        observer = make_observer(self, engine_logs=access is not None, routed=routed)
        self.observer = observer
        app: Callable[..., Any] = self.wsgi
        if routed:
            # Made here and not in the constructor: gevent's is another one, once it has patched.
            self.local = threading.local()
            app = self.route = Route(self, self.wsgi)
        elif observer is not None:
            app = observer.wrap(app)
        return _core.Engine(
            [sock.fileno() for sock in self.sockets],
            app,
            self.options(),
            self.seat.scoreboard,
            self.seat.slot,
            observer=observer,
            # An observer writes the access log as well: it sees every request anyway.
            access=access if observer is None else None,
            errors=ErrorStream(self.log),
            log=self.engine_log,
            tls=self.seat.tls,
            wait_writable=self.wait_writable,
            handoff=self.seat.handoff,
        )

    def engine_log(self, level: int, message: str, exc_info: Any) -> None:
        """What the engine has to say."""
        self.log.log(level, "%s", message, exc_info=exc_info)

    def run(self) -> None:
        """Serve; returns when the engine has drained or stopped."""
        self.booted = False  # an engine that cannot be made is a boot failure
        # An engine may have connections as soon as it is there: from then on an order to end has
        # to drain it, and until it is known here there is nothing to drain.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
        try:
            engine = self.make_engine()
            self.engine = engine
            self.booted = True
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING_SIGNALS)
        signal.set_wakeup_fd(engine.wakeup_fd(), warn_on_full_buffer=False)
        self.notify()
        if not self.alive:  # TERM came before there was an engine to drain
            engine.drain(self.cfg.graceful_timeout)
        try:
            self.serve(engine)
        finally:
            signal.set_wakeup_fd(-1)
            self.report_cut(engine)

    def serve(self, engine: _core.Engine) -> None:
        """Run the app threads until the engine ends."""
        raise NotImplementedError

    def take(self, visit: Visit) -> None:
        """Lead a request through the methods that a subclass overrides, by way of `handle`."""
        connection = visit.connection
        self.handle(connection.listener, connection.sock, connection.client)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve the request that this thread has been given. For subclasses: called once per
        request where one of them overrides it, `handle_request` or `handle_error`.

        client: stands for the socket, which is not to be read from: the engine has done that.
        """
        try:
            self.handle_request(listener, self.local.visit.request, client, addr)
        except Exception as error:
            self.keep_failure(error)

    def handle_request(self, listener: Any, req: Any, client: Any, addr: Any) -> None:
        """Run `pre_request` and the app. For subclasses, as `handle`. Raises what the app does."""
        self.serve_visit()

    def serve_visit(self) -> None:
        """What `handle_request` does in the end: call the app."""
        assert self.route is not None
        self.route.call_app(self.local.visit)

    def keep_failure(self, error: Exception) -> None:
        """What `handle` does with an exception: `handle_error` hears of it, the engine answers."""
        visit: Visit = self.local.visit
        visit.failure = error
        self.handle_error(visit.request, visit.connection.sock, visit.connection.client, error)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """For subclasses: called with what the app raises. The engine answers and logs that by
        itself, and what is wrong with a request."""

    def report_cut(self, engine: _core.Engine) -> None:
        """Say which requests did not get their answer."""
        cut = list(engine.cut)
        if cut:
            self.log.log(
                logging.WARNING,
                "Worker (pid:%s) ended before these could be finished: %s. A longer "
                "graceful_timeout would let them.",
                self.pid,
                ", ".join(cut),
            )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """TERM: drain, which `alive` brings with it."""
        super().handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """INT, QUIT: end now, whatever runs."""
        if self.engine is None:
            super().handle_quit(sig, frame)
            return
        if self.quick:
            return
        self.quick = True
        self.alive = False
        self.cfg.worker_int(self)
        self.engine.stop()
        self.after_stop()

    def after_stop(self) -> None:
        """The engine has been told to stop from a signal handler."""
