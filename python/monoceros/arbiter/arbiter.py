"""The arbiter: one loop that hears signals, workers and molds, and does what `states` says.

Rules:
- One thread. Nothing in the loop waits but the loop's own poll; reload, stop and respawn are
  states that each turn looks at.
- The app is never imported here, with preload neither.
- A hook that fails is logged by its name; only on_starting and when_ready can keep the server from
  starting.
"""

import contextlib
import logging
import os
import select
import signal
import time
from collections.abc import Callable
from typing import Any, ClassVar, Final, NoReturn

from monoceros import SERVER_SOFTWARE, __version__, _core, daemon, handover, systemd
from monoceros.arbiter import spawn, states
from monoceros.arbiter.backoff import Backoff
from monoceros.arbiter.certificates import Certificates
from monoceros.arbiter.control import Control
from monoceros.arbiter.dirty import Keeper
from monoceros.arbiter.edits import Edits
from monoceros.arbiter.environment import EnvironmentOverlay
from monoceros.arbiter.exchanges import Exchanges
from monoceros.arbiter.fleet import Fleet, WorkerRecord
from monoceros.arbiter.generation import Generation
from monoceros.arbiter.leaving import Leaving
from monoceros.arbiter.metrics import Metrics
from monoceros.arbiter.mold import Mold
from monoceros.arbiter.plan import make_plan
from monoceros.arbiter.reaper import Reaper
from monoceros.arbiter.reload import Reload
from monoceros.arbiter.service import Service
from monoceros.arbiter.signals import SignalInbox, signal_name
from monoceros.arbiter.spawner import Spawner
from monoceros.arbiter.stacks import StackFile
from monoceros.arbiter.states import (
    Departure,
    MoldState,
    ServerEvent,
    ServerState,
    WorkerEvent,
    WorkerState,
)
from monoceros.arbiter.stopping import Stopping
from monoceros.arbiter.upgrade import Upgrade, command
from monoceros.arbiter.watchdog import Watchdog
from monoceros.errors import ConfigError, HaltServer
from monoceros.listeners import (
    ATTEMPTS,
    PAUSE,
    AddressInUse,
    Listener,
    open_listeners,
)
from monoceros.pidfile import Pidfile
from monoceros.tls import open_store

#: Slots of the scoreboard: room for a whole new generation beside the old one, and for TTIN.
LEAST_SLOTS: Final = 64
SLOTS_PER_WORKER: Final = 4
SPARE_SLOTS: Final = 32

#: Slots that TTIN cannot take: a replacement is there before what it replaces goes, so a board
#: without a free slot could neither reload nor recycle.
REPLACEMENT_SLOTS: Final = 8

#: Threads per slot at least, so that a reload may ask for more than the start did.
LEAST_THREADS: Final = 32

#: Exit status after an exception that the arbiter did not expect (Gunicorn's contract).
BUG_STATUS: Final = 255


