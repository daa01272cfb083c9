"""The dirty workers that exist, and which there should be.

Seats. There are `num_workers` seats, and an app with the limit N is on the first N of them: so a
limit holds at every moment, and who takes the place of a worker gets the same apps. Limits that
stand in an app's class are known when the first worker has imported it; until then only the first
seat, which has every app, is taken.

Generations. A reload makes a new one. Its workers come one at a time, each lets the one in the
same seat go when it is ready, and the next comes when that one is gone: at most one worker's memory
is needed beyond what the pool has. Until one of them is ready a failure takes everything back.

The states of a worker and the moves between them are those of web workers (`arbiter.states`).
"""

import contextlib
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from monoceros.arbiter import states
from monoceros.arbiter.stacks import StackFile
from monoceros.arbiter.states import STAYING, Departure, WorkerEvent, WorkerState
from monoceros.arbiter.tracebacks import SeenTracebacks
from monoceros.dirty.app import AppSpec, Declaration
from monoceros.dirty.frames import Kind, encode_frame
from monoceros.dirty.link import Link
from monoceros.dirty.tally import Tally
from monoceros.dirty.task import Task
from monoceros.dirty.worker import DirtyWorker

#: From the end of dirty_graceful_timeout to the harder order, seconds.
KILL_GRACE: Final = 1.0


@dataclass(eq=False)
class DirtyGeneration:
    """What one reload makes: a configuration and the code that was on disk then."""

    number: int
    cfg: Any
    specs: Sequence[AppSpec]
    seen: SeenTracebacks = field(default_factory=SeenTracebacks)
    #: What the classes say, by path; empty until the first worker has imported them.
    declared: dict[str, Declaration] = field(default_factory=dict)
    proven: bool = False
    failures: int = 0
    last_failure: str = ""

    @property
    def paths(self) -> list[str]:
        """Every app."""
        return [spec.path for spec in self.specs]

    @property
    def known(self) -> bool:
        """Every app's limit is known."""
        return all(spec.limit is not None or spec.path in self.declared for spec in self.specs)

    def limit(self, spec: AppSpec) -> int | None:
        """How many workers load an app: the configuration's word, or the class's."""
        if spec.limit is not None:
            return spec.limit
        declared = self.declared.get(spec.path)
        return declared.limit if declared else None

    def apps_of(self, seat: int) -> list[str]:
        """The apps of the worker in this seat."""
        limits = ((spec.path, self.limit(spec)) for spec in self.specs)
        return [path for path, limit in limits if limit is None or seat < limit]

    @property
    def least_workers(self) -> int:
        """Fewer workers than this could not keep every app's number."""
        return max([1, *(self.limit(spec) or 1 for spec in self.specs)])

    @property
    def threads(self) -> int:
        """Calls that one worker runs at a time."""
        return max(1, int(self.cfg.dirty_threads))


