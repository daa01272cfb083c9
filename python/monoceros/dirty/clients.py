"""The clients of the dirty arbiter: accept them, hear them, let them go.

Rules:
- A client that breaks the protocol is cut off with a line in the log; it is never waited for.
- A client that has made a call is not read from before it has its answer; what it sends early
  waits in the kernel.
"""

import os
import socket
from typing import TYPE_CHECKING, Final

from monoceros.dirty.errors import DirtyError
from monoceros.dirty.frames import Frame, Kind, encode_frame
from monoceros.dirty.link import Link
from monoceros.dirty.poller import HANGUP, OUTPUT, Poller
from monoceros.dirty.router import Client, Router
from monoceros.dirty.tables import Tables
from monoceros.dirty.values import encode

if TYPE_CHECKING:
    from monoceros.dirty.arbiter import DirtyArbiter

#: How long no connection is accepted when there is no descriptor for one, seconds.
ACCEPT_PAUSE: Final = 1.0

#: Connections accepted per turn of the loop.
ACCEPTED_PER_TURN: Final = 64


class Clients:
    """Every connection of a client."""

    def __init__(
        self,
        arbiter: "DirtyArbiter",
        listener: socket.socket,
        poller: Poller,
        router: Router,
        tables: Tables,
    ) -> None:
        self._arbiter = arbiter
        self._listener = listener
        self._poller = poller
        self._router = router
        self._tables = tables
        self._clients: set[Client] = set()
        self._closing: set[Client] = set()
        self._accepting = False
        #: When to accept again; None while that is no question of time.
        self.accept_at: float | None = None

    def begin(self) -> None:
        """Accept."""
        self._listener.setblocking(False)
        self._poller.watch(self._listener.fileno())
        self._accepting = True

    def end(self) -> None:
        """Accept no more, and close what is idle. The socket stays the master's: who connects now
        is served by the next dirty arbiter."""
        self.accept_at = None
        if self._accepting:
            self._pause()
        for client in list(self._clients):
            if client.task is None:
                self.hang_up(client)

    def _pause(self) -> None:
        self._poller.unwatch(self._listener.fileno())
        self._accepting = False

    @property
    def unread(self) -> bool:
        """Some client has not yet taken what it was sent."""
        return any(client.pending for client in self._clients)

    def turn(self, events: dict[int, int], now: float) -> None:
        """Act on what has happened."""
        if self.accept_at is not None and now >= self.accept_at:
            self.accept_at = None
            self.begin()
        if self._accepting and events.pop(self._listener.fileno(), 0):
            self._accept(now)
        for descriptor, event in events.items():
            client = self._poller.get(descriptor)
            if isinstance(client, Client):
                self._hear(client, event, now)

    def _accept(self, now: float) -> None:
        for _ in range(ACCEPTED_PER_TURN):
            try:
                sock, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                self._arbiter.log.error(
                    "The dirty arbiter cannot accept a client: %s. It tries again in %g s.",
                    error,
                    ACCEPT_PAUSE,
                )
                self._pause()
                self.accept_at = now + ACCEPT_PAUSE
                return
            client = Client(sock)
            self._clients.add(client)
            self._poller.add(client)
            timeout = float(self._arbiter.cfg.dirty_timeout)
            welcome = encode({"timeout": timeout, "pid": os.getpid()})
            client.send(encode_frame(Kind.WELCOME, 0, welcome))

    def _hear(self, client: Client, event: int, now: float) -> None:
        if event & OUTPUT:
            client.flush()
            if not client.pending:
                self._router.taken(client)
        if client.task is not None:
            if event & HANGUP:
                client.ended = True
        elif event & ~OUTPUT:
            try:
                for frame in client.receive():
                    self._serve(client, frame, now)
            except DirtyError as error:
                self._arbiter.log.warning("A client of dirty apps is cut off: %s", error)
                client.ended = True
        self._poller.touch(client)

    def _serve(self, client: Client, frame: Frame, now: float) -> None:
        if client.task is not None:
            raise DirtyError("it has sent a call before the last one was answered")
        if frame.kind is Kind.CALL:
            self._router.call(client, frame, now)
        elif frame.kind is Kind.STASH:
            try:
                answer = encode_frame(Kind.RESULT, 0, self._tables.answer(frame.payload))
            except DirtyError as error:
                answer = encode_frame(Kind.ERROR, 0, encode(error.to_dict()))
            client.send(answer)
        else:
            raise DirtyError(f"it has sent {frame.kind.name}")

    def touch(self, client: Client) -> None:
        """Something was sent to a client."""
        self._poller.touch(client)

    def drop(self, client: Client) -> None:
        """Cut a client off."""
        client.ended = True
        self._poller.touch(client)

    def hang_up(self, client: Client) -> None:
        """Close a client's connection when it has taken what it was sent."""
        self._closing.add(client)
        self._poller.touch(client)

    def finish(self, link: Link) -> bool:
        """Close a connection if its time has come; True when it was."""
        if not isinstance(link, Client):
            return False
        if not (link.ended or (link in self._closing and not link.pending)):
            return False
        self._poller.forget(link)
        self._clients.discard(link)
        self._closing.discard(link)
        self._router.left(link)
        link.close()
        return True
