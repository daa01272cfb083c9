"""Stuck workers without an engine: Gunicorn's rule for notify, explained and bounded."""

import signal
import time
from collections.abc import Callable

import pytest

from integration.arbiter.helpers import answer, kill
from support.server import Concurrent, Server
from support.waiting import holds_for, wait_for

Start = Callable[..., Server]


@pytest.mark.parametrize("how", ["stuck-in-c", "stuck-in-python"])
def test_a_silent_worker_is_explained_and_replaced(
    start: Start, preload: list[str], how: str
) -> None:
    server = start(*preload, "--timeout", "1")
    (pid,) = server.workers()
    function = how.replace("-", "_")
    server.expect_log(rf"WORKER TIMEOUT \(pid:{pid}\).*in {function}\b")
    server.allow_log("killed by its master because of a stuck interpreter")
    Concurrent(server.address, [f"/{how}"])
    server.wait_log("WORKER TIMEOUT", timeout=5)
    began = time.monotonic()
    wait_for(lambda: pid not in server.workers(), 5, "the stuck worker to be gone")
    assert answer(server)[1] != pid
    assert time.monotonic() - began < 5
    assert "Perhaps out of memory" not in server.log


def test_a_stopped_worker_is_killed(start: Start, preload: list[str]) -> None:
    server = start(*preload, "--timeout", "1", workers=2)
    pid = server.workers()[0]
    server.expect_log(rf"WORKER TIMEOUT \(pid:{pid}\): .*\(stopped\)")
    server.expect_log("killed by its master because of a stuck interpreter")
    kill(pid, signal.SIGSTOP)
    wait_for(lambda: pid not in server.workers(), 10, "the stopped worker to be killed")
    server.wait_workers(2)


def test_timeout_0_switches_it_off(start: Start) -> None:
    server = start("--timeout", "0", workers=2)
    pid = server.workers()[0]
    kill(pid, signal.SIGSTOP)
    holds_for(lambda: pid in server.workers(), 2.5, "the worker is left alone")
    kill(pid, signal.SIGCONT)


def test_a_master_that_did_not_run_blames_nobody(start: Start) -> None:
    """Everything was stopped (a laptop slept, a container was frozen): nobody is at fault."""
    server = start("--timeout", "2", workers=2)
    before = server.workers()
    everybody = [server.pid, *before]
    for pid in everybody:
        kill(pid, signal.SIGSTOP)
    time.sleep(5)  # the frozen time itself, not a wait for anything
    for pid in everybody:
        kill(pid, signal.SIGCONT)
    holds_for(lambda: server.workers() == before, 3, "the same workers serve")
    answer(server)


def test_idle_workers_are_left_alone(start: Start) -> None:
    server = start("--timeout", "1", workers=2)
    before = server.workers()
    holds_for(lambda: server.workers() == before, 3, "nobody is replaced")
