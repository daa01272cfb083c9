"""Calls on their way: from clients to dirty workers, answers back. No sockets of its own.

Rules:
- Every call gets exactly one last word: the worker's, or the error that says why there is none.
- A call waits in the queue of its app while a worker with that app is there or comes, and is
  refused at once where none does.
- `dirty_timeout` bounds a call from when a worker takes it, and a stream from item to item. At the
  deadline the log shows what the worker's threads do. A worker whose other calls are fine goes on
  with them, gets no new ones, and is killed when only overdue ones are left.
- A stream whose client does not read is the client's fault: its connection is cut.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from monoceros.arbiter.explain import Ending
from monoceros.arbiter.states import Departure
from monoceros.dirty.errors import (
    DirtyConnectionError,
    DirtyError,
    DirtyNoWorkersAvailableError,
    DirtyProtocolError,
    DirtyTimeoutError,
    DirtyWorkerError,
)
from monoceros.dirty.execution import WINDOW
from monoceros.dirty.fleet import DirtyFleet, DirtyRecord
from monoceros.dirty.frames import LAST, Frame, Kind, encode_frame
from monoceros.dirty.link import Link
from monoceros.dirty.task import MAX_WAITING, Queue, Task, TaskEvent, TaskState
from monoceros.dirty.values import decode, encode

if TYPE_CHECKING:
    from monoceros.dirty.arbiter import DirtyArbiter

#: Bytes that a client has taken before its worker is told so.
CREDIT_STEP: Final = WINDOW // 4


class Client(Link):
    """A connection of a client; one call at a time."""

    task: Task | None = None

    @property
    def reads(self) -> bool:
        """Not before the call that it has made is answered."""
        return self.task is None


class Router:
    """All calls, waiting and running."""

    def __init__(self, arbiter: "DirtyArbiter", fleet: DirtyFleet) -> None:
        self._arbiter = arbiter
        self._fleet = fleet
        self.queue = Queue()
        self._count = 0

    # From clients.

    def call(self, client: Client, frame: Frame, now: float) -> None:
        """A client calls. Raises DirtyProtocolError for what is no call."""
        head, _ = decode(frame.payload)
        if not (isinstance(head, list) and [type(part) for part in head] == [str, str]):
            raise DirtyProtocolError("A call names no app and action")
        self._count += 1
        task = Task(self._count, head[0], head[1], frame.payload, client, now)
        client.task = task
        reason = self._arbiter.why_not(task.app)
        if reason is None and not self.queue.put(task):
            reason = (
                f"Too many calls of dirty apps wait ({len(self.queue)} in all, at most "
                f"{MAX_WAITING} of one app)"
            )
        if reason is not None:
            self._fail(task, DirtyNoWorkersAvailableError(task.app, reason))

    def left(self, client: Client) -> None:
        """A client has hung up."""
        task, client.task = client.task, None
        if task is None:
            return
        task.client = None
        if task.state is TaskState.WAITING:
            self.queue.remove(task)
        task.move(TaskEvent.CLIENT_LEFT)
        if task.state is TaskState.ABANDONED:
            self._tell_worker(task, Kind.CANCEL)

    def taken(self, client: Client) -> None:
        """A client has read all that was sent to it."""
        task = client.task
        if task is not None and task.unread >= CREDIT_STEP:
            self._tell_worker(task, Kind.CREDIT, encode(task.unread))
            task.unread = 0

    def _tell_worker(self, task: Task, kind: Kind, payload: bytes = b"") -> None:
        for record in self._fleet:
            if task.number in record.running:
                record.link.send(encode_frame(kind, task.number, payload))

    # To workers.

    def dispatch(self, now: float) -> None:
        """Give waiting calls to workers that have room."""
        while len(self.queue):
            free = [record for record in self._fleet if record.has_room]
            task = self.queue.next_of(path for record in free for path in record.worker.app_paths)
            if task is None:
                return
            able = [record for record in free if task.app in record.worker.app_paths]
            newest = max(record.generation.number for record in able)
            record = min(
                (record for record in able if record.generation.number == newest),
                key=lambda each: (len(each.running), each.dispatched_at),
            )
            self._give(task, record, now)

    def _give(self, task: Task, record: DirtyRecord, now: float) -> None:
        task.move(TaskEvent.DISPATCHED)
        task.started_at = record.dispatched_at = now
        self._set_deadline(task, record, now)
        record.running[task.number] = task
        record.given += 1
        task.turn = record.given
        record.link.send(encode_frame(Kind.CALL, task.number, task.payload))

    def _set_deadline(self, task: Task, record: DirtyRecord, now: float) -> None:
        timeout = record.generation.cfg.dirty_timeout
        task.deadline = now + timeout if timeout else None

    # From workers.

    def answer(self, record: DirtyRecord, frame: Frame, now: float) -> None:
        """A worker says something about a call."""
        task = record.running.get(frame.number)
        if task is None:
            return
        if frame.kind in LAST:
            del record.running[frame.number]
            self._end(task, frame.kind, frame.payload)
            return
        if task.state is TaskState.RUNNING:
            self._set_deadline(task, record, now)
        if task.client is not None:
            data = encode_frame(frame.kind, 0, frame.payload)
            task.unread += len(data)
            self._send(task.client, data)

    def worker_ended(self, record: DirtyRecord, ending: Ending) -> None:
        """A worker is gone, with whatever it ran. What it had not begun is given to another."""
        begun = record.tally.read()
        for task in sorted(record.running.values(), key=lambda each: -each.turn):
            if task.turn > begun and task.state is TaskState.RUNNING:
                task.move(TaskEvent.RETURNED)
                task.deadline = None
                self.queue.put_back(task)
                continue
            self._fail(
                task,
                DirtyWorkerError(
                    f"The dirty worker (pid:{record.pid}) ended ({ending.brief}) while it ran "
                    f"{task}; whether that had an effect is not known",
                    worker_id=record.pid,
                ),
            )
        record.running.clear()

    def _fail(self, task: Task, error: DirtyError) -> None:
        self._end(task, Kind.ERROR, encode(error.to_dict()))

    def _end(self, task: Task, kind: Kind, payload: bytes) -> None:
        task.move(TaskEvent.ENDED)
        self._last_word(task, kind, payload)

    def _last_word(self, task: Task, kind: Kind, payload: bytes) -> None:
        client, task.client = task.client, None
        if client is not None:
            client.task = None
            self._send(client, encode_frame(kind, 0, payload))
            if self._arbiter.stopping:
                self._arbiter.clients.hang_up(client)

    def _send(self, client: Client, data: bytes) -> None:
        client.send(data)
        if not client.pending:
            self.taken(client)
        self._arbiter.clients.touch(client)

    # What cannot go on.

    def refuse_waiting(self, reason: Callable[[str], str | None]) -> None:
        """Refuse the calls of apps for which there is a reason."""
        for task in self.queue:
            why = reason(task.app)
            if why is not None:
                self.queue.remove(task)
                self._fail(task, DirtyNoWorkersAvailableError(task.app, why))

    def give_up(self) -> None:
        """The dirty arbiter stops, and the time for what waits and runs is over."""
        error = DirtyConnectionError("The dirty arbiter has stopped before the call was done")
        payload = encode(error.to_dict())
        for task in self.queue:
            self.queue.remove(task)
            self._end(task, Kind.ERROR, payload)
        for record in self._fleet:
            for task in record.running.values():
                self._last_word(task, Kind.ERROR, payload)

    def next_deadline(self) -> float | None:
        """When `turn` has to be called at the latest."""
        deadlines = [
            task.deadline
            for record in self._fleet
            for task in record.running.values()
            if task.deadline is not None
        ]
        return min(deadlines, default=None)

    def turn(self, now: float) -> None:
        """Look at the deadlines, and end workers that only run what is over them."""
        for record in self._fleet:
            begun = record.tally.read() if record.running else 0
            for task in list(record.running.values()):
                if task.turn <= begun:
                    task.payload = b""  # it will not be given to anybody else
                if task.deadline is not None and now >= task.deadline:
                    self._overdue(record, task, now)
            hopeless = record.worn and all(
                task.state is TaskState.OVERDUE for task in record.running.values()
            )
            if hopeless:
                record.kill(Departure.OVERDUE)

    def _overdue(self, record: DirtyRecord, task: Task, now: float) -> None:
        timeout = record.generation.cfg.dirty_timeout
        client = task.client
        if client is not None and task.unread >= WINDOW and client.pending:
            self._arbiter.log.warning(
                "A client of %s has not read its stream for %s s (dirty_timeout): its connection "
                "is cut.",
                task,
                timeout,
            )
            self._set_deadline(task, record, now)
            self._arbiter.clients.drop(client)
            return
        others = [each for each in record.running.values() if each.state is not TaskState.OVERDUE]
        fate = (
            "The worker is killed and replaced."
            if len(others) == 1
            else "The worker is replaced, and killed when its other calls are done."
        )
        heard = " Its client got DirtyTimeoutError." if client is not None else ""
        self._arbiter.log.error(
            "DIRTY WORKER TIMEOUT (pid:%s): %s has run for %.1f s, over dirty_timeout (%s s).%s "
            "%s\n%s",
            record.pid,
            task,
            now - task.started_at,
            timeout,
            heard,
            fate,
            self._arbiter.pool.stacks(record),
        )
        task.move(TaskEvent.TIMED_OUT)
        task.deadline = None
        error = DirtyTimeoutError(f"Execution of {task} timed out", timeout)
        self._last_word(task, Kind.ERROR, encode(error.to_dict()))
        record.worn = True
        self._arbiter.pool.look()

    # For people.

    def describe_running(self, record: DirtyRecord) -> str:
        """`; it runs a:B.c for 3.1 s`, or nothing."""
        now = time.monotonic()
        told: list[Any] = [
            f"{task} for {now - task.started_at:.1f} s" for task in record.running.values()
        ]
        return f"; it runs {', '.join(told)}" if told else ""
