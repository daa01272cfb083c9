"""USR2: a new master beside the old one; see `states` for the way of an upgrade.

Rules:
- The new master is executed with the command, the folder and the environment that this one was
  started with, so that it is what is installed there now.
- It has the same sockets: at no moment does nobody listen.
- This master goes on serving whatever happens to the new one, and says in the log how that fares.
  It ends when the operator says so.
- An heir does not speak to the service manager and does not write the pidfile itself but one with
  `.2` behind its name. It learns of the old master's end from the kernel.
"""

import contextlib
import math
import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Any, Final, NoReturn

from monoceros import daemon, handover
from monoceros.arbiter import states
from monoceros.arbiter.explain import Ending
from monoceros.arbiter.signals import SIGNALS, blocked
from monoceros.arbiter.states import ReloadState, UpgradeEvent, UpgradeState, WorkerState
from monoceros.errors import ConfigError
from monoceros.pidfile import Pidfile

if TYPE_CHECKING:
    from monoceros.arbiter.arbiter import Arbiter

#: Behind the names of an heir and of its pidfile (Gunicorn's contract).
SUFFIX: Final = ".2"

#: How often an old kernel is asked whether the old master lives, seconds.
LOOK_INTERVAL: Final = 1.0

#: How long a new master may take to answer, seconds, before that is remarked on.
PATIENCE: Final = 60.0

#: What the new master writes into the pipe.
_READY: Final = b"ready\n"


