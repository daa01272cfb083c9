"""How apps call dirty apps: `get_dirty_client` in threads, `get_dirty_client_async` on event loops.

Names and meaning are Gunicorn's (`gunicorn.dirty.client`). Calls may run at the same time on one
client, also a call within the loop over a stream: each has a connection of its own. A stream that
is left early is ended in the dirty worker, too.
"""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Generator
from typing import Any

from monoceros.dirty.calls import Patience, encode_call, result_of
from monoceros.dirty.connection import Connections
from monoceros.dirty.connection_async import AsyncConnections
from monoceros.dirty.errors import DirtyError
from monoceros.dirty.frames import Kind
from monoceros.dirty.place import get_dirty_socket_path, set_dirty_socket_path
from monoceros.dirty.values import decode_whole

__all__ = [
    "DirtyClient",
    "close_dirty_client",
    "close_dirty_client_async",
    "get_dirty_client",
    "get_dirty_client_async",
    "get_dirty_socket_path",
    "set_dirty_socket_path",
]


class DirtyClient:
    """Calls dirty apps.

    socket_path: where the dirty arbiter listens. timeout: seconds for a call in all; None is as
    long as the server may take, see `calls`. Whatever goes wrong is a DirtyError.
    """

    def __init__(
        self,
        socket_path: str,
        timeout: float | None = None,
        *,
        connections: Connections | None = None,
        async_connections: AsyncConnections | None = None,
    ) -> None:
        self.socket_path = socket_path
        self.timeout = timeout
        self._connections = connections or Connections(socket_path)
        self._async_connections = async_connections or AsyncConnections(socket_path)

    # In threads.

    def execute(self, app_path: str, action: str, *args: Any, **kwargs: Any) -> Any:
        """Call an action and return its result."""
        what = f"{app_path}.{action}"
        data = encode_call(app_path, action, args, kwargs)
        patience = Patience(self.timeout, time.monotonic())
        connection, frame = self._connections.begin(data, patience, what)
        if frame.kind is Kind.CHUNK:
            connection.close()
        else:
            self._connections.give_back(connection)
        return result_of(frame, what)

    def stream(
        self, app_path: str, action: str, *args: Any, **kwargs: Any
    ) -> Generator[Any, None, None]:
        """Call an action that returns a generator, and yield what it yields. An action that
        returns anything else yields that once."""
        what = f"{app_path}.{action}"
        data = encode_call(app_path, action, args, kwargs)
        patience = Patience(self.timeout, time.monotonic(), stream=True)
        connection, frame = self._connections.begin(data, patience, what)
        over = False
        try:
            while True:
                over = frame.kind is not Kind.CHUNK
                if frame.kind is Kind.END:
                    return
                yield result_of(frame, what) if over else decode_whole(frame.payload)
                if over:
                    return
                patience.heard(time.monotonic())
                frame = connection.receive(patience, what)
        finally:
            if over:
                self._connections.give_back(connection)
            else:
                connection.close()

    def connect(self) -> None:
        """Connect ahead of the first call. Raises DirtyConnectionError."""
        patience = Patience(self.timeout, time.monotonic())
        self._connections.give_back(self._connections.take(patience))

    def close(self) -> None:
        """Close what is not in use."""
        self._connections.close()

    def __enter__(self) -> "DirtyClient":
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # On event loops.

    async def execute_async(self, app_path: str, action: str, *args: Any, **kwargs: Any) -> Any:
        """As `execute`."""
        what = f"{app_path}.{action}"
        data = encode_call(app_path, action, args, kwargs)
        patience = Patience(self.timeout, asyncio.get_running_loop().time())
        connection, frame = await self._async_connections.begin(data, patience, what)
        if frame.kind is Kind.CHUNK:
            connection.close()
        else:
            self._async_connections.give_back(connection)
        return result_of(frame, what)

    async def stream_async(
        self, app_path: str, action: str, *args: Any, **kwargs: Any
    ) -> AsyncGenerator[Any, None]:
        """As `stream`."""
        what = f"{app_path}.{action}"
        data = encode_call(app_path, action, args, kwargs)
        now = asyncio.get_running_loop().time
        patience = Patience(self.timeout, now(), stream=True)
        connection, frame = await self._async_connections.begin(data, patience, what)
        over = False
        try:
            while True:
                over = frame.kind is not Kind.CHUNK
                if frame.kind is Kind.END:
                    return
                yield result_of(frame, what) if over else decode_whole(frame.payload)
                if over:
                    return
                patience.heard(now())
                frame = await connection.receive(patience, what)
        finally:
            if over:
                self._async_connections.give_back(connection)
            else:
                connection.close()

    async def connect_async(self) -> None:
        """As `connect`."""
        patience = Patience(self.timeout, asyncio.get_running_loop().time())
        self._async_connections.give_back(await self._async_connections.take(patience))

    async def close_async(self) -> None:
        """As `close`, for the running loop."""
        self._async_connections.close()

    async def __aenter__(self) -> "DirtyClient":
        await self.connect_async()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close_async()


_local = threading.local()
_async_connections: dict[str, AsyncConnections] = {}


def get_dirty_client(timeout: float | None = None) -> DirtyClient:
    """A client for this thread, which keeps its connections from one call of this function to the
    next. Raises DirtyError where there are no dirty apps."""
    path = get_dirty_socket_path()
    kept: Connections | None = getattr(_local, "connections", None)
    if kept is None or kept.path != path:
        close_dirty_client()
        kept = _local.connections = Connections(path)
    return DirtyClient(
        path, timeout, connections=kept, async_connections=_shared_async_connections(path)
    )


async def get_dirty_client_async(timeout: float | None = None) -> DirtyClient:
    """A client for the running event loop; see `get_dirty_client`."""
    path = get_dirty_socket_path()
    return DirtyClient(path, timeout, async_connections=_shared_async_connections(path))


def _shared_async_connections(path: str) -> AsyncConnections:
    return _async_connections.setdefault(path, AsyncConnections(path))


def close_dirty_client() -> None:
    """Close the connections of this thread that are not in use."""
    kept: Connections | None = getattr(_local, "connections", None)
    if kept is not None:
        kept.close()
        del _local.connections


async def close_dirty_client_async() -> None:
    """Close the connections of the running loop that are not in use."""
    try:
        path = get_dirty_socket_path()
    except DirtyError:
        return
    _shared_async_connections(path).close()
