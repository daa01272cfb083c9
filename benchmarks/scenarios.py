"""The measurements that are not CPU time per request.

Each scenario runs several servers one after the other and gives one row for each. A server that
cannot do it gives a row that says why.
"""

import contextlib
import os
import resource
import select
import signal
import socket
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import accounting
import client
import load
import openloop
import server
import websocket
from echo import Echo
from groups import WEBSOCKET, WSGI, Group
from load import Load
from measure import Setting, progress
from peers import PEERS, named
from programs import Peer
from wsgi_peers import THREADED

#: Sleepers: this many threads of an app that sleeps 20 ms can answer 400 requests a second.
SLEEPER_THREADS = 8
SLEEPER_CONNECTIONS = 64
SLEEPER_IDEAL = SLEEPER_THREADS / 0.020

#: Requests a second of the tail scenario. One in a hundred sleeps half a second, so that on
#: average two of eight threads are asleep, and all eight only about once in a thousand arrivals:
#: what is measured is the server, not a pool that is too small.
TAIL_RATE = 400.0
TAIL_THREADS = 8
TAIL_SLOW = 0.01

#: The families of a quick run: we, and what we replace.
BRIEF = ("monoceros", "gunicorn")

#: Idle keep-alive connections.
IDLE_CONNECTIONS = 10_000
#: Idle WebSockets, and of those with permessage-deflate as many as say what one costs.
IDLE_WEBSOCKETS = 5_000
IDLE_DEFLATING = 500
#: Bytes of the one message that each of them has echoed.
IDLE_MESSAGE = 125
#: Descriptors that this process needs besides.
SPARE_DESCRIPTORS = 200

#: Seconds that a reload may take.
RELOAD_BOUND = 30.0
#: Seconds between two requests while a server is reloaded, each with its own connection.
RELOAD_GAP = 0.002


@dataclass(frozen=True)
class Row:
    """One server in one scenario: named figures, or what went wrong."""

    scenario: str
    peer: str
    figures: dict[str, float]
    problem: str | None = None


@dataclass(frozen=True)
class Scenario:
    """`run` gives the figures of one server; `units` names each figure's unit."""

    name: str
    title: str
    peers: tuple[Peer, ...]
    run: Callable[[Peer, Setting], dict[str, float]]
    units: dict[str, str]
    group: Group = WSGI


def sleeper(peer: Peer, setting: Setting) -> dict[str, float]:
    """Requests a second of an app that sleeps, closed loop."""
    seconds = 3 if setting.quick else 6
    with server.running(peer, "sleeper", setting.server_cpu, threads=SLEEPER_THREADS) as running:
        outcome = Load(connections=SLEEPER_CONNECTIONS).apply(
            running.port, seconds, setting.client_cpu
        )
    rate = outcome.requests / outcome.seconds
    return {"rate": rate, "share": rate / SLEEPER_IDEAL}


def tail(peer: Peer, setting: Setting) -> dict[str, float]:
    """Latency of fast requests among a few slow ones, open loop."""
    seconds = 4.0 if setting.quick else 12.0
    with server.running(peer, "mixed", setting.server_cpu, threads=TAIL_THREADS) as running:
        client.warm(running.port, client.request(), 100)
        seen = openloop.apply(running.port, TAIL_RATE, seconds, slow_share=TAIL_SLOW)
    return {
        "p50_ms": seen.quantile(0.50) * 1e3,
        "p99_ms": seen.quantile(0.99) * 1e3,
        "p999_ms": seen.quantile(0.999) * 1e3,
        "failed": float(seen.failed),
    }


