"""Sending what the app prints into the error log (`capture_output`).

Descriptors 1 and 2 themselves are redirected, so that C libraries and child processes are
captured too. What Python prints arrives line by line: nothing waits in a buffer, where a fork
would double it and a crash would lose it. The former standard output and error are kept aside,
and come back when a reload switches the capture off.
"""

import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from monoceros.logging.files import Owner, hand_over, is_regular, open_to_append, text_stream

_STDOUT, _STDERR = 1, 2


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            # What cannot be flushed (closed, a broken pipe) is lost with or without us.
            with suppress(OSError, ValueError):
                stream.flush()


class OutputCapture:
    """Redirects standard output and error of this process into a log file."""

    def __init__(self) -> None:
        self.file: TextIO | None = None
        self._path = ""
        self._owner: Owner | None = None
        self._originals: dict[int, int] = {}

    def prepare(self, path: str, owner: Owner | None) -> TextIO:
        """Open the file, and redirect nothing yet. Raises OSError."""
        descriptor = open_to_append(path)
        hand_over(descriptor, owner)
        return text_stream(descriptor)

    def start(self, file: TextIO, path: str, owner: Owner | None) -> None:
        """Redirect into a prepared file, instead of where output goes now."""
        _flush()
        for descriptor in (_STDOUT, _STDERR):
            if descriptor not in self._originals:
                try:
                    self._originals[descriptor] = os.dup(descriptor)
                except OSError:
                    # The process was started with this descriptor closed: nothing to go back to.
                    continue
        former, self.file = self.file, file
        self._path, self._owner = str(Path(path).absolute()), owner
        self._redirect()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(line_buffering=True)
        if former is not None:
            former.close()

    def stop(self) -> None:
        """Give standard output and error back. Does nothing when they are not captured."""
        if self.file is None:
            return
        _flush()
        for descriptor, original in self._originals.items():
            os.dup2(original, descriptor)
            os.close(original)
        self._originals.clear()
        self.file.close()
        self.file = None

    def reopen(self) -> None:
        """Go on in a new file of the same name, after a rotation.

        Raises OSError and goes on in the old file when the new one cannot be opened.
        """
        if self.file is None or not is_regular(self.file.fileno()):
            return
        _flush()
        fresh = open_to_append(self._path)
        try:
            hand_over(fresh, self._owner)
            os.dup2(fresh, self.file.fileno(), inheritable=False)
        finally:
            os.close(fresh)
        self._redirect()

    def _redirect(self) -> None:
        assert self.file is not None
        for descriptor in (_STDOUT, _STDERR):
            os.dup2(self.file.fileno(), descriptor)
