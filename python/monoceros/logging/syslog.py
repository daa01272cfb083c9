"""Records on their way to a syslog that may be away or slow.

The rules of this module:

- Nobody waits for a stream but the master when it starts or reloads, `FIRST_PATIENCE` seconds at
  most, and a worker with its first record, `FORK_PATIENCE`.
- Datagrams: a record is sent or dropped (see `datagrams`).
- Streams: records queue up to `QUEUE_BYTES`, whole; what does not fit is dropped. A record is never
  sent in part: one that was cut by the end of a connection is sent again, whole, on the next one.
- A process never writes to another one's stream: after a fork it makes its own.
- What is dropped is counted, and the error log says it, once in `REPORT_INTERVAL` seconds, but not
  to syslog.

A stream's states, and what moves it on (`_Stream`):

    CLOSED      a record comes and `_retry_at` has passed -> CONNECTING
    CONNECTING  the socket is writable -> OPEN; it failed -> CLOSED
    OPEN        the peer is gone -> CLOSED, with a pause that doubles from failure to failure
"""

import enum
import errno
import logging
import os
import select
import socket
import time
from collections import deque
from logging.handlers import SysLogHandler
from typing import Any, Final

from monoceros.config.log_addresses import SyslogAddress
from monoceros.logging.datagrams import Datagrams

#: Seconds that the start waits for a stream to connect, so that its first lines are not late.
FIRST_PATIENCE: Final = 1.0

#: Seconds that a process that has just been forked gives its own connection. A local syslog's is
#: there at once; another one's comes later, and its records wait for it in the queue.
FORK_PATIENCE: Final = 0.05

#: Seconds that the end of a process waits for what is queued.
LAST_PATIENCE: Final = 1.0

#: Pauses between attempts to connect, seconds: the first, and the longest.
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0

#: Bytes of records that wait for a stream.
QUEUE_BYTES: Final = 256 * 1024

#: Seconds between two messages about the same syslog.
REPORT_INTERVAL: Final = 60.0

#: An attribute of records that must not go to syslog, because they are about it.
_ABOUT_SYSLOG: Final = "about_syslog"


class _State(enum.Enum):
    CLOSED = enum.auto()
    CONNECTING = enum.auto()
    OPEN = enum.auto()


class _Lost(OSError):
    """A record that syslog did not take."""