def idle(peer: Peer, setting: Setting) -> dict[str, float]:
    """Memory of idle connections, and the latency of a request beside them."""
    raise_descriptor_limit(IDLE_CONNECTIONS + SPARE_DESCRIPTORS)
    seconds = 2.0 if setting.quick else 3.0
    room = IDLE_CONNECTIONS + SPARE_DESCRIPTORS
    with (
        server.running(peer, "plain", setting.server_cpu, connections=room) as running,
        contextlib.ExitStack() as connections,
    ):
        client.warm(running.port, client.request(), 500)
        before = openloop.apply(running.port, TAIL_RATE, seconds)
        empty = accounting.memory(running.session)
        opened: list[socket.socket] = []
        for _ in range(IDLE_CONNECTIONS):
            connection = connections.enter_context(client.connect(running.port))
            connection.sendall(client.request())
            client.read_answer(connection)
            opened.append(connection)
        full = accounting.memory(running.session)
        beside = openloop.apply(running.port, TAIL_RATE, seconds)
        closed = count_closed(opened)
        # The oldest and the youngest still answer.
        for connection in (*opened[:50], *opened[-50:]):
            connection.sendall(client.request())
            client.read_answer(connection)
    if closed:
        raise server.ServerFailed(f"it closed {closed} of {IDLE_CONNECTIONS} idle connections")
    return {
        "mib": (full - empty) / 2**20,
        "bytes_each": (full - empty) / IDLE_CONNECTIONS,
        "p99_before_ms": before.quantile(0.99) * 1e3,
        "p99_beside_ms": beside.quantile(0.99) * 1e3,
        "failed": float(before.failed + beside.failed),
    }


def idle_websockets(peer: Peer, setting: Setting) -> dict[str, float]:
    """Memory of idle WebSockets, each of which has had a message echoed, and of fewer more that
    have agreed upon permessage-deflate."""
    room = IDLE_WEBSOCKETS + IDLE_DEFLATING + SPARE_DESCRIPTORS
    raise_descriptor_limit(room)
    app = "asgi_subjects:echo"
    with (
        server.running(peer, app, setting.server_cpu, connections=room) as running,
        contextlib.ExitStack() as connections,
    ):
        Echo(IDLE_MESSAGE).warm(running.port, 500)
        opened: list[socket.socket] = []

        def grow(count: int, *, deflate: bool) -> float:
            """Open so many; returns the bytes that they have added."""
            before = accounting.memory(running.session)
            echo = Echo(IDLE_MESSAGE, deflate=deflate)
            expected = None if deflate else echo.payload()
            for _ in range(count):
                connection, window = websocket.connect(running.port, deflate=deflate)
                opened.append(connections.enter_context(connection))
                websocket.exchange(connection, echo.frame(window), expected)
            return float(accounting.memory(running.session) - before)

        plain = grow(IDLE_WEBSOCKETS, deflate=False)
        figures = {"mib": plain / 2**20, "bytes_each": plain / IDLE_WEBSOCKETS}
        # A server without permessage-deflate has no figure for it.
        with contextlib.suppress(websocket.Refused):
            figures["deflate_each"] = grow(IDLE_DEFLATING, deflate=True) / IDLE_DEFLATING
        closed = count_closed(opened)
    if closed:
        raise server.ServerFailed(f"it closed {closed} of {len(opened)} idle WebSockets")
    return figures


def startup(peer: Peer, setting: Setting) -> dict[str, float]:
    """Time from exec to the first answer: the median of several starts."""
    times = []
    for _ in range(3 if setting.quick else 7):
        with server.running(peer, "plain", setting.server_cpu) as running:
            times.append(running.first_answer)
    return {"ms": statistics.median(times) * 1e3}


def reload(peer: Peer, setting: Setting) -> dict[str, float]:
    """HUP, with an app whose import takes a second: time until new code answers, and until the
    old worker has gone; what became of the requests meanwhile."""
    with server.running(peer, "slow_import:application", setting.server_cpu) as running:
        old = int(client.fetch(running.port))
        started = time.monotonic()
        running.process.send_signal(signal.SIGHUP)
        answered = gone = None
        failed = 0
        worst = 0.0
        while answered is None or gone is None:
            begun = time.monotonic()
            if begun - started > RELOAD_BOUND:
                missing = "answered" if answered is None else "ended the old worker"
                raise server.ServerFailed(f"{RELOAD_BOUND:g} s after HUP it had not {missing}")
            try:
                generation = int(client.fetch(running.port))
            except (OSError, client.BadAnswer):
                running.check()
                failed += 1
            else:
                if generation != old and answered is None:
                    answered = time.monotonic() - started
                worst = max(worst, time.monotonic() - begun)
            if gone is None and old not in accounting.processes(running.session):
                gone = time.monotonic() - started
            time.sleep(RELOAD_GAP)
    return {
        "new_ms": answered * 1e3,
        "old_gone_ms": gone * 1e3,
        "worst_ms": worst * 1e3,
        "failed": float(failed),
    }


