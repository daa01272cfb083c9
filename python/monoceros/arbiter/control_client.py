"""One client of the control socket, in the master's loop.

READING     its requests are taken, one after another
WRITING     an answer waits for it to read; nothing of it is read meanwhile
LAST        the same, and then it is hung up on
ENDED       hung up

Rules:
- Nothing waits: what cannot be sent or received now is done in a later turn.
- What is kept of a client is bounded: one request, one answer.
- One that says nothing for `IDLE_LIMIT`, counted from its last whole request, and one that reads
  nothing for `WRITE_LIMIT` are hung up on.
"""

import enum
import socket
from collections.abc import Callable, Mapping
from typing import Final

from monoceros.arbiter import states
from monoceros.control.commands import CommandError
from monoceros.control.frames import (
    REQUEST_LIMIT,
    Decoder,
    Id,
    OversizedError,
    ProtocolError,
    answer,
    decode,
    id_of,
    refusal,
    words_of,
)

#: Seconds without a whole request (Gunicorn's contract).
IDLE_LIMIT: Final = 300.0

#: Seconds in which a client reads nothing of its answer; its own patience (Gunicorn's contract).
WRITE_LIMIT: Final = 30.0

#: Requests of one client per turn of the loop, so that none keeps the server from its work.
REQUESTS_PER_TURN: Final = 8

#: Bytes read at a time.
BLOCK: Final = 16 * 1024


class State(enum.Enum):
    """Where the conversation stands."""

    READING = "reading"
    WRITING = "writing"
    LAST = "last"
    ENDED = "ended"


class Event(enum.Enum):
    """What happens to it."""

    ANSWERED = "answered"
    REFUSED = "refused"
    SENT = "sent"
    HUNG_UP = "hung up"


MOVES: Final[Mapping[tuple[State, Event], State]] = {
    (State.READING, Event.ANSWERED): State.WRITING,
    (State.READING, Event.REFUSED): State.LAST,
    (State.READING, Event.HUNG_UP): State.ENDED,
    (State.WRITING, Event.SENT): State.READING,
    (State.WRITING, Event.HUNG_UP): State.ENDED,
    (State.LAST, Event.SENT): State.ENDED,
    (State.LAST, Event.HUNG_UP): State.ENDED,
    (State.ENDED, Event.HUNG_UP): State.ENDED,
}


class ControlClient:
    """A connection. `follow` does what the words of a request ask, and returns the data of
    its answer; it raises CommandError and nothing else."""

    def __init__(
        self, sock: socket.socket, follow: Callable[[list[str]], object], now: float
    ) -> None:
        sock.setblocking(False)
        self.socket = sock
        self.state = State.READING
        #: The moment of its last whole request, or of the last bytes that it took.
        self.quiet_since = now
        #: Requests may have come that were not looked at: another turn is due.
        self.has_more = False
        self._follow = follow
        self._decoder = Decoder(REQUEST_LIMIT)
        self._unsent = memoryview(b"")

    @property
    def writes(self) -> bool:
        """It waits to be able to send, and not for something to come."""
        return self.state in (State.WRITING, State.LAST)

    @property
    def deadline(self) -> float:
        """When it is hung up on if nothing happens."""
        return self.quiet_since + (WRITE_LIMIT if self.writes else IDLE_LIMIT)

    def turn(self, now: float) -> None:
        """Go on as far as that is possible at once."""
        self.has_more = False
        for _ in range(REQUESTS_PER_TURN):
            if self.writes:
                self._send(now)
            if self.state is not State.READING or not self._read_request(now):
                break
        else:
            self.has_more = True
        if now >= self.deadline:
            self.close()

    def close(self) -> None:
        """Hang up. May be called more than once."""
        self._step(Event.HUNG_UP)
        self._unsent = memoryview(b"")
        self.socket.close()

    def _read_request(self, now: float) -> bool:
        """Take a request and answer it; False when there is none (yet)."""
        try:
            message = self._decoder.take()
            while message is None:
                data = self.socket.recv(BLOCK)
                if not data:
                    self.close()
                    return False
                self._decoder.feed(data)
                message = self._decoder.take()
        except BlockingIOError:
            return False
        except OversizedError as error:
            self._say(refusal(None, str(error)), Event.REFUSED, now)
            return True
        except OSError:
            self.close()
            return False
        self.quiet_since = now
        self._say(self._answer(message), Event.ANSWERED, now)
        return True

    def _answer(self, message: bytes) -> bytes:
        request_id: Id = None
        try:
            content = decode(message)
            request_id = id_of(content)
            return answer(request_id, self._follow(words_of(content)))
        except (ProtocolError, CommandError) as error:
            return refusal(request_id, str(error))

    def _say(self, message: bytes, event: Event, now: float) -> None:
        self._step(event)
        self._unsent = memoryview(message)
        self._send(now)

    def _send(self, now: float) -> None:
        try:
            while self._unsent:
                sent = self.socket.send(self._unsent)
                self._unsent = self._unsent[sent:]
                self.quiet_since = now
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        self._step(Event.SENT)
        if self.state is State.ENDED:
            self.close()

    def _step(self, event: Event) -> None:
        self.state = states.step(MOVES, self.state, event)
