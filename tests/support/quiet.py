"""Tests that measure time get the machine for themselves.

All test processes share two lock files. The hall is held shared by an ordinary test and
exclusively by one marked `alone`. The turnstile stands before it: who waits for the hall keeps
the turnstile, so that later tests queue behind and nobody starves.
"""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


def _open(name: str) -> int:
    folder = Path(tempfile.gettempdir()) / f"monoceros-tests-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    return os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


@contextlib.contextmanager
def presence(alone: bool) -> Iterator[None]:
    """Be one of the running tests, or the only one."""
    turnstile = _open("turnstile")
    hall = _open("hall")
    try:
        fcntl.flock(turnstile, fcntl.LOCK_EX)
        fcntl.flock(hall, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(turnstile, fcntl.LOCK_UN)
        yield
    finally:
        os.close(hall)
        os.close(turnstile)
