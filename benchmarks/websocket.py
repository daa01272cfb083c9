"""A small WebSocket client on blocking sockets, and frames made and read (RFC 6455, RFC 7692)."""

import base64
import os
import re
import socket
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import client

TEXT, CLOSE = 1, 8
CONTROL = 8
FINISHED, COMPRESSED, MASKED = 0x80, 0x40, 0x80

#: What follows every compressed message, and is left out on the wire.
TAIL = b"\x00\x00\xff\xff"

#: What Chrome offers.
OFFER = "permessage-deflate; client_max_window_bits"
WIDEST = 15


class BadFrame(client.BadAnswer):
    """What came back is not what was sent, or no WebSocket at all."""


class Refused(BadFrame):
    """The server does not agree to permessage-deflate."""


@dataclass(frozen=True)
class Frame:
    """A frame as it was received."""

    opcode: int
    finished: bool
    compressed: bool
    payload: bytes


def upgrade(*, deflate: bool = False) -> bytes:
    """The request that opens a WebSocket."""
    lines = ["GET / HTTP/1.1", "Host: 127.0.0.1", "Connection: Upgrade", "Upgrade: websocket"]
    key = base64.b64encode(os.urandom(16)).decode()
    lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}"]
    if deflate:
        lines.append(f"Sec-WebSocket-Extensions: {OFFER}")
    return "\r\n".join([*lines, "", ""]).encode()


def connect(port: int, *, deflate: bool = False) -> tuple[socket.socket, int]:
    """A new WebSocket, and the window that the server lets a client compress with, as a power
    of two. Raises BadFrame when the server refuses it, Refused when it refuses to
    deflate."""
    connection = client.connect(port)
    connection.sendall(upgrade(deflate=deflate))
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            raise BadFrame(f"the connection was closed after {head!r}")
        head += byte
    if not head.startswith(b"HTTP/1.1 101 "):
        raise BadFrame(f"the answer was {head.splitlines()[0]!r} instead of 101")
    if deflate and b"permessage-deflate" not in head:
        raise Refused("permessage-deflate was refused")
    window = re.search(rb"client_max_window_bits=(\d+)", head)
    return connection, int(window[1]) if window else WIDEST


def frame(payload: bytes, *, compressed: bool = False) -> bytes:
    """A masked frame with a whole message of text."""
    first = FINISHED | TEXT | (COMPRESSED if compressed else 0)
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first, MASKED | size)
    elif size < 65_536:
        head = struct.pack("!BBH", first, MASKED | 126, size)
    else:
        head = struct.pack("!BBQ", first, MASKED | 127, size)
    mask = os.urandom(4)
    stream = (mask * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")
    return head + mask + masked.to_bytes(size, "big")


def compress(payload: bytes, window: int) -> bytes:
    """A message compressed by itself, so that it may be sent again and again. Raw zlib has no
    window of 8 bits, and one of 9 may be read with 8 as long as it stays small; no server asks
    for it here."""
    deflate = zlib.compressobj(wbits=-max(9, window))
    whole = deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return whole.removesuffix(TAIL)


def frames(stream: bytes) -> Iterator[Frame]:
    """The whole frames that a stream from a server begins with."""
    at = 0
    while len(stream) >= at + 2:
        first, size = stream[at], stream[at + 1]
        at += 2
        for mark, form in ((126, "!H"), (127, "!Q")):
            if size == mark:
                if len(stream) < at + struct.calcsize(form):
                    return
                (size,) = struct.unpack_from(form, stream, at)
                at += struct.calcsize(form)
                break
        if len(stream) < at + size:
            return
        yield Frame(
            first & 0x0F,
            bool(first & FINISHED),
            bool(first & COMPRESSED),
            stream[at : at + size],
        )
        at += size


def messages(stream: bytes) -> Iterator[tuple[bytes, bool]]:
    """The whole messages that a stream from a server begins with, decompressed, and whether each
    came compressed. Raises BadFrame for one that cannot be decompressed."""
    inflate = zlib.decompressobj(wbits=-WIDEST)
    parts: list[Frame] = []
    for one in frames(stream):
        if one.opcode >= CONTROL:
            continue
        parts.append(one)
        if not one.finished:
            continue
        message = b"".join(part.payload for part in parts)
        compressed = parts[0].compressed
        parts = []
        if compressed:
            try:
                message = inflate.decompress(message + TAIL)
            except zlib.error as error:
                raise BadFrame(f"an answer cannot be decompressed: {error}") from error
        yield message, compressed


def exchange(connection: socket.socket, sent: bytes, payload: bytes | None) -> None:
    """Send a frame and read the message that comes back; `payload` is what it has to be, None
    where its compression depends on what came before. Raises BadFrame or OSError."""
    connection.sendall(sent)
    received = b""
    while True:
        piece = connection.recv(262_144)
        if not piece:
            raise BadFrame(f"the connection was closed after {len(received)} bytes")
        received += piece
        parts = [one for one in frames(received) if one.opcode < CONTROL]
        if any(one.opcode == CLOSE for one in frames(received)):
            raise BadFrame("the server closed the WebSocket")
        if parts and parts[-1].finished:
            if payload is not None and b"".join(one.payload for one in parts) != payload:
                raise BadFrame("an answer is not what was sent")
            return
