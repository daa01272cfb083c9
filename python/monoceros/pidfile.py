"""The file that tells other programs the pid of the master.

Rules:
- The file appears whole or not at all: it is written beside its place and linked or renamed there.
- A file with the pid of a living process is never replaced; everything else in its place is.
- It is removed only while it still holds our own pid.
"""

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Final

from monoceros.errors import ConfigError

#: Readable for everybody: monitors run as other users.
MODE: Final = 0o644


class Pidfile:
    """One pidfile. `path` is where it stands, `pid` what was written, None before `create`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.pid: int | None = None

    def create(self, pid: int, former: int = 0) -> None:
        """Write `pid`. The process `former` is known to have ended, though its parent may not have
        taken note of that yet.

        Raises:
            ConfigError: another living process holds the file, or it cannot be written.
        """
        holder = self.holder()
        if holder is not None and holder not in (pid, former):
            raise ConfigError(
                f"Already running on PID {holder} (or pid file '{self.path}' is stale)"
            )
        folder = os.path.dirname(self.path) or "."  # noqa: PTH120 (keeps "dir/." as given)
        try:
            descriptor, temporary = tempfile.mkstemp(prefix=".monoceros-", dir=folder)
        except OSError as error:
            raise ConfigError(
                f"Cannot write pid file '{self.path}': {error.strerror}: '{folder}'"
            ) from error
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(f"{pid}\n")
                os.fchmod(file.fileno(), MODE)
            Path(temporary).replace(self.path)
        except OSError as error:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise ConfigError(f"Cannot write pid file '{self.path}': {error.strerror}") from error
        self.pid = pid

    def holder(self) -> int | None:
        """The pid of the living process that the file names; None when there is none."""
        try:
            pid = int(Path(self.path).read_text().strip() or "0")
        except (FileNotFoundError, ValueError):
            return None
        except OSError as error:
            raise ConfigError(f"Cannot read pid file '{self.path}': {error.strerror}") from error
        if pid <= 0:
            return None
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            return pid
        except OverflowError:
            return None
        return pid

    def remove(self) -> None:
        """Remove the file if it is still ours. Never raises."""
        if self.pid is None:
            return
        with contextlib.suppress(OSError, ValueError):
            if int(Path(self.path).read_text().strip() or "0") == self.pid:
                Path(self.path).unlink()
        self.pid = None
