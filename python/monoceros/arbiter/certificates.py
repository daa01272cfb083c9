"""Keeps TLS fresh: certificates that have changed on disk, and the keys of session tickets.

Rules:
- Files are looked at, never waited for: a stat of each, once in `INTERVAL`.
- Files are replaced one after the other. What does not go together is looked at once more before
  it is told; until it does, the former stays in use.
- Workers need not be told: what is published here is in use with the next connection.
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from monoceros import _core

if TYPE_CHECKING:
    from monoceros.arbiter.arbiter import Arbiter

#: Seconds between two looks at the files.
INTERVAL: Final = 1.0

#: Seconds before its end at which the log begins to speak of a certificate, and between two lines:
#: whatever renews it should have done so long ago.
SOON: Final = 7 * 86_400
REMINDER: Final = 86_400

#: What tells one content of a file from another; None where there is no file.
Signature = tuple[tuple[int, int, int, int] | None, ...]


def signature_of(files: list[str]) -> Signature:
    """What the files look like now; symbolic links are followed."""
    return tuple(_look_at(file) for file in files)


def _look_at(file: str) -> tuple[int, int, int, int] | None:
    try:
        status = Path(file).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


class Certificates:
    """Watches what the serving generation was made from."""

    def __init__(self, server: "Arbiter") -> None:
        self._server = server
        self._store: _core.TlsStore | None = None
        #: What the content in use, or the one that failed, looked like.
        self._known: Signature = ()
        #: A content that failed; it is looked at once more.
        self._doubtful = False
        #: The log says that what is there cannot be used.
        self._told = False
        self._rotate_at = 0.0
        self._remind_at = 0.0
        self.next_at = float("inf")

    def turn(self, now: float) -> None:
        """Look, when it is time to; `now` is monotonic."""
        store = self._server.generation.tls
        if store is not self._store:
            self._begin(store, now)
        if store is None or now < self.next_at:
            return
        self.next_at = now + INTERVAL
        if now >= self._rotate_at:
            self._rotate(store, now)
        self._compare(store)
        if now >= self._remind_at:
            self._remind_at = now + REMINDER
            self._remind(store)

    def _rotate(self, store: _core.TlsStore, now: float) -> None:
        self._rotate_at = now + store.TICKET_PERIOD
        try:
            store.rotate_tickets()
        except OSError as error:
            self._server.log.error("The key of session tickets stays in use: %s", error)

    def _remind(self, store: _core.TlsStore) -> None:
        for file, end in store.ends:
            left = end - time.time()
            if left <= 0:
                self._server.log.warning(
                    "The TLS certificate %s has expired: clients refuse it. A new one is in use "
                    "as soon as it is put in its place.",
                    file,
                )
            elif left < SOON:
                self._server.log.warning(
                    "The TLS certificate %s expires in %d hours. A new one is in use as soon as "
                    "it is put in its place.",
                    file,
                    left // 3600,
                )

    def _begin(self, store: _core.TlsStore | None, now: float) -> None:
        self._store = store
        self._doubtful = self._told = False
        self._remind_at = 0.0
        if store is None:
            self.next_at = float("inf")
            return
        self.next_at = now + INTERVAL
        if not self._rotate_at:
            self._rotate_at = now + store.TICKET_PERIOD
        # They may have changed since they were read: the first look reads them in any case.
        self._known = ()

    def _compare(self, store: _core.TlsStore) -> None:
        files = list(map(str, store.files))
        found = signature_of(files)
        if found == self._known and not self._doubtful:
            return
        again = found == self._known
        self._known = found
        log = self._server.log
        try:
            changed = store.reload()
        except ValueError as error:
            self._doubtful = not again
            if again:
                self._told = True
                log.error(
                    "Changed TLS files cannot be used, the former certificate stays in use: %s",
                    error,
                )
            return
        if changed:
            self._remind_at = 0.0
            log.info("TLS files have changed and are in use: %s", ", ".join(files))
        elif self._told:
            log.info("The TLS files are again those in use: %s", ", ".join(files))
        self._doubtful = self._told = False
