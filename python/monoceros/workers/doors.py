"""Closing the doors of a worker whose sockets are not the engine's, before it is told to end.

An event loop of Python's accepts connections that it has not read from yet when it is told to end,
and drops them: their clients get a reset instead of an answer. So the master first has the process
stop accepting (DOORS_SIGNAL), and gives the order to end when what has been accepted until then
has been read (DOORS_PAUSE). Meanwhile the kernel's queue waits for siblings.

The loop's own code is not touched: its listening sockets are taken out of every epoll of the
process, so that it is not told of connections any more. A worker that polls otherwise notices
nothing, and is no worse off than before.
"""

import contextlib
import importlib
import os
import select
import signal
from collections.abc import Iterable
from typing import Any, Final

#: A real-time signal, beside the one that asks for stacks.
DOORS_SIGNAL: Final = signal.SIGRTMIN + 9

#: Seconds from it to TERM: a client that has connected has long sent its request.
DOORS_PAUSE: Final = 0.3

_EPOLL: Final = "anon_inode:[eventpoll]"


def close_doors(listeners: Iterable[Any]) -> None:
    """From now on nothing in this process that waits by epoll hears of connections."""
    numbers = [number for listener in listeners if (number := listener.fileno()) >= 0]
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names are wanted
        try:
            if os.readlink(f"/proc/self/fd/{name}") != _EPOLL:  # noqa: PTH115 - it is no path
                continue
            # The object closes what it is given: a second descriptor of the same epoll.
            poller = _epoll().fromfd(os.dup(int(name)))
        except OSError:
            continue  # it has been closed meanwhile
        with poller:
            for number in numbers:
                with contextlib.suppress(OSError):  # not in this one
                    poller.unregister(number)


def _epoll() -> Any:
    """The class. gevent takes it away from a process that it patches, and keeps it."""
    found = getattr(select, "epoll", None)
    if found is None:
        found = importlib.import_module("gevent.monkey").get_original("select", "epoll")
    return found
