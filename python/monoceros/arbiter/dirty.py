"""The dirty arbiter as the master sees it: start it, keep it, end it.

`monoceros.dirty` has the process itself and what apps use.

OFF         no dirty apps are wanted
WANTED      to be started, now or when the back-off allows
RUNNING     a process is there
LEAVING     told to end because no dirty apps are wanted any more
STOPPING    told to end with the server
STOPPED     the server stops, and there is no process

Rules:
- It is there before the first web worker, and goes when the last one has gone: requests that
  finish during a stop may still call dirty apps.
- It is told of a reload when the new generation of web workers has proven itself: a reload that
  fails leaves the dirty apps alone.
- It is started again when it ends, less and less often when it ends at once.
- Nothing of `monoceros.dirty` is imported while no dirty apps are wanted: the master's memory is
  every worker's.
"""

import contextlib
import enum
import os
import signal
import socket
import time
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn

from monoceros.arbiter import spawn, states
from monoceros.arbiter.backoff import Backoff
from monoceros.arbiter.dirty_report import DirtyReport, pair
from monoceros.arbiter.explain import Ending, OutOfMemoryCounter, describe_end
from monoceros.arbiter.signals import blocked
from monoceros.arbiter.stacks import StackFile
from monoceros.config.settings.dirty import SOCKET_VARIABLE

if TYPE_CHECKING:
    from monoceros.arbiter.arbiter import Arbiter
    from monoceros.dirty.home import Home

#: What the dirty arbiter gets beyond dirty_graceful_timeout, seconds, before it is killed.
MARGIN: Final = 5.0

#: The same for a stop that waits for nobody.
QUICK_MARGIN: Final = 2.0


class State(enum.Enum):
    """What the master wants of the dirty arbiter, and has."""

    OFF = "off"
    WANTED = "wanted"
    RUNNING = "running"
    LEAVING = "leaving"
    STOPPING = "stopping"
    STOPPED = "stopped"


class Event(enum.Enum):
    """What happens to it."""

    WANTED = "wanted"
    UNWANTED = "unwanted"
    FORKED = "forked"
    ENDED = "ended"
    STOP = "stop"


MOVES: Final[Mapping[tuple[State, Event], State]] = {
    (State.OFF, Event.WANTED): State.WANTED,
    (State.OFF, Event.UNWANTED): State.OFF,
    (State.OFF, Event.STOP): State.STOPPED,
    (State.WANTED, Event.WANTED): State.WANTED,
    (State.WANTED, Event.UNWANTED): State.OFF,
    (State.WANTED, Event.FORKED): State.RUNNING,
    (State.WANTED, Event.STOP): State.STOPPED,
    (State.RUNNING, Event.WANTED): State.RUNNING,
    (State.RUNNING, Event.UNWANTED): State.LEAVING,
    (State.RUNNING, Event.ENDED): State.WANTED,
    (State.RUNNING, Event.STOP): State.STOPPING,
    (State.LEAVING, Event.UNWANTED): State.LEAVING,
    # What was told to leave leaves; the next one is started by a further reload's WANTED.
    (State.LEAVING, Event.WANTED): State.RUNNING,
    (State.LEAVING, Event.ENDED): State.OFF,
    (State.LEAVING, Event.STOP): State.STOPPING,
    (State.STOPPING, Event.STOP): State.STOPPING,
    (State.STOPPING, Event.ENDED): State.STOPPED,
    (State.STOPPED, Event.STOP): State.STOPPED,
}