def raise_descriptor_limit(needed: int) -> None:
    """Raise this process's soft limit. Raises ServerFailed when the hard limit forbids it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise server.ServerFailed(f"needs {needed} descriptors; the hard limit is {hard}")
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def count_closed(connections: list[socket.socket]) -> int:
    """How many of these idle connections the other side has closed."""
    poll = select.poll()
    for connection in connections:
        poll.register(connection, select.POLLIN)
    return len(poll.poll(0))


def with_name(*names: str) -> tuple[Peer, ...]:
    return tuple(named(name) for name in names)


SCENARIOS = (
    Scenario(
        "sleeper",
        f"an app that sleeps 20 ms: {SLEEPER_THREADS} threads, {SLEEPER_CONNECTIONS} connections"
        f" (ideal {SLEEPER_IDEAL:.0f}/s)",
        THREADED,
        sleeper,
        {"rate": "requests/s", "share": "of the ideal"},
    ),
    Scenario(
        "tail",
        f"fast requests while 1 in 100 sleeps 500 ms: {TAIL_THREADS} threads,"
        f" {TAIL_RATE:.0f} random arrivals/s",
        THREADED,
        tail,
        {"p50_ms": "p50 ms", "p99_ms": "p99 ms", "p999_ms": "p99.9 ms", "failed": "failed"},
    ),
    Scenario(
        "idle",
        f"{IDLE_CONNECTIONS:,} idle keep-alive connections, 1 worker",
        with_name("monoceros", "bjoern", "fastwsgi", "granian", "gunicorn-gthread", "nginx"),
        idle,
        {
            "mib": "MiB more",
            "bytes_each": "bytes each",
            "p99_before_ms": "p99 ms without",
            "p99_beside_ms": "p99 ms beside",
            "failed": "failed",
        },
    ),
    Scenario(
        "startup",
        "time from exec to the first answer",
        tuple(
            peer
            for peer in PEERS
            if peer.name in ("monoceros", "bjoern", "fastwsgi", "granian", "gunicorn-sync", "nginx")
        ),
        startup,
        {"ms": "ms"},
    ),
    Scenario(
        "reload",
        "HUP under requests, 1 worker, an import of 1 s",
        with_name("monoceros", "gunicorn-sync", "gunicorn-gthread", "granian"),
        reload,
        {
            "new_ms": "ms to new code",
            "old_gone_ms": "ms to the old one's end",
            "worst_ms": "worst latency ms",
            "failed": "failed",
        },
    ),
    Scenario(
        "idle-websockets",
        f"{IDLE_WEBSOCKETS:,} idle WebSockets, 1 worker",
        with_name(*WEBSOCKET.ours, *WEBSOCKET.rivals, "gunicorn-asgi"),
        idle_websockets,
        {
            "mib": "MiB more",
            "bytes_each": "bytes each",
            "deflate_each": "bytes each with deflate",
        },
        WEBSOCKET,
    ),
)


def run(scenarios: list[Scenario], families: set[str], setting: Setting) -> list[Row]:
    """Every scenario with every peer of these families."""
    rows = []
    os.sched_setaffinity(0, {setting.client_cpu})
    for scenario in scenarios:
        for peer in scenario.peers:
            if peer.family not in families or (setting.quick and peer.family not in BRIEF):
                continue
            progress(f"{scenario.name:<19} {peer.name}")
            try:
                rows.append(Row(scenario.name, peer.name, scenario.run(peer, setting)))
            except (
                server.ServerFailed,
                load.LoadFailed,
                client.BadAnswer,
                OSError,
                ValueError,
            ) as error:
                rows.append(Row(scenario.name, peer.name, {}, f"{type(error).__name__}: {error}"))
    progress("")
    return rows
