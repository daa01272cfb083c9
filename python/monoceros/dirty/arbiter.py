"""The dirty arbiter: one process, one thread, between the web workers and the dirty workers.

Rules:
- Nothing in the loop waits but the loop's own poll.
- No app is imported here: a reload brings new code because new workers import it.
- What workers have sent is read before what clients have sent: an app that uses the stash in its
  `init` finds the tables that it has declared.
- It ends with its master, takes its workers along, and removes the socket that would be left
  behind.

SERVING until TERM or INT: STOPPING lets calls finish for dirty_graceful_timeout; ENDING (QUIT, a
second TERM, the end of that time, the master's death) waits for nothing but the workers' ends.
"""

import contextlib
import enum
import logging
import os
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from monoceros.arbiter import spawn, states
from monoceros.arbiter.signals import SIGNALS, SignalInbox, signal_name
from monoceros.arbiter.states import Departure
from monoceros.dirty.clients import Clients
from monoceros.dirty.fleet import DirtyFleet
from monoceros.dirty.poller import Poller
from monoceros.dirty.pool import Pool
from monoceros.dirty.reporting import Reporting
from monoceros.dirty.router import Router
from monoceros.dirty.tables import Tables

if TYPE_CHECKING:
    from monoceros.arbiter.arbiter import Arbiter


class State(enum.Enum):
    """What the dirty arbiter as a whole is doing."""

    SERVING = "serving"
    STOPPING = "stopping"
    ENDING = "ending"
    GONE = "gone"


class Event(enum.Enum):
    """What happens to it."""

    STOP = "stop"
    END = "end"
    ALL_GONE = "all gone"


MOVES: Final[Mapping[tuple[State, Event], State]] = {
    (State.SERVING, Event.STOP): State.STOPPING,
    (State.SERVING, Event.END): State.ENDING,
    (State.STOPPING, Event.STOP): State.ENDING,
    (State.STOPPING, Event.END): State.ENDING,
    (State.STOPPING, Event.ALL_GONE): State.GONE,
    (State.ENDING, Event.STOP): State.ENDING,
    (State.ENDING, Event.END): State.ENDING,
    (State.ENDING, Event.ALL_GONE): State.GONE,
}


