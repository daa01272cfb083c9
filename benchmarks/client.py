"""A small HTTP/1.1 client on blocking sockets, for probes and for connections that stay open."""

import socket
import ssl

#: Seconds that any answer may take before a probe gives up.
PATIENCE = 10.0


class BadAnswer(Exception):
    """The answer was none, was cut short, or was not 200."""


def request(path: str = "/", *, close: bool = False) -> bytes:
    """A request of few bytes."""
    connection = "close" if close else "keep-alive"
    return (f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: {connection}\r\n\r\n").encode()


def split_answer(received: bytes) -> tuple[int, bytes, bytes] | None:
    """Status, body and what follows the answer; None while it is incomplete.

    Raises BadAnswer for an answer without Content-Length: the apps of this benchmark all have
    one.
    """
    head, found, rest = received.partition(b"\r\n\r\n")
    if not found:
        return None
    status = int(head.split(b" ", 2)[1])
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
            return (status, rest[:length], rest[length:]) if len(rest) >= length else None
    raise BadAnswer(f"no Content-Length in {head!r}")


def read_answer(connection: socket.socket) -> bytes:
    """The body of a 200. Raises BadAnswer, or OSError when the connection fails."""
    received = b""
    while True:
        piece = connection.recv(65_536)
        if not piece:
            raise BadAnswer(f"the connection was closed after {len(received)} bytes")
        received += piece
        answer = split_answer(received)
        if answer is not None:
            status, body, _ = answer
            if status != 200:
                raise BadAnswer(f"the answer was {status}")
            return body


def connect(port: int, *, secure: bool = False) -> socket.socket:
    """A new connection; `secure`: by TLS, with whoever answers."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if secure:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context.wrap_socket(connection)
    return connection


def fetch(port: int, path: str = "/", *, secure: bool = False) -> bytes:
    """The body of a 200, over a connection of its own. Raises BadAnswer or OSError."""
    with connect(port, secure=secure) as connection:
        connection.sendall(request(path, close=True))
        return read_answer(connection)


def warm(port: int, payload: bytes, times: int, *, secure: bool = False) -> None:
    """Send the same request again and again, over one connection while the server keeps it."""
    connection = connect(port, secure=secure)
    try:
        for _ in range(times):
            try:
                connection.sendall(payload)
                read_answer(connection)
            except (BadAnswer, OSError):
                # Closed after an answer, as servers without keep-alive do: once more on a new
                # connection, and this time it has to work.
                connection.close()
                connection = connect(port, secure=secure)
                connection.sendall(payload)
                read_answer(connection)
    finally:
        connection.close()
