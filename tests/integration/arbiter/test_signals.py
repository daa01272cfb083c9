"""Signals to the master and to workers."""

import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from integration.arbiter.helpers import answer, kill, wait_all_serve
from support.processes import descriptors
from support.server import Server
from support.waiting import holds_for, wait_for

Start = Callable[..., Server]


def test_scaling(start: Start, preload: list[str]) -> None:
    server = start(*preload)
    first = server.workers()
    server.send_signal(signal.SIGTTIN)
    server.wait_workers(2)
    server.send_signal(signal.SIGTTIN)
    wait_all_serve(server, 3)
    server.send_signal(signal.SIGTTOU)
    server.wait_workers(2)
    assert not set(first) & set(server.workers()), "the oldest goes first"
    for count in (1, 1):
        server.send_signal(signal.SIGTTOU)
        server.wait_workers(count)
    server.wait_log("Handling signal: ttou", count=3)
    holds_for(lambda: len(server.workers()) == 1, 0.5, "never below one")
    answer(server)


def test_scaling_by_two_in_a_row(start: Start) -> None:
    server = start()
    for _ in range(2):
        count = server.log.count("Handling signal: ttin")
        server.send_signal(signal.SIGTTIN)
        server.wait_log("Handling signal: ttin", count=count + 1)
    server.wait_workers(3)


def test_a_burst_ends_at_the_right_count(start: Start) -> None:
    """200 signals as fast as the kernel keeps them apart: it merges two of a kind that wait."""
    server = start(workers=2)
    dice = random.Random(200)
    count = 2
    for _ in range(200):
        up = count <= 2 or (count < 6 and dice.random() < 0.5)
        number = signal.SIGTTIN if up else signal.SIGTTOU
        count += 1 if up else -1
        wait_for(lambda n=number: not is_pending(server.pid, n), 20, "the last one to be taken")
        server.send_signal(number)
    server.wait_log("Handling signal: tt", 20, count=200)
    wait_all_serve(server, count, 30)
    while count > 1:
        wait_for(lambda: not is_pending(server.pid, signal.SIGTTOU), 20, "the last one")
        server.send_signal(signal.SIGTTOU)
        count -= 1
    wait_all_serve(server, 1, 30)


def is_pending(pid: int, number: signal.Signals) -> bool:
    """Whether a signal of this kind waits for the process to take it."""
    status = Path(f"/proc/{pid}/status").read_text()
    lines = [line for line in status.splitlines() if line.startswith(("SigPnd:", "ShdPnd:"))]
    return any(int(line.split()[1], 16) & (1 << (number - 1)) for line in lines)


def test_usr1_reopens_the_logs_of_everybody(start: Start, preload: list[str]) -> None:
    server = start(*preload, "--error-logfile", "error.log")
    server.error_log = server.directory / "error.log"
    moved = server.directory / "error.log.1"
    server.error_log.rename(moved)
    server.send_signal(signal.SIGUSR1)
    wait_for(server.error_log.exists, 10, "the new log")
    pids = {server.pid, *server.workers(), *server.molds()}

    def all_have_reopened() -> bool:
        return not any(str(moved) in descriptors(pid).values() for pid in pids)

    wait_for(all_have_reopened, 10, "nobody to hold the old log")


def test_a_resized_terminal_changes_nothing(start: Start) -> None:
    server = start()
    before = server.workers()
    server.send_signal(signal.SIGWINCH)
    server.wait_log("Handling signal: winch")
    assert server.workers() == before
    answer(server)


@pytest.mark.parametrize(
    "number",
    [signal.SIGHUP, signal.SIGUSR2, signal.SIGWINCH, signal.SIGTTIN, signal.SIGTTOU],
)
def test_stray_signals_to_workers_and_mold_do_no_harm(start: Start, number: signal.Signals) -> None:
    server = start("--preload", workers=2)
    before = [*server.workers(), *server.molds()]
    for pid in before:
        kill(pid, number)
    holds_for(lambda: [*server.workers(), *server.molds()] == before, 1, "all of them live")
    answer(server)
