"""`gunicorn.systemd`: sockets from the service manager, and notifications to it."""

import os
from typing import Any

from monoceros.systemd import FIRST_DESCRIPTOR as SD_LISTEN_FDS_START
from monoceros.systemd import NotifySocket, take_descriptors

__all__ = ["SD_LISTEN_FDS_START", "listen_fds", "sd_notify"]


def listen_fds(unset_environment: bool = True) -> int:
    """How many sockets the service manager has handed to this process."""
    environ = os.environ if unset_environment else dict(os.environ)
    return len(take_descriptors(environ, os.getpid()))


def sd_notify(state: str, logger: Any, unset_environment: bool = False) -> None:
    """Tell the service manager `state`; what goes wrong is logged at the level debug."""
    notifier = NotifySocket(os.environ.get("NOTIFY_SOCKET", ""))
    try:
        notifier.send(state)
    except OSError as error:
        logger.debug("The service manager was not told %r: %s", state, error)
    finally:
        notifier.close()
        if unset_environment:
            os.environ.pop("NOTIFY_SOCKET", None)