@dataclass(eq=False)
class DirtyRecord:
    """One dirty worker as the dirty arbiter sees it. Times are seconds on the monotonic clock.

    worn: it has a call over its deadline, gets no more of them and is replaced. given: how many
    calls it was given; `tally` says how many of them it has begun.
    """

    seat: int
    generation: DirtyGeneration
    worker: DirtyWorker
    pid: int
    link: Link
    tally: Tally
    stacks: StackFile
    started_at: float
    state: WorkerState = WorkerState.BOOTING
    ready_at: float | None = None
    worn: bool = False
    departure: Departure | None = None
    deadline: float | None = None
    last_signal: int | None = None
    running: dict[int, Task] = field(default_factory=dict)
    dispatched_at: float = 0.0
    given: int = 0

    def move(self, event: WorkerEvent) -> None:
        """Take `event`. Raises IllegalMove when the table has no such move."""
        self.state = states.step(states.WORKER_MOVES, self.state, event)

    @property
    def has_room(self) -> bool:
        """It can take a call now."""
        return (
            self.state is WorkerState.READY
            and not self.worn
            and not self.link.ended
            and len(self.running) < self.generation.threads
        )

    @property
    def staying(self) -> bool:
        """It serves or will, and nothing is wrong with it."""
        return self.state in STAYING and not self.worn

    def retire(self, departure: Departure, now: float) -> None:
        """Have it finish what it runs and end."""
        if self.state not in (WorkerState.BOOTING, WorkerState.READY):
            return
        booting = self.state is WorkerState.BOOTING
        self.move(WorkerEvent.RETIRED)
        self.departure = self.departure or departure
        self.deadline = now + self.generation.cfg.dirty_graceful_timeout + KILL_GRACE
        if booting:
            self.signal(signal.SIGTERM)
        self.link.send(encode_frame(Kind.DRAIN))

    def kill(self, departure: Departure) -> None:
        """End it now."""
        if self.state in (WorkerState.KILLED, WorkerState.GONE):
            return
        self.move(WorkerEvent.KILLED)
        self.departure = self.departure or departure
        self.deadline = None
        self.signal(signal.SIGKILL)

    def signal(self, number: int) -> None:
        """Send a signal that is to end it."""
        self.last_signal = number
        self.tell(number)

    def tell(self, number: int) -> None:
        """Send a signal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def close(self) -> None:
        """It is gone."""
        self.link.close()
        self.tally.close()
        self.stacks.close()


class DirtyFleet:
    """Every dirty worker that has not been reaped."""

    def __init__(self) -> None:
        #: For hooks: the worker objects by pid.
        self.workers: dict[int, DirtyWorker] = {}
        self._records: dict[int, DirtyRecord] = {}

    def __iter__(self) -> Iterator[DirtyRecord]:
        return iter(list(self._records.values()))

    def __len__(self) -> int:
        return len(self._records)

    def of_pid(self, pid: int) -> DirtyRecord | None:
        """The worker with this pid."""
        return self._records.get(pid)

    def add(self, record: DirtyRecord) -> None:
        """A worker was forked."""
        self._records[record.pid] = record
        self.workers[record.pid] = record.worker

    def remove(self, record: DirtyRecord) -> None:
        """A worker has been reaped."""
        self._records.pop(record.pid, None)
        self.workers.pop(record.pid, None)

    def has_ready(self, app: str) -> bool:
        """Some worker has this app ready."""
        return any(
            record.state is WorkerState.READY and app in record.worker.app_paths for record in self
        )


def missing_seats(fleet: DirtyFleet, generation: DirtyGeneration, wanted: int) -> list[int]:
    """The seats that should be taken by a worker of `generation` now, and are not."""
    taken = {record.seat for record in fleet if record.generation is generation and record.staying}
    seats = range(wanted if generation.known else 1)
    missing = [seat for seat in seats if seat not in taken and generation.apps_of(seat)]
    if all(record.generation is generation for record in fleet):
        return missing
    # A reload is under way: one worker beyond the pool at a time.
    booting = any(
        record.generation is generation and record.state is WorkerState.BOOTING for record in fleet
    )
    leaving = any(
        record.generation is not generation and record.state is not WorkerState.READY
        for record in fleet
    )
    return [] if booting or leaving else missing[:1]


def spare_workers(
    fleet: DirtyFleet, generation: DirtyGeneration, wanted: int
) -> list[tuple[DirtyRecord, Departure]]:
    """The workers that can go now, and why."""
    ready = {
        record.seat
        for record in fleet
        if record.generation is generation and record.state is WorkerState.READY
    }
    complete = generation.known and all(
        seat in ready for seat in range(wanted) if generation.apps_of(seat)
    )
    spare = []
    for record in fleet:
        if record.state not in (WorkerState.BOOTING, WorkerState.READY):
            continue
        if record.generation is generation:
            if record.seat >= wanted:
                spare.append((record, Departure.SCALE_DOWN))
        elif record.seat in ready or complete or record.state is WorkerState.BOOTING:
            spare.append((record, Departure.RELOAD))
    return spare
