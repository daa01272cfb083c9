"""A connection to the control socket, for programs and for the command."""

import itertools
import math
import os
import socket
import struct
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from monoceros.control.frames import (
    ANSWER_LIMIT,
    REQUEST_LIMIT,
    Decoder,
    ProtocolError,
    decode,
    encode,
)
from monoceros.control.place import kernel_name

#: Seconds in which the server has to say something (Gunicorn's contract).
PATIENCE: Final = 30.0

#: Bytes read at a time.
BLOCK: Final = 64 * 1024


class ControlClientError(Exception):
    """Nobody answers, or the answer is a refusal; a sentence for the operator.

    `lost`: the connection is of no use any more.
    """

    def __init__(self, text: str, *, lost: bool = True) -> None:
        super().__init__(text)
        self.lost = lost


class ControlClient:
    """A connection; usable in a with statement, which connects and hangs up.

    socket_path: of the control socket. timeout: seconds that the server may be silent.
    """

    def __init__(self, socket_path: str, timeout: float = PATIENCE) -> None:
        self.socket_path = socket_path
        self.timeout = timeout
        self._socket: socket.socket | None = None
        self._decoder = Decoder(ANSWER_LIMIT)
        self._ids = itertools.count(1)

    def connect(self) -> None:
        """Connect. Raises ControlClientError."""
        self.close()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # A server that is busy for a moment may have a full queue: the kernel waits for room in it
        # (man 7 unix), which a time-out of the socket object would not let it.
        seconds = struct.pack("ll", math.ceil(self.timeout), 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, seconds)
        try:
            with kernel_name(self.socket_path) as name:
                sock.connect(name)
        except OSError as error:
            sock.close()
            raise ControlClientError(_why_not(self.socket_path, error)) from error
        sock.settimeout(self.timeout)
        self._socket = sock
        self._decoder = Decoder(ANSWER_LIMIT)

    def close(self) -> None:
        """Hang up. May be called more than once."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def send_command(self, command: str, args: list[str] | None = None) -> dict[str, Any]:
        """The data that a command is answered with; connects where that is missing.

        Raises ControlClientError.
        """
        if self._socket is None:
            self.connect()
        number = next(self._ids)
        request = encode({"id": number, "command": command, "args": args or []})
        if len(request) > REQUEST_LIMIT:
            raise ControlClientError("The command is too long", lost=False)
        message = self._exchange(request)
        if message.get("status") == "ok":
            data = message.get("data")
            return data if isinstance(data, dict) else {}
        raise ControlClientError(str(message.get("error", "Unknown error")), lost=False)

    def _exchange(self, request: bytes) -> dict[str, Any]:
        sock = self._socket
        assert sock is not None
        try:
            sock.sendall(request)
            while (payload := self._decoder.take()) is None:
                data = sock.recv(BLOCK)
                if not data:
                    raise ControlClientError("The server has closed the connection")
                self._decoder.feed(data)
            return decode(payload)
        except TimeoutError:
            raise ControlClientError(
                f"The server has not answered for {self.timeout:g} s"
            ) from None
        except OSError as error:
            raise ControlClientError(
                f"The connection is lost: {error.strerror or error}"
            ) from error
        except ProtocolError as error:
            raise ControlClientError(f"The answer makes no sense: {error}") from error

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _why_not(path: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        where = "" if Path(path).parent.is_dir() else f", and no folder {os.path.dirname(path)}"  # noqa: PTH120
        return (
            f"There is no control socket {path}{where}: the server's log says where it has it "
            "(`Control socket listening at`); name it with -s"
        )
    if isinstance(error, ConnectionRefusedError):
        return f"Nobody listens at {path}: its server has ended without removing it"
    if isinstance(error, PermissionError):
        return f"No permission to use {path}: be the user that the server's master runs as"
    return f"Cannot connect to {path}: {error.strerror or error}"
