"""The workers that exist, as the arbiter sees them, and the orders that it gives them.

Rules:
- A record changes its state through `WorkerRecord.move` only, i.e. through the table in `states`.
- Whoever orders a worker to go says why (`Departure`); the first reason stands.
- Every order sets the deadline of the next, harder one. TERM and QUIT are followed by ABRT, ABRT by
  KILL; nothing follows KILL, the kernel takes care of that one.
"""

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from monoceros import _core
from monoceros.arbiter import states
from monoceros.arbiter.generation import Generation
from monoceros.arbiter.stacks import StackFile
from monoceros.arbiter.states import Departure, WorkerEvent, WorkerState
from monoceros.workers.doors import DOORS_PAUSE, DOORS_SIGNAL

#: What a worker gets beyond graceful_timeout, in which its engine cuts what is left and says so,
#: before it is aborted, seconds.
DRAIN_MARGIN: Final = 1.0

#: From ABRT to KILL, seconds: time for worker_abort and worker_exit hooks.
ABORT_GRACE: Final = 1.0


#: An event loop runs more than one request at a time, however many.
MANY: Final = 2


@dataclass(eq=False)
class WorkerRecord:
    """One worker.

    Times are on the monotonic clock, seconds. `marked`: it is to be replaced, and drained when
    that is done. `departure`: it has been told to go. `deadline`: when the next, harder order is
    due. `last_signal`: the last one that the arbiter sent to end it.
    """

    slot: int
    age: int
    generation: Generation
    worker: Any
    stacks: StackFile
    started_at: float
    state: WorkerState = WorkerState.BOOTING
    pid: int | None = None
    mold: Any = None
    ready_at: float | None = None
    marked: Departure | None = None
    departure: Departure | None = None
    deadline: float | None = None
    last_signal: int | None = None
    #: When TERM is due: the worker has been told to accept no more connections.
    term_at: float | None = None
    boot_warned: bool = False
    #: It has found an ASGI app where the class of its generation serves WSGI apps.
    asgi: bool = False
    overdue_told: set[int] = field(default_factory=set)

    def move(self, event: WorkerEvent) -> None:
        """Take `event`. Raises IllegalMove when the table has no such move."""
        self.state = states.step(states.WORKER_MOVES, self.state, event)

    @property
    def timeout_bounds_request(self) -> bool:
        """The setting `timeout` is the deadline of a request, not of the interpreter's beat."""
        return self.generation.timeout_bounds_request and not self.asgi

    @property
    def app_threads(self) -> int:
        """How many requests it runs at a time."""
        if self.asgi:
            return max(MANY, int(self.generation.cfg.worker_connections))
        return self.generation.app_threads

    @property
    def runs_coroutines(self) -> bool:
        """What it runs is in coroutines, of which the stacks of its threads say nothing."""
        return self.asgi or getattr(self.generation.worker_class, "interface", None) == "asgi"

    @property
    def served(self) -> bool:
        """It has been READY."""
        return self.ready_at is not None


