"""Load from threads with raw sockets, to see whether a request is lost.

Both kinds of client: a connection per request, and keep-alive. A keep-alive client reuses its
connection until the server says `Connection: close`; a connection that ends without that word
while it is reused is a lost request. Nothing is retried.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from support.client import Address, Closed, Connection, Malformed, Response, Truncated
from support.waiting import wait_for


@dataclass
class Outcome:
    """One request: when it began (monotonic seconds), how long it took, what went wrong ("")."""

    started: float
    seconds: float
    fault: str
    body: bytes


def _is_ok(response: Response) -> bool:
    return response.status == 200


#: Fewer requests than these say nothing about what happened meanwhile.
MEANINGFUL = 20


class Load:
    """`clients` threads that send GETs until the context ends.

    `pause` seconds lie between two requests of a client, so that the load leaves the machine some
    room; `timeout` bounds a request.
    """

    def __init__(
        self,
        address: Address,
        *,
        clients: int = 4,
        keep_alive: bool = True,
        target: str = "/",
        pause: float = 0.005,
        timeout: float = 10.0,
        accept: Callable[[Response], bool] = _is_ok,
    ) -> None:
        self._address = address
        self._keep_alive = keep_alive
        self._target = target
        self._pause = pause
        self._timeout = timeout
        self._accept = accept
        self._stop = threading.Event()
        self._outcomes: list[list[Outcome]] = [[] for _ in range(clients)]
        self._threads = [
            threading.Thread(target=self._client, args=(mine,), daemon=True)
            for mine in self._outcomes
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        if kind is None:
            # On a busy machine what a test does may be over before there was any load.
            enough = f"{MEANINGFUL} requests to be made"
            wait_for(lambda: len(self.outcomes) >= MEANINGFUL, 20.0, enough)
        self.stop()

    def stop(self) -> None:
        """Let every client finish the request that it is at."""
        self._stop.set()
        for thread in self._threads:
            thread.join(self._timeout + 5.0)
            assert not thread.is_alive(), "a load client hangs"

    def _client(self, mine: list[Outcome]) -> None:
        connection: Connection | None = None
        try:
            while not self._stop.is_set():
                started = time.monotonic()
                fault, body = "", b""
                reused = connection is not None
                try:
                    if connection is None:
                        connection = Connection(self._address, self._timeout)
                    fields = [] if self._keep_alive else [("Connection", "close")]
                    response = connection.request("GET", self._target, fields)
                    body = response.body
                    if not self._accept(response):
                        fault = f"status {response.status} {response.body[:80]!r}"
                    if response.closes or not self._keep_alive:
                        connection.close()
                        connection = None
                except (OSError, Closed, Truncated, Malformed) as error:
                    kind = "reused" if reused else "new"
                    fault = f"{type(error).__name__} on a {kind} connection: {error}"
                    if connection is not None:
                        connection.close()
                        connection = None
                mine.append(Outcome(started, time.monotonic() - started, fault, body))
                self._stop.wait(self._pause)
        finally:
            if connection is not None:
                connection.close()

    @property
    def outcomes(self) -> list[Outcome]:
        """All outcomes so far, in the order in which the requests began."""
        return sorted((o for mine in self._outcomes for o in list(mine)), key=lambda o: o.started)

    @property
    def answered(self) -> int:
        return sum(not outcome.fault for outcome in self.outcomes)

    @property
    def faults(self) -> list[str]:
        return [outcome.fault for outcome in self.outcomes if outcome.fault]

    def bodies(self) -> set[bytes]:
        """The distinct bodies of good answers."""
        return {outcome.body for outcome in self.outcomes if not outcome.fault}

    def latency(self, share: float) -> float:
        """The latency in seconds that `share` (0..1) of all requests stayed below."""
        values = sorted(outcome.seconds for outcome in self.outcomes)
        assert values, "no request was made"
        return values[min(len(values) - 1, int(len(values) * share))]

    def assert_no_loss(self, at_least: int = 1) -> None:
        """Every request was answered well, and there were enough of them to mean something."""
        faults = self.faults
        assert not faults, f"{len(faults)} of {len(self.outcomes)} lost, first: {faults[:5]}"
        assert self.answered >= at_least, f"only {self.answered} requests were made"
