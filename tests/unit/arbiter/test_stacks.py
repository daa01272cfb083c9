"""Stacks of other processes, in the states that a stuck worker can be in."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from monoceros.arbiter.stacks import PATIENCE, StackFile, process_state

Start = Callable[[str], tuple[int, StackFile]]

#: What a stuck request can be doing; each names its function in the stack.
STUCK = {
    "in a system call": "import time\ndef stuck_here(): time.sleep(60)",
    "in a loop": "def stuck_here():\n  while True: pass",
    "on a lock": (
        "import threading\nlock = threading.Lock()\nlock.acquire()\n"
        "def stuck_here(): lock.acquire()"
    ),
    "in C, with the interpreter's lock": (
        "import ctypes\ndef stuck_here(): ctypes.PyDLL(None).sleep(60)"
    ),
    "in another thread": (
        "import threading, time\ndef stuck_here(): time.sleep(60)\n"
        "threading.Thread(target=stuck_here, daemon=True).start()\n"
        "def wait(): time.sleep(60)\nstuck_thread = wait"
    ),
}


@pytest.fixture
def start() -> Iterator[Start]:
    processes: list[subprocess.Popen[str]] = []
    files: list[StackFile] = []

    def run(code: str) -> tuple[int, StackFile]:
        file = StackFile.create()
        os.set_inheritable(file.descriptor, True)
        text = (
            "from monoceros.arbiter.stacks import StackFile\n"
            f"StackFile({file.descriptor}).register()\n{code}\n"
            "print('started', flush=True)\n"
            "globals().get('stuck_thread', stuck_here)()\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", text],
            stdout=subprocess.PIPE,
            pass_fds=[file.descriptor],
            text=True,
        )
        processes.append(process)
        files.append(file)
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        return process.pid, file

    yield run
    for process in processes:
        process.kill()
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()
    for file in files:
        file.close()


def in_function(file: StackFile, pid: int) -> str:
    """The process may not have reached its function yet: ask again, within a bound."""
    deadline = time.monotonic() + 20
    while True:
        text = file.request(pid)
        if "stuck_here" in text or time.monotonic() > deadline:
            return text


@pytest.mark.parametrize("how", STUCK)
def test_a_stuck_function_is_named(start: Start, how: str) -> None:
    pid, file = start(STUCK[how])
    assert "in stuck_here" in in_function(file, pid)


def test_a_second_dump_replaces_the_first(start: Start) -> None:
    pid, file = start(STUCK["in a system call"])
    first = in_function(file, pid)
    second = file.request(pid)
    assert len(second) <= len(first) + 200
    assert second.count("most recent call first") == 1


def test_a_stopped_process_does_not_hold_us_up(start: Start) -> None:
    pid, file = start(STUCK["in a loop"])
    in_function(file, pid)
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    assert file.request(pid) == ""
    assert time.monotonic() - began < PATIENCE + 1
    assert process_state(pid) == "stopped"


def test_a_crash_leaves_its_stack_behind(start: Start) -> None:
    pid, file = start("import ctypes\ndef stuck_here(): ctypes.string_at(0)")
    deadline = time.monotonic() + 20
    while "stuck_here" not in file.read() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "Segmentation fault" in file.read()
    assert "stuck_here" in file.read()
    while process_state(pid) not in ("dead", "") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process_state(pid) in ("dead", "")


def test_a_process_that_is_gone_has_no_stacks() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(30)
    file = StackFile.create()
    assert file.request(process.pid) == ""
    assert process_state(process.pid) == ""
    file.close()
    file.close()
