"""The stash's tables, in the memory of the dirty arbiter. Pure: no sockets.

Rules:
- A value is kept as the bytes it came in and never looked at, so no value can be taken for
  anything else.
- That a key is missing is an answer, not an error.
"""

import enum
import fnmatch
from collections.abc import Iterable
from typing import Any

from monoceros.dirty.errors import (
    DirtyError,
    DirtyProtocolError,
    StashError,
    StashTableNotFoundError,
)
from monoceros.dirty.values import decode, encode


class Operation(enum.IntEnum):
    """What is asked of the stash."""

    PUT = 1
    GET = 2
    DELETE = 3
    KEYS = 4
    CLEAR = 5
    INFO = 6
    ENSURE = 7
    DELETE_TABLE = 8
    TABLES = 9
    EXISTS = 10


class Tables:
    """All tables: name, key, bytes of the value."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[Any, bytes]] = {}

    def ensure(self, names: Iterable[str]) -> None:
        """Make the tables that are missing."""
        for name in names:
            self._tables.setdefault(name, {})

    def answer(self, payload: bytes) -> bytes:
        """Do what the payload of a STASH frame asks, and return the payload of its RESULT.

        A GET is answered by a bool, whether the key is there, and the value.
        Raises DirtyError for what cannot be done.
        """
        request, end = decode(payload)
        try:
            number, table, key, pattern = request
            operation = Operation(number)
            hash((table, key))
        except (TypeError, ValueError):
            raise StashError(
                "This is no request to the stash; keys are str, bytes, numbers or None"
            ) from None
        if operation is Operation.PUT:
            if end == len(payload):
                raise DirtyProtocolError("There is no value to keep")
            self._tables.setdefault(table, {})[key] = payload[end:]
            return encode(True)
        if operation is Operation.GET:
            value = self._tables.get(table, {}).get(key)
            return encode(False) if value is None else encode(True) + value
        return encode(self._do(operation, table, key, pattern))

    def _do(self, operation: Operation, table: str, key: Any, pattern: str | None) -> Any:
        entries = self._tables.get(table)
        match operation:
            case Operation.DELETE:
                return entries is not None and entries.pop(key, None) is not None
            case Operation.KEYS:
                keys = list(entries or ())
                if not pattern:
                    return keys
                return [each for each in keys if fnmatch.fnmatch(str(each), pattern)]
            case Operation.CLEAR:
                if entries is not None:
                    entries.clear()
                return True
            case Operation.INFO:
                if entries is None:
                    raise StashTableNotFoundError(table)
                return {"size": len(entries), "table": table}
            case Operation.ENSURE:
                self.ensure([table])
                return True
            case Operation.DELETE_TABLE:
                return self._tables.pop(table, None) is not None
            case Operation.TABLES:
                return list(self._tables)
            case Operation.EXISTS:
                return entries is not None and (key is None or key in entries)
        raise DirtyError(f"The stash does not know {operation!r}")