class _Stream:
    """A stream of records; see the module for its states."""

    def __init__(self, family: int, address: Any) -> None:
        self._family = family
        self._address = address
        self._socket: socket.socket | None = None
        self._state = _State.CLOSED
        self._owner = os.getpid()
        self._queue: deque[bytes] = deque()
        self._queued = 0
        # How much of the first record in the queue has been sent.
        self._sent = 0
        self._pause = FIRST_PAUSE
        self._retry_at = 0.0
        self._error: OSError | None = None
        # A signal handler that logs may come in between: then it only queues.
        self._flushing = False

    def open(self, patience: float = 0.0) -> None:
        """Connect, waiting so many seconds. Raises OSError when it fails within them, or has just
        failed."""
        if self._owner != os.getpid():
            self._forget_parents()
        if self._error is not None and time.monotonic() < self._retry_at:
            raise self._error
        self._connect()
        self._advance(patience)
        if self._state is _State.CLOSED and self._error is not None:
            raise self._error

    def send(self, data: bytes) -> None:
        """Queue one record and send what the socket takes. Raises OSError when it is lost."""
        patience = 0.0
        if self._owner != os.getpid():
            self._forget_parents()
            patience = FORK_PATIENCE
        full = self._queued + len(data) > QUEUE_BYTES
        if full:
            self._flush(patience)
            full = self._queued + len(data) > QUEUE_BYTES
        if not full:
            self._queue.append(data)
            self._queued += len(data)
        self._flush(patience)
        if full:
            raise self._error or _Lost(errno.EAGAIN, "it takes records too slowly")

    def close(self) -> None:
        """Give what is queued a last chance."""
        deadline = time.monotonic() + LAST_PATIENCE
        if self._queue and self._owner == os.getpid():
            self._flush(LAST_PATIENCE)
            while self._queue and self._state is _State.OPEN and time.monotonic() < deadline:
                self._flush(deadline - time.monotonic())
        self._disconnect()

    @property
    def trouble(self) -> OSError | None:
        """Why nothing is sent at present."""
        return self._error if self._state is _State.CLOSED else None

    @property
    def waiting(self) -> int:
        """Records that have not been sent."""
        return len(self._queue)

    def take_queue(self) -> list[bytes]:
        """The records that wait, for somebody else to send."""
        records = list(self._queue)
        self._queue.clear()
        self._queued = self._sent = 0
        return records

    def _forget_parents(self) -> None:
        # The parent sends what it has queued itself.
        self._disconnect()
        self.take_queue()
        self._owner = os.getpid()
        self._pause, self._retry_at = FIRST_PAUSE, 0.0

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._state = _State.CLOSED
        self._sent = 0

    def _connect(self) -> None:
        fresh = socket.socket(self._family, socket.SOCK_STREAM)
        fresh.setblocking(False)
        self._socket = fresh
        try:
            fresh.connect(self._address)
        except BlockingIOError as error:
            # A unix socket whose owner's queue is full says so at once; TCP goes on connecting.
            if self._family == socket.AF_UNIX:
                self._fail(error)
            else:
                self._state = _State.CONNECTING
        except OSError as error:
            self._fail(error)
        else:
            self._state = _State.OPEN

    def _fail(self, error: OSError) -> None:
        self._error = error
        self._disconnect()
        self._retry_at = time.monotonic() + self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def _advance(self, patience: float) -> None:
        if self._state is _State.CONNECTING and self._is_writable(patience):
            assert self._socket is not None
            number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                self._fail(OSError(number, os.strerror(number)))
            else:
                self._state = _State.OPEN

    def _is_writable(self, patience: float) -> bool:
        poller = select.poll()
        assert self._socket is not None
        poller.register(self._socket, select.POLLOUT)
        return bool(poller.poll(patience * 1000))

    def _has_hung_up(self) -> bool:
        """A syslog that was restarted: what is sent to it now would vanish without an error."""
        assert self._socket is not None
        try:
            return self._socket.recv(1024) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _flush(self, patience: float) -> None:
        if self._flushing:
            return
        self._flushing = True
        try:
            self._flush_queue(patience)
        finally:
            self._flushing = False

    def _flush_queue(self, patience: float) -> None:
        if self._state is _State.OPEN and self._has_hung_up():
            self._disconnect()
        if self._state is _State.CLOSED and time.monotonic() >= self._retry_at:
            self._connect()
        self._advance(patience)
        while self._queue and self._state is _State.OPEN:
            assert self._socket is not None
            try:
                self._sent += self._socket.send(self._queue[0][self._sent :])
            except BlockingIOError:
                if patience <= 0 or not self._is_writable(patience):
                    return
                patience = 0.0
                continue
            except OSError as error:
                self._fail(error)
                return
            self._error = None
            if self._sent == len(self._queue[0]):
                self._queued -= len(self._queue.popleft())
                self._sent = 0
                self._pause = FIRST_PAUSE


