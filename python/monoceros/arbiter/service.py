"""What the service manager (systemd) is told of the server.

```
STARTING --a worker is READY--> READY --HUP--> RELOADING --the reload is over--> READY
any --the server stops--> STOPPING
```

Rules:
- READY means that a request would be answered: it waits for a worker, and not only for sockets.
- Every HUP is told as RELOADING and then as READY, however it ends: `systemctl reload` waits for
  both.
- The watchdog hears from the arbiter's loop and from nothing else: it stops hearing when that loop
  does, and not when an app does not boot.
- A notification that cannot be sent changes nothing; it is told once.
- Of two masters only the old one speaks. When it has ended its requests it names the new one as
  the main process, as its last word, and does not say that the service stops.
"""

import enum
import math
import os
import time
from typing import TYPE_CHECKING, Final

from monoceros import systemd
from monoceros.arbiter.states import ReloadState, WorkerState

if TYPE_CHECKING:
    from monoceros.arbiter.arbiter import Arbiter

#: The watchdog wants to hear from us at least this often within its interval (sd_notify(3)).
BEATS_PER_INTERVAL: Final = 2


class ServiceState(enum.Enum):
    """What the service manager knows of us."""

    STARTING = "starting"
    READY = "ready"
    RELOADING = "reloading"
    STOPPING = "stopping"


class Service:
    """The server as its manager sees it; does nothing where there is no manager."""

    def __init__(self, server: "Arbiter") -> None:
        """Raises ValueError when the environment's variables make no sense."""
        self._server = server
        self._socket = systemd.NotifySocket(os.environ.get("NOTIFY_SOCKET", ""))
        self._state = ServiceState.STARTING
        self._status = ""
        interval = systemd.watchdog_interval(os.environ, server.pid)
        self._beat = interval / BEATS_PER_INTERVAL if interval and self._socket else None
        self._beats_at = 0.0
        self._told_of_failure = False

    @property
    def next_beat(self) -> float:
        """When the watchdog wants to hear from us, monotonic seconds."""
        return math.inf if self._beat is None or self._server.upgrade.heir else self._beats_at

    def reloads(self) -> None:
        """A HUP is about to be followed."""
        if self._server.upgrade.heir:
            return
        self._state = ServiceState.RELOADING
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def turn(self, now: float) -> None:
        """Tell what has changed; call it in every turn of the loop."""
        if not self._socket:
            return
        server = self._server
        if server.upgrade.heir:
            return
        lines = []
        if server.stopping and server.upgrade.successor:
            pass  # another process goes on with the service
        elif server.stopping:
            if self._state is not ServiceState.STOPPING:
                self._state = ServiceState.STOPPING
                lines.append("STOPPING=1")
        elif (
            self._state is not ServiceState.READY
            and server.ever_ready
            and server.reloading.state is ReloadState.IDLE
        ):
            self._state = ServiceState.READY
            lines += ["READY=1", f"MAINPID={server.pid}"]
        status = self._describe()
        if status != self._status:
            self._status = status
            lines.append(f"STATUS={status}")
        if self._beat and now >= self._beats_at:
            self._beats_at = now + self._beat
            lines.append("WATCHDOG=1")
        if lines:
            self._tell(*lines)

    def ends(self) -> None:
        """The last word: who goes on with the service."""
        upgrade = self._server.upgrade
        if upgrade.successor:
            self._tell(f"MAINPID={upgrade.successor}")

    def _describe(self) -> str:
        server = self._server
        ready = sum(record.state is WorkerState.READY for record in server.fleet)
        if server.stopping:
            return f"Stopping, {len(server.fleet)} workers are left"
        return f"{ready} of {server.num_workers} workers ready"

    def _tell(self, *lines: str) -> None:
        try:
            self._socket.send(*lines)
        except OSError as error:
            if not self._told_of_failure:
                self._told_of_failure = True
                self._server.log.warning(
                    "Cannot notify the service manager at NOTIFY_SOCKET: %s",
                    error.strerror or error,
                )

    def close(self) -> None:
        """For a child: let go of the socket."""
        self._socket.close()
