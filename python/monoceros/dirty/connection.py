"""Connections of blocking clients to the dirty arbiter, and the few that are kept.

Rules:
- A connection carries one call at a time and is kept only when that call is over: whatever goes
  wrong in between closes it, which is how the arbiter hears that nobody waits any more.
- A kept connection is looked at before it is used again: the arbiter may have been replaced.
- A process that was forked never uses what its parent had opened.
"""

import os
import socket
import threading
import time
from collections import deque
from typing import Final

from monoceros.dirty.calls import Patience, lost
from monoceros.dirty.errors import DirtyConnectionError
from monoceros.dirty.frames import HEADER_SIZE, Frame, Kind, decode_header
from monoceros.dirty.values import decode_whole

#: Connections kept by one client for later calls.
KEPT: Final = 4


class Connection:
    """One connection of a blocking client."""

    def __init__(self, path: str, patience: Patience) -> None:
        """Connect. Raises DirtyConnectionError, DirtyTimeoutError."""
        self.path = path
        #: The server's own limit of a call, seconds; None before it has told.
        self.server_timeout: float | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(patience.left(time.monotonic()))
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise DirtyConnectionError(
                f"Failed to connect to dirty arbiter: {error}", socket_path=path
            ) from error

    @property
    def usable(self) -> bool:
        """Nothing has come, the end neither, since the last call."""
        self._socket.settimeout(0)
        try:
            data = self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        # Before the first call it may be the WELCOME; after it, nothing is due.
        return bool(data) and self.server_timeout is None

    def send(self, data: bytes, patience: Patience, what: str) -> None:
        """Send a call. Raises DirtyConnectionError, DirtyTimeoutError."""
        if self.server_timeout is not None:
            patience.welcome(self.server_timeout, time.monotonic())
        try:
            self._socket.settimeout(patience.left(time.monotonic()))
            self._socket.sendall(data)
        except TimeoutError:
            raise patience.over(time.monotonic()) from None
        except OSError as error:
            raise lost(self.path, what) from error

    def receive(self, patience: Patience, what: str) -> Frame:
        """The next frame of the call. Raises DirtyConnectionError, DirtyTimeoutError, and
        DirtyProtocolError."""
        while True:
            kind, number, length = decode_header(self._read(HEADER_SIZE, patience, what))
            frame = Frame(kind, number, self._read(length, patience, what))
            if kind is not Kind.WELCOME:
                return frame
            self.server_timeout = float(decode_whole(frame.payload)["timeout"])
            patience.welcome(self.server_timeout, time.monotonic())

    def _read(self, size: int, patience: Patience, what: str) -> bytes:
        data = bytearray(size)
        view = memoryview(data)
        got = 0
        while got < size:
            try:
                self._socket.settimeout(patience.left(time.monotonic()))
                count = self._socket.recv_into(view[got:])
            except TimeoutError:
                raise patience.over(time.monotonic()) from None
            except OSError as error:
                raise lost(self.path, what) from error
            if not count:
                raise lost(self.path, what)
            got += count
        return bytes(data)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


class Connections:
    """Kept connections to one address; safe in threads."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._kept: deque[Connection] = deque()
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def take(self, patience: Patience) -> Connection:
        """A connection that nobody else uses. Raises DirtyConnectionError, DirtyTimeoutError."""
        if self._pid != os.getpid():
            self._lock = threading.Lock()
            self._pid = os.getpid()
            self.close()
        while True:
            with self._lock:
                connection = self._kept.pop() if self._kept else None
            if connection is None:
                return Connection(self.path, patience)
            if connection.usable:
                return connection
            connection.close()

    def give_back(self, connection: Connection) -> None:
        """The call is over, and its answer was read to the end."""
        with self._lock:
            if len(self._kept) < KEPT:
                self._kept.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Hang up on all that are kept."""
        with self._lock:
            kept = list(self._kept)
            self._kept.clear()
        for connection in kept:
            connection.close()
