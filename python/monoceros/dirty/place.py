"""Where the dirty arbiter listens, as its clients know it."""

import os

from monoceros.config.settings.dirty import SOCKET_VARIABLE
from monoceros.dirty.errors import DirtyError

_chosen: str | None = None


def set_dirty_socket_path(path: str | None) -> None:
    """Have clients of this process connect there; None: where the environment says."""
    global _chosen
    _chosen = path


def get_dirty_socket_path() -> str:
    """Where to connect. Raises DirtyError where there are no dirty apps."""
    path = _chosen or os.environ.get(SOCKET_VARIABLE)
    if not path:
        raise DirtyError(
            "There are no dirty apps here: set dirty_apps, and dirty_workers to 1 or more, in the "
            "server's configuration"
        )
    return path
