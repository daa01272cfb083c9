"""The signal inbox, with real signals to this process."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from monoceros.arbiter import signals
from monoceros.arbiter.signals import SignalInbox


@pytest.fixture
def inbox() -> Iterator[SignalInbox]:
    before = {number: signal.getsignal(number) for number in signals.SIGNALS}
    wakeup = signal.set_wakeup_fd(-1)
    box = SignalInbox()
    box.install()
    yield box
    signal.set_wakeup_fd(wakeup)
    for number, handler in before.items():
        signal.signal(number, handler)
    box.close()


def test_two_of_a_kind_count_twice(inbox: SignalInbox) -> None:
    # Each is delivered before the next is sent: nothing is left for the kernel to merge.
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTTIN)
    os.kill(os.getpid(), signal.SIGTTOU)
    assert inbox.take() == [signal.SIGTTIN, signal.SIGTTIN, signal.SIGTTOU]
    assert inbox.take() == []


def test_a_wait_ends_with_a_signal_and_leaves_it(inbox: SignalInbox) -> None:
    os.kill(os.getpid(), signal.SIGHUP)
    began = time.monotonic()
    inbox.wait(30)
    assert time.monotonic() - began < 5
    assert inbox.take() == [signal.SIGHUP]


def test_waking_wakes_and_is_no_signal(inbox: SignalInbox) -> None:
    inbox.wake()
    began = time.monotonic()
    inbox.wait(30)
    assert time.monotonic() - began < 5
    assert inbox.take() == []


def test_waking_a_full_pipe_does_not_block(inbox: SignalInbox) -> None:
    for _ in range(100_000):
        inbox.wake()
    assert inbox.take() == []


def test_a_blocked_signal_arrives_afterwards(inbox: SignalInbox) -> None:
    with signals.blocked():
        # To this thread: another, of the test runner, would take it.
        signal.raise_signal(signal.SIGHUP)
        assert inbox.take() == []
    assert inbox.take() == [signal.SIGHUP]


def test_what_hooks_put_into_the_queue_is_taken(inbox: SignalInbox) -> None:
    inbox.queue.put(signal.SIGHUP)
    assert inbox.take() == [signal.SIGHUP]


def test_a_stray_handler_is_not_inherited_through_exec() -> None:
    code = (
        "import os, signal, subprocess, sys\n"
        "from monoceros.arbiter.signals import ignore\n"
        "signal.signal(signal.SIGHUP, ignore)\n"
        "child = 'import signal; print(signal.getsignal(signal.SIGHUP) is signal.SIG_DFL)'\n"
        "subprocess.run([sys.executable, '-c', child])\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert out.stdout.strip() == "True", out.stderr


def test_names() -> None:
    assert signals.signal_name(15) == "SIGTERM"
    assert signals.signal_name(62) == "signal 62"
