"""What all kinds of clients do at the same time, for as long as a test wants.

Each kind is a function that plays one scene on connections of its own and raises AssertionError
when an answer is not what it has to be. Nothing is retried.
"""

import contextlib
import hashlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Self

from support.client import Address, Connection, chunked, format_request
from support.frames import BINARY, RawSocket, close, frame

Scene = Callable[[Address, random.Random], None]

SCENES: dict[str, Scene] = {}

#: Seconds that an answer may take.
BOUND = 20.0


def scene(function: Scene) -> Scene:
    SCENES[function.__name__] = function
    return function


@scene
def kept(address: Address, dice: random.Random) -> None:
    with Connection(address, BOUND) as connection:
        for _ in range(dice.randint(1, 50)):
            assert connection.request().body == b"hello, world\n"


@scene
def new_connections(address: Address, dice: random.Random) -> None:
    for _ in range(5):
        with Connection(address, BOUND) as connection:
            response = connection.request("GET", "/", [("Connection", "close")])
            assert response.status == 200 and response.closes


@scene
def posts(address: Address, dice: random.Random) -> None:
    with Connection(address, BOUND) as connection:
        for _ in range(5):
            body = dice.randbytes(dice.randint(0, 20_000))
            assert connection.request("POST", "/echo", body=body).body == body


@scene
def spooled_uploads(address: Address, dice: random.Random) -> None:
    body = dice.randbytes(1_000_000)
    expected = f"{len(body)} {hashlib.sha256(body).hexdigest()}"
    with Connection(address, BOUND) as connection:
        assert connection.request("POST", "/digest", body=body).text == expected
        head = format_request("POST", "/digest", [("Transfer-Encoding", "chunked")])
        pieces = [body[at : at + 70_000] for at in range(0, len(body), 70_000)]
        connection.send(head + chunked(pieces))
        assert connection.read_response().text == expected


@scene
def slow_heads(address: Address, dice: random.Random) -> None:
    with Connection(address, BOUND) as connection:
        for byte in format_request():
            connection.send(bytes([byte]))
            time.sleep(0.02)  # a slow client is what this is
        assert connection.read_response().status == 200


@scene
def slow_readers(address: Address, dice: random.Random) -> None:
    target, size = dice.choice(
        [("/large?bytes=3000000", 3_000_000), ("/stream?pieces=40", 40 * 65_536)]
    )
    with Connection(address, BOUND, receive_buffer=4096) as connection:
        connection.send(format_request(target=target))
        time.sleep(0.5)  # a slow client is what this is
        assert len(connection.read_response().body) == size


@scene
def disconnects(address: Address, dice: random.Random) -> None:
    """Clients that leave: in a head, in a body, before the answer, in the answer."""
    upload = format_request("POST", "/echo", [("Content-Length", "500000")])
    for is_whole, data in (
        (False, format_request()[: dice.randint(1, 30)]),
        (False, upload + b"x" * dice.randint(0, 400_000)),
        (True, format_request(target="/large?bytes=3000000")),
        (True, format_request(target="/stream?pieces=40")),
        (True, format_request(target="/sleep?seconds=0.01")),
    ):
        connection = Connection(address, BOUND)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.send(data)
            if is_whole and dice.random() < 0.5:
                connection.receive()
        if dice.random() < 0.5:
            connection.reset()
        else:
            connection.close()


@scene
def pipelines(address: Address, dice: random.Random) -> None:
    with Connection(address, BOUND) as connection:
        count = dice.randint(2, 20)
        requests = [format_request("POST", "/echo", body=b"%d" % n) for n in range(count)]
        connection.send(b"".join(requests))
        for number in range(count):
            assert connection.read_response().body == b"%d" % number


@scene
def heads(address: Address, dice: random.Random) -> None:
    with Connection(address, BOUND) as connection:
        for target in ("/", "/large?bytes=100000", "/stream?pieces=3"):
            assert connection.request("HEAD", target).body == b""


@scene
def errors(address: Address, dice: random.Random) -> None:
    with Connection(address, BOUND) as connection:
        assert connection.request("GET", "/nowhere").status == 404
        assert connection.request("POST", "/nowhere", body=b"x" * 300_000).status == 404


@scene
def generators(address: Address, dice: random.Random) -> None:
    with Connection(address, BOUND) as connection:
        assert len(connection.request("GET", "/stream?pieces=5").body) == 5 * 65_536
        ticks = connection.request("GET", "/ticks?count=3&pause=0.001").body
        assert ticks == b"tick 0\ntick 1\ntick 2\n"
        response = connection.request("GET", "/stream?pieces=2&size=10", version="HTTP/1.0")
        assert response.body == b"x" * 20 and response.framing == "close"


def sockets(address: Address, dice: random.Random) -> None:
    """WebSockets with messages of all sizes, deflated or not, that end well or not at all."""
    offer = {"Sec_WebSocket_Extensions": "permessage-deflate"} if dice.random() < 0.5 else {}
    with RawSocket.open(address, "/echo", BOUND, **offer) as socket:
        for _ in range(dice.randint(0, 10)):
            content = dice.randbytes(dice.choice((1, 100, 1000, 70_000)))
            socket.send(frame(BINARY, content))
            found = socket.read_frame()
            assert found.opcode == BINARY
            assert found.rsv1 or found.payload == content
        if dice.random() < 0.5:
            socket.send(close(1000))
            assert socket.read_close().code == 1000


#: The scenes of a server whose app speaks ASGI.
ASGI_SCENES: dict[str, Scene] = {**SCENES, "sockets": sockets}


class Mixed:
    """A thread for every kind of client, until the context ends."""

    def __init__(
        self, address: Address, pause: float = 0.01, scenes: Mapping[str, Scene] = SCENES
    ) -> None:
        self._address = address
        self._pause = pause
        self._stop = threading.Event()
        self.played: Counter[str] = Counter()
        self.faults: list[str] = []
        self._threads = [
            threading.Thread(target=self._play, args=(name, each), daemon=True)
            for name, each in scenes.items()
        ]

    def _play(self, name: str, each: Scene) -> None:
        dice = random.Random(name)
        while not self._stop.is_set():
            try:
                each(self._address, dice)
            except Exception as error:
                self.faults.append(f"{name}: {type(error).__name__}: {error}")
            self.played[name] += 1
            self._stop.wait(self._pause)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(BOUND * 2)
            assert not thread.is_alive(), "a client hangs"
