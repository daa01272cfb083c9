"""The file system's side of the control socket: take a path, keep it, give it up.

Rules:
- A path is taken over only when nobody answers there. Servers that start at the same time take
  turns by a lock on the folder.
- The file has its permissions from its first moment.
- Only our own file is removed, known by device and inode.
- Nothing here waits for another process.
"""

import contextlib
import errno
import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

from monoceros.control.place import kernel_name

#: Connections that may wait to be accepted; the loop turns for each.
BACKLOG: Final = 64

#: A folder that is missing is made for nobody but the server's user.
FOLDER_MODE: Final = 0o700


class PathTakenError(Exception):
    """A living process listens at the path."""


class PathBusyError(Exception):
    """Another server looks at the path in this moment: try again soon."""


class ControlSocket:
    """A listening socket with its file. `path` is absolute."""

    def __init__(self, path: str, sock: socket.socket, file: tuple[int, int]) -> None:
        self.path = path
        self.socket = sock
        self._file = file

    @classmethod
    def open(cls, path: str, mode: int) -> Self:
        """Listen at `path`, with permissions `mode`.

        Raises PathTakenError, PathBusyError, or OSError when it cannot be done.
        """
        folder = Path(path).parent
        if not folder.exists():
            with _umask(0o777 & ~FOLDER_MODE):
                folder.mkdir(parents=True, exist_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Said to the object: gevent's sockets, in a master that a config file has patched, wait
            # whatever the kernel's flag is.
            sock.setblocking(False)
            with _turn_at(folder), kernel_name(path) as name:
                _clear(path, name)
                with _umask(0o777 & ~mode):
                    sock.bind(name)
                sock.listen(BACKLOG)
                status = Path(path).lstat()
        except BaseException:
            sock.close()
            raise
        return cls(path, sock, (status.st_dev, status.st_ino))

    @property
    def in_place(self) -> bool:
        """Whether the path still leads here."""
        try:
            status = Path(self.path).lstat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._file

    def remove(self) -> None:
        """Stop listening, and remove the file if it is still ours."""
        if self.in_place:
            with contextlib.suppress(OSError):
                Path(self.path).unlink()
        self.close()

    def close(self) -> None:
        """Let go of the socket only."""
        self.socket.close()


@contextlib.contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@contextlib.contextmanager
def _turn_at(folder: Path) -> Iterator[None]:
    """Be the only one that looks at the folder and changes it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PathBusyError(f"another process holds a lock on {folder}") from None
        except OSError:
            pass  # a file system without locks: the moment between look and bind stays
        yield
    finally:
        os.close(descriptor)


def _clear(path: str, name: str) -> None:
    """Make way: remove what a dead server has left."""
    try:
        mode = Path(path).lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "a file that is no socket is there")
    # Not blocking: a full queue answers at once, too, and its owner lives.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(name)
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
            return
        except OSError:
            pass  # his queue is full, or he lets nobody in: he lives
    raise PathTakenError(path)
