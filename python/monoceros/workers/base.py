"""What every worker class has in common: Gunicorn's Worker, with a seat in the scoreboard.

Rules:
- The constructor runs in the process that forks (arbiter or mold) and touches no process state.
- `init_process` runs in the worker: environment, signals, app, `post_worker_init`, then `run`. A
  subclass that overrides it ends in `super().init_process()`.
- The worker counts as READY when it first calls `notify` (or ``self.tmp.notify``) in `run`: a class
  whose `run` still has start-up work to do serves only then. A class that never does sets
  `ready_at_first_notify` to False, and is READY right before `run`.
- A class that derives from this one alone brings sockets and HTTP of its own: nothing here needs
  the engine.
- While it boots, TERM, INT and QUIT end a worker at once, with status 0. A stray HUP, USR2, TTIN,
  TTOU or WINCH does nothing.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, ClassVar

from monoceros import spewing
from monoceros.parentage import die_with
from monoceros.watching import WatchedFiles, Watcher, teller
from monoceros.workers.broken import BrokenApp, load
from monoceros.workers.choice import class_for
from monoceros.workers.seat import Seat


def prepare_loading(cfg: Any) -> None:
    """What has to be so before a process loads the app."""
    if cfg.spew:
        spewing.start()
    if cfg.reload:
        # A bytecode file is taken for the source's while second and size are the same.
        sys.dont_write_bytecode = True


class Heartbeat:
    """`worker.tmp`: Gunicorn's name for what tells the master that the worker lives. It beats the
    scoreboard; there is no file."""

    def __init__(self, beaten: Callable[[], None] | None = None) -> None:
        """`beaten` is called after each beat."""
        self._seat: Seat | None = None
        self._local = time.monotonic()
        self._beaten = beaten

    def take_seat(self, seat: Seat) -> None:
        """From now on beat in this seat."""
        self._seat = seat

    def notify(self) -> None:
        """Beat."""
        self._local = time.monotonic()
        if self._seat is not None:
            self._seat.beat()
        if self._beaten is not None:
            self._beaten()

    def last_update(self) -> float:
        """Time of the last beat, seconds on the monotonic clock."""
        if self._seat is not None:
            return self._seat.last_beat() or self._local
        return self._local

    def fileno(self) -> int:
        """There is no file: -1."""
        return -1

    def close(self) -> None:
        """Nothing to close."""


class Worker:
    """Base of all worker classes; see the module for its rules.

    `timeout` is half the setting, the interval in which `notify` has to be called. `max_requests`
    has its jitter applied and is sys.maxsize when off.
    """

    SIGNALS: ClassVar[list[signal.Signals]] = [
        getattr(signal, f"SIG{name}")
        for name in ("ABRT", "HUP", "QUIT", "INT", "TERM", "USR1", "USR2", "WINCH", "CHLD")
    ]
    PIPE: ClassVar[list[int]] = []

    #: READY at the first `notify` in `run`; else, for classes that never call it, before `run`.
    ready_at_first_notify: ClassVar[bool] = True

    #: Sockets, parsing and TLS are the engine's.
    uses_engine: ClassVar[bool] = False

    #: The interface of the apps that it serves: "wsgi", "asgi", or None for whatever it may be.
    interface: ClassVar[str | None] = None

    def __init__(
        self,
        age: int,
        ppid: int,
        sockets: Sequence[Any],
        app: Any,
        timeout: float,
        cfg: Any,
        log: Any,
    ) -> None:
        self.age = age
        self.pid: int | str = "[booting]"
        self.ppid = ppid
        self.sockets = list(sockets)
        self.app = app
        self.timeout = timeout
        self.cfg = cfg
        self.booted = False
        self.aborted = False
        self.reloader: Any = None
        self.nr = 0
        self.max_requests = (
            cfg.max_requests + random.randint(0, cfg.max_requests_jitter)
            if cfg.max_requests > 0
            else sys.maxsize
        )
        self.alive = True
        self.log = log
        self.tmp = Heartbeat(self._beaten)
        self.wsgi: Any = None
        self.wait_fds: list[Any] = []
        self.seat: Seat | None = None
        #: Told to end without waiting for anything (INT, QUIT, ABRT).
        self.quick = False

    def __str__(self) -> str:
        return f"<Worker {self.pid}>"

    def take_seat(self, seat: Seat) -> None:
        """Called by the process that forks, between the constructor and `pre_fork`."""
        self.seat = seat
        self.tmp.take_seat(seat)

    def notify(self) -> None:
        """Tell the master that the worker lives. Call it at least every `timeout` seconds."""
        self.tmp.notify()

    def _beaten(self) -> None:
        if self._running and self.booted:
            self._announce()

    def _announce(self) -> None:
        """READY, once."""
        if self.seat is not None and not self._announced:
            self._announced = True
            self.seat.ready()

    _announced = False
    # `run` has been called.
    _running = False

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Called by the master when it listens; raise ConfigError for what cannot work."""

    def run(self) -> None:
        """Serve until told to end."""
        raise NotImplementedError

    def init_process(self) -> None:
        """Become a worker and serve; returns or raises SystemExit when it is over."""
        for name, value in self.cfg.env.items():
            os.environ[name] = value
        if self.cfg.identity.assume():
            die_with(self.ppid)
        random.seed()  # siblings must not share a sequence
        self.wait_fds = list(self.sockets)
        if not self.uses_engine:
            self._make_wakeup_pipe()
        self.init_signals()
        prepare_loading(self.cfg)
        since = getattr(self.app, "loading_since", None) or time.time_ns()
        self.load_wsgi()
        self._suit_app()
        if self.cfg.reload:
            self.watch(since)
        self.cfg.post_worker_init(self)
        self.booted = True
        if not self.alive:
            return  # told to end while the app swallowed the order
        if not self.ready_at_first_notify:
            self._announce()
        # The master learns that the boot is over, and that what it waits for is `notify`.
        self.tmp.notify()
        self._running = True
        self.run()

    def _make_wakeup_pipe(self) -> None:
        """A signal makes `wait_fds` readable, so that a loop of Python's need not wait for its end
        of turn to hear of it."""
        self.PIPE = list(os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))  # type: ignore[misc]
        self.wait_fds.append(self.PIPE[0])
        signal.set_wakeup_fd(self.PIPE[1], warn_on_full_buffer=False)

    def load_wsgi(self) -> None:
        """Import the app; raises what the app raises, unless `reload` is set."""
        is_news = self.seat.is_news if self.seat is not None else lambda _error: True
        self.wsgi = load(self.app, self.cfg, self.log, is_news, type(self))

    def _suit_app(self) -> None:
        """Become the class that serves the app, where the app decides."""
        fitting = class_for(type(self), self.cfg, self.wsgi)
        if fitting is not type(self):
            # Hooks have seen this object and may have given it attributes: it stays the same one.
            self.__class__ = fitting
            self.init_signals()
            if self.seat is not None:
                self.seat.serves_asgi()

    def watch(self, since: int) -> None:
        """Tell the master when a file of the app changes, or has changed `since` (wall clock,
        nanoseconds)."""
        if self.seat is None or self.seat.edits < 0:
            return
        missing = self.wsgi.files if isinstance(self.wsgi, BrokenApp) else ()
        files = WatchedFiles(self.cfg.reload_extra_files, missing, since)
        tell = teller(self.seat.edits, os.getpid())
        self.reloader = Watcher(files, self.cfg.reload_engine, tell, self.log)
        self.start_reloader(self.reloader)

    def start_reloader(self, reloader: Watcher) -> None:
        """On a thread of its own."""
        reloader.start()

    def init_signals(self) -> None:
        """Install the handlers. Main thread only.

        Each takes the place of the handler that the boot had: an order to end that comes in
        between must not find the default, which would look like a crash.
        """
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, self.handle_exit)
        signal.signal(signal.SIGINT, self.handle_quit)
        signal.signal(signal.SIGQUIT, self.handle_quit)
        signal.signal(signal.SIGABRT, self.handle_abort)
        signal.signal(signal.SIGUSR1, self.handle_usr1)
        signal.signal(signal.SIGWINCH, self.handle_winch)
        for number in (signal.SIGHUP, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU):
            signal.signal(number, self.handle_stray)
        signal.siginterrupt(signal.SIGTERM, False)
        signal.siginterrupt(signal.SIGUSR1, False)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """TERM: finish and end. While booting there is nothing to finish."""
        self.alive = False
        if not self.booted:
            raise SystemExit(0)
        if self.seat is not None:
            self.seat.draining()  # nobody but a signal's sender knows yet

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """INT, QUIT: end now."""
        if self.quick:
            return  # a terminal's INT and the master's QUIT: the hook runs once
        self.quick = True
        self.alive = False
        if self.booted:
            self.cfg.worker_int(self)
        raise SystemExit(0)

    def handle_abort(self, sig: int, frame: FrameType | None) -> None:
        """ABRT: the master holds the worker to be stuck."""
        self.quick = True
        self.alive = False
        self.aborted = True
        self.cfg.worker_abort(self)
        raise SystemExit(1)

    def handle_usr1(self, sig: int, frame: FrameType | None) -> None:
        """USR1: reopen the log files."""
        self.log.reopen_files()

    def handle_winch(self, sig: int, frame: FrameType | None) -> None:
        """WINCH: a terminal was resized; nothing to a worker."""
        self.log.debug("worker: SIGWINCH ignored.")

    def handle_stray(self, sig: int, frame: FrameType | None) -> None:
        """A signal that is meant for the master."""
        self.log.debug("worker: %s ignored, it is for the master.", signal.Signals(sig).name)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """For classes that speak HTTP in Python: log what went wrong with a request."""
        self.log.error(
            "Error handling request %s from %s",
            getattr(req, "uri", "(no URI read)"),
            addr,
            exc_info=exc,
        )