class DirtyArbiter:
    """The process; attributes without documentation are the ones that hook authors know."""

    def __init__(
        self,
        server: "Arbiter",
        listener: socket.socket,
        socket_path: str,
        lifeline: int,
        master: socket.socket,
    ) -> None:
        """In the new process. `lifeline` reports end-of-file when the master is no more; reports
        to `master` are read by it when it likes."""
        self._server = server
        self.cfg = server.cfg
        self.log = server.log
        self.pid = os.getpid()
        self.ppid = server.pid
        self.socket_path = socket_path
        self.tmpdir = str(Path(socket_path).parent)
        self.worker_age = 0
        self.num_workers: int = self.cfg.dirty_workers
        self.state = State.SERVING
        self._listener = listener
        self._lifeline = lifeline
        self._deadline: float | None = None
        self._inbox = SignalInbox()
        self._poller = Poller()
        self._fleet = DirtyFleet()
        self.workers = self._fleet.workers
        self._reporting = Reporting(self, self._fleet, master)
        tables = Tables()
        self._router = Router(self, self._fleet)
        self._pool = Pool(self, self._fleet, self._poller, self._router, tables)
        self._clients = Clients(self, listener, self._poller, self._router, tables)

    @property
    def alive(self) -> bool:
        """It serves."""
        return self.state is State.SERVING

    @property
    def stopping(self) -> bool:
        """It is on its way out."""
        return self.state is not State.SERVING

    @property
    def app_specs(self) -> dict[str, int | None]:
        """Each app's number of workers, None for all, by path."""
        return {
            spec.path: self._pool.generation.limit(spec) for spec in self._pool.generation.specs
        }

    # For the rooms of this house.

    def why_not(self, app: str) -> str | None:
        """Why a call of this app has no sense now; None when it has."""
        return self._pool.why_not(app)

    @property
    def pool(self) -> Pool:
        """The workers."""
        return self._pool

    @property
    def clients(self) -> Clients:
        """The clients."""
        return self._clients

    def run_hook(self, name: str, *arguments: Any) -> None:
        """Run a hook of the configuration. What it raises is logged and goes no further."""
        try:
            getattr(self.cfg, name)(*arguments)
        except Exception:
            self.log.exception("Exception in %s hook", name)

    def take_configuration(self, cfg: Any) -> None:
        """This configuration is in force from now on."""
        self._server.environment.apply(cfg.env)
        self.log.setup(cfg)
        spawn.title("dirty-arbiter", cfg.proc_name)
        self.cfg = cfg

    def release_in_child(self) -> None:
        """In a dirty worker: close the descriptors that are the dirty arbiter's, or of others."""
        self._inbox.close()
        self._poller.release_in_child()
        self._listener.close()
        os.close(self._lifeline)
        self._reporting.close()
        for record in self._fleet:
            record.stacks.close()

    # From start to end.

    def run(self) -> int:
        """Serve until told to stop; the exit status."""
        self.log.info("Dirty arbiter starting (pid: %s)", self.pid)
        self.run_hook("on_dirty_starting", self)
        self._inbox.install()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        self._poller.watch(self._inbox.fileno())
        self._poller.watch(self._lifeline)
        self._poller.watch(self._reporting.fileno())
        self._clients.begin()
        self._pool.manage(time.monotonic())
        while self.state is not State.GONE:
            self._turn()
        self.log.info("Dirty arbiter exiting (pid: %s)", self.pid)
        return 0

    def _turn(self) -> None:
        events = self._poller.poll(self._patience())
        now = time.monotonic()
        if events.pop(self._lifeline, 0):
            self._orphaned()
        if events.pop(self._reporting.fileno(), 0):
            for change in self._reporting.orders():
                if not self.stopping:
                    self._change_number(self.num_workers + change)
        events.pop(self._inbox.fileno(), None)
        signals = self._inbox.take()
        for number in signals:
            self._take_signal(number, now)
        self._pool.hear(events, now)
        if signal.SIGCHLD in signals:
            self._pool.reap(now)
        self._clients.turn(events, now)
        self._router.turn(now)
        self._pool.turn(now)
        if self.stopping:
            self._go_on_stopping(now)
        else:
            self._pool.manage(now)
        self._router.dispatch(now)
        # Workers may have been written to from anywhere.
        self._poller.update(self._clients.finish, (record.link for record in self._fleet))
        self._reporting.turn()

    def _patience(self) -> float:
        """Seconds that the poll may take."""
        now = time.monotonic()
        deadlines = [self._deadline, self._router.next_deadline(), self._clients.accept_at]
        deadlines += self._pool.deadlines(now)
        until = min((each for each in deadlines if each is not None), default=None)
        return -1 if until is None else max(0.0, until - now) + 0.001

    def _orphaned(self) -> None:
        """The master is no more: leave nothing behind."""
        self._poller.unwatch(self._lifeline)
        self._poller.unwatch(self._reporting.fileno())
        self.log.warning("The master is gone: the dirty arbiter ends (pid: %s)", self.pid)
        self._step(Event.END)
        with contextlib.suppress(OSError):
            Path(self.socket_path).unlink()
        with contextlib.suppress(OSError):
            Path(self.tmpdir).rmdir()

    def _step(self, event: Event) -> None:
        self.state = states.step(MOVES, self.state, event)
        if self.state is State.ENDING:
            self._deadline = None
            self._router.give_up()
            for record in self._fleet:
                record.kill(Departure.STOP)

    # Signals.

    def _take_signal(self, number: int, now: float) -> None:
        if number == signal.SIGCHLD:
            return
        name = signal_name(number).removeprefix("SIG").lower()
        self.log.debug("Dirty arbiter handling signal: %s", name)
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stop(now)
        elif number == signal.SIGQUIT:
            self._step(Event.END)
        elif number == signal.SIGUSR1:
            self.log.reopen_files()
            for record in self._fleet:
                record.tell(signal.SIGUSR1)
        elif self.stopping:
            return
        elif number == signal.SIGHUP:
            self._reload()
        elif number == signal.SIGTTIN:
            self._change_number(self.num_workers + 1)
        elif number == signal.SIGTTOU:
            self._change_number(self.num_workers - 1)

    def _change_number(self, number: int) -> None:
        least = self._pool.generation.least_workers
        if number < min(least, self.num_workers):
            self.log.warning(
                "SIGTTOU: Cannot decrease below %d dirty workers (required by app specs)", least
            )
            return
        if number > self.num_workers and not self._pool.generation.apps_of(number - 1):
            self.log.warning(
                "SIGTTIN: %d dirty workers hold every app as often as it may be loaded; a further "
                "one would have nothing to do. Raise an app's number of workers, or remove it.",
                self.num_workers,
            )
            return
        self.num_workers = number
        self._pool.look()
        self.log.info("Dirty workers wanted: %d", number)

    def _stop(self, now: float) -> None:
        self._step(Event.STOP)
        if self.state is State.STOPPING:
            self._deadline = now + self.cfg.dirty_graceful_timeout
            self._clients.end()

    def _go_on_stopping(self, now: float) -> None:
        if self.state is State.STOPPING and self._deadline is not None and now >= self._deadline:
            for record in self._fleet:
                self._pool.tell_unfinished(record)
            self._step(Event.END)
        if not len(self._fleet):
            self._router.give_up()
        if len(self._router.queue):
            return  # the workers go on with what waits
        for record in self._fleet:
            record.retire(Departure.STOP, now)
        unread = self.state is State.STOPPING and self._clients.unread
        if not len(self._fleet) and not unread:
            self._step(Event.ALL_GONE)

    def _reload(self) -> None:
        """HUP: the configuration and the code anew."""
        server = self._server
        server.environment.restore()
        # The master has just said what there is to say about this configuration.
        speaker = logging.getLogger("gunicorn.error")
        speaker.disabled = True
        try:
            server.app.reload()
            self.take_configuration(server.app.cfg)
        except (Exception, SystemExit) as error:
            speaker.disabled = False
            server.environment.apply(self.cfg.env)
            self.log.error("Reload of dirty apps failed, nothing has changed: %s", error)
            return
        speaker.disabled = False
        self.log.reopen_files()
        self._pool.take(self.cfg)
