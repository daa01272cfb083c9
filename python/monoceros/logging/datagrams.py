"""Datagrams to a local or remote daemon that may be away: sent at once or lost.

The kernel queues few datagrams for a unix socket. A burst may wait `PATIENCE` for room; a daemon
that makes none is not waited for again within `PAUSE`, so that a stuck one costs next to nothing.

Processes may share the socket after a fork, because a datagram is one write.
"""

import errno
import select
import socket
import time
from typing import Any, Final

#: Seconds between two attempts to find a daemon that is away.
PAUSE: Final = 1.0

#: Seconds that a full queue may take to have room.
PATIENCE: Final = 0.02

#: A datagram that the system finds too large is cut to this: what every receiver of syslog should
#: take (RFC 5424, 6.1). Metrics are far shorter.
CUT_BYTES: Final = 2048

#: What a socket says whose peer is gone; another may have come under the same address.
_GONE: Final = frozenset(
    {errno.ECONNREFUSED, errno.ENOTCONN, errno.ECONNRESET, errno.EPIPE, errno.ENOENT}
)


class Datagrams:
    """A connected datagram socket that follows its address when a daemon is restarted.

    `address` is resolved: (host, port) of numbers, or the path of a unix socket.
    """

    def __init__(self, family: int, address: Any) -> None:
        self._family = family
        self._address = address
        self._socket: socket.socket | None = None
        self._error: OSError | None = None
        self._retry_at = 0.0
        # Until then a full queue is not waited for.
        self._impatient_until = 0.0

    def open(self) -> None:
        """Connect; a no-op for what is connected. Raises OSError when there is nobody."""
        if self._socket is not None:
            return
        if self._error is not None and time.monotonic() < self._retry_at:
            raise self._error
        fresh = socket.socket(self._family, socket.SOCK_DGRAM)
        try:
            fresh.setblocking(False)
            fresh.connect(self._address)
        except OSError as error:
            fresh.close()
            self._error, self._retry_at = error, time.monotonic() + PAUSE
            raise
        self._error = None
        self._socket = fresh

    def send(self, data: bytes) -> None:
        """Send one datagram. Raises OSError when it, or one before it, is lost."""
        try:
            self._send(data)
        except OSError as error:
            if error.errno in _GONE:
                self.close()
                self._send(data)
                if self._family != socket.AF_UNIX:
                    # What was refused is an earlier one; this one may arrive.
                    raise
            elif error.errno == errno.EMSGSIZE:
                self._send(data[:CUT_BYTES])
            else:
                raise

    def _send(self, data: bytes) -> None:
        self.open()
        assert self._socket is not None
        try:
            self._socket.send(data)
        except BlockingIOError:
            if time.monotonic() < self._impatient_until:
                raise
            poller = select.poll()
            poller.register(self._socket, select.POLLOUT)
            if not poller.poll(PATIENCE * 1000):
                self._impatient_until = time.monotonic() + PAUSE
                raise
            self._socket.send(data)

    def close(self) -> None:
        """Let go of the socket; a later datagram makes another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
