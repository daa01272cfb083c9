"""The stash: tables of keys and values that all dirty workers share.

They are kept in the memory of the dirty arbiter: they outlast dirty workers and reloads, and are
lost with the server. Each operation is one message; there are no transactions. Names and meaning
are Gunicorn's (`gunicorn.dirty.stash`); a key that is missing gives the default.
"""

import threading
import time
from collections.abc import Iterator
from typing import Any

from monoceros.dirty.calls import Patience, result_of
from monoceros.dirty.connection import Connections
from monoceros.dirty.errors import (
    DirtyError,
    StashError,
    StashKeyNotFoundError,
    StashTableNotFoundError,
)
from monoceros.dirty.frames import Frame, Kind, encode_frame
from monoceros.dirty.place import get_dirty_socket_path, set_dirty_socket_path
from monoceros.dirty.tables import Operation
from monoceros.dirty.values import decode, decode_whole, encode

__all__ = [
    "StashClient",
    "StashError",
    "StashKeyNotFoundError",
    "StashTable",
    "StashTableNotFoundError",
    "clear",
    "delete",
    "delete_table",
    "ensure",
    "exists",
    "get",
    "get_stash_socket_path",
    "info",
    "keys",
    "put",
    "set_stash_socket_path",
    "table",
    "tables",
]

#: As for dirty apps: both live at one address.
get_stash_socket_path = get_dirty_socket_path
set_stash_socket_path = set_dirty_socket_path


