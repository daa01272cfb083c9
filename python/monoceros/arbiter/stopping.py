"""Stopping: a state of the loop like any other, with a bound.

Graceful (TERM): the listeners are closed here, the workers empty the kernel's queue, answer what
they have and end; after graceful_timeout each is told about, aborted and killed. Where another
master answers at the same addresses, the queue is his, and the workers drain as for a reload. Quick
(INT, QUIT, a second TERM): QUIT, and KILL after `QUICK_BOUND`. A quick stop may overtake a graceful
one.
"""

from typing import TYPE_CHECKING, Final

from monoceros.arbiter import states
from monoceros.arbiter.fleet import WorkerRecord
from monoceros.arbiter.states import (
    Departure,
    ServerEvent,
    ServerState,
    WorkerState,
)

if TYPE_CHECKING:
    from monoceros.arbiter.arbiter import Arbiter

#: What a quick stop leaves for worker_int and worker_exit hooks, seconds; never more than
#: graceful_timeout.
QUICK_BOUND: Final = 2.0


class Stopping:
    """The stop of the server: why, with which exit status, and how far it has come."""

    def __init__(self, server: "Arbiter") -> None:
        self._server = server
        self.reason: str | None = None
        self.exit_status = 0

    def begin(
        self, now: float, *, graceful: bool, reason: str | None = None, exit_status: int = 0
    ) -> None:
        """Stop, or make a graceful stop that is under way a quick one."""
        server = self._server
        if server.state in (ServerState.STOPPING_QUICKLY, ServerState.STOPPED):
            return
        if server.state is ServerState.STOPPING_GRACEFULLY and graceful:
            return
        first = not server.stopping
        event = ServerEvent.STOP_GRACEFULLY if graceful else ServerEvent.STOP_QUICKLY
        server.state = states.step(states.SERVER_MOVES, server.state, event)
        if first:
            self.reason, self.exit_status = reason, exit_status
            server.upgrade.stops()
            server.close_listeners()
            server.spawner.dismiss_molds(Departure.STOP, now)
        # Only a graceful stop empties the kernel's queue; where another master answers it is his.
        server.scoreboard.stopping = graceful and not server.upgrade.other_answers
        for record in server.fleet:
            self._end(record, now)

    def turn(self, now: float) -> None:
        """Pass the order on to workers whose pid has become known since."""
        server = self._server
        for record in server.fleet:
            if record.state in (WorkerState.BOOTING, WorkerState.READY):
                self._end(record, now)
        if len(server.fleet) or server.molds:
            return
        server.dirty.stop(now, quick=server.stopping_quickly)
        if server.dirty.gone:
            server.state = states.step(states.SERVER_MOVES, server.state, ServerEvent.ALL_GONE)

    def _end(self, record: WorkerRecord, now: float) -> None:
        server = self._server
        quick = server.state is ServerState.STOPPING_QUICKLY
        if not quick and record.state is WorkerState.DRAINING:
            return  # it has been told, and has its own deadline
        bound = min(QUICK_BOUND, record.generation.cfg.graceful_timeout) if quick else None
        server.fleet.retire(record, Departure.STOP, now, quick_within=bound)
