"""Workers that are replaced while they serve: max_requests, scaling, kills."""

import os
import signal
import time

import pytest

from support.client import Response
from support.load import Load
from support.server import Concurrent, Server
from support.serving import Serve
from support.waiting import holds_for, wait_for

KINDS = pytest.mark.parametrize(
    "options", [[], ["--threads", "2"], ["--preload"]], ids=["sync", "threads", "preload"]
)


def boots(server: Server) -> int:
    return server.log.count("Booting worker with pid: ")


@KINDS
def test_max_requests_under_load(serve: Serve, options: list[str]) -> None:
    """Both kinds of client, workers that come and go: nothing is lost."""
    server = serve("probes:app", "--max-requests", "100", *options, workers=2)
    with (
        Load(server.address, clients=3, keep_alive=True, pause=0.002) as kept,
        Load(server.address, clients=3, keep_alive=False, pause=0.002) as single,
    ):
        wait_for(lambda: boots(server) >= 8, 30.0, "workers to be recycled")
    kept.assert_no_loss(at_least=100)
    single.assert_no_loss(at_least=100)
    assert "Autorestarting worker after current request." in server.log
    server.wait_workers(2)


def test_replacement_comes_first(serve: Serve) -> None:
    """With an import of 1.5 s and one worker, recycling keeps nobody waiting for it."""
    app = "import time\ntime.sleep(1.5)\nfrom probes import app\n"
    server = serve("own:app", "--max-requests", "20", files={"own.py": app})
    with Load(server.address, clients=2, keep_alive=False, pause=0.02) as load:
        wait_for(lambda: boots(server) >= 3, 20.0, "a second recycling")
    load.assert_no_loss(at_least=40)
    assert load.latency(1.0) < 1.0


def test_each_worker_has_its_own_jitter(serve: Serve) -> None:
    """`max_requests_jitter` spreads the ends; without max_requests it means nothing."""
    app = """
import os
import probes
from events import note
count = 0

def app(environ, start_response):
    global count
    count += 1
    note("request", count=count)
    return probes.app(environ, start_response)
"""
    server = serve(
        "own:app",
        "--max-requests",
        "10",
        "--max-requests-jitter",
        "200",
        files={"own.py": app},
    )
    with Load(server.address, clients=2, keep_alive=False, pause=0) as load:
        wait_for(lambda: boots(server) >= 7, 40.0, "some recycled workers")
    load.assert_no_loss(at_least=50)
    most: dict[int, int] = {}
    for event in server.events("request"):
        most[event["pid"]] = max(most.get(event["pid"], 0), event["count"])
    ends = list(most.values())[:5]
    assert all(count >= 10 for count in ends)
    assert len(set(ends)) > 1, "every worker ended after the same number"


def serving(server: Server, count: int) -> set[int]:
    """Workers that take part when there is work for all of them."""
    answers = Concurrent(server.address, ["/busy-pid"] * count * 3).wait()
    return {int(answer.text) for answer in answers if isinstance(answer, Response)}


def test_scaling_under_load(serve: Serve) -> None:
    """TTIN adds a worker, TTOU drains the oldest; nothing is lost; one always stays."""
    server = serve("probes:app", workers=1)
    with (
        Load(server.address, clients=2, keep_alive=True) as kept,
        Load(server.address, clients=2, keep_alive=False) as single,
    ):
        for expected in (2, 3):
            server.send_signal(signal.SIGTTIN)
            wait_for(
                lambda n=expected: len(serving(server, n)) == n, 10.0, f"{expected} workers to work"
            )
        oldest = server.workers()[0]
        server.send_signal(signal.SIGTTOU)
        wait_for(lambda: oldest not in serving(server, 3), 10.0, "the oldest to drain")
        server.send_signal(signal.SIGTTOU)
        server.send_signal(signal.SIGTTOU)
    kept.assert_no_loss(at_least=20)
    single.assert_no_loss(at_least=20)
    server.wait_workers(1, timeout=10.0)
    holds_for(lambda: len(server.workers()) == 1, 0.5, "one worker stays")
    assert server.get().status == 200


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV], ids=lambda n: n.name)
def test_killed_worker_is_replaced(serve: Serve, number: signal.Signals) -> None:
    """The others serve on, a new one comes soon, and the log says what it was."""
    server = serve("probes:app", workers=2)
    server.expect_log(rf"was sent {number.name}!")
    server.allow_log(r"crashed:\nFatal Python error")
    victim, other = server.wait_ready()
    os.kill(victim, number)
    killed = time.monotonic()
    wait_for(
        lambda: len(server.workers()) == 2 and victim not in server.workers(), 5.0, "a new worker"
    )
    assert time.monotonic() - killed < 3.0
    assert other in server.workers()
    assert server.get().status == 200
    server.wait_log(f"(pid:{victim}) was sent {number.name}!")


def test_killed_worker_loses_only_what_it_had(serve: Serve) -> None:
    """A storm of kills under load: requests fail only where their own worker was killed."""
    server = serve("probes:app", workers=2)
    server.expect_log("SIGKILL")
    kills = 5
    with Load(server.address, clients=4, keep_alive=False) as load:
        for turn in range(kills):
            victim = server.wait_ready(2)[0]
            os.kill(victim, signal.SIGKILL)
            wait_for(
                lambda dead=victim: len(server.workers()) == 2 and dead not in server.workers(),
                10.0,
                f"the replacement in turn {turn}",
            )
    # A sync worker has one request in hand; more may have been accepted and not begun.
    assert len(load.faults) <= 4 * kills, load.faults
    assert load.answered > 50
    assert server.get().status == 200


def test_memory_does_not_grow_with_requests(serve: Serve) -> None:
    """Ten thousand requests of many shapes leave a worker as large as it was."""
    server = serve("probes:app", "--threads", "2")

    def batch(count: int) -> None:
        with server.connect() as connection:
            for _ in range(count):
                connection.request("POST", "/echo", [("X-Tag", "x" * 500)], b"y" * 5000)
                connection.request("GET", "/stream?pieces=3&size=1000")
                connection.request("GET", "/nowhere")
        for _ in range(count // 10):
            server.get("/environ?" + "q" * 500)

    batch(1000)
    before = server.memory()
    with server.assert_no_descriptor_growth():
        batch(3000)
    grown = server.memory() - before
    assert grown < 2 * 1024 * 1024, f"grown by {grown / 1024:.0f} KiB over 9,300 requests"
