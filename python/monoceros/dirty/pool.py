"""The pool of dirty workers: start, replace, reload, explain.

Rules:
- Who is missing is started, but no faster than the back-off allows; the pool never ends the
  server.
- New code takes its place worker by worker, and until one of its workers is ready a failure takes
  everything back: see `fleet`.
- Nobody is killed unexplained: the log first shows what the worker runs and its stacks.
"""

import contextlib
import os
import socket
from typing import TYPE_CHECKING, Any

from monoceros.arbiter import states
from monoceros.arbiter.backoff import Backoff
from monoceros.arbiter.explain import FATAL, Ending, OutOfMemoryCounter, describe_end
from monoceros.arbiter.signals import blocked
from monoceros.arbiter.stacks import StackFile, process_state
from monoceros.arbiter.states import Departure, WorkerEvent, WorkerState
from monoceros.dirty.app import Declaration, parse_spec
from monoceros.dirty.errors import DirtyError
from monoceros.dirty.fleet import (
    DirtyFleet,
    DirtyGeneration,
    DirtyRecord,
    missing_seats,
    spare_workers,
)
from monoceros.dirty.frames import ANSWERS, Frame, Kind
from monoceros.dirty.link import Link
from monoceros.dirty.poller import OUTPUT, Poller
from monoceros.dirty.router import Router
from monoceros.dirty.tables import Tables
from monoceros.dirty.tally import Tally
from monoceros.dirty.values import decode_whole
from monoceros.dirty.worker import DirtyWorker, live_as_dirty_worker
from monoceros.logging.stacks import format_stacks

if TYPE_CHECKING:
    from monoceros.dirty.arbiter import DirtyArbiter


