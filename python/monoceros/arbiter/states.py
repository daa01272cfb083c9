"""The states of workers, molds, reloads, upgrades and the server, and every way between them.

This module is the theory; the tables below are enforced by `step`, which raises on a move that
no table allows. Nothing else in the arbiter changes a state.

Worker
    A worker is born REQUESTED (asked of the mold, its pid not known yet) or BOOTING (forked).
    It becomes READY when its app is imported and it is about to serve; only READY workers count
    as capacity. It leaves by one of three doors, each narrower than the one before: DRAINING (it
    was told to finish what it has, by TERM or QUIT), ABORTING (it was sent ABRT because it is
    stuck or has drained for too long), KILLED (it was sent KILL). Whatever its state, it is GONE
    when it has been reaped, and only then. A move never goes back: a worker that drains never
    serves again.

Mold
    IMPORTING until the app is imported; READY to fork workers; ENDING when told to go; GONE when
    reaped. Its workers do not depend on it once they are forked.

Reload
    IDLE until HUP. What is quick and can fail on the spot (configuration, log files, sockets)
    happens in the move out of IDLE, and when it fails the state stays IDLE. Then MOLDING (with
    preload: the new mold imports) and ROLLING (new workers boot; each one that becomes READY lets
    one of the old ones drain). The new generation is *proven* when its first worker is READY.
    Before that, a failure takes everything back to the old generation, which has not lost a
    worker; after that, a failing worker is retried like any other. A HUP that arrives in MOLDING
    or ROLLING is remembered and runs when IDLE is reached again; it does not wait for a generation
    that is going nowhere (see `reload`).

Upgrade
    IDLE until USR2. STARTING from then on: a new master has been executed beside this one, with the
    same sockets. ANSWERING when it has said that all of its workers are READY. IDLE again when it
    has ended: its pid is free, and this master serves as if nothing had been. Nothing that the new
    master does or fails to do changes what this one serves; only the operator ends this one. The
    new master is an HEIR until the old one has ended, then it is promoted and IDLE. Only who is
    IDLE follows USR2. While there are two masters neither removes what stands for an address.

Server
    STARTING until the loop runs, RUNNING, STOPPING (graceful or quick; quick may follow graceful,
    never the reverse), STOPPED. From STOPPING on nothing is spawned.

Invariants the arbiter keeps
    1. A worker is replaced before it is drained: a drain that we begin never lowers the number
       of READY workers below the number wanted, unless the server stops.
    2. An app that does not boot never costs a READY worker.
    3. Exit codes 3 and 4 end the server only while no worker has ever been READY.
    4. Nothing waits: each state that could last has a deadline which the loop looks at.
    5. At most as many boots as the back-off allows; a run-away cannot happen.
"""

import enum
from collections.abc import Mapping
from typing import Final, TypeVar


class WorkerState(enum.Enum):
    """Where a worker stands in its life, as the arbiter knows it."""

    REQUESTED = "requested"
    BOOTING = "booting"
    READY = "ready"
    DRAINING = "draining"
    ABORTING = "aborting"
    KILLED = "killed"
    GONE = "gone"


class WorkerEvent(enum.Enum):
    """What happens to a worker."""

    FORKED = "forked"
    SERVES = "serves"
    RETIRED = "retired"
    ABORTED = "aborted"
    KILLED = "killed"
    REAPED = "reaped"
    LOST = "lost"


class MoldState(enum.Enum):
    """Where a mold stands in its life."""

    IMPORTING = "importing"
    READY = "ready"
    ENDING = "ending"
    GONE = "gone"


class MoldEvent(enum.Enum):
    """What happens to a mold."""

    IMPORTED = "imported"
    DISMISSED = "dismissed"
    REAPED = "reaped"


class ReloadState(enum.Enum):
    """How far a reload has come."""

    IDLE = "idle"
    MOLDING = "molding"
    ROLLING = "rolling"


