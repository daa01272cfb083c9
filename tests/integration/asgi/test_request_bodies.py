"""Bodies of requests: when they come, how they are asked for, and what nobody asks for."""

import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from support.asgi import on_each_loop, serve_on
from support.client import (
    DELIVERIES,
    Connection,
    Delivery,
    chunked,
    format_request,
)
from support.server import Server
from support.serving import Serve
from support.waiting import wait_for

MIB = 1024 * 1024

#: What an app that reads nothing may cost, and what a whole upload may, at any moment.
GROWTH_BOUND = 16 * MIB

_NOISE = os.urandom(MIB)


def open_gate(server: Server, name: str = "gate") -> None:
    """What the app waits for."""
    (server.directory / name).touch()


def head(target: str, length: int, *fields: tuple[str, str]) -> bytes:
    return format_request("POST", target, [*fields, ("Content-Length", str(length))])


@on_each_loop
@pytest.mark.parametrize("delivery", DELIVERIES.values(), ids=DELIVERIES)
def test_a_body_arrives_as_it_was_sent(serve: Serve, loop: str, delivery: Delivery) -> None:
    server = serve_on(serve, loop, "asgi_probes:app")
    with server.connect() as connection:
        for content in (b"", b"x", b"abc" * 300):
            delivery(connection, format_request("POST", "/echo", body=content))
            assert connection.read_response("POST").body == content
            coding = [("Transfer-Encoding", "chunked")]
            coded = chunked([content[:7], content[7:]], trailers="X-Sum: 1\r\n")
            delivery(connection, format_request("POST", "/echo", coding) + coded)
            assert connection.read_response("POST").body == content


def test_no_body_is_one_message(serve: Serve) -> None:
    server = serve("asgi_probes:app")
    for method in ("GET", "POST"):
        found = server.exchange(method, "/messages")
        assert json.loads(found.body) == [["http.request", "bytes", 0, False]]


def test_a_small_body_is_one_message(serve: Serve) -> None:
    """It comes with its head, and so is there when the app asks."""
    server = serve("asgi_probes:app")
    with server.connect() as connection:
        found = connection.request("POST", "/messages", body=b"abc")
    assert json.loads(found.body) == [["http.request", "bytes", 3, False]]


def test_a_body_is_streamed(serve: Serve) -> None:
    """The app has what is there, and answers before the rest is sent."""
    server = serve("asgi_probes:app")
    with server.connect() as connection:
        connection.send(head("/converse", 30))
        seen = b""
        for _ in range(3):
            connection.send(b"0123456789")
            seen += connection.read_until(b"got 10;")
        response = _rest(connection, seen)
    assert response == b"got 10;got 10;got 10;end"


def _rest(connection: Connection, seen: bytes) -> bytes:
    """The body of the answer of which `seen` is what was read."""
    connection.buffer[:0] = seen
    return connection.read_response("POST").body


def test_chunks_are_streamed(serve: Serve) -> None:
    server = serve("asgi_probes:app")
    with server.connect() as connection:
        connection.send(format_request("POST", "/converse", [("Transfer-Encoding", "chunked")]))
        seen = b""
        for _ in range(3):
            connection.send(b"5\r\nabcde\r\n")
            seen += connection.read_until(b"got 5;")
        connection.send(b"0\r\n\r\n")
        assert _rest(connection, seen) == b"got 5;got 5;got 5;end"


def test_continue_comes_when_the_app_asks(serve: Serve) -> None:
    server = serve("asgi_probes:app")
    expect = ("Expect", "100-continue")
    with server.connect() as connection:
        connection.send(head("/digest?gate=gate", 3, expect))
        server.wait_event("waiting")
        # The app runs, and has not asked yet.
        assert connection.is_open()
        open_gate(server)
        assert connection.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        connection.send(b"abc")
        response = connection.read_response("POST")
        assert response.status == 200
        assert not response.interim
        assert json.loads(response.body)["size"] == 3
        # It is not sent to whom has not asked for it, nor twice.
        assert not connection.request("POST", "/echo", body=b"abc").interim


def test_no_continue_for_an_app_that_does_not_ask(serve: Serve) -> None:
    server = serve("asgi_probes:app")
    with server.connect() as connection:
        connection.send(head("/ignore", 3, ("Expect", "100-continue")))
        response = connection.read_response("POST")
        assert (response.status, response.interim) == (200, [])
        assert response.body == b"ignored"
        # Whether the body will come is not known: nothing that follows could be told from it.
        assert response.closes
        connection.wait_closed(10)


def test_no_continue_when_the_body_is_already_there(serve: Serve) -> None:
    server = serve("asgi_probes:app")
    with server.connect() as connection:
        connection.send(head("/echo", 3, ("Expect", "100-continue")) + b"abc")
        response = connection.read_response("POST")
        assert (response.status, response.body) == (200, b"abc")


