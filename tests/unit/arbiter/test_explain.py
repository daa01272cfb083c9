"""Why a process ended: five different ends, five different reasons."""

import logging
import os
import signal
import sys
from pathlib import Path

import pytest

from monoceros.arbiter import explain
from monoceros.arbiter.explain import Ending, OutOfMemoryCounter, describe_end


def line(ending: Ending, ordered: str | None = None, ours: int | None = None) -> str:
    told = describe_end("Worker", 7, ending, ordered=ordered, ours=ours)
    return told[1] if told else ""


def test_somebody_elses_kill() -> None:
    assert line(Ending(None, 9, None)) == "Worker (pid:7) was sent SIGKILL! Perhaps out of memory?"
    assert "Out of memory: the kernel" in line(Ending(None, 9, True))
    assert "somebody killed it" in line(Ending(None, 9, False))


def test_our_own_kill_is_told_as_ours() -> None:
    told = line(Ending(None, 9, False), "a stuck interpreter", signal.SIGKILL)
    assert told == "Worker (pid:7) was killed by its master because of a stuck interpreter."
    aborted = line(Ending(1, None), "a request over its deadline", signal.SIGABRT)
    assert (
        aborted
        == "Worker (pid:7) was aborted by its master because of a request over its deadline."
    )


def test_an_order_to_end_that_meets_no_handler_is_no_news() -> None:
    assert line(Ending(None, signal.SIGQUIT), "the server's stop", signal.SIGQUIT) == ""
    assert line(Ending(None, signal.SIGTERM), "a reload", signal.SIGTERM) == ""
    assert "was sent SIGQUIT!" in line(Ending(None, signal.SIGQUIT), "a reload", signal.SIGTERM)


def test_a_kill_by_the_kernel_while_it_drained_is_not_ours() -> None:
    assert "Out of memory" in line(Ending(None, 9, True), "a reload", signal.SIGTERM)


def test_levels_by_signal() -> None:
    assert describe_end("Worker", 7, Ending(None, 11), ordered=None, ours=None) == (
        logging.WARNING,
        "Worker (pid:7) was sent SIGSEGV!",
    )
    assert describe_end("Worker", 7, Ending(None, 15), ordered=None, ours=None) == (
        logging.INFO,
        "Worker (pid:7) was sent SIGTERM!",
    )


def test_codes() -> None:
    assert line(Ending(3, None)) == "Worker (pid:7) exited with code 3."
    assert line(Ending(0, None)) == ""
    assert line(Ending(0, None), "a reload", signal.SIGTERM) == ""
    assert line(Ending(255, None), "a reload", signal.SIGTERM) == (
        "Worker (pid:7) exited with code 255."
    )


@pytest.mark.parametrize(("end", "brief"), [("sys.exit(3)", "exit status 3"), (9, "SIGKILL")])
def test_wait_statuses(end: str | int, brief: str) -> None:
    pid = os.fork()
    if pid == 0:
        if end == 9:
            os.kill(os.getpid(), 9)
        os._exit(3)
    _, status = os.waitpid(pid, 0)
    ending = Ending.from_status(status, OutOfMemoryCounter())
    assert ending.brief.startswith(brief)


def test_the_counter_of_a_control_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = tmp_path / "memory.events"
    events.write_text("low 0\noom 1\noom_kill 3\noom_group_kill 0\n")
    monkeypatch.setattr(explain, "_find_counter", lambda: events)
    counter = OutOfMemoryCounter()
    assert counter.known
    assert not counter.increased()
    events.write_text("low 0\noom 2\noom_kill 4\n")
    assert counter.increased()
    assert not counter.increased(), "told once"
    events.unlink()
    assert not counter.increased()


def test_without_a_control_group_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain, "_find_counter", lambda: None)
    assert not OutOfMemoryCounter().known


def test_a_real_group_is_readable_or_absent() -> None:
    path = explain._find_counter()
    assert path is None or path.exists(), sys.platform
