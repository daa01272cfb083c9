"""A raw HTTP/1.1 client that shows what is on the wire.

It reads answers strictly: a message that ends before its framing says so is `Truncated`, bytes
that cannot be framed are `Malformed`. It never retries.
"""

import contextlib
import random
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

#: (host, port) or the path of a unix socket.
Address = tuple[str, int] | str

READ_SIZE = 65_536


class SecureAddress(tuple[str, int]):
    """(host, port) of a server that speaks TLS; whoever connects to it does so by `context`."""

    context: ssl.SSLContext
    #: The name that the client asks for.
    name: str | None

    @classmethod
    def of(cls, address: tuple[str, int], context: ssl.SSLContext, name: str | None) -> Self:
        made = cls(address)
        made.context, made.name = context, name
        return made

    def wrap(self, sock: socket.socket) -> ssl.SSLSocket:
        """The socket after its handshake."""
        return self.context.wrap_socket(sock, server_hostname=self.name)


class Closed(Exception):
    """The server closed (or reset) the connection before the first byte of an answer."""


class Truncated(Exception):
    """The connection ended inside an answer."""

    def __init__(self, text: str, received: bytes) -> None:
        super().__init__(text)
        self.received = received


class Malformed(Exception):
    """What was received is no HTTP/1.1 message."""


