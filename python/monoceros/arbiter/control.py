"""The control socket in the master's loop: who listens where, and to whom.

Rules:
- It is where the configuration in force says; what cannot be had there is told in one line, and
  tried again when the configuration has been read anew. The server never ends for it, and keeps the
  place that it has.
- A place that a living server has is left to it.
- An heir's has the suffix of its pidfile until it is promoted.
- Clients cost the loop nothing that grows: so many of them, so much of each, and no waiting. The
  one that has been silent for longest makes room for a new one.
- An error of ours in an answer goes to the log and not through the loop.
"""

import math
import select
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from monoceros.arbiter.answers import Answers
from monoceros.arbiter.control_client import ControlClient, State
from monoceros.arbiter.control_socket import ControlSocket, PathBusyError, PathTakenError
from monoceros.control.commands import CommandError, understand

if TYPE_CHECKING:
    from monoceros.arbiter.arbiter import Arbiter

#: Clients at a time: an operator, his colleagues, and what watches the server.
CLIENTS_MOST: Final = 16

#: Seconds until a path is looked at again that another server looks at now.
BUSY_PAUSE: Final = 0.05

#: Seconds after which such a look is no look any more.
BUSY_LIMIT: Final = 5.0

#: Seconds until clients are accepted again after the kernel could not give us one.
ACCEPT_PAUSE: Final = 1.0


class Control:
    """The socket, if there is one, and its clients."""

    def __init__(self, server: "Arbiter") -> None:
        self._server = server
        self._answers = Answers(server)
        self._socket: ControlSocket | None = None
        self._clients: list[ControlClient] = []
        #: What the place was last sought for: the configuration, and whether by an heir.
        self._sought: tuple[Any, bool] | None = None
        self._seek_at = -math.inf
        self._busy_since: float | None = None
        self._accept_at = -math.inf

    # In the loop.

    def turn(self, now: float) -> None:
        """Be where the configuration says, and hear whoever speaks."""
        if not self._server.stopping:
            self._seek(now)
        if self._socket is not None and now >= self._accept_at:
            self._accept(self._socket, now)
        for client in self._clients:
            client.turn(now)
            if client.has_more:
                self._server.wakeup()
        self._clients = [each for each in self._clients if each.state is not State.ENDED]

    def descriptors(self) -> list[tuple[int, int]]:
        """What to wait for, as poll() takes it."""
        found = [
            (each.socket.fileno(), select.POLLOUT if each.writes else select.POLLIN)
            for each in self._clients
        ]
        if self._socket is not None and self._accept_at == -math.inf:
            found.append((self._socket.socket.fileno(), select.POLLIN))
        return found

    @property
    def next_at(self) -> float:
        """When `turn` is due at the latest, monotonic seconds."""
        moments = [each.deadline for each in self._clients]
        moments += [each for each in (self._seek_at, self._accept_at) if each > -math.inf]
        return min(moments, default=math.inf)

    # The place.

    def _seek(self, now: float) -> None:
        server = self._server
        sought = (server.cfg, server.upgrade.heir)
        unchanged = self._sought is not None and (
            self._sought[0] is sought[0] and self._sought[1] == sought[1]
        )
        if now < self._seek_at or (unchanged and self._seek_at == -math.inf):
            return
        self._sought, self._seek_at = sought, -math.inf
        cfg = server.cfg
        if cfg.control_socket_disable:
            self._move(None)
        elif not cfg.control_socket:
            server.log.warning(
                "There is no place for a control socket: control_socket is empty, and so it is by "
                "default for a user without a home folder. This server runs without one: set "
                "--control-socket PATH, or --no-control-socket"
            )
        else:
            path = str(Path(server.upgrade.name(cfg.control_socket)).absolute())
            self._settle(path, cfg.control_socket_mode, now)

    def _settle(self, path: str, mode: int, now: float) -> None:
        log = self._server.log
        present = self._socket
        try:
            if present is not None and present.path == path and present.in_place:
                Path(path).chmod(mode)
                self._busy_since = None
                return
            self._move(ControlSocket.open(path, mode))
        except PathBusyError as error:
            self._busy_since = self._busy_since or now
            if now - self._busy_since < BUSY_LIMIT:
                self._seek_at = now + BUSY_PAUSE
                return
            log.warning(
                "Cannot have a control socket at %s: %s for %g s already. %s; HUP tries again",
                path,
                error,
                BUSY_LIMIT,
                self._instead(),
            )
        except PathTakenError:
            log.info(
                "Another server has the control socket %s. %s: set --control-socket PATH to give "
                "it its own",
                path,
                self._instead(),
            )
        except (OSError, ValueError) as error:  # the latter: no name for a file at all
            log.warning(
                "Cannot have a control socket at %s: %s. %s: set --control-socket PATH, or "
                "--no-control-socket",
                path,
                getattr(error, "strerror", None) or error,
                self._instead(),
            )
        else:
            log.info("Control socket listening at %s", path)
        self._busy_since = None

    def _instead(self) -> str:
        """What goes on where a place was not to be had."""
        if self._socket is not None:
            return f"This server keeps {self._socket.path}"
        return "This server runs without one"

    def _move(self, place: ControlSocket | None) -> None:
        if self._socket is not None:
            self._socket.remove()
        self._socket = place

    # The clients.

    def _accept(self, place: ControlSocket, now: float) -> None:
        self._accept_at = -math.inf
        while True:
            try:
                sock, _ = place.socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                # Out of descriptors, or of memory: who waits is heard when there are some.
                self._accept_at = now + ACCEPT_PAUSE
                self._server.log.debug("Cannot accept a client of the control socket: %s", error)
                return
            if len(self._clients) >= CLIENTS_MOST:
                silent = min(self._clients, key=lambda each: each.quiet_since)
                silent.close()
                self._clients.remove(silent)
            self._clients.append(ControlClient(sock, self._follow, now))

    def _follow(self, words: list[str]) -> object:
        command = understand(words)
        if not command.only_looks:
            self._server.log.info("Handling control command: %s", command)
        try:
            return self._answers.answer(command)
        except CommandError:
            raise
        except Exception as error:
            self._server.log.exception("Cannot follow the control command: %s", command)
            raise CommandError("The server failed to do this; its log says why") from error

    # Ends.

    def close(self) -> None:
        """The server ends: hang up, and remove the socket's file."""
        self._move(None)
        self._hang_up()

    def let_go(self) -> None:
        """For a child: close what is the master's. May be called more than once."""
        if self._socket is not None:
            self._socket.close()
        for client in self._clients:
            client.socket.close()

    def _hang_up(self) -> None:
        for client in self._clients:
            client.close()
        self._clients.clear()
