"""The engine's face. Checked against the built module by mypy.stubtest.

Times are seconds on CLOCK_MONOTONIC (comparable with time.monotonic()) unless said otherwise.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, final

#: States of a slot. A worker's life is EMPTY -> BOOTING -> READY -> DRAINING -> EMPTY.
EMPTY: Final = 0
BOOTING: Final = 1
READY: Final = 2
DRAINING: Final = 3

def set_parent_death_signal(signal: int, /) -> None:
    """Send this process SIGKILL or SIGTERM when its parent dies; 0 switches it off.

    Raises ValueError for any other signal, OSError when the kernel refuses.
    """

def become_subreaper() -> None:
    """Orphaned descendants become children of this process."""

def memory_file(name: str, /) -> int:
    """A descriptor of an anonymous file in memory, closed on exec."""

@final
class Scoreboard:
    """Anonymous shared memory, made by the arbiter before the first fork, inherited by all.

    One slot per worker. Every access is lock-free; a read is a snapshot of single fields,
    not of the slot as a whole.
    """

    def __new__(cls, slots: int, threads: int) -> Scoreboard: ...
    @property
    def slots(self) -> int: ...
    @property
    def threads(self) -> int: ...

    # Written by the arbiter.
    def open(self, slot: int, age: int) -> None:
        """Wipe a slot and set it BOOTING for the worker that is about to be forked."""
    def close(self, slot: int) -> None:
        """The worker of this slot has been reaped: EMPTY."""
    fleet: int
    """How many workers share the listeners; accept is re-queued fairly when more than one."""
    stopping: bool
    """The server stops for good: draining workers empty the kernel's backlog first."""
    def hurry(self, slot: int) -> None:
        """A draining worker shall close idle connections soon: a younger generation drains."""

    # Written by the worker (the engine writes the rest itself).
    def set_pid(self, slot: int, pid: int) -> None: ...
    def set_state(self, slot: int, state: int) -> None:
        """Also wakes the arbiter through its eventfd."""
    def beat(self, slot: int) -> None:
        """The interpreter of this worker is able to run Python now."""

    # Read by the arbiter.
    def read(self, slot: int) -> SlotStatus: ...
    def incidents(self, slot: int) -> list[Incident]:
        """Take what the engine has reported of this slot since the last call."""
    def fileno(self) -> int:
        """An eventfd that becomes readable when a worker changed state, wants to be recycled
        or reported an incident. The arbiter waits on it."""
    def acknowledge(self) -> None:
        """Reset the eventfd."""

@final
class SlotStatus:
    """A snapshot of one slot."""

    @property
    def pid(self) -> int: ...
    @property
    def age(self) -> int: ...
    @property
    def state(self) -> int: ...
    @property
    def opened_at(self) -> float: ...
    @property
    def ready_at(self) -> float:
        """0.0 until ready."""
    @property
    def engine_beat(self) -> float:
        """0.0 where the worker class does not use the engine."""
    @property
    def python_beat(self) -> float:
        """0.0 before the first beat."""
    @property
    def recycle(self) -> bool:
        """The worker has served max_requests and asks for a replacement."""
    @property
    def connections(self) -> int: ...
    @property
    def idle(self) -> int: ...
    @property
    def requests(self) -> int: ...
    @property
    def bytes_in(self) -> int: ...
    @property
    def bytes_out(self) -> int: ...
    @property
    def statuses(self) -> tuple[int, int, int, int, int]:
        """Answers of class 1xx .. 5xx."""
    @property
    def latencies(self) -> list[int]:
        """Requests by duration; bucket n holds those of 2**n to 2**(n+1) microseconds."""
    @property
    def queue_times(self) -> list[int]:
        """Requests that waited for an app thread, by their wait; buckets as in latencies."""
    @property
    def running(self) -> list[Running]:
        """What the app threads run now; threads that run nothing are left out."""

@final
class Running:
    """A request that an app thread runs."""

    @property
    def thread(self) -> int: ...
    @property
    def since(self) -> float: ...
    @property
    def request(self) -> str:
        """Method, a space, and the target; truncated at 120 bytes."""
    @property
    def overdue(self) -> bool:
        """Its deadline has passed; the client has had its 504 where that was possible."""

#: Kinds of incident.
OVERDUE: Final = 1
SLOW: Final = 2

@final
class Incident:
    """A request that passed its deadline (OVERDUE) or ran longer than `slow_after` (SLOW)."""

    @property
    def kind(self) -> int: ...
    @property
    def id(self) -> int:
        """Number of the request in its worker, from 1."""
    @property
    def thread(self) -> int: ...
    @property
    def elapsed(self) -> float: ...
    @property
    def phase(self) -> str:
        """`in app`, `writing`: where it was when the deadline passed."""
    @property
    def answered(self) -> bool:
        """OVERDUE only: nothing had been sent and the client got 504."""
    @property
    def peer(self) -> str:
        """Address of the client, "" for a unix socket."""
    @property
    def head(self) -> bytes:
        """The request head as received, truncated at 2048 bytes."""

@final
class Engine:
    """One per worker, made after fork. See python/monoceros/workers for its options."""

    def __new__(
        cls,
        listeners: Sequence[int],
        app: Callable[..., Any],
        options: dict[str, Any],
        scoreboard: Scoreboard,
        slot: int,
        *,
        observer: Any = None,
        errors: Any = None,
        log: Callable[[int, str, object], None] | None = None,
    ) -> Engine: ...
    def run(self) -> None:
        """Be an app thread until the engine has drained or stopped. Call it from as many
        threads as option `threads` says, each once. Python signal handlers run in here when
        it is called from the main thread; what they raise leaves this call."""
    def wait(self, timeout: float) -> bool:
        """For a main thread that is not an app thread: sleep until the engine has ended (True),
        a signal arrived or the timeout passed (False). Signal handlers run in here."""
    def drain(self, grace: float) -> None:
        """Stop accepting, answer what is there, then end; cut the rest after `grace` seconds.
        Safe to call from a signal handler and more than once."""
    def stop(self) -> None:
        """End now: running requests are not waited for."""
    def wakeup_fd(self) -> int:
        """For signal.set_wakeup_fd: lets the reactor see signals while Python is stuck."""
    @property
    def cut(self) -> list[str]:
        """After the end: what was cut, one "METHOD target" each."""
