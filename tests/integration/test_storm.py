"""The storm: everything that operators do to a server, while clients of both kinds go on.

Not one request may be lost. SIGKILL of a worker is the exception: it takes along what that worker
was serving, and nothing else.
"""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from support import processes
from support.load import Load
from support.server import Server
from support.serving import Serve
from support.waiting import wait_for

#: How long the storm blows, seconds: by `make soak`, and in `make test`.
LONG = float(os.environ.get("STORM_SECONDS", "60"))
SHORT = 6.0

#: Seconds between two blows.
PAUSE = 0.5

#: Clients of each kind.
CLIENTS = 4

#: The workers that the storm is about.
WORKERS = 3

#: Worker classes by name: the options that select them, before the app.
CLASSES = {
    "sync": ["--worker-class", "sync"],
    "gthread": ["--worker-class", "gthread", "--threads", "4"],
    "gevent": ["--worker-class", "gevent"],
    "asgi-asyncio": ["--asgi-loop", "asyncio"],
    "asgi-uvloop": ["--asgi-loop", "uvloop"],
}


def app_of(name: str) -> str:
    """The app that is served by a worker class of that name."""
    return "asgi_probes:app" if name.startswith("asgi") else "probes:app"


Blow = Callable[[Server, random.Random], None]


def hup(server: Server, dice: random.Random) -> None:
    server.send_signal(signal.SIGHUP)


def scale(server: Server, dice: random.Random) -> None:
    """Up and down again, as one."""
    server.send_signal(signal.SIGTTIN)
    server.send_signal(signal.SIGTTOU)


def reopen(server: Server, dice: random.Random) -> None:
    server.send_signal(signal.SIGUSR1)


def term_worker(server: Server, dice: random.Random) -> None:
    kill_one(server, dice, signal.SIGTERM)


def kill_one(server: Server, dice: random.Random, number: signal.Signals) -> None:
    """Signal a worker that serves; one that has not got as far does not know better than to die."""
    serving = [pid for pid in server.workers() if processes.has_engine(pid)]
    if serving:
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.kill(dice.choice(serving), number)


def upgrade(server: Server, dice: random.Random) -> None:
    """USR2, and TERM to the old master as soon as the new one answers."""
    old = server.pid
    server.send_signal(signal.SIGUSR2)
    started = f"beside this one (pid:{old})"
    answers = f"TERM to this one (pid:{old}) finishes the upgrade"
    server.wait_log(started, 30)
    server.wait_log(answers, 30)
    line = next(line for line in server.log.splitlines() if started in line)
    new = int(line.partition("(pid:")[2].partition(")")[0])
    server.send_signal(signal.SIGTERM)
    server.succeeded_by(new)
    server.wait_log(f"[{new}] [INFO] Master has been promoted.", 30)


BLOWS: list[Blow] = [hup, scale, reopen, term_worker, upgrade]


@contextmanager
def clients(server: Server) -> Iterator[list[Load]]:
    """Clients of both kinds."""
    loads = [
        Load(server.address, clients=CLIENTS, keep_alive=True, pause=0.01, timeout=30.0),
        Load(server.address, clients=CLIENTS, keep_alive=False, pause=0.01, timeout=30.0),
    ]
    with loads[0], loads[1]:
        yield loads


def blow(server: Server, seconds: float, dice: random.Random) -> None:
    """HUP at every blow, and something else with it, in turn."""
    until = time.monotonic() + seconds
    turn = 0
    while time.monotonic() < until:
        hup(server, dice)
        BLOWS[turn % len(BLOWS)](server, dice)
        turn += 1
        time.sleep(PAUSE)  # the storm's own measure


@pytest.mark.parametrize("name", CLASSES)
def test_a_killed_worker_takes_along_what_it_was_serving_and_no_more(
    serve: Serve, name: str
) -> None:
    """What waits in the kernel's queue belongs to nobody, what others serve to them."""
    server = serve(app_of(name), *CLASSES[name], workers=WORKERS)
    server.allow_log("Worker|Failure")
    kills = 3
    with clients(server) as loads:
        for _ in range(kills):
            before = set(server.wait_ready(WORKERS))
            answered = [load.answered for load in loads]
            kill_one(server, random.Random(name), signal.SIGKILL)
            wait_for(lambda b=before: set(server.workers()) != b, 20, "the death to be noticed")
            wait_for(
                lambda a=answered: all(x.answered > y for x, y in zip(loads, a, strict=True)),
                20,
                "others to answer",
            )
        wait_for(lambda: all(load.answered >= 50 for load in loads), 20, "enough answers")
    # Each death can cost what was on the worker's connections: at most one request of each client.
    for load in loads:
        assert len(load.faults) <= kills * CLIENTS, load.faults
        assert all("Closed" in fault or "Reset" in fault for fault in load.faults), load.faults
    server.wait_ready(WORKERS)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(SHORT, id="short"),
        pytest.param(LONG, id="long", marks=[pytest.mark.soak, pytest.mark.timeout(LONG + 180)]),
    ],
)
def test_not_one_request_is_lost(
    serve: Serve, figures: Callable[[str], None], name: str, seconds: float
) -> None:
    server = serve(app_of(name), *CLASSES[name], workers=WORKERS)
    server.allow_log("Worker .* (exited|ended|was sent)")
    with clients(server) as loads:
        blow(server, seconds, random.Random(name))
    for load in loads:
        load.assert_no_loss(at_least=50)
    figures(f"storm of {seconds:g} s, {name}: {sum(load.answered for load in loads)} requests")
    server.wait_ready(WORKERS)
