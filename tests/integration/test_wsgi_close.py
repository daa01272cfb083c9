"""close() of an app's iterable is called exactly once, whatever happens."""

import contextlib
import signal

import pytest

from support.client import Truncated
from support.server import Server
from support.serving import IN_GREENLETS, WAYS, Serve
from support.waiting import wait_for

#: Within this many seconds after its client has left, an app's iterable is closed.
DISCONNECT_BOUND = 2.0

#: More than the buffers of both sockets together.
BEYOND_BUFFERS = 50_000_000


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def server(request: pytest.FixtureRequest, serve: Serve) -> Server:
    return serve("probes:app", *request.param)


def closed(server: Server, name: str) -> int:
    return sum(event["name"] == name for event in server.events("closed"))


def assert_closed_once(server: Server, name: str, bound: float = DISCONNECT_BOUND) -> None:
    wait_for(lambda: closed(server, name) >= 1, bound, f"close() of {name!r}")
    # Whatever would call it again has had its turn when these have been answered.
    for _ in range(3):
        assert server.get().status == 200
    assert closed(server, name) == 1


@pytest.mark.parametrize(
    "options",
    ["", "&length=1", "&count=0", "&count=1&length=1", "&size=0", "&size=300000&count=20"],
)
def test_after_a_whole_answer(server: Server, options: str) -> None:
    assert server.get(f"/tracked?name=whole{options}").status == 200
    assert_closed_once(server, "whole")


def test_after_head(server: Server) -> None:
    server.allow_log("(?i:body)")
    assert server.exchange("HEAD", "/tracked?name=head&size=1000&count=1000").status == 200
    assert_closed_once(server, "head")


def test_after_a_bodiless_status(server: Server) -> None:
    server.allow_log("(?i:body)")
    assert server.get("/tracked?name=none&status=204%20No%20Content").status == 204
    assert_closed_once(server, "none")


def test_after_a_wrong_head(server: Server) -> None:
    server.expect_log("Error handling request")
    assert server.get("/tracked?name=wrong&status=nonsense").status == 500
    assert closed(server, "wrong") == 0, "start_response failed before the iterable existed"


def test_after_an_error_in_the_iteration(server: Server) -> None:
    server.expect_log("Error handling request")
    with pytest.raises(Truncated):
        server.get("/tracked?name=error&fail=1")
    assert_closed_once(server, "error")


@pytest.mark.parametrize("how", ["close", "reset"])
def test_client_leaves_while_the_app_produces(server: Server, how: str) -> None:
    """The app goes on for a minute; its iterable is closed soon after the client has left."""
    with server.assert_no_descriptor_growth():
        connection = server.connect()
        connection.send(
            b"GET /tracked?name=left&size=100000&count=1200&pause=0.05 HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        connection.read_until(b"xxxx")
        getattr(connection, how)()
        assert_closed_once(server, "left")
    assert not server.events("exhausted")


@pytest.mark.parametrize("how", ["close", "reset"])
def test_client_leaves_while_the_answer_waits_for_it(server: Server, how: str) -> None:
    """The client does not read, so that the answer is parked; then it leaves."""
    with server.assert_no_descriptor_growth():
        connection = server.connect(receive_buffer=4096)
        count = BEYOND_BUFFERS // 1_000_000
        connection.send(
            f"GET /tracked?name=parked&size=1000000&count={count} HTTP/1.1\r\n"
            "Host: x\r\n\r\n".encode()
        )
        connection.read_until(b"xxxx")
        assert closed(server, "parked") == 0
        getattr(connection, how)()
        assert_closed_once(server, "parked")
    assert not server.events("exhausted")


def test_worker_is_free_while_an_answer_waits(server: Server) -> None:
    """A client that does not read holds no thread: others are answered, then it gets the rest."""
    with server.connect(receive_buffer=4096) as slow:
        target = "/tracked?name=slow&size=1000000&count=20&length=1"
        slow.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        slow.read_until(b"\r\n\r\n")
        for _ in range(20):
            assert server.get().status == 200
        assert len(slow.read_exactly(20_000_000)) == 20_000_000
    assert_closed_once(server, "slow")


def test_at_stop(serve: Serve) -> None:
    """A server that stops lets a running answer end and closes its iterable."""
    server = serve()
    with server.connect() as connection:
        connection.send(
            b"GET /tracked?name=stop&count=5&pause=0.1&length=1 HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        connection.read_until(b"xxxx")
        server.send_signal(signal.SIGTERM)
        connection.read_to_close()
    assert server.wait_exit() == 0
    assert closed(server, "stop") == 1
    assert [event["name"] for event in server.events("exhausted")] == ["stop"]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_waiting_answer_that_the_end_cuts(serve: Serve, way: tuple[str, ...]) -> None:
    """Answers that nobody reads are still parked when the grace is over."""
    server = serve("probes:app", *way, "--graceful-timeout", "1")
    # A greenlet waits for its own client.
    greenlets = ", ".join(r"GET /tracked\S+" for _ in range(3))
    cut = greenlets if way == IN_GREENLETS else "3 connections in the middle"
    server.expect_log(f"could be finished: {cut}")
    with contextlib.ExitStack() as open_connections:
        for name in "abc":
            connection = open_connections.enter_context(server.connect(receive_buffer=4096))
            target = f"/tracked?name={name}&size=1000000&count=50"
            connection.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            connection.read_until(b"xxxx")
        assert server.get().status == 200, "all three have been parked"
        assert server.stop() == 0
    assert sorted(event["name"] for event in server.events("closed")) == ["a", "b", "c"]
    assert not server.events("exhausted")