class Upgrade:
    """The other master, if there is one: this one has started it, or was started by it."""

    def __init__(self, server: "Arbiter", inheritance: handover.Inheritance) -> None:
        self._server = server
        self.state = UpgradeState.IDLE
        #: The new master's pid; 0 when there is none.
        self.successor = 0
        #: USR2 has come; waits until no reload is under way.
        self.wanted = False
        self._patient_until = math.inf
        self._told = -1  # reading end of the new master's pipe
        self._output = -1  # what a new master says that is to be a daemon
        self._ready = inheritance.ready
        self._old = -1
        if inheritance.master:
            self._begin_as_heir(inheritance.master)

    def _begin_as_heir(self, master: int) -> None:
        # It may have ended already, or the kernel is older than 5.3 and has no such descriptors.
        with contextlib.suppress(OSError):
            self._old = os.pidfd_open(master)
        self.state = UpgradeState.HEIR

    def next_look(self, now: float) -> float:
        """When there is something to be seen that no descriptor tells of."""
        if self.state is UpgradeState.STARTING:
            return self._patient_until
        # Of the old master's end, on an old kernel.
        return now + LOOK_INTERVAL if self.heir and self._old < 0 else math.inf

    @property
    def heir(self) -> bool:
        """The old master lives, and this one is to take its place."""
        return self.state is UpgradeState.HEIR

    @property
    def other_answers(self) -> bool:
        """There is another master that answers requests that come to our addresses."""
        return self.state in (UpgradeState.HEIR, UpgradeState.ANSWERING)

    @property
    def addresses_are_shared(self) -> bool:
        """What stands for our addresses is needed by another master."""
        return self.state is not UpgradeState.IDLE

    def name(self, plain: str) -> str:
        """A name that an heir bears with a suffix."""
        return plain + SUFFIX if self.heir else plain

    def want(self) -> None:
        """USR2."""
        server = self._server
        # News of the old master's end may be as young as the signal.
        if self.heir and not self._old_has_ended():
            server.log.warning(
                "USR2 is not followed: this master (pid:%s) is a new one itself, and the old one "
                "(pid:%s) runs still. End one of them first.",
                server.pid,
                server.master_pid,
            )
        elif self.successor:
            server.log.warning(
                "USR2 is not followed: a new master (pid:%s) is there already.", self.successor
            )
        else:
            self.wanted = True

    def descriptors(self) -> list[int]:
        """What to wait for."""
        return [number for number in (self._told, self._old) if number >= 0]

    def turn(self, now: float) -> None:
        """Hear from the other master, and begin when that is wanted."""
        if self.heir:
            self._tell_ready()
            # A reload that is under way may still return to the former pidfile.
            if self._old_has_ended() and self._server.reloading.state is ReloadState.IDLE:
                self._be_promoted()
        elif self.state is UpgradeState.STARTING and self._successor_is_ready():
            self._move(UpgradeEvent.ANSWERS)
            self._server.log.info(
                "The new master (pid:%s) answers requests. TERM to this one (pid:%s) finishes the "
                "upgrade, TERM to the new one takes it back.",
                self.successor,
                self._server.pid,
            )
        elif self.state is UpgradeState.STARTING and now >= self._patient_until:
            self._patient_until = math.inf
            self._server.log.warning(
                "The new master (pid:%s) has not said for %g s that it answers requests; see what "
                "it says in its log. This one (pid:%s) goes on serving.",
                self.successor,
                PATIENCE,
                self._server.pid,
            )
        # A reload that is under way may still move or take back sockets.
        idle = self.state is UpgradeState.IDLE
        if self.wanted and idle and self._server.reloading.state is ReloadState.IDLE:
            self.wanted = False
            if not self._server.stopping:
                self._execute(now)
                self._server.wakeup()  # a HUP may have waited

    # The old master's side.

    def _execute(self, now: float) -> None:
        server = self._server
        ours, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            # A daemon's output goes nowhere, and with it why a new master does not start.
            output = daemon.output_file() if server.cfg.daemon else -1
            with blocked():
                pid = os.fork()
                if pid == 0:
                    self._become(theirs, output)
        except OSError as error:
            os.close(ours)
            server.log.error(
                "Cannot start a new master: %s. This one (pid:%s) goes on serving.",
                error.strerror,
                server.pid,
            )
            return
        finally:
            os.close(theirs)
        self._told = ours
        self._patient_until = now + PATIENCE
        self._output = output
        self.successor = pid
        self._move(UpgradeEvent.EXECUTED)
        server.log.info("Started a new master (pid:%s) beside this one (pid:%s)", pid, server.pid)

    def _become(self, ready: int, output: int) -> NoReturn:
        """In the fork: execute the command that this server was started with."""
        server = self._server
        try:
            signal.set_wakeup_fd(-1)
            for number in SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            if output >= 0:
                daemon.lend(output)
            server.cfg.pre_exec(server)
            os.set_inheritable(ready, True)
            environ = handover.environment(
                server.cfg.env_orig,
                server.LISTENERS,
                master=server.pid,
                pid=os.getpid(),
                ready=ready,
                manager=server.systemd,
                in_place_of_bind=bool(server.activated),
            )
            context = server.START_CTX
            os.chdir(context["cwd"])
            os.execvpe(context[0], context["args"], environ)
        except Exception:
            server.log.exception("Cannot become a new master")
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)

    def _successor_is_ready(self) -> bool:
        if self._told < 0:
            return False
        try:
            data = os.read(self._told, len(_READY))
        except BlockingIOError:
            return False
        # An end of the stream is no news: the kernel tells of the new master's end itself.
        os.close(self._told)
        self._told = -1
        return data == _READY

    def stops(self) -> None:
        """This master is told to stop."""
        if self.state is UpgradeState.STARTING:
            self._server.log.warning(
                "The new master (pid:%s) has not said yet that it answers requests: who comes in "
                "between waits for it.",
                self.successor,
            )

    def ended(self, ending: Ending) -> None:
        """The new master has been reaped."""
        server = self._server
        before = "" if self.state is UpgradeState.ANSWERING else " before it answered"
        how = f"The new master (pid:{self.successor}) ended with {ending.brief}{before}"
        if server.stopping:
            server.log.error("%s, and this one (pid:%s) is told to stop.", how, server.pid)
        elif before:
            said = daemon.said(self._output).strip() if self._output >= 0 else ""
            server.log.error(
                "The upgrade failed. %s; its own messages say why. This one (pid:%s) goes on "
                "serving.%s",
                how,
                server.pid,
                f"\n{said}" if said else "",
            )
        else:
            server.log.info("%s. This one (pid:%s) goes on serving.", how, server.pid)
        self._forget_output()
        self.successor = 0
        self._move(UpgradeEvent.ENDED)

    # The new master's side.

    def _tell_ready(self) -> None:
        """Say once that all workers are there."""
        server = self._server
        if self._ready < 0:
            return
        ready = sum(record.state is WorkerState.READY for record in server.fleet)
        if ready < server.attainable_workers or not server.ever_ready:
            return
        with contextlib.suppress(OSError):  # nobody listens any more
            os.write(self._ready, _READY)
        os.close(self._ready)
        self._ready = -1

    def _old_has_ended(self) -> bool:
        ended = os.getppid() != self._server.master_pid
        if ended and self._old >= 0:
            os.close(self._old)
            self._old = -1
        return ended

    def _be_promoted(self) -> None:
        """The old master has ended: this one takes its place, its name and its pidfile."""
        server = self._server
        self._move(UpgradeEvent.PROMOTED)
        server.log.info("Master has been promoted.")
        old, server.master_pid = server.master_pid, 0
        os.environ.pop(handover.PID, None)
        former, path = server.pidfile, server.pidfile_path(server.cfg)
        if former is not None and path is not None:
            server.pidfile = Pidfile(path)
            try:
                server.pidfile.create(server.pid, former=old)
            except ConfigError as error:
                server.log.error("%s; the pid stays in '%s'", error, former.path)
                server.pidfile = former
            else:
                former.remove()
        server.take_cfg(server.cfg)
        server.set_title()

    # Both.

    def let_go(self) -> None:
        """For a child: close what is the master's. May be called more than once."""
        self._forget_output()
        for number in (self._ready, self._old):
            if number >= 0:
                os.close(number)
        self._ready = self._old = -1

    def _forget_output(self) -> None:
        for number in (self._told, self._output):
            if number >= 0:
                os.close(number)
        self._told = self._output = -1

    def _move(self, event: UpgradeEvent) -> None:
        self.state = states.step(states.UPGRADE_MOVES, self.state, event)


def command(app: Any) -> dict[Any, Any]:
    """What executes this server again: `START_CTX`, in Gunicorn's form.

    The interpreter's own view of its command line is taken, because sys.argv does not tell whether
    a module or a file was run.
    """
    return {
        0: sys.executable,
        "args": [sys.executable, *sys.orig_argv[1:]],
        "cwd": getattr(app, "start_directory", None) or os.getcwd(),  # noqa: PTH109
    }
