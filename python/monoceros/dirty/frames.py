"""Messages between clients, the dirty arbiter and dirty workers, without I/O.

A frame is a header of 16 bytes and a payload: magic "MD", version, kind, length of the payload
(four bytes), number of the call (eight bytes), all big-endian. A payload is values (see
`values`), and for some kinds the bytes of a further value that the arbiter passes on unread:

    client to arbiter
        CALL     [app path, action], then the list args and the dict kwargs
        STASH    [operation, table, key, pattern], then the value to keep
    arbiter to client
        WELCOME  {"timeout": seconds, "pid": of the arbiter}, once, unasked
    arbiter to worker
        CALL     as it came
        CANCEL   nobody waits for this call any more
        CREDIT   int: bytes of chunks that the client's socket has taken
        DRAIN    no further call comes; end when those that run are done
    worker to arbiter
        IMPORTED {app path: {"workers": limit or None, "stashes": [names]}}
        READY    every app's init() is done
        LEAVING  the worker was told to end, and waits for DRAIN
    worker to arbiter to client
        RESULT   the value; the end of a call
        CHUNK    one item of a stream
        END      of a stream and its call
        ERROR    an error's dict; the end of a call

Rules:
- A connection of a client carries one call at a time; who wants more opens more.
- Length is checked before anything is kept: nobody makes the other side collect more than
  `MAX_PAYLOAD`.
"""

import enum
import struct
from typing import Final, NamedTuple

from monoceros.dirty.errors import DirtyProtocolError

#: Bytes of one payload (Gunicorn's limit).
MAX_PAYLOAD: Final = 64 * 1024 * 1024

_MAGIC: Final = b"MD"
_VERSION: Final = 1
_HEADER: Final = struct.Struct(">2sBBIQ")
HEADER_SIZE: Final = _HEADER.size


class Kind(enum.IntEnum):
    """What a frame says."""

    CALL = 1
    RESULT = 2
    ERROR = 3
    CHUNK = 4
    END = 5
    STASH = 16
    WELCOME = 32
    CANCEL = 48
    CREDIT = 49
    DRAIN = 50
    IMPORTED = 64
    READY = 65
    LEAVING = 66


#: Kinds that end a call.
LAST: Final = frozenset({Kind.RESULT, Kind.ERROR, Kind.END})

#: Kinds that are a worker's word on a call.
ANSWERS: Final = LAST | {Kind.CHUNK}


class Frame(NamedTuple):
    """One message; `number` is the call's, 0 for those that belong to none."""

    kind: Kind
    number: int
    payload: bytes


def encode_frame(kind: Kind, number: int = 0, payload: bytes = b"") -> bytes:
    """The bytes of a frame. Raises DirtyProtocolError for a payload that is too long."""
    if len(payload) > MAX_PAYLOAD:
        raise DirtyProtocolError(
            f"A message of {len(payload)} bytes cannot be sent: the limit is {MAX_PAYLOAD}"
        )
    return _HEADER.pack(_MAGIC, _VERSION, kind, len(payload), number) + payload


def decode_header(header: bytes) -> tuple[Kind, int, int]:
    """Kind, number and the payload's length. Raises DirtyProtocolError for what is no header."""
    magic, version, kind, length, number = _HEADER.unpack(header)
    if magic != _MAGIC or version != _VERSION:
        raise DirtyProtocolError("What was received is no message of a dirty app", header)
    try:
        known = Kind(kind)
    except ValueError:
        raise DirtyProtocolError(f"There is no message of kind {kind}", header) from None
    if length > MAX_PAYLOAD:
        raise DirtyProtocolError(f"A message of {length} bytes is too long", header)
    return known, number, length


class Decoder:
    """Cuts what comes from a stream into frames."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._header: tuple[Kind, int, int] | None = None

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete with `data`. Raises DirtyProtocolError."""
        self._data += data
        frames: list[Frame] = []
        while True:
            if self._header is None:
                if len(self._data) < HEADER_SIZE:
                    return frames
                self._header = decode_header(bytes(self._data[:HEADER_SIZE]))
                del self._data[:HEADER_SIZE]
            kind, number, length = self._header
            if len(self._data) < length:
                return frames
            frames.append(Frame(kind, number, bytes(memoryview(self._data)[:length])))
            del self._data[:length]
            self._header = None
