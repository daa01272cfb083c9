"""What follows from faults of the kernel, in a server that was built to have them.

Run by `make test-faults`; there is nothing to run in an ordinary build.
"""

import os
import time

import pytest

from support.client import format_request
from support.load import Load
from support.server import PACKAGE
from support.serving import Serve
from support.waiting import wait_for

pytestmark = pytest.mark.skipif(
    PACKAGE not in os.environ, reason="needs an engine with faults: make test-faults"
)


def faults(orders: str) -> dict[str, str]:
    return {"MONOCEROS_FAULTS": orders}


def test_a_wrong_order_is_told(serve: Serve) -> None:
    """The build under test does read its orders: none of these tests passes for nothing."""
    server = serve("probes:app", env=faults("sort"), wait=False)
    server.expect_log("which is no fault")
    server.allow_log(".")
    server.expect_exit(255)
    assert server.wait_exit() != 0


@pytest.mark.parametrize("orders", ["short", "again", "short,again", "aborted=3"])
@pytest.mark.parametrize("threads", [1, 2])
def test_no_request_is_lost(serve: Serve, orders: str, threads: int) -> None:
    server = serve("probes:app", "--threads", str(threads), workers=2, env=faults(orders))
    large = b"0123456789" * 100_000
    with (
        Load(server.address, clients=2, keep_alive=True) as kept,
        Load(server.address, clients=2, keep_alive=False, target="/large?bytes=300000") as new,
    ):
        for _ in range(5):
            assert server.exchange("POST", "/echo", body=large).body == large
            assert len(server.get("/stream?pieces=10").body) == 655_360
        wait_for(lambda: kept.answered > 100 and new.answered > 30, 30.0, "130 answers")
    kept.assert_no_loss(at_least=100)
    new.assert_no_loss(at_least=30)


def test_accepting_without_descriptors_now_and_then(serve: Serve) -> None:
    """Everybody is answered: well, or with 503."""
    server = serve("probes:app", env=faults("accept=2"))
    server.expect_log("cannot accept a connection")
    [pid] = server.workers()
    with server.assert_no_descriptor_growth():
        statuses = [server.get().status for _ in range(100)]
    assert set(statuses) == {200, 503}
    assert server.workers() == [pid]


def test_a_disk_that_is_full_now_and_then(serve: Serve) -> None:
    """An upload is answered whole or with 507, and the worker lives on."""
    server = serve("probes:app", env=faults("disk=5"))
    server.expect_log("cannot spool request bodies")
    [pid] = server.workers()
    body = b"0123456789" * 100_000
    statuses = []
    with server.assert_no_descriptor_growth():
        for _ in range(20):
            with server.connect() as connection:
                connection.send(format_request("POST", "/echo", body=body))
                response = connection.read_response()
                statuses.append(response.status)
                assert response.status == 507 or response.body == body
    assert 507 in statuses
    assert server.workers() == [pid]
    assert server.exchange("POST", "/echo", body=b"small").body == b"small"


#: A config file that lets the clocks which Python reads jump with the engine's.
JUMPING = """
import time

AHEAD, MOMENT = {seconds}, {moment}
monotonic, wall = time.monotonic, time.time


def jump():
    return AHEAD if monotonic() >= MOMENT else 0


time.monotonic = lambda: monotonic() + jump()
time.time = lambda: wall() - jump()
"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("seconds", [40, 100_000])
def test_a_clock_that_jumps(serve: Serve, seconds: int, threads: int) -> None:
    """Deadlines may fire for what was open; workers live on, and so do new connections.

    The arbiter's clock jumps at the same moment as the workers', so that nobody who looks at the
    scoreboard may take anybody for stuck.
    """
    moment = int(time.monotonic()) + 6
    server = serve(
        "probes:app",
        *("--timeout", "5", "--threads", str(threads)),
        workers=2,
        config=JUMPING.format(seconds=seconds, moment=moment),
        env=faults(f"clock={seconds},jump_at={moment}"),
    )
    pids = server.workers()
    before = server.get()
    date = before.get("Date")
    assert time.monotonic() < moment, "the server came up after the jump: nothing was tested"
    with Load(server.address, clients=2, keep_alive=False) as load:
        wait_for(lambda: time.monotonic() > moment + 7, 30.0, "the jump, and more than timeout")
    load.assert_no_loss(at_least=100)
    assert server.workers() == pids
    assert server.get().get("Date") != date
    with server.connect() as connection:
        assert connection.request().status == 200
        assert connection.request().status == 200