@dataclass
class Response:
    """An answer, with its interim (1xx) answers."""

    version: str
    status: int
    reason: str
    fields: list[tuple[str, str]]
    body: bytes = b""
    framing: str = "none"
    trailers: list[tuple[str, str]] = field(default_factory=list)
    interim: list["Response"] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        """The values of every field of that name."""
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """The value of a field that must not be repeated; None when it is absent."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} is repeated: {values}"
        return values[0] if values else None

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def closes(self) -> bool:
        """Whether the server says that it closes the connection after this answer."""
        tokens = [token.strip().lower() for v in self.all("Connection") for token in v.split(",")]
        if self.version == "HTTP/1.0":
            return "keep-alive" not in tokens
        return "close" in tokens or self.framing == "close"


def connect(address: Address, timeout: float = 10.0, receive_buffer: int = 0) -> socket.socket:
    """A connected socket; `timeout` in seconds bounds every later operation too."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    if not isinstance(address, str) and ":" in address[0]:
        family = socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(timeout)
        sock.connect(address)
        if isinstance(address, SecureAddress):
            return address.wrap(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def format_request(
    method: str = "GET",
    target: str = "/",
    fields: Iterable[tuple[str, str]] = (),
    body: bytes | None = None,
    version: str = "HTTP/1.1",
    host: str | None = "test.example",
) -> bytes:
    """The bytes of a request; Content-Length is added when there is a body."""
    lines = [f"{method} {target} {version}"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines.extend(f"{name}: {value}" for name, value in fields)
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def chunked(pieces: Iterable[bytes], trailers: str = "") -> bytes:
    """A chunked body."""
    coded = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece)
    return coded + b"0\r\n" + trailers.encode("latin-1") + b"\r\n"


class Connection:
    """One connection to a server."""

    def __init__(self, address: Address, timeout: float = 10.0, receive_buffer: int = 0) -> None:
        self.sock = connect(address, timeout, receive_buffer)
        self.buffer = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Close with a reset instead of an orderly end."""
        self.sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0"
        )  # struct linger: on, 0 seconds
        self.sock.close()

    # Sending.

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def send_bytewise(self, data: bytes) -> None:
        """Every byte in a segment of its own (TCP_NODELAY is on)."""
        for index in range(len(data)):
            self.sock.sendall(data[index : index + 1])

    def send_split(self, data: bytes, seed: int) -> None:
        """In a few pieces, cut at random; the seed makes a failure repeatable."""
        dice = random.Random(seed)
        cuts = sorted(dice.sample(range(len(data) + 1), k=min(len(data), dice.randint(1, 8))))
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            self.sock.sendall(data[start:end])

    def finish_sending(self) -> None:
        """Half-close: no more from our side."""
        self.sock.shutdown(socket.SHUT_WR)

    def request(
        self,
        method: str = "GET",
        target: str = "/",
        fields: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
        version: str = "HTTP/1.1",
        host: str | None = "test.example",
    ) -> Response:
        """Send a request and read its answer."""
        self.send(format_request(method, target, fields, body, version, host))
        return self.read_response(method)

    # Receiving.

    def receive(self) -> bool:
        """Take what has arrived; False at the end of the stream. A reset counts as the end."""
        try:
            data = self.sock.recv(READ_SIZE)
        except ConnectionResetError:
            return False
        self.buffer += data
        return bool(data)

    def _fill(self, size: int) -> None:
        while len(self.buffer) < size:
            if not self.receive():
                raise Truncated(f"wanted {size} bytes, got {len(self.buffer)}", bytes(self.buffer))

    def read_exactly(self, size: int) -> bytes:
        """That many bytes; Truncated when the stream ends before."""
        self._fill(size)
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    def _line(self) -> bytes:
        while (end := self.buffer.find(b"\n")) < 0:
            if not self.receive():
                raise Truncated("the stream ended inside a line", bytes(self.buffer))
        line = self.read_exactly(end + 1)
        if not line.endswith(b"\r\n"):
            raise Malformed(f"bare LF after {line!r}")
        return line[:-2]

    def _fields(self) -> list[tuple[str, str]]:
        fields = []
        while line := self._line():
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon or not name or name != name.strip():
                raise Malformed(f"bad field line {line!r}")
            fields.append((name, value.strip(" \t")))
        return fields

    def read_until(self, mark: bytes) -> bytes:
        """What arrives up to and including `mark`."""
        while (at := self.buffer.find(mark)) < 0:
            if not self.receive():
                raise Truncated(f"the stream ended before {mark!r}", bytes(self.buffer))
        return self.read_exactly(at + len(mark))

    def read_to_close(self) -> bytes:
        """Everything until the server closes."""
        while self.receive():
            pass
        data = bytes(self.buffer)
        self.buffer.clear()
        return data

    def read_response(self, method: str = "GET") -> Response:
        """The next final answer to a request of that method.

        Raises Closed, Truncated, Malformed, or TimeoutError when nothing comes.
        """
        interim: list[Response] = []
        while True:
            if not self.buffer and not self.receive():
                raise Closed("closed before the first byte of an answer")
            response = self._read_head()
            if response.status >= 200 or response.status == 101:
                break
            interim.append(response)
        response.interim = interim
        self._read_body(response, method)
        return response

    def _read_head(self) -> Response:
        line = self._line().decode("latin-1")
        version, _, rest = line.partition(" ")
        status, _, reason = rest.partition(" ")
        if version not in ("HTTP/1.0", "HTTP/1.1") or len(status) != 3 or not status.isdigit():
            raise Malformed(f"bad status line {line!r}")
        return Response(version, int(status), reason, self._fields())

    def _read_body(self, response: Response, method: str) -> None:
        if method == "HEAD" or response.status in (101, 204, 304):
            return
        codings = response.all("Transfer-Encoding")
        length = response.get("Content-Length")
        if codings and length is not None:
            raise Malformed("both Transfer-Encoding and Content-Length")
        if codings:
            if codings != ["chunked"]:
                raise Malformed(f"unknown Transfer-Encoding {codings}")
            response.framing = "chunked"
            response.body = self._read_chunks(response)
        elif length is not None:
            if not length.isdigit():
                raise Malformed(f"bad Content-Length {length!r}")
            response.framing = "length"
            response.body = self.read_exactly(int(length))
        else:
            response.framing = "close"
            response.body = self.read_to_close()

    def _read_chunks(self, response: Response) -> bytes:
        body = bytearray()
        while True:
            size_line = self._line()
            try:
                size = int(size_line, 16)
            except ValueError:
                raise Malformed(f"bad chunk size {size_line!r}") from None
            if size == 0:
                response.trailers = self._fields()
                return bytes(body)
            body += self.read_exactly(size)
            if self.read_exactly(2) != b"\r\n":
                raise Malformed("no CRLF after a chunk")

    def wait_closed(self, timeout: float) -> float:
        """Wait for the server to close; returns how long that took, in seconds.

        Raises AssertionError when bytes arrive instead or the bound is reached.
        """
        started = time.monotonic()
        self.sock.settimeout(timeout)
        try:
            with contextlib.suppress(ConnectionResetError):
                data = self.sock.recv(READ_SIZE)
                assert not data, f"bytes instead of the end: {data[:200]!r}"
        except TimeoutError:
            raise AssertionError(f"still open after {timeout:g} s") from None
        return time.monotonic() - started

    def is_open(self) -> bool:
        """Whether the server has neither sent anything nor closed."""
        self.sock.setblocking(False)
        try:
            return self.sock.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        finally:
            self.sock.settimeout(10.0)


def get(address: Address, target: str = "/", timeout: float = 10.0) -> Response:
    """One GET on a connection of its own."""
    return exchange(address, "GET", target, timeout=timeout)


def exchange(
    address: Address,
    method: str,
    target: str,
    fields: Sequence[tuple[str, str]] = (),
    body: bytes | None = None,
    timeout: float = 10.0,
) -> Response:
    """One request on a connection of its own, closed after it."""
    with Connection(address, timeout) as connection:
        return connection.request(method, target, [*fields, ("Connection", "close")], body)


def answered(address: Address, target: str = "/", timeout: float = 1.0) -> bool:
    """Whether a GET gets a 200 now."""
    try:
        return get(address, target, timeout).status == 200
    except (OSError, Closed, Truncated):
        return False


#: The three ways in which every case is put on the wire.
Delivery = Callable[[Connection, bytes], None]
DELIVERIES: dict[str, Delivery] = {
    "whole": Connection.send,
    "bytewise": Connection.send_bytewise,
    "split-1": lambda connection, data: connection.send_split(data, 1),
    "split-2": lambda connection, data: connection.send_split(data, 2),
    "split-3": lambda connection, data: connection.send_split(data, 3),
}
