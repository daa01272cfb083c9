"""How many calls a dirty worker has taken up, for the dirty arbiter to read when it has died.

A number in memory that both share: the worker is its only writer, and writes before it begins a
call. So what it had not begun can be given to another worker, nothing is run twice, and no message
is needed for it.
"""

import mmap
import struct
from typing import Final

_NUMBER: Final = struct.Struct("=Q")


class Tally:
    """Made before the worker is forked."""

    def __init__(self) -> None:
        """Raises OSError when there is no memory."""
        self._memory = mmap.mmap(-1, _NUMBER.size)
        self._count = 0

    def add(self) -> None:
        """In the worker: one more."""
        self._count += 1
        _NUMBER.pack_into(self._memory, 0, self._count)

    def read(self) -> int:
        """How many there were."""
        return int(_NUMBER.unpack_from(self._memory)[0])

    def close(self) -> None:
        """Let go of the memory."""
        self._memory.close()
