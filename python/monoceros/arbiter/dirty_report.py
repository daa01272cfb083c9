"""What the master knows of dirty workers: the dirty arbiter tells it, unasked, whenever it changes.

One JSON object per SEQPACKET message: reports come, orders go (``{"change": N}``, N workers more or
fewer). Neither side ever waits for the other.
"""

import contextlib
import json
import socket
from typing import Any, Final, Self

#: Bytes of the longest message: well over a thousand dirty workers.
MESSAGE_LIMIT: Final = 192 * 1024


def pair() -> tuple[socket.socket, socket.socket]:
    """The two ends: the master's, and the dirty arbiter's. Raises OSError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setblocking(False)
    return ours, theirs


class DirtyReport:
    """The master's end, and the last report."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.workers: list[dict[str, Any]] = []
        self.apps: list[dict[str, Any]] = []
        #: How many workers are wanted, and the bounds; `most` None for none. 0 until a report.
        self.wanted = 0
        self.least = 0
        self.most: int | None = None

    def hear(self) -> Self:
        """Take what has come; cheap when nothing has."""
        with contextlib.suppress(OSError):  # also: it has ended, which the kernel tells otherwise
            while data := self._socket.recv(MESSAGE_LIMIT):
                for name, value in json.loads(data).items():
                    setattr(self, name, value)
        return self

    def change(self, number: int) -> bool:
        """Order so many workers more, or fewer; whether the order is on its way."""
        try:
            self._socket.send(json.dumps({"change": number}).encode())
        except OSError:
            return False
        self.wanted += number
        return True

    def close(self) -> None:
        """It is gone, or this is a child. May be called more than once."""
        self._socket.close()
