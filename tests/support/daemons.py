"""Daemons that servers send their records and metrics to, as sockets that a test reads."""

import contextlib
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from support.waiting import wait_for

#: Nothing here is measured: a bound that a busy machine keeps.
BOUND = 20.0


class Daemon:
    """A thread that keeps what comes; `received` has it in order, a datagram or a chunk each.

    address: (host, port), or the path of a unix socket. kind: SOCK_DGRAM or SOCK_STREAM.
    """

    def __init__(self, address: tuple[str, int] | str, kind: socket.SocketKind) -> None:
        if isinstance(address, str):
            family = socket.AF_UNIX
            Path(address).unlink(missing_ok=True)
        else:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._kind = kind
        self._socket = socket.socket(family, kind)
        if kind is socket.SOCK_DGRAM:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        else:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(address)
        self.address: tuple[str, int] | str = self._socket.getsockname()
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []
        self._lock = threading.Lock()
        self._received: list[bytes] = []
        if kind is socket.SOCK_STREAM:
            self._socket.listen(16)
            self._start(self._accept)
        else:
            self._start(self._read, self._socket)

    @property
    def port(self) -> int:
        """The port of a network address."""
        assert not isinstance(self.address, str)
        return self.address[1]

    @property
    def connections(self) -> int:
        """Connections that have been made, to a stream."""
        return len(self._connections)

    @property
    def received(self) -> list[bytes]:
        """What has come so far: datagrams, or chunks of streams."""
        with self._lock:
            return list(self._received)

    @property
    def text(self) -> str:
        """All of it."""
        return b"".join(self.received).decode()

    def wait_for(self, text: str, count: int = 1) -> str:
        """Until `text` has come that often; everything that has come."""
        wait_for(lambda: self.text.count(text) >= count, BOUND, f"{count} times {text!r}")
        return self.text

    def close(self) -> None:
        """Go away, with every connection."""
        # A shutdown wakes the threads that read; a close alone does not.
        for each in (self._socket, *self._connections):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in list(self._threads):
            thread.join(BOUND)
        for each in self._connections:
            each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _start(self, target: object, *arguments: object) -> None:
        assert callable(target)
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._connections.append(connection)
            self._start(self._read, connection)

    def _read(self, sock: socket.socket) -> None:
        while True:
            try:
                data = sock.recv(1 << 16)
            except OSError:
                return
            if not data:
                return
            with self._lock:
                self._received.append(data)
