"""One end of a connection in the dirty arbiter: frames over a socket that never blocks."""

import socket
from collections import deque
from typing import Final

from monoceros.dirty.frames import Decoder, Frame

#: Bytes read from one connection per turn of the loop, so that none keeps the others waiting.
READ_SIZE: Final = 256 * 1024


class Link:
    """Frames in, frames out. `ended`: nothing more comes in and nothing can be sent."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.socket = sock
        self.ended = False
        #: The last `receive` has found nothing more.
        self.drained = False
        #: Bytes that wait for the other side to read.
        self.pending = 0
        #: What the arbiter's poller has registered; 0 for nothing.
        self.registered = 0
        self._decoder = Decoder()
        self._out: deque[memoryview] = deque()

    @property
    def reads(self) -> bool:
        """What comes is to be read now."""
        return True

    def fileno(self) -> int:
        """The descriptor."""
        return self.socket.fileno()

    def receive(self) -> list[Frame]:
        """Frames that have come; sets `ended` at the end. Raises DirtyProtocolError."""
        if self.ended:
            return []
        self.drained = False
        try:
            data = self.socket.recv(READ_SIZE)
        except BlockingIOError:
            self.drained = True
            return []
        except OSError:
            data = b""
        if not data:
            self.ended = True
            return []
        return self._decoder.feed(data)

    def send(self, data: bytes) -> None:
        """Send, now or when the other side reads."""
        if self.ended:
            return
        self._out.append(memoryview(data))
        self.pending += len(data)
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as the other side reads."""
        while self._out and not self.ended:
            first = self._out[0]
            try:
                sent = self.socket.send(first)
            except BlockingIOError:
                return
            except OSError:
                self.ended = True
                return
            self.pending -= sent
            if sent == len(first):
                self._out.popleft()
            else:
                self._out[0] = first[sent:]

    def close(self) -> None:
        """Hang up. May be called more than once."""
        self.ended = True
        self._out.clear()
        self.socket.close()
