"""Connections of asyncio clients to the dirty arbiter; the rules are those of `connection`, and:

- A connection belongs to the event loop that it was opened on.
"""

import asyncio
import contextlib
import os
import weakref
from collections import deque

from monoceros.dirty.calls import ATTEMPTS, NotTaken, Patience, lost, not_taken
from monoceros.dirty.connection import KEPT
from monoceros.dirty.errors import DirtyConnectionError
from monoceros.dirty.frames import HEADER_SIZE, Frame, Kind, decode_header
from monoceros.dirty.values import decode_whole


class AsyncConnection:
    """One connection of an asyncio client."""

    def __init__(
        self, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.path = path
        self.server_timeout: float | None = None
        self._reader = reader
        self._writer = writer
        #: Something has come of the call under way.
        self._heard = False

    @classmethod
    async def open(cls, path: str, patience: Patience) -> "AsyncConnection":
        """Connect. Raises DirtyConnectionError, DirtyTimeoutError."""
        now = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout(patience.left(now())):
                reader, writer = await asyncio.open_unix_connection(path)
        except TimeoutError:
            raise patience.over(now()) from None
        except OSError as error:
            raise DirtyConnectionError(
                f"Failed to connect to dirty arbiter: {error}", socket_path=path
            ) from error
        return cls(path, reader, writer)

    @property
    def usable(self) -> bool:
        """The other side has not hung up, as far as the loop has noticed."""
        return not (self._reader.at_eof() or self._writer.is_closing())

    async def send(self, data: bytes, patience: Patience, what: str) -> None:
        """Send a call. Raises DirtyConnectionError, DirtyTimeoutError."""
        now = asyncio.get_running_loop().time
        if self.server_timeout is not None:
            patience.welcome(self.server_timeout, now())
        try:
            async with asyncio.timeout(patience.left(now())):
                self._writer.write(data)
                await self._writer.drain()
        except TimeoutError:
            raise patience.over(now()) from None
        except (BrokenPipeError, ConnectionResetError) as error:
            raise not_taken(self.path, what) from error
        except OSError as error:
            raise lost(self.path, what) from error
        self._heard = False

    async def receive(self, patience: Patience, what: str) -> Frame:
        """The next frame of the call. Raises DirtyConnectionError, DirtyTimeoutError, and
        DirtyProtocolError."""
        now = asyncio.get_running_loop().time
        while True:
            try:
                async with asyncio.timeout(patience.left(now())):
                    header = await self._reader.readexactly(HEADER_SIZE)
                    kind, number, length = decode_header(header)
                    frame = Frame(kind, number, await self._reader.readexactly(length))
            except TimeoutError:
                raise patience.over(now()) from None
            except ConnectionResetError as error:
                raise (lost if self._heard else not_taken)(self.path, what) from error
            except (OSError, EOFError) as error:
                raise lost(self.path, what) from error
            if kind is not Kind.WELCOME:
                self._heard = True
                return frame
            self.server_timeout = float(decode_whole(frame.payload)["timeout"])
            patience.welcome(self.server_timeout, now())

    def close(self) -> None:
        """Hang up; does not wait."""
        # The loop may be closed already, and its transports with it.
        with contextlib.suppress(RuntimeError):
            self._writer.close()


class AsyncConnections:
    """Kept connections to one address, for each event loop."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._kept: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, deque[AsyncConnection]] = (
            weakref.WeakKeyDictionary()
        )
        self._pid = os.getpid()

    async def take(self, patience: Patience) -> AsyncConnection:
        """A connection that nobody else uses. Raises DirtyConnectionError, DirtyTimeoutError."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._kept.clear()
        kept = self._kept.get(asyncio.get_running_loop())
        while kept:
            connection = kept.pop()
            if connection.usable:
                return connection
            connection.close()
        return await AsyncConnection.open(self.path, patience)

    async def begin(
        self, data: bytes, patience: Patience, what: str
    ) -> tuple[AsyncConnection, Frame]:
        """As `Connections.begin`."""
        attempts = 0
        while True:
            connection = await self.take(patience)
            try:
                await connection.send(data, patience, what)
                return connection, await connection.receive(patience, what)
            except BaseException as error:
                connection.close()
                attempts += 1
                if not isinstance(error, NotTaken) or attempts == ATTEMPTS:
                    raise

    def give_back(self, connection: AsyncConnection) -> None:
        """The call is over, and its answer was read to the end."""
        kept = self._kept.setdefault(asyncio.get_running_loop(), deque())
        if len(kept) < KEPT:
            kept.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Hang up on all that are kept for the running loop."""
        for connection in self._kept.pop(asyncio.get_running_loop(), ()):
            connection.close()