class Arbiter:
    """The master process: `run` starts the server and leaves by SystemExit when it has stopped.

    Attributes and methods without documentation of their own are the ones that hook authors know
    from Gunicorn.
    """

    WORKER_BOOT_ERROR: ClassVar[int] = spawn.BOOT_ERROR
    APP_LOAD_ERROR: ClassVar[int] = spawn.APP_LOAD_ERROR
    START_CTX: ClassVar[dict[Any, Any]] = {}

    def __init__(self, app: Any) -> None:
        """Raises ConfigError for a configuration that cannot be used."""
        os.environ["SERVER_SOFTWARE"] = SERVER_SOFTWARE
        self.app = app
        self.pid = os.getpid()
        try:
            self.inheritance = handover.take(os.environ)
            activated = systemd.take_descriptors(os.environ, self.pid)
            self.service = Service(self)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        #: Sockets that take the place of `bind`: the service manager has opened them, or an old
        #: master has handed them over and has not said where they listen.
        self.activated = activated or self.inheritance.unnamed
        self.systemd = bool(activated)
        #: The old master's pid while it lives; 0 when there is none.
        self.master_pid = self.inheritance.master
        self.upgrade = Upgrade(self, self.inheritance)
        self.dirty_arbiter_pid = 0
        self.dirty_arbiter: Any = None
        self.worker_age = 0
        self.pidfile: Pidfile | None = None
        self.LISTENERS: list[Listener] = []
        self._num_workers: int | None = None
        self.environment = EnvironmentOverlay()
        self.log: Any = None
        self.state = ServerState.STARTING
        self.started_at = time.monotonic()
        #: WINCH has sent the workers home.
        self.resting = False
        #: A worker has been READY since the start.
        self.ever_ready = False
        self.inbox = SignalInbox()
        self.SIG_QUEUE = self.inbox.queue
        # Whoever holds the reading end learns of our death, however it came.
        self.lifeline, self._lifeline_writer = os.pipe2(os.O_CLOEXEC)
        self.scoreboard = _core.Scoreboard(
            max(LEAST_SLOTS, SLOTS_PER_WORKER * app.cfg.workers + SPARE_SLOTS),
            max(LEAST_THREADS, app.cfg.threads),
        )
        self.fleet = Fleet(self.scoreboard)
        self.WORKERS = self.fleet.workers
        self.generations: list[Generation] = []
        self._generation_count = 0
        self.molds: list[Mold] = []
        self.backoff = Backoff(app.cfg.respawn_backoff)
        self.dirty = Keeper(self)
        self.reloading = Reload(self)
        self.stop_order = Stopping(self)
        self.spawner = Spawner(self)
        self.reaper = Reaper(self)
        self.watchdog = Watchdog(self)
        self.certificates = Certificates(self)
        self.metrics = Metrics(self)
        self.edits = Edits(self)
        self.leaving = Leaving(self)
        self.exchanges = Exchanges(self)
        self.control = Control(self)
        self.START_CTX.update(command(app))
        self.setup(app)

    # What hook authors read.

    def setup(self, app: Any) -> None:
        """Take the app's configuration."""
        self.app = app
        cfg = app.cfg
        if self.log is None:
            self.log = cfg.logger_class(cfg)
        self.take_cfg(cfg)
        self.environment.apply(cfg.env)
        self.num_workers = cfg.workers

    def take_cfg(self, cfg: Any) -> None:
        """Take over what hook authors read of a configuration."""
        self.cfg = cfg
        self.worker_class = cfg.worker_class
        self.address = self.addresses(cfg)
        self.timeout = cfg.timeout
        self.proc_name = self.upgrade.name(cfg.proc_name)

    def addresses(self, cfg: Any) -> list[Any]:
        """Where to listen: at the sockets that were handed over, or else at `bind`."""
        return list(self.activated) or cfg.address

    @property
    def master_name(self) -> str:
        """Master, or Master.2 while the old one lives."""
        return self.upgrade.name("Master")

    @property
    def reexec_pid(self) -> int:
        """The pid of the new master that USR2 has started; 0 when there is none."""
        return self.upgrade.successor

    def pidfile_path(self, cfg: Any) -> str | None:
        """Where this master's pid is written; None for nowhere."""
        return None if cfg.pidfile is None else self.upgrade.name(cfg.pidfile)

    @property
    def num_workers(self) -> int:
        """How many workers are wanted."""
        return self._num_workers or 0

    @num_workers.setter
    def num_workers(self, value: int) -> None:
        old, self._num_workers = self._num_workers, value
        self.run_hook("nworkers_changed", self, value, old)

    @property
    def attainable_workers(self) -> int:
        """How many of the wanted workers the scoreboard has room for."""
        return min(self.num_workers, self.places)

    @property
    def places(self) -> int:
        """How many workers there may be at most."""
        return max(1, self.scoreboard.slots - REPLACEMENT_SLOTS)

    @property
    def generation(self) -> Generation:
        """The generation that is to serve."""
        return self.generations[-1]

    @property
    def stopping(self) -> bool:
        """The server is on its way out."""
        return self.state not in (ServerState.STARTING, ServerState.RUNNING)

    @property
    def stopping_quickly(self) -> bool:
        """Nobody waits for requests any more."""
        return self.state is ServerState.STOPPING_QUICKLY

    def wakeup(self) -> None:
        """Make the loop turn at once. Safe in any thread."""
        self.inbox.wake()

    def kill_worker(self, pid: int, sig: int) -> None:
        """Send a worker a signal; TERM drains it and KILL ends it, and it is replaced."""
        record = self.fleet.of_pid(pid)
        now = time.monotonic()
        if record is not None and sig == signal.SIGTERM:
            self.fleet.retire(record, Departure.OPERATOR, now)
        elif record is not None and sig == signal.SIGKILL:
            self.fleet.kill(record, Departure.OPERATOR)
        elif record is not None:
            self.fleet.broadcast(sig, [record])
        self.wakeup()

    def kill_workers(self, sig: int) -> None:
        """`kill_worker` for all."""
        for pid in list(self.WORKERS):
            self.kill_worker(pid, sig)

    def stop(self, graceful: bool = True) -> None:
        """Begin to stop; returns at once, the loop does the rest."""
        self.stop_order.begin(time.monotonic(), graceful=graceful)

    def halt(self, reason: str | None = None, exit_status: int = 0) -> None:
        """Begin to stop for a reason that is logged; returns at once."""
        self.stop_order.begin(
            time.monotonic(), graceful=True, reason=reason, exit_status=exit_status
        )

    def reload(self) -> None:
        """As HUP does; returns at once."""
        self.reloading.want()
        self.wakeup()

    def reexec(self) -> None:
        """As USR2 does; returns at once."""
        self.upgrade.want()
        self.wakeup()

    def spawn_worker(self) -> None:
        """Start one worker beyond those that are there."""
        self.spawner.start(1, time.monotonic())

    def spawn_workers(self) -> None:
        """Start the workers that are missing."""
        self.manage_workers()

    def reap_workers(self) -> None:
        """Look for children that have ended."""
        self.reaper.turn()

    def murder_workers(self) -> None:
        """Look at every deadline."""
        self.watchdog.turn(time.monotonic())

    def run_hook(self, name: str, *arguments: Any) -> None:
        """Run a hook of the configuration. What it raises is logged and goes no further, but for
        the two ways to order a stop: SystemExit and HaltServer."""
        try:
            getattr(self.cfg, name)(*arguments)
        except HaltServer as order:
            self.halt(order.reason, order.exit_status)
        except SystemExit as order:
            self.halt(f"The {name} hook asked for it.", spawn.exit_code(order))
        except Exception:
            self.log.exception("Exception in %s hook", name)

    # From start to end.

    def run(self) -> NoReturn:
        """Serve until told to stop; raises SystemExit with the exit status."""
        try:
            self._start()
            while self.state is not ServerState.STOPPED:
                try:
                    self._turn()
                except HaltServer as order:
                    self.halt(order.reason, order.exit_status)
        except SystemExit:
            raise
        except BaseException:
            self.log.exception("Unhandled exception in main loop")
            self._end_all()
            self.stop_order.exit_status = BUG_STATUS
        self._finish()

    def _start(self) -> None:
        try:
            self.inbox.install()
            self.log.info("Starting monoceros %s", __version__)
            pidfile_path = self.pidfile_path(self.cfg)
            if pidfile_path is not None:
                self.pidfile = Pidfile(pidfile_path)
                self.pidfile.create(self.pid)
            self._start_hook("on_starting")
            tls = open_store(self.cfg)
            handed_over = self.inheritance.listeners(self.cfg)
            self.LISTENERS = open_listeners(
                self.address, self.cfg, existing=handed_over, retry=self._retry_bind()
            )
            for listener in handed_over:
                if listener not in self.LISTENERS:
                    listener.close()
            self.leaving.warn_of_sharing(self.LISTENERS, self.cfg)
            self.generations.append(
                self.make_generation(self.cfg, self.LISTENERS, self.worker_class, tls)
            )
            addresses = ",".join(str(listener) for listener in self.LISTENERS)
            self.log.info("Listening at: %s (%s)", addresses, self.pid)
            self.log.info("Using worker: %s", self.cfg.worker_class_str)
            if hasattr(self.worker_class, "check_config"):
                self.worker_class.check_config(self.cfg, self.log)
            self._start_hook("when_ready")
            self.set_title()
            self.dirty.start(time.monotonic())
        except (ConfigError, RuntimeError, OSError) as error:
            self.log.error("%s", error)
            self.stop_order.exit_status = 1
        except HaltServer as order:
            self.stop_order.reason = order.reason
            self.stop_order.exit_status = order.exit_status
        except SystemExit as order:
            self.stop_order.exit_status = spawn.exit_code(order)
        else:
            if not self.stopping:
                self.state = states.step(states.SERVER_MOVES, self.state, ServerEvent.STARTED)
                daemon.listens(getattr(self.app, "launched", -1))
                self.app.launched = -1
            return
        self._finish()

    def _start_hook(self, name: str) -> None:
        """A hook without which the server does not start."""
        try:
            getattr(self.cfg, name)(self)
        except HaltServer:
            raise
        except Exception:
            self.log.exception("Exception in %s hook: the server does not start", name)
            raise SystemExit(1) from None

    def _retry_bind(self) -> Callable[[AddressInUse], bool]:
        attempts = 1

        def retry(error: AddressInUse) -> bool:
            nonlocal attempts
            if attempts >= ATTEMPTS:
                return False
            if attempts == 1:
                self.log.info("%s; trying again for %d s", error, (ATTEMPTS - 1) * PAUSE)
            attempts += 1
            self.inbox.wait(PAUSE)
            for number in self.inbox.take():
                if number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
                    raise HaltServer("", 0)
            return True

        return retry

    def _finish(self) -> NoReturn:
        """The workers are gone (or never were): clear up and leave."""
        order = self.stop_order
        self.close_listeners()
        self.exchanges.close()
        self.service.ends()
        started = self.state is not ServerState.STARTING
        # Without a reason there is nothing to alarm anybody with, or it has been told already.
        level = logging.ERROR if order.exit_status and order.reason else logging.INFO
        if started:
            self.log.log(level, "Shutting down: %s", self.master_name)
        if order.reason:
            self.log.log(level, "Reason: %s", order.reason)
        if self.pidfile is not None:
            self.pidfile.remove()
        self.control.close()
        self.dirty.close()
        if started:
            try:
                self.cfg.on_exit(self)
            except Exception:
                self.log.exception("Exception in on_exit hook")
        raise SystemExit(order.exit_status)

    def _end_all(self) -> None:
        """After a bug in the loop, without what the loop is made of: workers and molds may finish
        as in a graceful stop; a further order to stop, or the end of that time, kills them."""
        self.scoreboard.stopping = True
        pids = {record.pid for record in self.fleet if record.pid is not None}
        pids |= {mold.pid for mold in self.molds if mold.state is not MoldState.GONE}
        deadline = time.monotonic() + self.cfg.graceful_timeout
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            while pids and (number == signal.SIGKILL or time.monotonic() < deadline):
                try:
                    pid, _ = os.waitpid(-1, os.WNOHANG)
                except ChildProcessError:
                    return
                pids.discard(pid)
                if pid == 0:
                    self.inbox.wait(0.1)
                    if {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT} & set(self.inbox.take()):
                        break

    # The loop.

    def _turn(self) -> None:
        for number in self.inbox.take():
            self._take_signal(number)
        # Before the workers are looked at: what they write from now on wakes the next poll.
        self.scoreboard.acknowledge()
        self.spawner.hear_molds()
        self.edits.turn()
        self.reaper.turn()
        now = time.monotonic()
        for record in self.fleet:
            self.observe(record, now)
        self.dirty.turn(now)
        self.watchdog.turn(now)
        self.spawner.bury_molds(now)
        self.certificates.turn(now)
        self.metrics.turn(now)
        if self.stopping:
            self.stop_order.turn(now)
        else:
            self.reloading.turn(now)
            self.manage_workers()
        self.exchanges.turn()
        self.upgrade.turn(now)
        self.control.turn(now)
        self.fleet.share()
        self.service.turn(now)
        if self.state is not ServerState.STOPPED:
            self._wait()

    def _wait(self) -> None:
        now = time.monotonic()
        until = min(
            self.watchdog.next_deadline(now),
            self.service.next_beat,
            self.certificates.next_at,
            self.upgrade.next_look(now),
        )
        until = min(until, self.metrics.next_at, self.control.next_at)
        if self.backoff.next_at > now:
            until = min(until, self.backoff.next_at)
        until = min(until, self.dirty.next_deadline(now))
        poller = select.poll()
        poller.register(self.inbox.fileno(), select.POLLIN)
        poller.register(self.scoreboard.fileno(), select.POLLIN)
        poller.register(self.edits.fileno(), select.POLLIN)
        for descriptor in self.upgrade.descriptors():
            poller.register(descriptor, select.POLLIN)
        for descriptor, events in self.control.descriptors():
            poller.register(descriptor, events)
        for mold in self.molds:
            if not mold.hung_up:
                poller.register(mold.channel.fileno(), select.POLLIN)
        # Rounded up: a wait that ends just before its deadline would turn the loop for nothing.
        poller.poll(max(0.0, until - now) * 1000 + 1)

    def observe(self, record: WorkerRecord, now: float) -> None:
        """See what a worker says of itself in its slot."""
        status = self.scoreboard.read(record.slot)
        says_ready = status.state in (_core.READY, _core.DRAINING)
        if record.state is WorkerState.BOOTING and says_ready and status.ready_at:
            record.move(WorkerEvent.SERVES)
            record.ready_at = status.ready_at
            record.worker.booted = True
            self._note_interface(record, asgi=status.asgi)
            record.generation.proven = True
            if not record.generation.cfg.reload:  # there a broken app gets ready, too
                record.generation.seen.forget()
            self.ever_ready = True
        if record.state is not WorkerState.READY:
            return
        if status.state == _core.DRAINING:
            self.fleet.retired_itself(record, now)
            return
        self.backoff.ready(now, record.started_at, record.ready_at or now)
        if status.recycle and record.marked is None and not self._recycling():
            record.marked = Departure.RECYCLE
            self.log.info("Autorestarting worker after current request. (pid:%s)", record.pid)

    def _note_interface(self, record: WorkerRecord, *, asgi: bool) -> None:
        """The app has decided which class its worker is; told once for each generation."""
        record.asgi = asgi
        if asgi and not record.generation.asgi_told:
            record.generation.asgi_told = True
            self.log.info("Using worker: asgi, because the app is an ASGI app")

    def _recycling(self) -> bool:
        """One worker at a time is replaced because it asked for it."""
        return any(
            record.marked is Departure.RECYCLE and record.state is WorkerState.READY
            for record in self.fleet
        )

    def manage_workers(self) -> None:
        """Start who is missing, drain who can be spared."""
        now = time.monotonic()
        plan = make_plan(self.fleet, self.generation, self.attainable_workers)
        for record, departure in plan.retire:
            if record.generation is self.generation or self.leaving.molds_are_gone():
                self.fleet.retire(record, departure, now)
        if plan.missing:
            self.spawner.start(plan.missing, now)

    # Signals.

    def _take_signal(self, number: int) -> None:
        name = signal_name(number).removeprefix("SIG").lower()
        if number == signal.SIGCHLD:
            self.log.debug("Handling signal: chld")
            return
        self.log.info("Handling signal: %s", name)
        if number == signal.SIGTERM:
            # A second one means that somebody does not want to wait.
            graceful = self.state is not ServerState.STOPPING_GRACEFULLY
            self.stop_order.begin(time.monotonic(), graceful=graceful)
        elif number in (signal.SIGINT, signal.SIGQUIT):
            self.stop_order.begin(time.monotonic(), graceful=False)
        elif number == signal.SIGUSR1:
            self.log.reopen_files()
            self.fleet.broadcast(signal.SIGUSR1)
            for mold in self.molds:
                mold.tell(signal.SIGUSR1)
            self.dirty.tell(signal.SIGUSR1)
        elif self.stopping:
            return
        elif number == signal.SIGHUP:
            self.reloading.want()
        elif number == signal.SIGTTIN:
            self.num_workers += 1
            if self.num_workers > self.attainable_workers:
                self.log.warning(
                    "%d workers are wanted, there are places for %d: further ones wait. "
                    "A restart with a larger setting of workers makes more places.",
                    self.num_workers,
                    self.attainable_workers,
                )
        elif number == signal.SIGTTOU:
            if self.num_workers > 1:
                self.num_workers -= 1
        elif number == signal.SIGUSR2:
            self.upgrade.want()
        elif number == signal.SIGWINCH:
            self._rest()
        else:
            self.log.warning("Nothing is done on signal %s", name)

    def _rest(self) -> None:
        """WINCH: let the workers finish and start no others, until HUP or TTIN."""
        if not self.cfg.daemon:
            self.log.debug("SIGWINCH ignored: this is no daemon, a terminal was resized.")
            return
        self.num_workers = 0
        self.resting = True
        self.log.info("No worker is wanted any more: HUP brings them back")

    # Generations.

    def make_generation(
        self,
        cfg: Any,
        listeners: list[Listener],
        worker_class: Any,
        tls: _core.TlsStore | None = None,
    ) -> Generation:
        """A new generation, with a number that none has had."""
        self._generation_count += 1
        handoff = self.exchanges.for_generation(cfg, listeners, worker_class, tls)
        return Generation(
            self._generation_count, cfg, listeners, worker_class, tls, handoff=handoff
        )

    def take_generation(self, generation: Generation) -> None:
        """From now on this generation is to serve; it may be one that did before."""
        if generation in self.generations:
            self.generations.remove(generation)
        self.generations.append(generation)
        self.LISTENERS = generation.listeners
        self.take_cfg(generation.cfg)
        self.backoff.base = generation.cfg.respawn_backoff

    def forget_generations(self, now: float) -> None:
        """Nobody returns to the others: close what only they had."""
        for other in self.generations[:-1]:
            for mold in self.molds:
                if mold.generation is other:
                    mold.dismiss(Departure.RELOAD, now)
            self.leaving.forget(other)
            other.seen.close()
        del self.generations[:-1]

    def close_listeners(self) -> None:
        """Close this process's sockets and remove what stands for them."""
        for generation in self.generations:
            for listener in generation.listeners:
                self.leaving.give_up(listener)

    def set_title(self) -> None:
        """What `ps` shows."""
        spawn.title("master", self.proc_name)

    def release_in_child(self, generation: Generation, stacks: StackFile) -> None:
        """In a worker or mold: close the descriptors that are the arbiter's, or of others. May be
        called again in a fork of a fork."""
        self.inbox.close()
        self.service.close()
        self.upgrade.let_go()
        self.edits.let_go()
        self.control.let_go()
        if self._lifeline_writer >= 0:
            os.close(self._lifeline_writer)
            self._lifeline_writer = -1
        self.dirty.close()
        for mold in self.molds:
            mold.close()
        for record in self.fleet:
            if record.stacks is not stacks:
                record.stacks.close()
        for other in self.generations:
            for listener in other.listeners:
                if listener not in generation.listeners:
                    listener.close()
