"""Deadlines: of requests, of a silent interpreter, of a boot, of a drain.

Rules:
- Nobody is aborted unexplained: the log first names the worker, what it runs and every thread's
  stack.
- A request over its deadline is found by the worker's engine, which needs no interpreter, and
  comes here as an incident. With one app thread the worker is of no use any more: it is aborted at
  once and replaced. With several it goes on serving until its replacement is ready, then drains,
  and is aborted when only overdue requests are left.
- When it is the interpreter that is held, a worker with several is like one with a single thread.
- An interpreter that has not beaten for `timeout` while its worker serves is held by something:
  the worker is aborted and replaced. For classes without the engine this is Gunicorn's rule for
  `notify`; for engine classes with one app thread the request's own deadline covers it, and an
  idle worker does not beat.
- A machine that slept, or a master that was stopped, is nobody's fault: beats are counted from when
  the master itself runs again.
- Boot has a deadline of its own (`boot_timeout`), else one warning after `BOOT_WARNING`.
"""

import contextlib
import time
from typing import TYPE_CHECKING, Final

from monoceros import _core
from monoceros.arbiter import incident as incidents
from monoceros.arbiter.fleet import WorkerRecord
from monoceros.arbiter.mold import FORK_PATIENCE, Mold
from monoceros.arbiter.stacks import StackFile, process_state
from monoceros.arbiter.states import Departure, MoldState, WorkerState
from monoceros.logging.stacks import format_stacks

if TYPE_CHECKING:
    from monoceros.arbiter.arbiter import Arbiter

#: A boot without a deadline that takes this long, seconds, is told once, with its stacks.
BOOT_WARNING: Final = 60.0

#: The loop turns at least once a second; a gap this long, seconds, means that the master itself
#: did not run.
OWN_STALL: Final = 4.0

#: At a request's deadline the interpreter counts as held when it has not beaten for this share of
#: the request's time, and for this long, seconds. Beats come at least four times in that time.
HELD_SHARE: Final = 0.6
HELD_LEAST: Final = 0.3


