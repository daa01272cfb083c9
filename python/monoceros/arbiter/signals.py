"""Signals of the arbiter, from the kernel to its queue.

Rules:
- The interpreter's C handler writes one byte for each signal into a pipe (signal.set_wakeup_fd);
  these bytes are the queue, so two signals of a kind count twice. What the kernel merges before
  it reaches the process cannot be told apart by anybody.
- The Python-level handlers do nothing: everything happens in the loop, between two waits.
- Around a fork every signal of the arbiter is blocked. A child that is signalled before it has
  handlers of its own gets the signal when it has them, and the arbiter's handlers never run in it.
"""

import contextlib
import os
import queue
import select
import signal
import time
from collections.abc import Iterator
from types import FrameType
from typing import Final

#: What the arbiter listens to.
SIGNALS: Final = tuple(
    getattr(signal, f"SIG{name}")
    for name in ("HUP", "QUIT", "INT", "TERM", "TTIN", "TTOU", "USR1", "USR2", "WINCH", "CHLD")
)

#: Sent to a worker to have the stacks of its threads written to its memory file. A real-time
#: signal, away from the ones that libraries and debuggers take (SIGRTMIN to SIGRTMIN+3, +7).
DUMP_SIGNAL: Final = signal.SIGRTMIN + 8


def signal_name(number: int) -> str:
    """`SIGTERM` for 15; a number without a name keeps its number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def ignore(_number: int, _frame: FrameType | None) -> None:
    """A handler that does nothing. Unlike SIG_IGN it is not inherited through exec."""


@contextlib.contextmanager
def blocked() -> Iterator[None]:
    """Hold back the arbiter's signals; those that arrive meanwhile come at the end."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


class SignalInbox:
    """The arbiter's end of the pipe and the queue of signals that it fills."""

    def __init__(self) -> None:
        self.queue: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        """Readable when a signal has come or `wake` was called."""
        return self._reader

    def install(self) -> None:
        """Take over the arbiter's signals. Main thread only."""
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, ignore)

    def wake(self) -> None:
        """Make the loop turn at once. Safe in any thread."""
        with contextlib.suppress(BlockingIOError):  # a full pipe wakes the loop as well
            os.write(self._writer, b"\0")

    def take(self) -> list[int]:
        """Every signal that has come since the last call, in order."""
        while True:
            try:
                data = os.read(self._reader, 4096)
            except BlockingIOError:
                break
            for number in data:
                if number:
                    self.queue.put(number)
        taken = []
        with contextlib.suppress(queue.Empty):
            while True:
                taken.append(self.queue.get_nowait())
        return taken

    def wait(self, seconds: float) -> None:
        """Sleep until a signal has come or the time is over; leaves the signal in its place."""
        poller = select.poll()
        poller.register(self._reader, select.POLLIN)
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if poller.poll(left * 1000):
                return

    def close(self) -> None:
        """For a child: let go of the pipe. May be called more than once."""
        if self._reader >= 0:
            os.close(self._reader)
            os.close(self._writer)
            self._reader = self._writer = -1
