"""The socket of the dirty arbiter: made by the master, once, so that its path never changes.

Rules:
- The master holds it open: while a dirty arbiter has ended and the next one is not there yet,
  clients wait in the kernel's queue.
- Only the workers' user can connect. The folder is the master's, so that nobody else can put
  something in the socket's place.
"""

import contextlib
import os
import socket
import tempfile
from pathlib import Path
from typing import Final

from monoceros.errors import ConfigError
from monoceros.privileges import Identity

#: Bytes of a unix socket's path, with the zero at its end (unix(7)).
PATH_LIMIT: Final = 108

#: Clients that may wait to be accepted; the kernel's own limit (net.core.somaxconn) holds, too.
BACKLOG: Final = 4096

_NAME: Final = "dirty.sock"
_PREFIX: Final = "monoceros-"

#: Where the folder goes when the path of the temporary folder is too long for a socket.
_SHORT_FOLDERS: Final = ("/tmp", "/var/tmp")


class Home:
    """The folder with the listening socket."""

    def __init__(self, folder: Path, listener: socket.socket) -> None:
        self._folder = folder
        self.listener = listener
        self.path = str(folder / _NAME)
        self._pid = os.getpid()

    @classmethod
    def make(cls, identity: Identity) -> "Home":
        """A new one, for workers of this identity. Raises ConfigError, OSError."""
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_parent()))
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(folder / _NAME))
            home = cls(folder, listener)
            home.let_in(identity)
            listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            with contextlib.suppress(OSError):
                (folder / _NAME).unlink()
            folder.rmdir()
            raise
        return home

    def let_in(self, identity: Identity) -> None:
        """Let processes of this identity connect, and no others. Raises OSError."""
        socket_path = Path(self.path)
        socket_path.chmod(0o600)
        if not identity.is_ours:
            os.chown(socket_path, identity.uid, identity.gid)
            # To pass through; only who knows the name of the folder gets here.
            self._folder.chmod(0o711)

    def close(self) -> None:
        """Let go of the socket, and remove it in the process that has made it."""
        self.listener.close()
        if os.getpid() == self._pid:
            for remove in (Path(self.path).unlink, self._folder.rmdir):
                with contextlib.suppress(FileNotFoundError):
                    remove()


def _parent() -> str:
    """Where there is room for the folder. Raises ConfigError."""
    candidates = (tempfile.gettempdir(), *_SHORT_FOLDERS)
    for candidate in candidates:
        # mkdtemp adds eight characters.
        path = Path(candidate) / f"{_PREFIX}12345678" / _NAME
        if len(os.fsencode(path)) < PATH_LIMIT and os.access(candidate, os.W_OK | os.X_OK):
            return candidate
    raise ConfigError(
        "there is no folder for the socket of dirty apps: none of "
        f"{', '.join(map(repr, candidates))} is short enough and writable. Set TMPDIR to one"
    )