class Fleet:
    """All workers that have not been reaped."""

    def __init__(self, scoreboard: _core.Scoreboard) -> None:
        self.scoreboard = scoreboard
        #: For hooks: the worker objects by pid.
        self.workers: dict[int, Any] = {}
        self._records: dict[int, WorkerRecord] = {}
        self._free = list(range(scoreboard.slots - 1, -1, -1))
        #: How many workers have been told to go; one that was told twice counts once.
        self.sent_home = 0

    def __iter__(self) -> Iterator[WorkerRecord]:
        return iter(list(self._records.values()))

    def __len__(self) -> int:
        return len(self._records)

    def of_pid(self, pid: int) -> WorkerRecord | None:
        """The worker with this pid."""
        return next((r for r in self._records.values() if r.pid == pid), None)

    def of_age(self, age: int) -> WorkerRecord | None:
        """The worker with this age (ages are never used twice)."""
        return self._records.get(age)

    def in_state(self, *wanted: WorkerState) -> list[WorkerRecord]:
        """Workers in one of these states, oldest first."""
        return sorted((r for r in self if r.state in wanted), key=lambda r: r.age)

    @property
    def free_slots(self) -> int:
        """How many more workers the scoreboard has room for."""
        return len(self._free)

    def take_slot(self) -> int:
        """A free slot. Raises IndexError when there is none."""
        return self._free.pop()

    def return_slot(self, slot: int) -> None:
        """The slot was not used, or its worker is gone."""
        self.scoreboard.close(slot)
        self._free.append(slot)

    def add(self, record: WorkerRecord) -> None:
        """A worker has been forked or asked for."""
        self._records[record.age] = record
        if record.pid is not None:
            self.workers[record.pid] = record.worker

    def forked(self, record: WorkerRecord, pid: int) -> None:
        """The mold has forked a worker that was asked for."""
        record.move(WorkerEvent.FORKED)
        record.pid = pid
        record.worker.pid = pid
        self.workers[pid] = record.worker

    def remove(self, record: WorkerRecord) -> None:
        """The worker has been reaped, or was never forked."""
        self._records.pop(record.age, None)
        if record.pid is not None:
            self.workers.pop(record.pid, None)
        record.stacks.close()
        self.return_slot(record.slot)

    def share(self) -> None:
        """Tell the engines how many of them accept from the same sockets."""
        staying = sum(1 for r in self._records.values() if r.state in states.STAYING)
        if self.scoreboard.fleet != staying:
            self.scoreboard.fleet = staying

    # Orders.

    def retire(
        self,
        record: WorkerRecord,
        departure: Departure,
        now: float,
        *,
        quick_within: float | None = None,
    ) -> None:
        """Order a worker to finish: TERM with graceful_timeout to drain in, a moment later where it
        has to close its doors first; or, with `quick_within` seconds, QUIT. One that has been
        aborted already is left to its fate."""
        if record.state not in (WorkerState.BOOTING, WorkerState.READY, WorkerState.DRAINING):
            return
        accepts = record.state is WorkerState.READY
        record.move(WorkerEvent.RETIRED)
        self._send_home(record, departure)
        record.term_at = None
        if quick_within is None:
            deadline = now + record.generation.cfg.graceful_timeout + DRAIN_MARGIN
            if accepts and not record.generation.uses_engine:
                record.term_at = now + DOORS_PAUSE
                self.broadcast(DOORS_SIGNAL, [record])
            else:
                self.send(record, signal.SIGTERM)
        else:
            deadline = now + quick_within
            self.send(record, signal.SIGQUIT)
        record.deadline = min(deadline, record.deadline or deadline)
        self.hurry_elders(record)

    def pass_on(self, record: WorkerRecord, now: float) -> None:
        """TERM, to a worker that has closed its doors for long enough."""
        if record.term_at is None or now < record.term_at:
            return
        record.term_at = None
        if record.state is WorkerState.DRAINING:
            self.send(record, signal.SIGTERM)

    def retired_itself(self, record: WorkerRecord, now: float) -> None:
        """The worker has begun to drain without our order: somebody signalled it, or its class
        decides so."""
        record.move(WorkerEvent.RETIRED)
        record.departure = record.departure or Departure.OWN
        record.deadline = now + record.generation.cfg.graceful_timeout + DRAIN_MARGIN

    def hurry_elders(self, record: WorkerRecord) -> None:
        """Generations before this one that still drain shall let go of idle connections."""
        for elder in self.in_state(WorkerState.DRAINING):
            if elder.generation.number < record.generation.number:
                self.scoreboard.hurry(elder.slot)

    def abort(self, record: WorkerRecord, departure: Departure, now: float) -> None:
        """Order a stuck worker to end: ABRT now, KILL after `ABORT_GRACE`."""
        if record.state in (WorkerState.ABORTING, WorkerState.KILLED):
            return
        record.move(WorkerEvent.ABORTED)
        self._send_home(record, departure)
        record.deadline = now + ABORT_GRACE
        self.send(record, signal.SIGABRT)

    def kill(self, record: WorkerRecord, departure: Departure) -> None:
        """End a worker: KILL."""
        if record.state is WorkerState.KILLED:
            return
        record.move(WorkerEvent.KILLED)
        self._send_home(record, departure)
        record.deadline = None
        self.send(record, signal.SIGKILL)

    def _send_home(self, record: WorkerRecord, departure: Departure) -> None:
        if record.departure is None:
            record.departure = departure
            self.sent_home += 1

    def send(self, record: WorkerRecord, number: int) -> None:
        """Send a signal that is to end the worker."""
        record.last_signal = number
        if record.pid is not None:
            # Gone but not reaped yet cannot happen here: a zombie takes signals. Gone altogether
            # can, when somebody else waited for it.
            with contextlib.suppress(ProcessLookupError):
                os.kill(record.pid, number)

    def end_stranger(self, pid: int) -> None:
        """A worker that nobody expects any more."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)

    def broadcast(self, number: int, records: Iterable[WorkerRecord] | None = None) -> None:
        """Send a signal that does not end a worker (USR1)."""
        for record in self if records is None else records:
            if record.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(record.pid, number)
