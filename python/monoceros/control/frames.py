"""The wire: each message is its length, four bytes big-endian, and that many bytes of JSON.

A request is ``{"id", "command", "args"}``; an answer is ``{"id", "status": "ok", "data"}`` or
``{"id", "status": "error", "error"}``. No I/O here.

Rules:
- A length beyond the limit is refused when it is read: nothing of the message is kept.
"""

import json
import shlex
import struct
from typing import Any, Final

LENGTH: Final = struct.Struct(">I")

#: Bytes of the longest answer (Gunicorn's contract).
ANSWER_LIMIT: Final = 16 * 1024 * 1024

#: Bytes of the longest request: far more than any command needs, and little enough to be kept for
#: every client.
REQUEST_LIMIT: Final = 64 * 1024


#: What a client may call its request.
Id = str | int | float | None


class ProtocolError(Exception):
    """The other side does not speak this protocol."""


class OversizedError(ProtocolError):
    """A message is longer than may be; what follows on the connection cannot be understood."""


class Decoder:
    """Cuts a stream into messages of at most `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Add what has come."""
        self._buffer += data

    def take(self) -> bytes | None:
        """The next whole message; None while there is none. Raises OversizedError."""
        if len(self._buffer) < LENGTH.size:
            return None
        (length,) = LENGTH.unpack_from(self._buffer)
        if length > self._limit:
            raise OversizedError(f"a message of {length} bytes: at most {self._limit} are taken")
        end = LENGTH.size + length
        if len(self._buffer) < end:
            return None
        message = bytes(self._buffer[LENGTH.size : end])
        del self._buffer[:end]
        return message


def encode(message: Any) -> bytes:
    """A message with its length. Raises OversizedError beyond `ANSWER_LIMIT`."""
    payload = json.dumps(message).encode()
    if len(payload) > ANSWER_LIMIT:
        raise OversizedError(f"a message of {len(payload)} bytes")
    return LENGTH.pack(len(payload)) + payload


def decode(payload: bytes) -> dict[str, Any]:
    """A message. Raises ProtocolError when it is no JSON object."""
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError):
        raise ProtocolError("the message is not JSON") from None
    if not isinstance(message, dict):
        raise ProtocolError("the message is no JSON object")
    return message


def id_of(message: dict[str, Any]) -> Id:
    """The client's own number or name of a request, which comes back with the answer. Raises
    ProtocolError."""
    request_id = message.get("id")
    if request_id is not None and not isinstance(request_id, str | int | float):
        raise ProtocolError("`id` must be a number or text")
    return request_id


def words_of(message: dict[str, Any]) -> list[str]:
    """The words of a request's command. Raises ProtocolError."""
    command, arguments = message.get("command", ""), message.get("args") or []
    if not isinstance(command, str) or not isinstance(arguments, list):
        raise ProtocolError("`command` must be text and `args` a list")
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ProtocolError(f"the command cannot be split into words: {error}") from None
    return words + [str(each) for each in arguments]


def answer(request_id: Id, data: Any) -> bytes:
    """The answer to a request that was understood."""
    return encode({"id": request_id, "status": "ok", "data": data})


def refusal(request_id: Id, reason: str) -> bytes:
    """The answer to one that was not, or that cannot be followed."""
    return encode({"id": request_id, "status": "error", "error": reason})
