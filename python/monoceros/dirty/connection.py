"""Connections of blocking clients to the dirty arbiter, and the few that are kept.

Rules:
- A connection carries one call at a time and is kept only when that call is over: whatever goes
  wrong in between closes it, which is how the arbiter hears that nobody waits any more.
- A kept connection is looked at before it is used again: the arbiter may have been replaced.
- A process that was forked never uses what its parent had opened.
"""

import os
import select
import socket
import threading
import time
from collections import deque
from typing import Final

from monoceros.dirty.calls import ATTEMPTS, NotTaken, Patience, lost, not_taken
from monoceros.dirty.errors import DirtyConnectionError
from monoceros.dirty.frames import Decoder, Frame, Kind
from monoceros.dirty.values import decode_whole

#: Bytes read at a time.
READ_SIZE: Final = 256 * 1024

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
        self._decoder = Decoder()
        self._frames: deque[Frame] = deque()
        #: Something has come of the call under way.
        self._heard = False
        self._poller = select.poll()
        self._poller.register(self._socket, select.POLLIN)

    @property
    def usable(self) -> bool:
        """Nothing has come, the end neither, since the last call."""
        if self._frames or not self._poller.poll(0):
            return not self._frames
        try:
            data = self._socket.recv(1, socket.MSG_PEEK)
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
        except (BrokenPipeError, ConnectionResetError) as error:
            raise not_taken(self.path, what) from error
        except OSError as error:
            raise lost(self.path, what) from error
        self._heard = False

    def receive(self, patience: Patience, what: str) -> Frame:
        """The next frame of the call. Raises DirtyConnectionError, DirtyTimeoutError, and
        DirtyProtocolError."""
        while True:
            while not self._frames:
                self._frames.extend(self._decoder.feed(self._read(patience, what)))
            frame = self._frames.popleft()
            if frame.kind is not Kind.WELCOME:
                self._heard = True
                return frame
            self.server_timeout = float(decode_whole(frame.payload)["timeout"])
            patience.welcome(self.server_timeout, time.monotonic())

    def _read(self, patience: Patience, what: str) -> bytes:
        try:
            self._socket.settimeout(patience.left(time.monotonic()))
            data = self._socket.recv(READ_SIZE)
        except TimeoutError:
            raise patience.over(time.monotonic()) from None
        except ConnectionResetError as error:
            raise (lost if self._heard else not_taken)(self.path, what) from error
        except OSError as error:
            raise lost(self.path, what) from error
        if not data:
            raise lost(self.path, what)
        return data

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

    def begin(self, data: bytes, patience: Patience, what: str) -> tuple[Connection, Frame]:
        """Make a call, again where it was not taken; the connection and the first that came.

        Raises what the connection raises; it is closed then.
        """
        attempts = 0
        while True:
            connection = self.take(patience)
            try:
                connection.send(data, patience, what)
                return connection, connection.receive(patience, what)
            except BaseException as error:
                connection.close()
                attempts += 1
                if not isinstance(error, NotTaken) or attempts == ATTEMPTS:
                    raise

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
