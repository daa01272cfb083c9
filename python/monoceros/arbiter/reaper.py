"""What follows from the end of a process.

Rules:
- The mold's messages are read before a pid is taken to be a stranger: the news of a fork is always
  under way before the fork can be reaped.
- Strangers are reaped in silence: the master may be PID 1, and is a subreaper with preload.
- An end that the arbiter ordered is no failure. Any other end of a worker is: one of a READY worker
  is replaced at once the first time, everything else waits for the back-off.
- A healthy worker that somebody else kills with SIGKILL does not count (the kernel says that memory
  was not the reason): whoever kills it can do so as often as he likes.
"""

import os
import signal
import time
from typing import TYPE_CHECKING, Final

from monoceros.arbiter.explain import FATAL, Ending, OutOfMemoryCounter, describe_end
from monoceros.arbiter.fleet import WorkerRecord
from monoceros.arbiter.generation import Generation
from monoceros.arbiter.mold import Mold
from monoceros.arbiter.spawn import APP_LOAD_ERROR, BOOT_ERROR
from monoceros.arbiter.states import FAILED_DEPARTURES, MoldEvent, WorkerEvent, WorkerState
from monoceros.logging.stacks import format_stacks

if TYPE_CHECKING:
    from monoceros.arbiter.arbiter import Arbiter

#: How long a worker has to have been ready, seconds, for its clean end or a stranger's SIGKILL not
#: to count as a failure: what ends sooner, again and again, is a loop.
SETTLED: Final = 1.0

#: Reasons that end the server by exit code while nothing has ever been ready.
HALTING: Final = {BOOT_ERROR: "Worker failed to boot.", APP_LOAD_ERROR: "App failed to load."}


class Reaper:
    """Waits for children and draws the conclusions."""

    def __init__(self, server: "Arbiter") -> None:
        self._server = server
        self._memory = OutOfMemoryCounter()
        self._faults_told: set[str] = set()

    def turn(self) -> None:
        """Reap everybody who has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._ended(pid, status)

    def _ended(self, pid: int, status: int) -> None:
        server = self._server
        server.spawner.hear_molds()
        now = time.monotonic()
        record = server.fleet.of_pid(pid)
        if record is not None:
            self._worker_ended(record, Ending.from_status(status, self._memory), now)
            return
        if server.dirty.ended(pid, status, now):
            return
        mold = next((m for m in server.molds if m.pid == pid), None)
        if mold is not None:
            self._mold_ended(mold, Ending.from_status(status, self._memory), now)
            return
        if pid == server.upgrade.successor:
            server.upgrade.ended(Ending.from_status(status, self._memory))
            return
        server.log.debug("Reaped a process that is no worker (pid:%s)", pid)

    # Workers.

    def _worker_ended(self, record: WorkerRecord, ending: Ending, now: float) -> None:
        server = self._server
        server.observe(record, now)  # it may have become ready in its last moments
        pid = record.pid or 0
        before = record.state
        record.move(WorkerEvent.REAPED)
        self._tell(
            "Worker",
            pid,
            ending,
            record.departure.value if record.departure else None,
            record.last_signal,
        )
        if ending.signal in FATAL and record.last_signal is None:
            self._tell_fault(pid, record.stacks.read())
        self._close(record)
        failed = self._is_failure(record, before, ending, now)
        if failed and not server.stopping:
            where = "" if record.served else " before it was ready"
            why = f" because of {record.departure.value}" if record.departure else ""
            self.failed(
                record.generation,
                f"worker (pid:{pid}): {ending.brief}{why}{where}",
                ending,
                record.started_at,
                record.served,
                now,
            )
        if not (ending.code in HALTING and not server.ever_ready):
            server.run_hook("child_exit", server, record.worker)

    def _close(self, record: WorkerRecord) -> None:
        server = self._server
        server.fleet.remove(record)
        if record.mold is not None:
            record.mold.asked.pop(record.age, None)

    def _is_failure(
        self, record: WorkerRecord, before: WorkerState, ending: Ending, now: float
    ) -> bool:
        if record.departure is not None and before is not WorkerState.READY:
            return record.departure in FAILED_DEPARTURES
        settled = record.ready_at is not None and now - record.ready_at >= SETTLED
        if settled and ending.clean:
            return False
        return not (settled and ending.signal == signal.SIGKILL and ending.out_of_memory is False)

    # Molds.

    def _mold_ended(self, mold: Mold, ending: Ending, now: float) -> None:
        server = self._server
        served = mold.ready_at is not None
        mold.move(MoldEvent.REAPED)
        mold.ended_at = now
        mold.deadline = None
        self._tell(
            "Mold",
            mold.pid,
            ending,
            mold.departure.value if mold.departure else None,
            mold.last_signal,
        )
        if ending.signal in FATAL and mold.last_signal is None:
            self._tell_fault(mold.pid, mold.stacks.read())
        ordered = mold.departure is not None and mold.departure not in FAILED_DEPARTURES
        if not ordered and not server.stopping:
            where = "" if served else " while it imported the app"
            why = f" because of {mold.departure.value}" if mold.departure else ""
            self.failed(
                mold.generation,
                f"mold (pid:{mold.pid}): {ending.brief}{why}{where}",
                ending,
                mold.started_at,
                served,
                now,
            )

    # Conclusions.

    def failed(
        self,
        generation: Generation,
        what: str,
        ending: Ending,
        started_at: float,
        served: bool,
        now: float,
    ) -> None:
        """A worker or mold of `generation` ended, or was not made, though nobody wanted that:
        halt, leave it to the reload, or set the pause before the next try."""
        server = self._server
        if not generation.proven:
            generation.failures += 1
        generation.last_failure = what
        if not server.ever_ready and ending.code in HALTING:
            server.halt(HALTING[ending.code], ending.code)
            return
        if server.reloading.concerns(generation):
            return  # not retried: the reload decides when all of its workers have had their try
        backoff = server.backoff
        if not backoff.failed(now, started_at, served):
            return
        if not server.ever_ready and backoff.exhausted:
            server.halt(
                f"No worker has ever become ready; gave up after {backoff.failures} rounds of "
                f"boots. The last to end was {what}.",
                1,
            )
            return
        if backoff.in_doubt:
            times = backoff.failures
            server.log.error(
                "%s: %s. Next try in %.1f s.",
                "Failure" if times == 1 else f"Failure number {times} in a row",
                what,
                max(0.0, backoff.next_at - now),
            )

    # Words.

    def _tell(
        self, name: str, pid: int, ending: Ending, ordered: str | None, ours: int | None
    ) -> None:
        line = describe_end(name, pid, ending, ordered=ordered, ours=ours)
        if line is not None:
            self._server.log.log(line[0], "%s", line[1])

    def _tell_fault(self, pid: int, text: str) -> None:
        """The stacks that a crash left behind, once for each place it happens at."""
        if not text:
            return
        places = "".join(part for part in text.splitlines(keepends=True) if "File " in part)
        if places in self._faults_told:
            return
        self._faults_told.add(places)
        self._server.log.error("Where (pid:%s) crashed:\n%s", pid, format_stacks(text))
