"""One traceback for one cause, however many workers meet it.

When an app does not boot, every worker meets the same exception. All processes of a generation
share a memory file of digests: who meets a traceback first writes it down and logs it, the others
log one line. The digest covers the exception's type and the places it passed through, not its text,
which may hold a pid, an address or a time. When a worker of the generation becomes ready the file
is emptied: the same cause a week later is told again.
"""

import fcntl
import hashlib
import os
import traceback
from typing import Final

from monoceros import _core

_DIGEST: Final = 16

#: Different tracebacks told per generation before further ones are told in one line: a bound on
#: the log for causes that change their place each time.
LIMIT: Final = 5


class SeenTracebacks:
    """The shared memory file of one generation."""

    def __init__(self) -> None:
        """Raises OSError when out of descriptors."""
        self._descriptor = _core.memory_file("monoceros-tracebacks")

    def first(self, error: BaseException) -> bool:
        """True for the first process that brings this traceback, at most `LIMIT` times."""
        digest = _digest(error)
        # Record locks belong to a process: they exclude each other through one inherited
        # descriptor, as flock() would not.
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
        try:
            size = os.fstat(self._descriptor).st_size
            known = os.pread(self._descriptor, size, 0)
            digests = {known[i : i + _DIGEST] for i in range(0, size, _DIGEST)}
            if digest in digests or len(digests) >= LIMIT:
                return False
            os.pwrite(self._descriptor, digest, size)
            return True
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def forget(self) -> None:
        """Start anew: a worker of this generation has become ready."""
        os.ftruncate(self._descriptor, 0)

    def close(self) -> None:
        """Let go of the file. May be called more than once."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _digest(error: BaseException) -> bytes:
    places = hashlib.blake2b(digest_size=_DIGEST)
    link: BaseException | None = error
    while link is not None:
        places.update(f"{type(link).__module__}.{type(link).__qualname__}\n".encode())
        for frame in traceback.extract_tb(link.__traceback__):
            places.update(f"{frame.filename}:{frame.lineno}:{frame.name}\n".encode())
        link = link.__cause__ or link.__context__
    return places.digest()