class Keeper:
    """Keeps the dirty arbiter."""

    def __init__(self, server: "Arbiter") -> None:
        self._server = server
        self.state = State.OFF
        self._home: Home | None = None
        #: The configuration whose user was let in last.
        self._admitted: Any = None
        self._stacks: StackFile | None = None
        #: What it says of its workers; None while there is no process.
        self.report: DirtyReport | None = None
        self._backoff = Backoff(server.app.cfg.respawn_backoff)
        self._memory = OutOfMemoryCounter()
        self._started_at = 0.0
        self._deadline: float | None = None
        self._hurried = False
        # What was exported by a server that has become this one by exec is not ours.
        os.environ.pop(SOCKET_VARIABLE, None)

    @property
    def pid(self) -> int:
        """Of the process; 0 when there is none."""
        return int(self._server.dirty_arbiter_pid)

    @property
    def gone(self) -> bool:
        """The server stops, and nothing is left of it here."""
        return self.state is State.STOPPED

    # What the configuration asks for.

    def prepare(self, cfg: Any) -> None:
        """Make what workers of this configuration need to be clients, before any is forked.

        Raises ConfigError or OSError.
        """
        if not wants(cfg):
            return
        from monoceros.dirty.home import Home

        if self._home is None:
            self._home = Home.make(cfg.identity)
            os.environ[SOCKET_VARIABLE] = self._home.path
        else:
            self._home.let_in(cfg.identity)

    def start(self, now: float) -> None:
        """The server starts: have the dirty arbiter run, if the configuration asks for one.

        Raises ConfigError or OSError.
        """
        cfg = self._server.cfg
        self.prepare(cfg)
        if wants(cfg):
            self._step(Event.WANTED)
            self.turn(now)
        elif cfg.dirty_apps or cfg.dirty_workers:
            missing = "dirty_workers is 0" if cfg.dirty_apps else "dirty_apps is empty"
            self._server.log.warning(
                "%s: there are no dirty apps. Both settings are needed.", missing
            )

    def reload(self) -> None:
        """A reload of the server has worked: follow it."""
        now = time.monotonic()
        wanted = wants(self._server.cfg)
        before = self.state
        if before in (State.STOPPING, State.STOPPED):
            return
        self._step(Event.WANTED if wanted else Event.UNWANTED)
        if before is State.RUNNING and wanted:
            self.tell(signal.SIGHUP)
        elif self.state is State.LEAVING:
            self._order(signal.SIGTERM, now, self._grace())
        self._backoff.reset()

    # In the loop.

    def turn(self, now: float) -> None:
        """Start who is missing, kill who does not end."""
        self._admit()
        if self.report is not None:
            self.report.hear()
        if self.state is State.WANTED and self._backoff.allowance(now, 0) != 0:
            self._fork(now)
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            self._hurried = True
            self._server.log.error(
                "Dirty arbiter (pid:%s) has not ended in time: it is killed.", self.pid
            )
            self.tell(signal.SIGKILL)
        if self.state is State.RUNNING:
            self._backoff.ready(now, self._started_at, self._started_at)

    def _admit(self) -> None:
        """Let in the workers' user of the configuration in force; a reload that fails may have
        let in another one."""
        cfg = self._server.cfg
        if self._home is None or cfg is self._admitted:
            return
        self._admitted = cfg
        try:
            self._home.let_in(cfg.identity)
        except OSError as error:
            self._server.log.error("Web workers may not reach dirty apps: %s", error)

    def next_deadline(self, now: float) -> float:
        """When `turn` has to be called at the latest; the loop turns every second anyway."""
        deadlines = [now + 1.0]
        if self._deadline is not None:
            deadlines.append(self._deadline)
        if self.state is State.WANTED:
            deadlines.append(max(now, self._backoff.next_at))
        return min(deadlines)

    def tell(self, number: int) -> None:
        """Send the dirty arbiter a signal, if there is one."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def stop(self, now: float, *, quick: bool) -> None:
        """The web workers are gone, or nobody waits for them: end it. May be called again."""
        before = self.state
        self._step(Event.STOP)
        if self.state is not State.STOPPING:
            return
        if quick and not self._hurried:
            self._order(signal.SIGQUIT, now, QUICK_MARGIN)
            self._hurried = True
        elif not quick and before is not State.STOPPING:
            self._order(signal.SIGTERM, now, self._grace())

    def _grace(self) -> float:
        return float(self._server.cfg.dirty_graceful_timeout) + MARGIN

    def _order(self, number: int, now: float, grace: float) -> None:
        self._deadline = now + grace
        self.tell(number)

    def ended(self, pid: int, status: int, now: float) -> bool:
        """A child has ended; True when it was the dirty arbiter."""
        if not pid or pid != self.pid:
            return False
        server = self._server
        ordered = self.state in (State.LEAVING, State.STOPPING)
        ending = Ending.from_status(status, self._memory)
        told = describe_end(
            "Dirty arbiter", pid, ending, ordered="its server" if ordered else None, ours=None
        )
        if told is not None:
            server.log.log(told[0], "%s", told[1])
        if self._stacks is not None:
            self._stacks.close()
            self._stacks = None
        self._forget_report()
        server.dirty_arbiter_pid = 0
        server.dirty_arbiter = None
        self._deadline = None
        self._hurried = False
        self._step(Event.ENDED)
        if ordered or ending.clean:
            return True
        if self._backoff.failed(now, self._started_at, True) and self._backoff.in_doubt:
            server.log.error(
                "The dirty arbiter has ended %d times in a row. Next try in %.1f s.",
                self._backoff.failures,
                max(0.0, self._backoff.next_at - now),
            )
        return True

    def _fork(self, now: float) -> None:
        server, home = self._server, self._home
        assert home is not None
        stacks = StackFile.create()
        ends: tuple[socket.socket, ...] = ()
        try:
            ours, theirs = ends = pair()
            with blocked():
                pid = os.fork()
                if pid == 0:
                    ours.close()
                    _live_as_dirty_arbiter(server, home.listener, home.path, stacks, theirs)
        except OSError as error:
            stacks.close()
            for end in ends:
                end.close()
            self._backoff.failed(now, now, False)
            server.log.error("Cannot start the dirty arbiter: %s", error)
            return
        theirs.close()
        self.report = DirtyReport(ours)
        self._stacks = stacks
        self._started_at = now
        server.dirty_arbiter_pid = pid
        self._step(Event.FORKED)

    def _step(self, event: Event) -> None:
        self.state = states.step(MOVES, self.state, event)

    # Ends.

    def close(self) -> None:
        """The server ends, or this is a child that has no part in it: let go of the socket."""
        if self._home is not None:
            self._home.close()
        if self._stacks is not None:
            self._stacks.close()
        self._forget_report()

    def _forget_report(self) -> None:
        if self.report is not None:
            self.report.close()
            self.report = None


def wants(cfg: Any) -> bool:
    """Whether a configuration asks for dirty apps."""
    return bool(cfg.dirty_workers and cfg.dirty_apps)


def _live_as_dirty_arbiter(
    server: "Arbiter",
    listener: socket.socket,
    path: str,
    stacks: StackFile,
    master: socket.socket,
) -> NoReturn:
    """The whole life of the dirty arbiter; call it right after fork, with signals blocked."""
    from monoceros.dirty.arbiter import DirtyArbiter

    code = spawn.CRASHED
    try:
        stacks.register()
        own_listener, lifeline = listener.dup(), os.dup(server.lifeline)
        if server.generations:
            server.release_in_child(server.generation, stacks)
        for generation in server.generations:
            for web_listener in generation.listeners:
                web_listener.close()
        spawn.title("dirty-arbiter", server.cfg.proc_name)
        code = DirtyArbiter(server, own_listener, path, lifeline, master).run()
    except SystemExit as end:
        code = spawn.exit_code(end)
    except BaseException:
        with contextlib.suppress(Exception):
            server.log.exception("The dirty arbiter ends on an error")
        traceback.print_exc()
    finally:
        spawn.leave(code, quick=True)