class StashClient:
    """Asks the stash. Safe in threads; whatever goes wrong is a StashError."""

    def __init__(
        self,
        socket_path: str,
        timeout: float = 30.0,
        *,
        connections: Connections | None = None,
    ) -> None:
        self.socket_path = socket_path
        self.timeout = timeout
        self._connections = connections or Connections(socket_path)

    def _ask(
        self,
        operation: Operation,
        table: str,
        key: Any = None,
        pattern: str | None = None,
        value: bytes = b"",
    ) -> bytes:
        """The payload of the answer."""
        what = f"stash.{operation.name.lower()}"
        try:
            request = encode([int(operation), table, key, pattern]) + value
            frame = self._exchange(encode_frame(Kind.STASH, 0, request), what)
            if frame.kind is not Kind.RESULT:
                result_of(frame, what)
        except StashError:
            raise
        except DirtyError as error:
            raise StashError(f"Stash operation failed: {error}") from error
        return frame.payload

    def _exchange(self, data: bytes, what: str) -> Frame:
        patience = Patience(self.timeout, time.monotonic())
        connection, frame = self._connections.begin(data, patience, what)
        self._connections.give_back(connection)
        return frame

    def fetch(self, table: str, key: Any) -> Any:
        """The value of a key. Raises StashKeyNotFoundError."""
        answer = self._ask(Operation.GET, table, key)
        found, end = decode(answer)
        if not found:
            raise StashKeyNotFoundError(table, key)
        return decode(answer, end)[0]

    def put(self, table: str, key: Any, value: Any) -> None:
        """Keep a value; makes the table where it is missing."""
        try:
            encoded = encode(value)
        except DirtyError as error:
            raise StashError(f"Stash operation failed: {error}") from error
        self._ask(Operation.PUT, table, key, value=encoded)

    def get(self, table: str, key: Any, default: Any = None) -> Any:
        """The value of a key, or `default` where there is none."""
        try:
            return self.fetch(table, key)
        except StashKeyNotFoundError:
            return default

    def delete(self, table: str, key: Any) -> bool:
        """Remove a key; whether it was there."""
        return bool(decode_whole(self._ask(Operation.DELETE, table, key)))

    def keys(self, table: str, pattern: str | None = None) -> list[Any]:
        """The keys, those that a shell's pattern matches."""
        return list(decode_whole(self._ask(Operation.KEYS, table, pattern=pattern)))

    def clear(self, table: str) -> None:
        """Remove every key."""
        self._ask(Operation.CLEAR, table)

    def info(self, table: str) -> dict[str, Any]:
        """`{"size", "table"}`. Raises StashTableNotFoundError."""
        return dict(decode_whole(self._ask(Operation.INFO, table)))

    def ensure(self, table: str) -> None:
        """Make the table where it is missing."""
        self._ask(Operation.ENSURE, table)

    def exists(self, table: str, key: Any = None) -> bool:
        """Whether there is the key, or the table where none is named."""
        return bool(decode_whole(self._ask(Operation.EXISTS, table, key)))

    def delete_table(self, table: str) -> bool:
        """Remove a table; whether it was there."""
        return bool(decode_whole(self._ask(Operation.DELETE_TABLE, table)))

    def tables(self) -> list[str]:
        """The names of all tables."""
        return list(decode_whole(self._ask(Operation.TABLES, "")))

    def table(self, name: str) -> "StashTable":
        """The table, to be used like a dict."""
        return StashTable(self, name)

    def close(self) -> None:
        """Close what is not in use."""
        self._connections.close()

    def __enter__(self) -> "StashClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class StashTable:
    """A table of the stash, to be used like a dict. A missing key is a KeyError."""

    def __init__(self, client: StashClient, name: str) -> None:
        self._client = client
        self._name = name

    @property
    def name(self) -> str:
        """The table's name."""
        return self._name

    def __getitem__(self, key: Any) -> Any:
        try:
            return self._client.fetch(self._name, key)
        except StashKeyNotFoundError:
            raise KeyError(key) from None

    def __setitem__(self, key: Any, value: Any) -> None:
        self._client.put(self._name, key, value)

    def __delitem__(self, key: Any) -> None:
        if not self._client.delete(self._name, key):
            raise KeyError(key)

    def __contains__(self, key: Any) -> bool:
        return self._client.exists(self._name, key)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._client.keys(self._name))

    def __len__(self) -> int:
        try:
            return int(self._client.info(self._name)["size"])
        except StashTableNotFoundError:
            return 0

    def get(self, key: Any, default: Any = None) -> Any:
        """The value of a key, or `default`."""
        return self._client.get(self._name, key, default)

    def keys(self, pattern: str | None = None) -> list[Any]:
        """The keys, those that a shell's pattern matches."""
        return self._client.keys(self._name, pattern)

    def clear(self) -> None:
        """Remove every key."""
        self._client.clear(self._name)

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Keys and values; one that is removed meanwhile is left out."""
        for key in self._client.keys(self._name):
            try:
                yield key, self._client.fetch(self._name, key)
            except StashKeyNotFoundError:
                continue

    def values(self) -> Iterator[Any]:
        """The values."""
        for _, value in self.items():
            yield value


_local = threading.local()


def _client() -> StashClient:
    path = get_dirty_socket_path()
    client: StashClient | None = getattr(_local, "client", None)
    if client is None or client.socket_path != path:
        client = _local.client = StashClient(path)
    return client


def put(table: str, key: Any, value: Any) -> None:
    """See StashClient.put."""
    _client().put(table, key, value)


def get(table: str, key: Any, default: Any = None) -> Any:
    """See StashClient.get."""
    return _client().get(table, key, default)


def delete(table: str, key: Any) -> bool:
    """See StashClient.delete."""
    return _client().delete(table, key)


def keys(table: str, pattern: str | None = None) -> list[Any]:
    """See StashClient.keys."""
    return _client().keys(table, pattern)


def clear(table: str) -> None:
    """See StashClient.clear."""
    _client().clear(table)


def info(table: str) -> dict[str, Any]:
    """See StashClient.info."""
    return _client().info(table)


def ensure(table: str) -> None:
    """See StashClient.ensure."""
    _client().ensure(table)


def exists(table: str, key: Any = None) -> bool:
    """See StashClient.exists."""
    return _client().exists(table, key)


def delete_table(table: str) -> bool:
    """See StashClient.delete_table."""
    return _client().delete_table(table)


def tables() -> list[str]:
    """See StashClient.tables."""
    return _client().tables()


def table(name: str) -> StashTable:
    """See StashClient.table."""
    return _client().table(name)