class Watchdog:
    """Looks at every worker and mold once per turn of the loop."""

    def __init__(self, server: "Arbiter") -> None:
        self._server = server
        self._last_turn = time.monotonic()
        self._resumed_at = 0.0

    def turn(self, now: float) -> None:
        """Act on incidents and on deadlines that have passed."""
        if now - self._last_turn > OWN_STALL:
            self._resumed_at = now
        for record in self._server.fleet:
            if record.state in (WorkerState.READY, WorkerState.DRAINING):
                self._take_incidents(record, now)
            if record.state is WorkerState.BOOTING:
                self._check_boot(record, now)
            elif record.state in (WorkerState.READY, WorkerState.DRAINING):
                self._check_beat(record, now)
            if record.state is WorkerState.DRAINING:
                self._check_leftovers(record, now)
            self._server.fleet.pass_on(record, now)
            self._check_deadline(record, now)
        for mold in self._server.molds:
            self._check_mold(mold, now)
        self._last_turn = time.monotonic()

    def next_deadline(self, now: float) -> float:
        """When `turn` has to be called at the latest, monotonic seconds."""
        nearest = now + 1.0
        for record in self._server.fleet:
            for due in (record.deadline, record.term_at):
                if due is not None:
                    nearest = min(nearest, due)
            boot_timeout = record.generation.cfg.boot_timeout
            if record.state is WorkerState.BOOTING and boot_timeout:
                nearest = min(nearest, record.started_at + boot_timeout)
        for mold in self._server.molds:
            if mold.deadline is not None:
                nearest = min(nearest, mold.deadline)
        return nearest

    # Requests.

    def _take_incidents(self, record: WorkerRecord, now: float) -> None:
        for incident in self._server.scoreboard.incidents(record.slot):
            if incident.kind == _core.OVERDUE:
                self._overdue(record, incident, now)
            else:
                self._slow(record, incident, now)

    def _overdue(self, record: WorkerRecord, incident: _core.Incident, now: float) -> None:
        server = self._server
        # With one app thread nothing else can run. With several neither, when the interpreter is
        # held.
        alone = record.app_threads == 1
        silent = self._silence(record, incident, now)
        held = not alone and silent > 0
        client = (
            "The client got 504."
            if incident.answered
            else "Its answer had begun; the connection was cut."
        )
        if held:
            fate = f"Nothing else runs, Python is held ({silent:.1f} s): the worker is killed."
        elif alone:
            fate = "The worker is aborted and replaced."
        else:
            fate = "The worker drains when its replacement is ready."
        server.log.error(
            "%s (pid:%s): %s has run for %.1f s (%s), over its deadline. %s %s\n%s",
            "WORKER TIMEOUT" if alone else "REQUEST TIMEOUT",
            record.pid,
            incidents.describe(incident),
            incident.elapsed,
            incident.phase,
            client,
            fate,
            self._place(record, held=silent > 0),
        )
        try:
            incidents.log_access(server.log, incident)
        except Exception:
            server.log.exception("Cannot write the access-log line of a timed-out request")
        if held:
            # ABRT asks Python to run a handler; here it cannot, and more requests may be on their
            # way to this worker every moment.
            server.fleet.kill(record, Departure.OVERDUE)
        elif alone:
            server.fleet.abort(record, Departure.OVERDUE, now)
        elif record.state is WorkerState.READY:
            record.marked = Departure.OVERDUE

    def _slow(self, record: WorkerRecord, incident: _core.Incident, now: float) -> None:
        self._server.log.warning(
            "Slow request in worker (pid:%s): %s has run for %.1f s so far (%s). It goes on; "
            "request_timeout would bound it.\n%s",
            record.pid,
            incidents.describe(incident),
            incident.elapsed,
            incident.phase,
            self._place(record, held=self._silence(record, incident, now) > 0),
        )

    def _silence(self, record: WorkerRecord, incident: _core.Incident, now: float) -> float:
        """For how long the interpreter, or the event loop, has not beaten, where that is about as
        long as the request runs: it is held. 0 where it is not."""
        beat = self._server.scoreboard.read(record.slot).python_beat
        silent = now - max(beat, self._resumed_at)
        held = beat > 0 and silent > max(HELD_LEAST, incident.elapsed * HELD_SHARE)
        return silent if held else 0.0

    def _place(self, record: WorkerRecord, *, held: bool) -> str:
        """Where a request is."""
        if record.runs_coroutines and not held:
            return "It waits in a coroutine, whose stack its worker shows in a line of its own."
        return self._stacks(record.pid, record.stacks)

    def _check_leftovers(self, record: WorkerRecord, now: float) -> None:
        """A draining worker in which only overdue requests are left cannot finish."""
        running = self._server.scoreboard.read(record.slot).running
        if running and all(request.overdue for request in running):
            self._server.log.warning(
                "Worker (pid:%s) has only overdue requests left (%s): it is aborted.",
                record.pid,
                ", ".join(request.request for request in running),
            )
            self._server.fleet.abort(record, Departure.OVERDUE, now)

    # Workers.

    def _check_beat(self, record: WorkerRecord, now: float) -> None:
        timeout = record.generation.cfg.timeout
        if not timeout:
            return
        status = self._server.scoreboard.read(record.slot)
        if status.engine_beat and record.timeout_bounds_request:
            return
        if not status.engine_beat and record.state is WorkerState.DRAINING:
            return  # its loop may not turn any more; graceful_timeout bounds it
        last = max(status.python_beat, status.ready_at, self._resumed_at)
        silent = now - last
        if silent <= timeout:
            return
        self._server.log.critical(
            "WORKER TIMEOUT (pid:%s): its Python has not run for %.1f s (%s)%s. "
            "The worker is replaced.\n%s",
            record.pid,
            silent,
            process_state(record.pid or 0) or "gone",
            self._requests(record, now),
            self._stacks(record.pid, record.stacks),
        )
        if status.engine_beat:
            self._server.fleet.kill(record, Departure.STUCK)
        else:
            # A class that forgot to notify, or waits in Python, can still run its handler.
            self._server.fleet.abort(record, Departure.STUCK, now)

    def _check_boot(self, record: WorkerRecord, now: float) -> None:
        elapsed = now - max(record.started_at, self._resumed_at)
        timeout = record.generation.cfg.boot_timeout
        if timeout and elapsed > timeout:
            self._server.log.error(
                "Worker (pid:%s) has not booted within boot_timeout (%s s): it is killed.\n%s",
                record.pid,
                timeout,
                self._stacks(record.pid, record.stacks),
            )
            self._server.fleet.kill(record, Departure.BOOT_TIMEOUT)
        elif not timeout and elapsed > BOOT_WARNING and not record.boot_warned:
            record.boot_warned = True
            runs = self._server.scoreboard.read(record.slot).python_beat
            self._server.log.warning(
                "Worker (pid:%s) has been booting for %.0f s. It may take as long as it wants; "
                "boot_timeout would bound it.%s\n%s",
                record.pid,
                elapsed,
                " Its run() has not called notify() yet; a class that never does has to set "
                "ready_at_first_notify = False."
                if runs and not record.generation.uses_engine
                else "",
                self._stacks(record.pid, record.stacks),
            )

    def _check_deadline(self, record: WorkerRecord, now: float) -> None:
        """The order that the worker has got was not followed in time: the next, harder one."""
        if record.deadline is None or now < record.deadline:
            return
        fleet = self._server.fleet
        departure = record.departure or Departure.STOP
        if record.state is WorkerState.DRAINING and not self._server.stopping_quickly:
            self._server.log.error(
                "Worker (pid:%s) has not ended within graceful_timeout (%s s)%s: "
                "it is aborted.\n%s",
                record.pid,
                record.generation.cfg.graceful_timeout,
                self._requests(record, now),
                self._stacks(record.pid, record.stacks),
            )
            fleet.abort(record, departure, now)
            return
        if record.state in (WorkerState.DRAINING, WorkerState.ABORTING):
            lost = self._requests(record, now)
            if lost and record.state is WorkerState.DRAINING:
                self._server.log.warning("Worker (pid:%s) is killed%s.", record.pid, lost)
            fleet.kill(record, departure)

    # Molds.

    def _check_mold(self, mold: Mold, now: float) -> None:
        if mold.state is MoldState.IMPORTING:
            self._check_import(mold, now)
        elif mold.deadline is not None and now >= mold.deadline:
            self._server.log.warning(
                "Mold (pid:%s) has not ended in time: it is killed.\n%s",
                mold.pid,
                self._stacks(mold.pid, mold.stacks),
            )
            mold.kill(Departure.STOP)
        elif mold.asked and now - min(mold.asked.values()) > FORK_PATIENCE:
            self._server.log.error(
                "Mold (pid:%s) was asked for a worker %.0f s ago and has not forked it: "
                "it is killed and replaced.\n%s",
                mold.pid,
                now - min(mold.asked.values()),
                self._stacks(mold.pid, mold.stacks),
            )
            mold.asked.clear()
            mold.kill(Departure.STUCK)

    def _check_import(self, mold: Mold, now: float) -> None:
        elapsed = now - max(mold.started_at, self._resumed_at)
        timeout = mold.generation.cfg.boot_timeout
        if timeout and elapsed > timeout and mold.last_signal is None:
            self._server.log.error(
                "Mold (pid:%s) has not imported the app within boot_timeout (%s s): "
                "it is killed.\n%s",
                mold.pid,
                timeout,
                self._stacks(mold.pid, mold.stacks),
            )
            mold.kill(Departure.BOOT_TIMEOUT)
        elif not timeout and elapsed > BOOT_WARNING and not mold.boot_warned:
            mold.boot_warned = True
            self._server.log.warning(
                "Mold (pid:%s) has been importing the app for %.0f s. It may take as long as it "
                "wants; boot_timeout would bound it.\n%s",
                mold.pid,
                elapsed,
                self._stacks(mold.pid, mold.stacks),
            )

    # Words.

    def _requests(self, record: WorkerRecord, now: float) -> str:
        """`; it runs GET /x for 3.1 s`, or nothing."""
        running = self._server.scoreboard.read(record.slot).running
        if not running:
            return ""
        told = ", ".join(f"{r.request} for {now - r.since:.1f} s" for r in running)
        return f"; it runs {told}"

    def _stacks(self, pid: int | None, stacks: StackFile) -> str:
        text = ""
        if pid is not None:
            with contextlib.suppress(PermissionError):
                text = stacks.request(pid)
        if text:
            return format_stacks(text)
        state = process_state(pid or 0)
        return f"(no stacks: the process did not write them in time; it is {state or 'gone'})"
