"""A worker whose object lives in the mold and in the worker, as the master's hooks see it."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from monoceros.workers.base import Heartbeat
from monoceros.workers.seat import Seat


@dataclass(eq=False)
class RemoteWorker:
    """Has the attributes of `monoceros.workers.base.Worker`; what the worker itself changes later
    is read from its seat."""

    age: int
    ppid: int
    sockets: Sequence[Any]
    app: Any
    timeout: float
    cfg: Any
    log: Any
    seat: Seat
    pid: int | str = "[booting]"
    booted: bool = False
    aborted: bool = False
    alive: bool = True
    reloader: Any = None
    wsgi: Any = None
    tmp: Heartbeat = field(default_factory=Heartbeat)

    def __post_init__(self) -> None:
        self.tmp.take_seat(self.seat)

    @property
    def nr(self) -> int:
        """Requests that the worker has answered."""
        return self.seat.scoreboard.read(self.seat.slot).requests

    @property
    def max_requests(self) -> int:
        """The setting, without its jitter; sys.maxsize when off."""
        return int(self.cfg.max_requests) or sys.maxsize

    def __str__(self) -> str:
        return f"<Worker {self.pid}>"
