"""WebSocket frames as bytes, for what a well-behaved client never sends."""

import base64
import os
import struct
from dataclasses import dataclass
from typing import Self

from support.client import Address, Connection, Response, format_request

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

FIN, RSV1 = 0x80, 0x40

#: The fields of a handshake, and the nonce that RFC 6455 has as its example with its answer.
NONCE = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": NONCE,
    "Sec-WebSocket-Version": "13",
}


@dataclass(frozen=True)
class Frame:
    """One frame of the server's."""

    opcode: int
    payload: bytes
    final: bool = True
    rsv1: bool = False

    @property
    def code(self) -> int | None:
        """Of a close frame; None when it has none."""
        assert self.opcode == CLOSE, self
        return struct.unpack("!H", self.payload[:2])[0] if self.payload else None

    @property
    def reason(self) -> str:
        return self.payload[2:].decode()


def frame(opcode: int, payload: bytes = b"", *, first: int = FIN, masked: bool = True) -> bytes:
    """The bytes of a client's frame; `first` has the bits beside the opcode."""
    bit = 0x80 if masked else 0
    if len(payload) < 126:
        head = bytes([first | opcode, bit | len(payload)])
    elif len(payload) < 65_536:
        head = bytes([first | opcode, bit | 126]) + struct.pack("!H", len(payload))
    else:
        head = bytes([first | opcode, bit | 127]) + struct.pack("!Q", len(payload))
    if not masked:
        return head + payload
    mask = os.urandom(4)
    repeated = mask * (len(payload) // 4 + 1)
    number = int.from_bytes(payload, "big") ^ int.from_bytes(repeated[: len(payload)], "big")
    return head + mask + number.to_bytes(len(payload), "big")


def close(code: int, reason: bytes = b"") -> bytes:
    """A client's close frame."""
    return frame(CLOSE, struct.pack("!H", code) + reason)


def handshake(target: str, **changed: str | None) -> bytes:
    """A handshake; `changed` replaces fields (with _ for -), None leaves one out."""
    named = {name.replace("_", "-"): value for name, value in changed.items()}
    fields = {**HANDSHAKE, **named}
    return format_request(
        target=target, fields=[(name, value) for name, value in fields.items() if value is not None]
    )


class RawSocket(Connection):
    """A WebSocket that sends what it is told to."""

    @classmethod
    def open(cls, address: Address, target: str, timeout: float = 20.0, **changed: str) -> Self:
        """After its handshake."""
        made = cls(address, timeout)
        try:
            made.send(handshake(target, **changed))
            made.response = made.read_response()
            assert made.response.status == 101, made.response
        except BaseException:
            made.close()
            raise
        return made

    response: Response

    def read_frame(self) -> Frame:
        first, second = self.read_exactly(2)
        assert not second & 0x80, "a server's frame is not masked"
        length = second & 0x7F
        if length == 126:
            [length] = struct.unpack("!H", self.read_exactly(2))
            assert length > 125, "a length in more bytes than it needs"
        elif length == 127:
            [length] = struct.unpack("!Q", self.read_exactly(8))
            assert length > 65_535, "a length in more bytes than it needs"
        return Frame(first & 0xF, self.read_exactly(length), bool(first & FIN), bool(first & RSV1))

    def read_close(self) -> Frame:
        """The server's close frame; the messages before it are dropped. The connection ends then,
        without a reset."""
        while (found := self.read_frame()).opcode != CLOSE:
            assert found.opcode in (CONTINUATION, TEXT, BINARY), found
        return found


def random_key() -> str:
    return base64.b64encode(os.urandom(16)).decode()
