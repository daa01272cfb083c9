"""The dirty arbiter's end of what the master hears of it; see `arbiter.dirty_report`.

Rules:
- A report goes out when something in it has changed, and never because of a call.
- A master that does not read is not waited for: the report is made again in a later turn.
"""

import json
import socket
from typing import TYPE_CHECKING, Any

from monoceros.arbiter.dirty_report import MESSAGE_LIMIT
from monoceros.arbiter.states import WorkerState
from monoceros.dirty.fleet import DirtyFleet, DirtyGeneration, DirtyRecord

if TYPE_CHECKING:
    from monoceros.dirty.arbiter import DirtyArbiter


class Reporting:
    """Tells the master of the workers, and hears how many it wants."""

    def __init__(self, arbiter: "DirtyArbiter", fleet: DirtyFleet, sock: socket.socket) -> None:
        self._arbiter = arbiter
        self._fleet = fleet
        self._socket = sock
        #: What the last report was made from.
        self._told: object = None

    def fileno(self) -> int:
        """Readable when the master has ordered something, or is no more."""
        return self._socket.fileno()

    def orders(self) -> list[int]:
        """By how many workers more, or fewer, there shall be, in order."""
        found: list[int] = []
        try:
            while data := self._socket.recv(MESSAGE_LIMIT):
                found.append(int(json.loads(data)["change"]))
        except OSError:
            pass  # nothing more; the master's end is told by the lifeline
        return found

    def turn(self) -> None:
        """Tell the master what has changed."""
        generation = self._arbiter.pool.generation
        records = tuple((each.pid, each.state) for each in self._fleet)
        facts = (records, self._arbiter.num_workers, generation.number, generation.known)
        if facts == self._told:
            return
        message = json.dumps(self._report(generation)).encode()
        try:
            # One that is too long for the channel is never sent; the workers run all the same.
            if len(message) <= MESSAGE_LIMIT:
                self._socket.send(message)
        except OSError:
            return
        self._told = facts

    def _report(self, generation: DirtyGeneration) -> dict[str, Any]:
        records = sorted(self._fleet, key=lambda record: record.worker.age)
        limits = [generation.limit(spec) for spec in generation.specs]
        bounds = [limit for limit in limits if limit is not None]
        bounded = generation.known and len(bounds) == len(limits)
        return {
            "workers": [_worker(record) for record in records],
            "apps": [
                _app(spec.path, limit, records)
                for spec, limit in zip(generation.specs, limits, strict=True)
            ],
            "wanted": self._arbiter.num_workers,
            "least": generation.least_workers,
            "most": max(bounds) if bounded else None,
        }

    def close(self) -> None:
        """For a child: let go of it."""
        self._socket.close()


def _worker(record: DirtyRecord) -> dict[str, Any]:
    return {
        "pid": record.pid,
        "age": record.worker.age,
        "apps": record.worker.app_paths,
        "booted": record.ready_at is not None,
        # A dirty worker has no heartbeat: its calls have deadlines.
        "last_heartbeat": None,
        "state": record.state.value,
    }


def _app(path: str, limit: int | None, records: list[DirtyRecord]) -> dict[str, Any]:
    pids = [
        record.pid
        for record in records
        if record.state is WorkerState.READY and path in record.worker.app_paths
    ]
    return {
        "import_path": path,
        "worker_count": limit,
        "current_workers": len(pids),
        "worker_pids": pids,
    }
