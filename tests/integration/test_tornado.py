"""The worker class `tornado`: Tornado's own loop and server under our master."""

import signal

import pytest

from support.load import Load
from support.server import Concurrent, Server
from support.serving import Serve
from support.waiting import wait_for

TORNADO = ("--worker-class", "tornado")

#: Such a worker has no engine by which it could be seen from outside that it is ready.
NOTING = """
import events

def post_worker_init(worker):
    events.note("serving")
"""


def start(serve: Serve, app: str = "tornado_site:app", *options: str, workers: int = 1) -> Server:
    return serve(app, *TORNADO, *options, config=NOTING, workers=workers)


def test_an_application_runs_on_its_loop(serve: Serve) -> None:
    server = start(serve)
    assert server.get("/").text == "tornado"
    assert server.get("/pieces").text == "0\n1\n2\n3\n4\n"
    body = b"x" * 500_000
    assert server.exchange("POST", "/", body=body).body == body
    assert server.events("callback-of-import")


def test_requests_run_side_by_side(serve: Serve) -> None:
    """All of them are inside before the first one ends."""
    server = start(serve)
    slow = Concurrent(server.address, ["/sleep?seconds=2"] * 50)
    assert slow.statuses() == [200] * 50
    assert max(slow.seconds) < 50


def test_a_wsgi_app_runs_as_well(serve: Serve) -> None:
    server = start(serve, "probes:app")
    assert server.get("/").status == 200


def test_an_error_is_told_and_harms_nobody(serve: Serve) -> None:
    server = start(serve)
    server.allow_log("")
    assert server.get("/fail").status == 500
    assert server.get("/").status == 200


def test_draining_answers_what_runs(serve: Serve) -> None:
    server = start(serve)
    slow = Concurrent(server.address, ["/sleep?seconds=1"] * 3)
    server.wait_event("sleeping", count=3)
    server.send_signal(signal.SIGTERM)
    assert slow.statuses() == [200] * 3
    assert server.wait_exit() == 0


def test_the_end_of_the_grace_cuts_what_runs(serve: Serve) -> None:
    server = start(serve, "tornado_site:app", "--graceful-timeout", "1")
    server.expect_log("ended before 1 requests could be finished")
    stuck = Concurrent(server.address, ["/sleep?seconds=60"])
    server.wait_event("sleeping")
    assert server.stop() == 0
    stuck.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=["INT", "QUIT"])
def test_quick_ends(serve: Serve, number: signal.Signals) -> None:
    server = start(serve)
    stuck = Concurrent(server.address, ["/sleep?seconds=60"])
    server.wait_event("sleeping")
    assert server.stop(number) == 0
    stuck.wait()


def test_a_loop_that_is_held_is_explained(serve: Serve) -> None:
    server = start(serve, "tornado_site:app", "--timeout", "2")
    server.expect_log("WORKER TIMEOUT")
    server.allow_log("aborted by its master")
    before = server.workers()
    stuck = Concurrent(server.address, ["/block?seconds=60"])
    server.wait_event("holding")
    server.wait_log("tornado_site.py", 20.0)
    wait_for(lambda: (now := server.workers()) and not set(now) & set(before), 20.0, "another")
    server.wait_answer()
    stuck.wait()


def test_max_requests_and_reloads_lose_nothing(serve: Serve) -> None:
    """A connection per request, and kept ones."""
    server = start(serve, "tornado_site:app", "--max-requests", "100", workers=2)
    with (
        Load(server.address, clients=2, target="/pid", timeout=30.0, keep_alive=False) as short,
        Load(server.address, clients=2, target="/pid", timeout=30.0) as kept,
    ):
        wait_for(lambda: len(short.bodies() | kept.bodies()) >= 4, 60.0, "a worker to be replaced")
        seen = len(short.bodies() | kept.bodies())
        server.send_signal(signal.SIGHUP)
        wait_for(lambda: len(short.bodies() | kept.bodies()) > seen, 60.0, "new workers")
    for load in (short, kept):
        load.assert_no_loss()
