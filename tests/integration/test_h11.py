"""h11 reads what we answer: over ten thousand pairs of a request and an app's behaviour.

h11 is a client that knows the protocol and nothing of us. It must accept every answer, and what
it takes for a whole message must be what the app meant. What the app did not finish must never
look whole: h11 misses the end, or the connection is reset.
"""

import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h11
import pytest
from behaviour import content
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from support.client import connect
from support.server import Server
from support.serving import Serve

#: Seconds in which the server closes a connection that h11 will not use again.
CLOSING_BOUND = 5.0

#: Pairs for each connection-wise example, and how many examples make ten thousand of them.
PAIRS = 20
EXAMPLES = {1: 500, 2: 100}

STATUSES = ["200 OK", "201 Created", "204 No Content", "304 Not Modified", "404 Not Found"]
BODILESS = {204, 304}


@dataclass(frozen=True)
class Pair:
    """A request, and what the app is told to do."""

    method: str
    version: str
    connection: str | None
    body: int | None
    coded: bool
    status: str
    pieces: tuple[int, ...]
    how: str
    #: The app's Content-Length beside the body's real length; None: it gives none.
    length_off: int | None
    fail: int | None

    @property
    def size(self) -> int:
        return sum(self.pieces)

    @property
    def length(self) -> int | None:
        return None if self.length_off is None else max(0, self.size + self.length_off)

    @property
    def code(self) -> int:
        return int(self.status[:3])

    @property
    def has_body(self) -> bool:
        return self.method != "HEAD" and self.code not in BODILESS

    @property
    def meant(self) -> bytes:
        """The body that the app means, up to the length that it gives."""
        return b"".join(content(list(self.pieces)))[: self.length]

    @property
    def is_finished(self) -> bool:
        """The app does all that it has promised."""
        if self.length is not None and self.length > self.size:
            return False
        return self.fail is None

    @property
    def is_nearly_finished(self) -> bool:
        """It fails, or gives too little, where a client needs not notice."""
        if not self.has_body:
            return True
        given_before = sum(self.pieces[: self.fail])
        return self.length is not None and self.length <= min(given_before, self.size)

    def request(self) -> tuple[list[tuple[str, str]], bytes]:
        behaviour = {
            "status": self.status,
            "pieces": self.pieces,
            "how": self.how,
            "length": self.length,
            "fail": self.fail,
        }
        fields = [("Host", "h11.example"), ("X-Behaviour", json.dumps(behaviour))]
        if self.connection is not None:
            fields.append(("Connection", self.connection))
        body = b"r" * (self.body or 0)
        if self.body is not None:
            if self.coded and self.version == "1.1":
                fields.append(("Transfer-Encoding", "chunked"))
            else:
                fields.append(("Content-Length", str(len(body))))
        return fields, body


sizes = st.one_of(st.integers(0, 40), st.sampled_from([0, 1, 4095, 4096, 4097, 9000]))

pairs = st.builds(
    Pair,
    method=st.sampled_from(["GET", "GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE"]),
    version=st.sampled_from(["1.1", "1.1", "1.1", "1.0"]),
    connection=st.sampled_from([None, None, "keep-alive", "close"]),
    body=st.one_of(st.none(), st.sampled_from([0, 1, 100, 3000])),
    coded=st.booleans(),
    status=st.sampled_from([*STATUSES, "200 OK", "299 Own", "500 Internal Server Error"]),
    pieces=st.lists(sizes, max_size=5).map(tuple),
    how=st.sampled_from(["list", "tuple", "generator", "generator", "write", "file"]),
    length_off=st.sampled_from([None, None, 0, 0, 0, -1, -50, 1, 50]),
    fail=st.one_of(st.none(), st.none(), st.integers(0, 5)),
)


@dataclass
class Seen:
    """What h11 took an answer for."""

    status: int
    fields: dict[bytes, bytes]
    body: bytes
    whole: bool
    reusable: bool


