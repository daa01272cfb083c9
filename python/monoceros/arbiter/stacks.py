"""What the threads of another process are doing, without its help.

Each worker and mold gets an anonymous file in memory before it is forked. Its faulthandler writes
there on `DUMP_SIGNAL`, from a C signal handler: it works while the interpreter lock is held, in a
loop, on a lock, in a C call. On a fatal signal (SIGSEGV ...) it writes there too, and the arbiter
reads what a process left behind that is no more.
"""

import contextlib
import faulthandler
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from monoceros import _core
from monoceros.arbiter.signals import DUMP_SIGNAL

#: How long the arbiter waits for a dump, seconds. It is there in a millisecond unless the process
#: is stopped or in an uninterruptible system call; the arbiter must not be held up by that.
PATIENCE: Final = 0.5

#: faulthandler writes frame by frame and marks no end: a dump that has not grown for this long,
#: seconds, is complete.
SETTLED: Final = 0.01

#: Bytes read of a dump; more than any page of a log should hold.
LIMIT: Final = 256 * 1024

_POLL: Final = 0.002


class StackFile:
    """The memory file of one process; made by the arbiter, written by the process."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def create(cls) -> "StackFile":
        """A new, empty one.

        Raises:
            OSError: out of descriptors.
        """
        descriptor = _core.memory_file("monoceros-stacks")
        # Append: the arbiter empties the file between dumps, and both share one position.
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_APPEND)
        return cls(descriptor)

    def register(self) -> None:
        """In the process that is to be watched, before anything of the app runs."""
        faulthandler.register(DUMP_SIGNAL, file=self.descriptor, all_threads=True)
        faulthandler.enable(file=self.descriptor, all_threads=True)

    def read(self) -> str:
        """What stands in the file; "" when nothing does."""
        data = os.pread(self.descriptor, LIMIT, 0)
        return data.decode("utf-8", "replace")

    def request(self, pid: int, moment: Callable[[], float] = time.monotonic) -> str:
        """Have process `pid` write its stacks and return them; "" when it did not in time."""
        os.ftruncate(self.descriptor, 0)
        try:
            os.kill(pid, DUMP_SIGNAL)
        except ProcessLookupError:
            return ""
        deadline = moment() + PATIENCE
        size, since = 0, moment()
        while (now := moment()) < deadline:
            grown = os.fstat(self.descriptor).st_size
            if grown != size:
                size, since = grown, now
            elif size and now - since >= SETTLED:
                break
            time.sleep(_POLL)
        return self.read()

    def close(self) -> None:
        """Let go of the file. May be called more than once."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def process_state(pid: int) -> str:
    """How the kernel sees a process: `running`, `sleeping`, `stopped` ...; "" if it is gone."""
    names = {
        "R": "running",
        "S": "sleeping",
        "D": "waiting for a device",
        "T": "stopped",
        "t": "stopped by a debugger",
        "Z": "dead",
    }
    with contextlib.suppress(OSError, IndexError):
        # The name in parentheses may hold anything, a ")" included.
        letter = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return names.get(letter, letter)
    return ""
