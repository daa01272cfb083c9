"""A call in the dirty arbiter, and the queue of those that wait for a worker. Pure.

States of a task

WAITING until a worker is given it; RUNNING in one; WAITING again when that one ends before
it has begun the call. It is ABANDONED when its client has gone: nobody
waits for the result, the worker is told, but its thread is occupied until it says so. It is
OVERDUE when `dirty_timeout` has passed: its client has been answered, and its worker has to be
replaced. DONE when the worker has said its last word, or the worker is gone.

The queue

One line for each app, first in, first out; the apps take turns. Number and bytes are bounded:
what cannot wait is refused at once, which its client hears.
"""

import enum
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from monoceros.arbiter import states

if TYPE_CHECKING:
    from monoceros.dirty.router import Client

#: Calls that wait for one app. Each holds a thread or task of a web worker: more are a queue that
#: nobody waits for to the end.
MAX_WAITING: Final = 1000

#: Bytes of arguments that wait, of all apps together.
MAX_WAITING_BYTES: Final = 256 * 1024 * 1024


class TaskState(enum.Enum):
    """Where a call stands."""

    WAITING = "waiting"
    RUNNING = "running"
    ABANDONED = "abandoned"
    OVERDUE = "overdue"
    DONE = "done"


class TaskEvent(enum.Enum):
    """What happens to a call."""

    DISPATCHED = "dispatched"
    CLIENT_LEFT = "client left"
    TIMED_OUT = "timed out"
    RETURNED = "returned"
    ENDED = "ended"


TASK_MOVES: Final[Mapping[tuple[TaskState, TaskEvent], TaskState]] = {
    (TaskState.WAITING, TaskEvent.DISPATCHED): TaskState.RUNNING,
    (TaskState.WAITING, TaskEvent.CLIENT_LEFT): TaskState.DONE,
    (TaskState.WAITING, TaskEvent.ENDED): TaskState.DONE,
    (TaskState.RUNNING, TaskEvent.RETURNED): TaskState.WAITING,
    (TaskState.RUNNING, TaskEvent.CLIENT_LEFT): TaskState.ABANDONED,
    (TaskState.RUNNING, TaskEvent.TIMED_OUT): TaskState.OVERDUE,
    (TaskState.RUNNING, TaskEvent.ENDED): TaskState.DONE,
    (TaskState.ABANDONED, TaskEvent.TIMED_OUT): TaskState.OVERDUE,
    (TaskState.ABANDONED, TaskEvent.ENDED): TaskState.DONE,
    (TaskState.OVERDUE, TaskEvent.ENDED): TaskState.DONE,
}


@dataclass(eq=False)
class Task:
    """One call. Times are seconds on the monotonic clock.

    payload: of its CALL frame; empty once it has been begun. turn: it is the so-manieth call that
    its worker was given. client: None when it has gone or been answered. unread: bytes of chunks
    that the worker has sent and the client has not taken.
    """

    number: int
    app: str
    action: str
    payload: bytes
    client: "Client | None"
    queued_at: float
    state: TaskState = TaskState.WAITING
    started_at: float = 0.0
    deadline: float | None = None
    unread: int = 0
    turn: int = 0

    def move(self, event: TaskEvent) -> None:
        """Take `event`. Raises IllegalMove when the table has no such move."""
        self.state = states.step(TASK_MOVES, self.state, event)

    def __str__(self) -> str:
        return f"{self.app}.{self.action}"


@dataclass
class Queue:
    """The calls that wait."""

    lines: "OrderedDict[str, deque[Task]]" = field(default_factory=OrderedDict)
    bytes: int = 0

    def __iter__(self) -> Iterator[Task]:
        return iter([task for line in self.lines.values() for task in line])

    def __len__(self) -> int:
        return sum(map(len, self.lines.values()))

    def put(self, task: Task) -> bool:
        """Let a call wait; False when the queue is full."""
        line = self.lines.get(task.app)
        if line is not None and len(line) >= MAX_WAITING:
            return False
        if self.bytes + len(task.payload) > MAX_WAITING_BYTES:
            return False
        self.lines.setdefault(task.app, deque()).append(task)
        self.bytes += len(task.payload)
        return True

    def put_back(self, task: Task) -> None:
        """Let a call wait that was the first of its line before."""
        self.lines.setdefault(task.app, deque()).appendleft(task)
        self.bytes += len(task.payload)

    def next_of(self, apps: Iterable[str]) -> Task | None:
        """Take the first call of one of these apps, of the one whose turn it is."""
        wanted = set(apps)
        app = next((each for each in self.lines if each in wanted), None)
        if app is None:
            return None
        task = self.lines[app][0]
        self.remove(task)
        if app in self.lines:
            self.lines.move_to_end(app)
        return task

    def remove(self, task: Task) -> None:
        """Take a call out of its line. Raises ValueError when it is not there."""
        line: deque[Any] = self.lines.get(task.app, deque())
        line.remove(task)
        self.bytes -= len(task.payload)
        if not line:
            del self.lines[task.app]
