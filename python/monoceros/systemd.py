"""What systemd hands to a service and what it wants to hear: sockets and notifications.

Sources: sd_listen_fds(3) and sd_notify(3); Gunicorn's contract for socket activation.
"""

import socket
from collections.abc import MutableMapping
from typing import Final

#: The first descriptor that is handed over (SD_LISTEN_FDS_START).
FIRST_DESCRIPTOR: Final = 3


def take_descriptors(environ: MutableMapping[str, str], pid: int) -> list[int]:
    """The sockets that are meant for the process `pid`; none when it was not activated.

    The variables that announce them go: they are for this process and not for its children.

    Raises ValueError when they make no sense.
    """
    if environ.get("LISTEN_PID") != str(pid):
        return []
    del environ["LISTEN_PID"]
    environ.pop("LISTEN_FDNAMES", None)
    text = environ.pop("LISTEN_FDS", "")
    if not text.isdigit():
        raise ValueError(f"the environment variable LISTEN_FDS is no number: {text!r}")
    return list(range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(text)))


class NotifySocket:
    """Where notifications go, as NOTIFY_SOCKET names it; nowhere without that variable."""

    def __init__(self, address: str) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None

    def __bool__(self) -> bool:
        return bool(self._address)

    def send(self, *lines: str) -> None:
        """Send assignments like `READY=1`. Does not wait. Raises OSError."""
        if not self._address:
            return
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
        self._socket.sendto("\n".join(lines).encode(), self._address)

    def close(self) -> None:
        """For a child: let go of the socket. May be called more than once."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def watchdog_interval(environ: MutableMapping[str, str], pid: int) -> float | None:
    """Seconds within which the process `pid` has to say that it lives; None: it need not.

    Raises ValueError when the variable makes no sense.
    """
    text = environ.get("WATCHDOG_USEC", "")
    if not text or environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    if not text.isdigit() or int(text) == 0:
        raise ValueError(f"the environment variable WATCHDOG_USEC is no number: {text!r}")
    return int(text) / 1e6