class PatientSyslogHandler(SysLogHandler):
    """Python's handler for syslog, but one that nobody ever waits for.

    Raises OSError when the address's name cannot be resolved. A syslog that does not listen is
    reported like any later loss.
    """

    #: Marks the handlers that the logger made itself and replaces at the next setup.
    _gunicorn = True

    def __init__(
        self,
        name: str,
        address: SyslogAddress,
        facility: int = SysLogHandler.LOG_USER,
    ) -> None:
        """`name`: of the address, for messages."""
        self._kind, self._place = address
        self.described = name
        self._lost = 0
        self._told = False
        self._next_report = 0.0
        self._channels = self._make_channels()
        self._channel = self._channels[0]
        # The base class opens nothing itself: see `createSocket`.
        super().__init__(address=self._place, facility=facility, socktype=self._kind)
        self._open_first()

    def createSocket(self) -> None:
        """The channels have the sockets."""

    def _make_channels(self) -> list[Datagrams | _Stream]:
        if isinstance(self._place, str):
            unix: dict[socket.SocketKind, Datagrams | _Stream] = {
                socket.SOCK_DGRAM: Datagrams(socket.AF_UNIX, self._place),
                socket.SOCK_STREAM: _Stream(socket.AF_UNIX, self._place),
            }
            return list(unix.values()) if self._kind is None else [unix[self._kind]]
        host, port = self._place
        assert self._kind is not None
        channel = Datagrams if self._kind is socket.SOCK_DGRAM else _Stream
        # A name may lead to several places, of which syslog listens at one: localhost does.
        found = socket.getaddrinfo(host, port, 0, self._kind)
        return [channel(family, address) for family, _, _, _, address in found]

    def _open_first(self) -> None:
        """Find the channel that works. When none does, the first record says so."""
        for channel in self._channels:
            try:
                if isinstance(channel, _Stream):
                    channel.open(FIRST_PATIENCE)
                else:
                    channel.open()
            except OSError:
                continue
            self._channel = channel
            return

    def filter(self, record: logging.LogRecord) -> Any:
        """Records about syslog itself go elsewhere; asked before any lock is taken."""
        return not hasattr(record, _ABOUT_SYSLOG) and super().filter(record)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            data = self._encode(record)
        except RecursionError:
            raise
        except Exception:
            self.handleError(record)
            return
        trouble: OSError | None
        try:
            self._send(data)
            trouble = self._stream_trouble()
        except OSError as error:
            self._lost += 1
            trouble = error
        if trouble is not None:
            if time.monotonic() >= self._next_report:
                self._told = True
                reason = trouble.strerror or str(trouble)
                self._report(logging.WARNING, f"does not take records: {reason}")
        elif self._told and not self._has_queue():
            self._told = False
            self._report(logging.INFO, "takes records again")

    def _stream_trouble(self) -> OSError | None:
        return self._channel.trouble if isinstance(self._channel, _Stream) else None

    def _has_queue(self) -> bool:
        return isinstance(self._channel, _Stream) and self._channel.waiting > 0

    def _encode(self, record: logging.LogRecord) -> bytes:
        text = self.ident + self.format(record)
        if self._is_network_stream():
            # One record, one line (RFC 6587, 3.4.2), as syslog daemons themselves write it.
            text = text.replace("\n", "#012") + "\n"
        elif self.append_nul:
            text += "\0"
        priority = self.encodePriority(self.facility, self.mapPriority(record.levelname))
        return f"<{priority}>{text}".encode("utf-8", "backslashreplace")

    def _is_network_stream(self) -> bool:
        return self._kind is socket.SOCK_STREAM and not isinstance(self._place, str)

    def _send(self, data: bytes) -> None:
        try:
            self._channel.send(data)
        except OSError:
            if not self._change_channel():
                raise
            self._channel.send(data)
        else:
            if self._stream_trouble() is not None:
                self._change_channel()

    def _change_channel(self) -> bool:
        """Syslog may be at another address of its host, or have a unix socket of the other kind:
        see whether it has."""
        for other in self._channels:
            if other is self._channel:
                continue
            try:
                other.open()
            except OSError:
                continue
            former, self._channel = self._channel, other
            for record in former.take_queue() if isinstance(former, _Stream) else ():
                other.send(record)
            former.close()
            return True
        return False

    def _report(self, level: int, message: str) -> None:
        lost, self._lost = self._lost, 0
        self._next_report = time.monotonic() + REPORT_INTERVAL
        logging.getLogger("gunicorn.error").log(
            level,
            "syslog at %s %s; records lost: %d",
            self.described,
            message,
            lost,
            extra={_ABOUT_SYSLOG: True},
        )

    def close(self) -> None:
        self.acquire()
        try:
            for channel in getattr(self, "_channels", ()):
                channel.close()
        finally:
            self.release()
        logging.Handler.close(self)
