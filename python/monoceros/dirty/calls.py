"""What a call of a dirty app is on its client's side, without I/O: its frame, its time, its answer.

Time. A client that names a timeout waits that long in all, and in a stream at most `STREAM_IDLE`
for each item (Gunicorn's rules). One that names none waits as long as the server may take, which
the server says in its WELCOME: `dirty_timeout` in the queue, the same again in the app, and a
margin, so that it is the server who gives up first and can say why; without `dirty_timeout` there
is no limit.
"""

import math
from typing import Any, Final

from monoceros.dirty.errors import DirtyConnectionError, DirtyError, DirtyTimeoutError
from monoceros.dirty.frames import Frame, Kind, encode_frame
from monoceros.dirty.values import decode_whole, encode

#: The longest wait for one item of a stream, seconds, when the client has named a timeout.
STREAM_IDLE: Final = 30.0

#: How long a client that has named no timeout waits to be welcomed, seconds. A dirty arbiter that
#: has crashed is there again long before.
WELCOME_PATIENCE: Final = 60.0

#: How often a call is made that is not taken. Each time a dirty arbiter must have ended.
ATTEMPTS: Final = 5

#: What the server gets beyond its own limits, seconds, to notice and to say so.
MARGIN: Final = 10.0


def encode_call(app_path: str, action: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """The frame of a call. Raises DirtyProtocolError for arguments that cannot be sent."""
    payload = encode([app_path, action]) + encode(args, "args") + encode(kwargs, "kwargs")
    return encode_frame(Kind.CALL, 0, payload)


class Patience:
    """How long a call may still wait; times are seconds on the monotonic clock."""

    def __init__(self, timeout: float | None, now: float, *, stream: bool = False) -> None:
        self._timeout = timeout
        self._stream = stream
        self._idle = math.inf
        if timeout is None:
            self._end = now + WELCOME_PATIENCE
            self._limit = WELCOME_PATIENCE
        else:
            self._end = now + timeout
            self._limit = timeout
            if stream:
                self._idle = min(STREAM_IDLE, timeout)
        self._heard_at = now
        #: The connection has been welcomed.
        self.welcomed = False

    def welcome(self, server_timeout: float, now: float) -> None:
        """The server has told its own limit, 0 for none."""
        self.welcomed = True
        self._server_timeout = server_timeout
        if self._timeout is None:
            self._wait_for_server(2 * server_timeout, now)

    _server_timeout = 0.0

    def heard(self, now: float) -> None:
        """An item of a stream has come."""
        self._heard_at = now
        if self._timeout is None:
            self._wait_for_server(self._server_timeout, now)

    def _wait_for_server(self, limit: float, now: float) -> None:
        self._limit = limit + MARGIN if limit else math.inf
        self._end = now + self._limit

    def left(self, now: float) -> float | None:
        """Seconds to wait for the next frame; None is for ever.

        Raises DirtyTimeoutError when the time is over.
        """
        end = min(self._end, self._heard_at + self._idle)
        if end <= now:
            raise self.over(now)
        return None if end == math.inf else end - now

    def over(self, now: float) -> DirtyTimeoutError:
        """The error that says which time is over."""
        if self._end > now:
            return DirtyTimeoutError(
                f"Timeout waiting for the next chunk (idle {now - self._heard_at:.1f} s)",
                self._idle,
            )
        if self._stream:
            return DirtyTimeoutError("Stream exceeded total timeout", self._limit)
        return DirtyTimeoutError("Timeout waiting for dirty app response", self._limit)


class NotTaken(DirtyConnectionError):
    """The connection ended before the dirty arbiter had read the call: it may be made again.

    The kernel says so: who closes a unix socket without having read all of it resets the other
    side, and to who has closed nothing can be sent any more.
    """


def not_taken(path: str, what: str) -> NotTaken:
    """See NotTaken."""
    return NotTaken(f"The dirty arbiter ended before it had read {what}", socket_path=path)


def lost(path: str, what: str) -> DirtyConnectionError:
    """The connection ended while `what` was under way."""
    return DirtyConnectionError(
        f"The dirty arbiter ended or closed the connection during {what}; whether it had an "
        "effect is not known",
        socket_path=path,
    )


def result_of(frame: Frame, what: str) -> Any:
    """The result that a frame brings to `execute`. Raises the error that it brings."""
    if frame.kind is Kind.RESULT:
        return decode_whole(frame.payload)
    if frame.kind is Kind.ERROR:
        raise DirtyError.from_dict(decode_whole(frame.payload))
    if frame.kind in (Kind.CHUNK, Kind.END):
        raise DirtyError(f"{what} returned a generator: read it with stream()")
    raise DirtyError(f"Unexpected message during {what}: {frame.kind.name}")
