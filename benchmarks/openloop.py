"""The open-loop load: requests leave when they are due, whatever became of those before.

Arrivals are random (exponential gaps, from a fixed seed), as visitors are. A latency counts from
the moment when the request was due, so a server that stalls cannot hide it by making its client
wait. Each request takes an idle connection, or a new one when none is idle.
"""

import gc
import random
import selectors
import socket
import time
from dataclasses import dataclass, field

import client

#: For the last millisecond before a request is due the client looks without sleeping: epoll
#: counts in milliseconds.
SPIN = 0.001
#: Seconds after the last request was sent until the missing answers count as lost.
PATIENCE = 10.0


@dataclass
class Tail:
    """Latencies in seconds, sorted; the slow requests apart. `failed` were not answered 200."""

    rate: float
    fast: list[float] = field(default_factory=list)
    slow: list[float] = field(default_factory=list)
    failed: int = 0

    def quantile(self, share: float) -> float:
        """That share of the fast requests was answered within so many seconds."""
        if not self.fast:
            raise ValueError("no fast request was answered")
        return self.fast[min(len(self.fast) - 1, int(share * len(self.fast)))]


@dataclass
class Exchange:
    """A request on its way."""

    due: float
    slow: bool
    received: bytes = b""


def schedule(rate: float, seconds: float, slow_share: float, seed: int) -> list[tuple[float, bool]]:
    """When requests are due, in seconds from the start, and which are slow."""
    source = random.Random(seed)
    arrivals = []
    moment = source.expovariate(rate)
    while moment < seconds:
        arrivals.append((moment, source.random() < slow_share))
        moment += source.expovariate(rate)
    return arrivals


def apply(
    port: int, rate: float, seconds: float, *, slow_share: float = 0.0, seed: int = 1
) -> Tail:
    """Send requests for / and, in that share, for /slow."""
    arrivals = schedule(rate, seconds, slow_share, seed)
    tail = Tail(rate)
    idle: list[socket.socket] = []
    poller = selectors.DefaultSelector()
    gc.disable()
    try:
        start = time.monotonic()
        last = start + (arrivals[-1][0] if arrivals else 0.0) + PATIENCE
        position = 0
        while position < len(arrivals) or poller.get_map():
            now = time.monotonic()
            while position < len(arrivals) and start + arrivals[position][0] <= now:
                due, slow = arrivals[position]
                position += 1
                send(poller, idle, port, Exchange(start + due, slow), tail)
            if position < len(arrivals):
                wait = max(0.0, start + arrivals[position][0] - time.monotonic() - SPIN)
            elif time.monotonic() > last:
                tail.failed += len(poller.get_map())
                break
            else:
                wait = 0.1
            for key, _ in poller.select(wait):
                assert isinstance(key.fileobj, socket.socket)
                receive(poller, idle, key.fileobj, key.data, tail)
    finally:
        gc.enable()
        for key in list(poller.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        poller.close()
        for connection in idle:
            connection.close()
    tail.fast.sort()
    tail.slow.sort()
    return tail


def send(
    poller: selectors.BaseSelector,
    idle: list[socket.socket],
    port: int,
    exchange: Exchange,
    tail: Tail,
) -> None:
    """Send a request by an idle connection, or by a new one when none is idle."""
    payload = client.request("/slow" if exchange.slow else "/")
    try:
        if idle:
            connection = idle.pop()
        else:
            connection = client.connect(port)
            connection.setblocking(False)
        connection.send(payload)
    except OSError:
        tail.failed += 1
        return
    poller.register(connection, selectors.EVENT_READ, exchange)


def receive(
    poller: selectors.BaseSelector,
    idle: list[socket.socket],
    connection: socket.socket,
    exchange: Exchange,
    tail: Tail,
) -> None:
    """Read what has come of an answer, and note it when it is whole."""
    try:
        piece = connection.recv(65_536)
        exchange.received += piece
        answer = client.split_answer(exchange.received) if piece else (0, b"", b"")
    except (OSError, client.BadAnswer):
        answer = (0, b"", b"")
    if answer is None:
        return
    poller.unregister(connection)
    if answer[0] != 200:
        tail.failed += 1
        connection.close()
        return
    (tail.slow if exchange.slow else tail.fast).append(time.monotonic() - exchange.due)
    idle.append(connection)
