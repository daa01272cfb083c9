"""`reload`: workers see that files have changed, and the arbiter reloads.

The workers know which modules there are, the arbiter never imports the app. They share a pipe; see
`watching.teller` for what goes through it.

Rules:
- A change is followed once, however many workers see it, and only when a worker of the generation
  that is to serve does: others have loaded what was there before.
- An app that changes its own files whenever it is loaded is not followed for ever.
"""

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from monoceros.arbiter.arbiter import Arbiter

#: How often in a row a change of a file is followed that has happened while the app was loaded.
#: Nobody saves a file so often, each time in that moment; an app that writes its own files does.
EARLY_MOST: Final = 5

#: Bytes read at a time.
BLOCK: Final = 4096


class Edits:
    """The arbiter's end of the pipe."""

    def __init__(self, server: "Arbiter") -> None:
        self._server = server
        self._reader, self.writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._rest = b""
        self._followed: set[tuple[str, Any]] = set()
        self._early = ""
        self._early_count = 0

    def fileno(self) -> int:
        """Readable when a worker has seen something."""
        return self._reader

    def turn(self) -> None:
        """Follow what the workers have seen."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._reader, BLOCK):
                self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            message = json.loads(line)
            self._hear(message["pid"], message["file"], message["stamp"], message["early"])

    def _hear(self, pid: int, file: str, stamp: list[int] | None, early: bool) -> None:
        server = self._server
        record = server.fleet.of_pid(pid)
        key = (file, tuple(stamp) if stamp else None)
        if record is None or record.generation is not server.generation or key in self._followed:
            return
        self._followed.add(key)
        self._early_count = self._early_count + 1 if early and file == self._early else 1
        self._early = file if early else ""
        if self._early_count > EARLY_MOST:
            server.log.warning(
                "%s has changed whenever the app was loaded, %d times in a row: this is not "
                "followed any more.",
                file,
                EARLY_MOST,
            )
            return
        server.log.info("Worker reloading: %s modified", file)
        server.reloading.want()

    def let_go(self) -> None:
        """For a child: it writes and does not read. May be called more than once."""
        if self._reader >= 0:
            os.close(self._reader)
            self._reader = -1
