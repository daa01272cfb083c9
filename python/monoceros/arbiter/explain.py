"""Why a process ended, in words for the operator."""

import contextlib
import logging
import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from monoceros.arbiter.signals import signal_name

#: Signals on which faulthandler leaves the stacks behind.
FATAL: Final = frozenset(
    {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT}
)


class OutOfMemoryCounter:
    """How often the kernel has killed a process of our control group for want of memory."""

    def __init__(self) -> None:
        self._path = _find_counter()
        self._last = self._read()

    @property
    def known(self) -> bool:
        """The kernel tells us. Where it does not, nobody can say why a SIGKILL came."""
        return self._last is not None

    def increased(self) -> bool:
        """True when the counter has grown since the last call."""
        value = self._read()
        grown = value is not None and self._last is not None and value > self._last
        self._last = value
        return grown

    def _read(self) -> int | None:
        if self._path is None:
            return None
        try:
            return _parse_counter(self._path.read_text())
        except OSError:
            return None


def _parse_counter(text: str) -> int | None:
    found = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
    return int(found[1]) if found else None


def _find_counter() -> Path | None:
    """cgroup v2's memory.events or v1's memory.oom_control of our own group."""
    candidates = []
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            relative = path.lstrip("/")
            if not controllers:
                root = Path("/sys/fs/cgroup")
                candidates += [root / relative / "memory.events", root / "memory.events"]
            elif "memory" in controllers.split(","):
                root = Path("/sys/fs/cgroup/memory")
                candidates += [
                    root / relative / "memory.oom_control",
                    root / "memory.oom_control",
                ]
    for candidate in candidates:
        with contextlib.suppress(OSError):
            if _parse_counter(candidate.read_text()) is not None:
                return candidate
    return None


@dataclass(frozen=True)
class Ending:
    """How a process ended. One of `code` and `signal` is set.

    `out_of_memory`: True when the kernel says that it killed for want of memory, False when it
    says that it did not, None when it does not tell.
    """

    code: int | None
    signal: int | None
    out_of_memory: bool | None = None

    @classmethod
    def from_status(cls, status: int, counter: OutOfMemoryCounter) -> "Ending":
        """Read a wait status, and for SIGKILL the kernel's counter."""
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            memory = None
            if number == signal.SIGKILL and counter.known:
                memory = counter.increased()
            return cls(None, number, memory)
        return cls(os.WEXITSTATUS(status), None)

    @property
    def clean(self) -> bool:
        """It ended of its own will and found nothing wrong."""
        return self.code == 0

    @property
    def brief(self) -> str:
        """`exit status 3`, `SIGSEGV`, `SIGKILL (out of memory)`."""
        if self.signal is None:
            return f"exit status {self.code}"
        if self.out_of_memory:
            return f"{signal_name(self.signal)} (out of memory)"
        return signal_name(self.signal)


def describe_end(
    name: str, pid: int, ending: Ending, *, ordered: str | None, ours: int | None
) -> tuple[int, str] | None:
    """The log line for the end of a process, with its level; None when there is nothing to say.

    Args:
        name: `Worker` or `Mold`.
        pid: its pid.
        ending: how it ended.
        ordered: why the arbiter wanted it to go, None when it did not.
        ours: the last signal that the arbiter sent to end it.
    """
    who = f"{name} (pid:{pid})"
    if ordered is not None:
        if ending.clean or ending.signal == signal.SIGTERM:
            return None
        if ending.signal == signal.SIGQUIT and ours == signal.SIGQUIT:
            return None  # a worker class that has no handler for it yet
        if ending.signal == signal.SIGKILL and ours == signal.SIGKILL:
            return (
                logging.ERROR,
                f"{who} was killed by its master because of {ordered}.",
            )
        if ours in (signal.SIGABRT, signal.SIGKILL) and (
            ending.signal == signal.SIGABRT or ending.code is not None
        ):
            return logging.INFO, f"{who} was aborted by its master because of {ordered}."
    if ending.signal is None:
        if ending.clean:
            return None
        return logging.ERROR, f"{who} exited with code {ending.code}."
    if ending.signal == signal.SIGKILL:
        return logging.ERROR, f"{who} was sent SIGKILL! {_memory_words(ending.out_of_memory)}"
    level = logging.INFO if ending.signal == signal.SIGTERM else logging.WARNING
    return level, f"{who} was sent {signal_name(ending.signal)}!"


def _memory_words(out_of_memory: bool | None) -> str:
    """The question is what alerts look for; the kernel's answer follows where it gives one."""
    question = "Perhaps out of memory?"
    if out_of_memory is None:
        return question
    if out_of_memory:
        return (
            f"{question} Out of memory: the kernel's counter of such kills went up. "
            "Give the server more memory or fewer workers, or find the leak."
        )
    return f"{question} Not for want of memory, the kernel says: somebody killed it."