class ReloadEvent(enum.Enum):
    """What happens to a reload."""

    BEGIN_WITH_MOLD = "begin with mold"
    BEGIN = "begin"
    MOLD_READY = "mold ready"
    COMPLETED = "completed"
    FAILED = "failed"


class UpgradeState(enum.Enum):
    """Whether there are two masters, and which of them this one is."""

    HEIR = "heir"
    IDLE = "idle"
    STARTING = "starting"
    ANSWERING = "answering"


class UpgradeEvent(enum.Enum):
    """What happens to an upgrade."""

    PROMOTED = "promoted"
    EXECUTED = "executed"
    ANSWERS = "answers"
    ENDED = "ended"


class ServerState(enum.Enum):
    """What the server as a whole is doing."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING_GRACEFULLY = "stopping gracefully"
    STOPPING_QUICKLY = "stopping quickly"
    STOPPED = "stopped"


class ServerEvent(enum.Enum):
    """What happens to the server."""

    STARTED = "started"
    STOP_GRACEFULLY = "stop gracefully"
    STOP_QUICKLY = "stop quickly"
    ALL_GONE = "all gone"


class Departure(enum.Enum):
    """Why the arbiter wants a worker to go; decides how its end is told and what it counts as."""

    RELOAD = "a reload"
    RECYCLE = "recycling"
    SCALE_DOWN = "scaling down"
    STOP = "the server's stop"
    OVERDUE = "a request over its deadline"
    STUCK = "a stuck interpreter"
    BOOT_TIMEOUT = "its boot timeout"
    ABANDONED = "a failed reload"
    OPERATOR = "a request to kill it"
    OWN = "its own wish"


#: Departures that are the app's fault while booting: they count as failures for the back-off.
FAILED_DEPARTURES: Final = frozenset({Departure.BOOT_TIMEOUT})

#: States in which a process exists that has to be reaped.
LIVING: Final = frozenset(
    {
        WorkerState.BOOTING,
        WorkerState.READY,
        WorkerState.DRAINING,
        WorkerState.ABORTING,
        WorkerState.KILLED,
    }
)

#: States of a worker that will serve or serves: it has not been told to leave.
STAYING: Final = frozenset({WorkerState.REQUESTED, WorkerState.BOOTING, WorkerState.READY})

WORKER_MOVES: Final[Mapping[tuple[WorkerState, WorkerEvent], WorkerState]] = {
    (WorkerState.REQUESTED, WorkerEvent.FORKED): WorkerState.BOOTING,
    (WorkerState.REQUESTED, WorkerEvent.LOST): WorkerState.GONE,
    (WorkerState.BOOTING, WorkerEvent.SERVES): WorkerState.READY,
    (WorkerState.BOOTING, WorkerEvent.RETIRED): WorkerState.DRAINING,
    (WorkerState.BOOTING, WorkerEvent.ABORTED): WorkerState.ABORTING,
    (WorkerState.BOOTING, WorkerEvent.KILLED): WorkerState.KILLED,
    (WorkerState.BOOTING, WorkerEvent.REAPED): WorkerState.GONE,
    (WorkerState.READY, WorkerEvent.RETIRED): WorkerState.DRAINING,
    (WorkerState.READY, WorkerEvent.ABORTED): WorkerState.ABORTING,
    (WorkerState.READY, WorkerEvent.KILLED): WorkerState.KILLED,
    (WorkerState.READY, WorkerEvent.REAPED): WorkerState.GONE,
    # A second order to go (QUIT after TERM) narrows the deadline, not the state.
    (WorkerState.DRAINING, WorkerEvent.RETIRED): WorkerState.DRAINING,
    (WorkerState.DRAINING, WorkerEvent.ABORTED): WorkerState.ABORTING,
    (WorkerState.DRAINING, WorkerEvent.KILLED): WorkerState.KILLED,
    (WorkerState.DRAINING, WorkerEvent.REAPED): WorkerState.GONE,
    (WorkerState.ABORTING, WorkerEvent.KILLED): WorkerState.KILLED,
    (WorkerState.ABORTING, WorkerEvent.REAPED): WorkerState.GONE,
    (WorkerState.KILLED, WorkerEvent.REAPED): WorkerState.GONE,
}

MOLD_MOVES: Final[Mapping[tuple[MoldState, MoldEvent], MoldState]] = {
    (MoldState.IMPORTING, MoldEvent.IMPORTED): MoldState.READY,
    (MoldState.IMPORTING, MoldEvent.DISMISSED): MoldState.ENDING,
    (MoldState.IMPORTING, MoldEvent.REAPED): MoldState.GONE,
    (MoldState.READY, MoldEvent.DISMISSED): MoldState.ENDING,
    (MoldState.READY, MoldEvent.REAPED): MoldState.GONE,
    (MoldState.ENDING, MoldEvent.REAPED): MoldState.GONE,
}

RELOAD_MOVES: Final[Mapping[tuple[ReloadState, ReloadEvent], ReloadState]] = {
    (ReloadState.IDLE, ReloadEvent.BEGIN): ReloadState.ROLLING,
    (ReloadState.IDLE, ReloadEvent.BEGIN_WITH_MOLD): ReloadState.MOLDING,
    (ReloadState.MOLDING, ReloadEvent.MOLD_READY): ReloadState.ROLLING,
    (ReloadState.MOLDING, ReloadEvent.FAILED): ReloadState.IDLE,
    (ReloadState.ROLLING, ReloadEvent.FAILED): ReloadState.IDLE,
    (ReloadState.ROLLING, ReloadEvent.COMPLETED): ReloadState.IDLE,
}

UPGRADE_MOVES: Final[Mapping[tuple[UpgradeState, UpgradeEvent], UpgradeState]] = {
    (UpgradeState.HEIR, UpgradeEvent.PROMOTED): UpgradeState.IDLE,
    (UpgradeState.IDLE, UpgradeEvent.EXECUTED): UpgradeState.STARTING,
    (UpgradeState.STARTING, UpgradeEvent.ANSWERS): UpgradeState.ANSWERING,
    (UpgradeState.STARTING, UpgradeEvent.ENDED): UpgradeState.IDLE,
    (UpgradeState.ANSWERING, UpgradeEvent.ENDED): UpgradeState.IDLE,
}

SERVER_MOVES: Final[Mapping[tuple[ServerState, ServerEvent], ServerState]] = {
    (ServerState.STARTING, ServerEvent.STARTED): ServerState.RUNNING,
    (ServerState.STARTING, ServerEvent.STOP_GRACEFULLY): ServerState.STOPPING_GRACEFULLY,
    (ServerState.STARTING, ServerEvent.STOP_QUICKLY): ServerState.STOPPING_QUICKLY,
    (ServerState.RUNNING, ServerEvent.STOP_GRACEFULLY): ServerState.STOPPING_GRACEFULLY,
    (ServerState.RUNNING, ServerEvent.STOP_QUICKLY): ServerState.STOPPING_QUICKLY,
    (ServerState.STOPPING_GRACEFULLY, ServerEvent.STOP_QUICKLY): ServerState.STOPPING_QUICKLY,
    (ServerState.STOPPING_GRACEFULLY, ServerEvent.ALL_GONE): ServerState.STOPPED,
    (ServerState.STOPPING_QUICKLY, ServerEvent.ALL_GONE): ServerState.STOPPED,
}

S = TypeVar("S", bound=enum.Enum)
E = TypeVar("E", bound=enum.Enum)


class IllegalMove(Exception):
    """A state machine was asked for a move that its table has not got: a bug in the arbiter."""


def step(moves: Mapping[tuple[S, E], S], state: S, event: E) -> S:
    """The state that follows `state` on `event`.

    Raises:
        IllegalMove: the table has no such move.
    """
    try:
        return moves[state, event]
    except KeyError:
        raise IllegalMove(f"{state} does not take {event}") from None