@pytest.mark.parametrize("size", [100, 4 * MIB])
def test_an_answer_before_the_body(serve: Serve, size: int) -> None:
    """Who sends its body first and reads then gets the answer as well, whatever its size."""
    server = serve("asgi_probes:app")
    content = bytes(size)
    with server.connect() as connection:
        connection.send(head("/ignore", size) + content[: size // 2])
        assert connection.read_until(b"ignored").startswith(b"HTTP/1.1 200 ")
    with server.connect() as connection:
        connection.send(head("/ignore", size))
        try:
            connection.send(content)
        except ConnectionError:
            pytest.fail("the connection was reset under a client that was sending")
        response = connection.read_response("POST")
        assert (response.status, response.body) == (200, b"ignored")
        if not response.closes:
            assert connection.request(target="/").text == "hello, world\n"


def test_what_an_app_leaves_unread_is_not_the_next_request(serve: Serve) -> None:
    server = serve("asgi_probes:app")
    smuggled = format_request(target="/scope")
    with server.connect() as connection:
        for _ in range(3):
            connection.send(head("/ignore", len(smuggled)) + smuggled)
            response = connection.read_response("POST")
            assert response.body == b"ignored"
            if response.closes:
                break
        else:
            assert connection.request(target="/").text == "hello, world\n"


def test_a_client_that_leaves_in_its_body(serve: Serve) -> None:
    """A body that was cut never looks whole."""
    server = serve("asgi_probes:app")
    with server.connect() as connection:
        connection.send(head("/digest?gate=first", 100) + b"abc")
        server.wait_event("waiting")
    open_gate(server, "first")
    [event] = server.wait_event("disconnected")
    assert event["size"] in (0, 3)
    with server.connect() as connection:
        coding = [("Transfer-Encoding", "chunked")]
        connection.send(format_request("POST", "/digest?gate=second", coding) + b"3\r\nabc\r\n")
        server.wait_event("waiting", count=2)
        connection.finish_sending()
        open_gate(server, "second")
        server.wait_event("disconnected", count=2)


def upload(connection: Connection, size: int, sent: list[int]) -> None:
    """Send a body of that size; `sent` tells how far it has come."""
    connection.send(head("/digest?gate=gate", size))
    for _ in range(size // MIB):
        connection.send(_NOISE)
        sent[0] += MIB


@on_each_loop
@pytest.mark.parametrize(
    "size",
    [
        pytest.param(192 * MIB, id="192MiB"),
        pytest.param(1024 * MIB, id="1GiB", marks=[pytest.mark.soak, pytest.mark.timeout(300)]),
    ],
)
def test_an_app_that_does_not_read_is_sent_no_more(
    serve: Serve, figures: Callable[[str], None], loop: str, size: int
) -> None:
    """The client waits, others do not, and the worker keeps what fits its buffers; then the app
    reads all of it."""
    server = serve_on(serve, loop, "asgi_probes:app", "--body-timeout", "120")
    [pid] = server.workers()
    before = server.memory()
    with server.connect(120.0) as connection:
        sent = [0]
        client = threading.Thread(target=upload, args=(connection, size, sent), daemon=True)
        client.start()
        server.wait_event("waiting")
        stalled = stall(sent)
        waiting = server.memory() - before
        assert stalled < size
        assert waiting < GROWTH_BOUND, waiting
        for _ in range(3):
            assert server.get("/").status == 200
        open_gate(server)
        response = connection.read_response("POST")
        client.join(60)
    found = json.loads(response.body)
    expected = hashlib.sha256()
    for _ in range(size // MIB):
        expected.update(_NOISE)
    assert (found["size"], found["sha256"]) == (size, expected.hexdigest())
    peak = _peak(pid)
    figures(
        f"upload of {size // MIB} MiB, {loop}: stalled after {stalled // MIB} MiB, worker grew by "
        f"{waiting / MIB:.1f} MiB; messages of {found['largest']} bytes at most; peak "
        f"{peak / MIB:.0f} MiB resident"
    )
    assert server.memory() - before < GROWTH_BOUND


def stall(sent: list[int]) -> int:
    """Until the client gets no further; how far it has come."""
    last, same = -1, 0

    def stands() -> bool:
        nonlocal last, same
        same = same + 1 if sent[0] == last else 0
        last = sent[0]
        return same >= 50

    wait_for(stands, 60, "the client to be held")
    return last


def _peak(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no VmHWM line for process {pid}")


def test_a_body_beyond_the_limit(serve: Serve) -> None:
    """413 before the app is called when the length says so."""
    server = serve("asgi_probes:app", "--limit-request-body", "1000")
    server.allow_log("Invalid request")
    assert server.exchange("POST", "/echo", body=bytes(1000)).status == 200
    assert server.exchange("POST", "/echo", body=bytes(1001)).status == 413
    with server.connect() as connection:
        connection.send(format_request("POST", "/echo", [("Transfer-Encoding", "chunked")]))
        connection.send(chunked([bytes(600), bytes(600)]))
        assert connection.read_response("POST").status == 413
    # The app that was called for it is told that its client has left; what it makes of that is its
    # own, and told.
    server.expect_log("the client has left in its body")


def test_a_client_that_stalls_in_its_body(serve: Serve) -> None:
    """Its time is bounded as for WSGI; the app learns that it has left."""
    server = serve("asgi_probes:app", "--body-timeout", "1")
    server.allow_log("Invalid request|body")
    with server.connect() as connection:
        connection.send(head("/digest", 100) + b"abc")
        server.wait_event("disconnected", 20)
        response = connection.read_to_close()
        assert response == b"" or response.startswith(b"HTTP/1.1 408 ")
    assert server.get("/").status == 200