class Client:
    """One client with h11, which keeps its connection as long as h11 says it may."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._sock: socket.socket | None = None
        self._h11 = h11.Connection(h11.CLIENT)
        self.connections = 0

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def exchange(self, pair: Pair) -> Seen:
        if self._sock is None:
            self._sock = connect(self._server.address)
            self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=100_000)
            self.connections += 1
        self._sock.sendall(self._message(pair))
        seen = self._read(self._sock)
        if seen.reusable:
            self._h11.start_next_cycle()
        else:
            # h11 knows no HTTP/1.0 connection that is kept.
            if seen.whole and seen.fields.get(b"connection") != b"keep-alive":
                assert not self._rest(self._sock, seen), "bytes behind the last message"
            self.close()
        return seen

    def _message(self, pair: Pair) -> bytes:
        fields, body = pair.request()
        # h11 only writes version 1.1; the state that it keeps is the same.
        request = h11.Request(method=pair.method, target="/", headers=fields)
        data = self._h11.send(request) or b""
        if body:
            data += self._h11.send(h11.Data(data=body)) or b""
        data += self._h11.send(h11.EndOfMessage()) or b""
        if pair.version == "1.0":
            data = data.replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1)
        return data

    def _read(self, sock: socket.socket) -> Seen:
        seen = Seen(0, {}, b"", False, False)
        while True:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                incomplete = "without sending complete message body" in str(error)
                assert incomplete and seen.status, f"h11 rejects the answer: {error}"
                return seen
            if event is h11.NEED_DATA:
                try:
                    self._h11.receive_data(sock.recv(65_536))
                except ConnectionResetError:
                    assert seen.status, "reset before there was an answer"
                    return seen
            elif isinstance(event, h11.Response):
                seen.status, seen.fields = event.status_code, dict(event.headers)
            elif isinstance(event, h11.Data):
                seen.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                seen.whole = True
                states = (self._h11.our_state, self._h11.their_state)
                seen.reusable = states == (h11.DONE, h11.DONE)
                return seen
            else:
                raise AssertionError(f"what is {event!r}?")

    def _rest(self, sock: socket.socket, seen: Seen) -> bytes:
        sock.settimeout(CLOSING_BOUND)
        try:
            return sock.recv(1000)
        except ConnectionResetError:
            return b""
        except TimeoutError:
            states = f"{self._h11.our_state}, {self._h11.their_state}"
            raise AssertionError(f"h11 ({states}) expects the end after {seen}") from None


def check(pair: Pair, seen: Seen) -> None:
    """What h11 saw is what the app meant."""
    # The server's own answer to an app that fails before anything was sent.
    excused = seen.status == 500 and seen.whole and not pair.is_finished
    if excused and seen.status != pair.code:
        return
    assert seen.status == pair.code, "the status is another"
    if pair.is_finished:
        assert seen.whole, "a whole answer looks cut"
        assert seen.body == (pair.meant if pair.has_body else b"")
        if pair.has_body and b"content-length" in seen.fields:
            assert int(seen.fields[b"content-length"]) == len(pair.meant)
    elif not pair.is_nearly_finished and not excused:
        assert not seen.whole, "a cut answer looks whole"
        assert pair.meant.startswith(seen.body)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("threads", [1, 2])
def test_what_h11_sees_is_what_the_app_meant(
    serve: Serve, figures: Callable[[str], None], threads: int
) -> None:
    server = serve("behaviour:app", "--threads", str(threads))
    server.allow_log(".")
    counts = {"pairs": 0, "whole": 0, "connections": 0}

    @settings(
        max_examples=EXAMPLES[threads],
        deadline=None,
        database=None,
        derandomize="CI" in os.environ,
        suppress_health_check=list(HealthCheck),
        # A failure says at which pair: looking for the shortest way there takes minutes.
        phases=[Phase.explicit, Phase.generate],
    )
    @given(st.lists(pairs, min_size=PAIRS, max_size=PAIRS))
    def run(examples: list[Pair]) -> None:
        client = Client(server)
        try:
            for number, pair in enumerate(examples):
                try:
                    seen = client.exchange(pair)
                except Exception as error:
                    error.add_note(f"at {pair}, after {examples[max(0, number - 1)]}")
                    raise
                check(pair, seen)
                counts["pairs"] += 1
                counts["whole"] += seen.whole
        finally:
            client.close()
            counts["connections"] += client.connections

    with server.assert_no_descriptor_growth():
        run()
    figures(f"h11, {threads} threads: {counts}")
    assert counts["pairs"] >= EXAMPLES[threads] * PAIRS
    # Both kinds of answer were seen, and connections were kept.
    assert counts["pairs"] * 0.5 < counts["whole"] < counts["pairs"]
    assert counts["connections"] < counts["pairs"]


def test_the_check_can_fail() -> None:
    """What a wrong server would do is told from what a right one does."""
    facts: dict[str, Any] = {
        "method": "GET",
        "version": "1.1",
        "connection": None,
        "body": None,
        "coded": False,
        "status": "200 OK",
        "pieces": (10, 10),
        "how": "generator",
        "length_off": None,
        "fail": None,
    }
    good = Pair(**facts)
    failing = Pair(**{**facts, "fail": 1})
    body = good.meant
    check(good, Seen(200, {}, body, True, True))
    check(failing, Seen(200, {}, body[:10], False, False))
    check(failing, Seen(500, {}, b"", True, False))
    for pair, seen in [
        (good, Seen(200, {}, body, False, False)),
        (good, Seen(200, {}, body[:-1], True, True)),
        (good, Seen(500, {}, b"", True, False)),
        (good, Seen(200, {b"content-length": b"19"}, body, True, True)),
        (failing, Seen(200, {}, body[:10], True, True)),
        (failing, Seen(200, {}, b"other", False, False)),
    ]:
        with pytest.raises(AssertionError):
            check(pair, seen)