class Pool:
    """The dirty workers of the configuration in force, and of the former one while it goes."""

    def __init__(
        self,
        arbiter: "DirtyArbiter",
        fleet: DirtyFleet,
        poller: Poller,
        router: Router,
        tables: Tables,
    ) -> None:
        self._arbiter = arbiter
        self._fleet = fleet
        self._poller = poller
        self._router = router
        self._tables = tables
        self._memory = OutOfMemoryCounter()
        self.backoff = Backoff(arbiter.cfg.respawn_backoff)
        self.generation = self.make_generation(arbiter.cfg, 1)
        self._former: DirtyGeneration | None = None
        self._looks = True

    @staticmethod
    def make_generation(cfg: Any, number: int) -> DirtyGeneration:
        """What a configuration asks for."""
        return DirtyGeneration(number, cfg, [parse_spec(text) for text in cfg.dirty_apps])

    # From one generation to the next.

    def take(self, cfg: Any) -> None:
        """Have workers of a new configuration, and new code, take the place of those there are."""
        arbiter, former = self._arbiter, self.generation
        self.generation = self.make_generation(cfg, former.number + 1)
        if self._former is None or former.proven:
            self._former = former
        if cfg.dirty_workers != former.cfg.dirty_workers:
            arbiter.num_workers = cfg.dirty_workers
        self.backoff.reset()
        self.backoff.base = cfg.respawn_backoff
        self.look()
        arbiter.log.info("Dirty workers are replaced: generation %d", self.generation.number)

    @property
    def _former_serves(self) -> bool:
        """There is a generation to return to."""
        former = self._former
        return former is not None and any(record.generation is former for record in self._fleet)

    def _take_back(self) -> None:
        """The new code does not boot, and the former workers are still there."""
        arbiter, failed, former = self._arbiter, self.generation, self._former
        assert former is not None
        self.generation, self._former = former, None
        if former.cfg.dirty_workers != failed.cfg.dirty_workers:
            arbiter.num_workers = former.cfg.dirty_workers
        arbiter.take_configuration(former.cfg)
        self.look()
        self.backoff.reset()
        arbiter.log.error(
            "Reload of dirty apps failed: the new code does not boot (%s). The former workers "
            "keep serving; mend it and send HUP again.",
            failed.last_failure,
        )

    def _finish_reload(self) -> None:
        former = self._former
        if former is None or any(r.generation is not self.generation for r in self._fleet):
            return
        if not all(r.state is WorkerState.READY for r in self._fleet):
            return
        self._former = None
        former.seen.close()
        # Those of apps that are no more.
        self._router.refuse_waiting(self.why_not)
        self._arbiter.log.info(
            "Reload of dirty apps complete: %d dirty workers of generation %d",
            len(self._fleet),
            self.generation.number,
        )

    # Workers.

    def look(self) -> None:
        """Something has happened that `manage` has to see."""
        self._looks = True

    def manage(self, now: float) -> None:
        """Start who is missing, let go who can be spared; does nothing when nothing has changed."""
        if not self._looks:
            return
        generation = self.generation
        for record, departure in spare_workers(self._fleet, generation, self._arbiter.num_workers):
            record.retire(departure, now)
        missing = missing_seats(self._fleet, generation, self._arbiter.num_workers)
        booting = sum(record.state is WorkerState.BOOTING for record in self._fleet)
        allowed = self.backoff.allowance(now, booting)
        for seat in missing if allowed is None else missing[:allowed]:
            try:
                self._fork(seat, now)
            except OSError as error:
                self._failed(generation, f"a dirty worker that could not be forked: {error}", now)
                return
        # Who could not be started yet is tried again.
        self._looks = bool(missing)
        if self._former is not None and not missing:
            self._finish_reload()

    def _fork(self, seat: int, now: float) -> None:
        generation = self.generation
        self._arbiter.worker_age += 1
        worker = DirtyWorker(
            self._arbiter.worker_age,
            self._arbiter.pid,
            generation.apps_of(seat),
            generation.cfg,
            self._arbiter.log,
            self._arbiter.socket_path,
        )
        stacks, tally = StackFile.create(), Tally()
        try:
            ours, theirs = socket.socketpair()
            with theirs, blocked():
                pid = os.fork()
                if pid == 0:
                    ours.close()
                    live_as_dirty_worker(self._arbiter, worker, theirs, tally, stacks, generation)
        except BaseException:
            stacks.close()
            tally.close()
            raise
        worker.pid = pid
        record = DirtyRecord(seat, generation, worker, pid, Link(ours), tally, stacks, now)
        self._fleet.add(record)
        self._poller.add(record.link)
        self._arbiter.run_hook("dirty_post_fork", self._arbiter, worker)

    def hear(self, events: dict[int, int], now: float) -> None:
        """Take what workers have said out of `events`."""
        for record in self._fleet:
            event = events.pop(record.link.fileno(), 0)
            if event & OUTPUT:
                record.link.flush()
            if event & ~OUTPUT:
                self._hear_worker(record, now)

    def _hear_worker(self, record: DirtyRecord, now: float) -> None:
        try:
            frames = record.link.receive()
        except DirtyError as error:
            self._arbiter.log.error("Dirty worker (pid:%s) is killed: %s", record.pid, error)
            record.kill(Departure.STUCK)
            frames = []
            record.link.ended = True
        for frame in frames:
            self._take_word(record, frame, now)

    def _take_word(self, record: DirtyRecord, frame: Frame, now: float) -> None:
        generation = record.generation
        if frame.kind not in ANSWERS:
            self.look()
        match frame.kind:
            case Kind.IMPORTED:
                for path, told in decode_whole(frame.payload).items():
                    generation.declared[path] = Declaration(told["workers"], told["stashes"])
                    self._tables.ensure(told["stashes"])
            case Kind.READY if record.state is WorkerState.BOOTING:
                record.move(WorkerEvent.SERVES)
                record.ready_at = now
                record.worker.booted = True
                self._arbiter.log.info(
                    "Dirty worker ready (pid: %s) after %.1f s", record.pid, now - record.started_at
                )
                generation.proven = True
                generation.seen.forget()
            case Kind.LEAVING:
                record.retire(Departure.OWN, now)
            case kind if kind in ANSWERS:
                self._router.answer(record, frame, now)

    def reap(self, now: float) -> None:
        """Draw the conclusions from workers that have ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            record = self._fleet.of_pid(pid)
            if record is not None:
                self._ended(record, Ending.from_status(status, self._memory), now)

    def _ended(self, record: DirtyRecord, ending: Ending, now: float) -> None:
        # Its last words. A child of the app may hold the other end open.
        self._hear_worker(record, now)
        while not (record.link.ended or record.link.drained):
            self._hear_worker(record, now)
        ordered = record.departure
        record.move(WorkerEvent.REAPED)
        told = describe_end(
            "Dirty worker",
            record.pid,
            ending,
            ordered=ordered.value if ordered else None,
            ours=record.last_signal,
        )
        running = self._router.describe_running(record)
        if told is not None:
            self._arbiter.log.log(told[0], "%s%s", told[1].removesuffix("."), running or ".")
        if ending.signal in FATAL and record.last_signal is None:
            text = record.stacks.read()
            if text:
                self._arbiter.log.error(
                    "Where (pid:%s) crashed:\n%s", record.pid, format_stacks(text)
                )
        self._fleet.remove(record)
        self._poller.forget(record.link)
        self._router.worker_ended(record, ending)
        record.close()
        self.look()
        self._arbiter.run_hook("dirty_worker_exit", self._arbiter, record.worker)
        if (ordered is None or ordered in states.FAILED_DEPARTURES) and not self._arbiter.stopping:
            where = "" if record.ready_at is not None else " before it was ready"
            what = f"dirty worker (pid:{record.pid}): {ending.brief}{where}"
            self._failed(
                record.generation, what, now, record.started_at, record.ready_at is not None
            )

    def _failed(
        self,
        generation: DirtyGeneration,
        what: str,
        now: float,
        started_at: float | None = None,
        served: bool = False,
    ) -> None:
        """A dirty worker has ended, or was not made, though nobody wanted that."""
        generation.failures += 1
        generation.last_failure = what
        if generation is self.generation and not generation.proven and self._former_serves:
            self._take_back()
            return
        if generation is not self.generation:
            return
        if not self.backoff.failed(now, now if started_at is None else started_at, served):
            return
        if self.backoff.in_doubt:
            times = self.backoff.failures
            self._arbiter.log.error(
                "%s: %s. Next try in %.1f s.",
                "Failure" if times == 1 else f"Failure number {times} in a row",
                what,
                max(0.0, self.backoff.next_at - now),
            )
            self._router.refuse_waiting(self.why_not)

    def why_not(self, app: str) -> str | None:
        """Why a call of this app has no sense now; None when it has."""
        known = app in self.generation.paths or any(
            app in record.worker.app_paths for record in self._fleet if record.staying
        )
        if not known:
            return f"No workers available for app: {app}: it is not among dirty_apps"
        if self.backoff.in_doubt and not self._fleet.has_ready(app):
            return (
                f"No workers available for app: {app}: they end before they are ready "
                f"({self.generation.last_failure}); see the server's log"
            )
        return None

    # Deadlines.

    def deadlines(self, now: float) -> list[float | None]:
        """When `turn` has to be called at the latest."""
        deadlines: list[float | None] = []
        for record in self._fleet:
            deadlines.append(record.deadline)
            boot_timeout = record.generation.cfg.boot_timeout
            if record.state is WorkerState.BOOTING and boot_timeout:
                deadlines.append(record.started_at + boot_timeout)
        if self.backoff.next_at > now:
            deadlines.append(self.backoff.next_at)
        if self.backoff.failures:
            deadlines.append(now + 1.0)  # until the workers have been healthy for long enough
        return deadlines

    def turn(self, now: float) -> None:
        """Look at the deadlines."""
        for record in self._fleet:
            boot_timeout = record.generation.cfg.boot_timeout
            if record.state is WorkerState.BOOTING and boot_timeout:
                if now - record.started_at > boot_timeout:
                    self._arbiter.log.error(
                        "Dirty worker (pid:%s) has not booted within boot_timeout (%s s): it is "
                        "killed.\n%s",
                        record.pid,
                        boot_timeout,
                        self.stacks(record),
                    )
                    record.kill(Departure.BOOT_TIMEOUT)
            elif record.state is WorkerState.READY and record.ready_at is not None:
                self.backoff.ready(now, record.started_at, record.ready_at)
            if record.deadline is not None and now >= record.deadline:
                self.tell_unfinished(record)
                record.kill(record.departure or Departure.STOP)

    def tell_unfinished(self, record: DirtyRecord) -> None:
        """Say what a worker that is about to be killed still does."""
        self._arbiter.log.error(
            "Dirty worker (pid:%s) has not ended within dirty_graceful_timeout (%s s)%s: it is "
            "killed.\n%s",
            record.pid,
            record.generation.cfg.dirty_graceful_timeout,
            self._router.describe_running(record),
            self.stacks(record),
        )

    # Words.

    def stacks(self, record: DirtyRecord) -> str:
        """What each thread of a worker does, for the log."""
        text = ""
        with contextlib.suppress(PermissionError):
            text = record.stacks.request(record.pid)
        if text:
            return format_stacks(text)
        state = process_state(record.pid) or "gone"
        return f"(no stacks: the process did not write them in time; it is {state})"
