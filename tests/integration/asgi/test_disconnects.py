"""When an app learns that its client has left, and what becomes of its task then."""

import time

import pytest

from support.asgi import on_each_loop, serve_on
from support.client import Connection, format_request
from support.server import Server
from support.serving import Serve
from support.waiting import holds_for

DISCONNECT = "http.disconnect"


def received(server: Server, count: int) -> list[str]:
    return [event["type"] for event in server.wait_event("received", count=count)]


@on_each_loop
@pytest.mark.parametrize("leave", [Connection.close, Connection.reset], ids=["close", "reset"])
def test_a_client_that_leaves(serve: Serve, loop: str, leave: object) -> None:
    """receive() says so, whenever it is asked; send() refuses from then on."""
    server = serve_on(serve, loop, "asgi_probes:app")
    connection = server.connect()
    connection.send(format_request(target="/wait"))
    server.wait_event("waiting")
    assert not server.events("received")
    leave(connection)  # type: ignore[operator]
    assert received(server, 2) == [DISCONNECT] * 2
    server.wait_event("refused")
    assert not server.events("sent")


def test_a_client_that_stays(serve: Serve) -> None:
    """Nothing is said while the answer is not complete."""
    server = serve("asgi_probes:app")
    with server.connect() as connection:
        connection.send(format_request("POST", "/wait", body=b"abc"))
        server.wait_event("waiting")
        holds_for(lambda: not server.events("received"), 0.3, "no message while the client waits")


@on_each_loop
def test_behind_the_answer(serve: Serve, loop: str) -> None:
    """The client is there still, and its next request is served; this one is over."""
    server = serve_on(serve, loop, "asgi_probes:app")
    with server.connect() as connection:
        for count in (2, 4):
            assert connection.request("POST", "/after", body=b"abc").text == "answered"
            assert received(server, count) == [DISCONNECT] * count
        assert connection.request(target="/").status == 200


def test_behind_the_answer_of_an_app_that_has_not_read(serve: Serve) -> None:
    server = serve("asgi_probes:app")
    with server.connect() as connection:
        assert connection.request("POST", "/unread", body=b"abc").text == "answered"
        assert received(server, 1) == [DISCONNECT]


@on_each_loop
def test_a_stream_whose_client_leaves(serve: Serve, loop: str) -> None:
    """send() raises an OSError, which is nobody's mistake and stands in no log."""
    server = serve_on(serve, loop, "asgi_probes:app")
    with server.connect() as connection:
        connection.send(format_request(target="/stream?size=1000"))
        connection.read_until(b"\r\n\r\n")
    [event] = server.wait_event("refused")
    assert event["error"] != "RuntimeError"
    assert server.get("/").status == 200


def test_a_stream_that_waits_for_its_client(serve: Serve) -> None:
    """send() of an app that is held by a slow client ends when the client leaves."""
    server = serve("asgi_probes:app")
    with server.connect(receive_buffer=4096) as connection:
        connection.send(format_request(target="/stream?size=1000000"))
        server.wait_event("streaming")
    server.wait_event("refused")


@on_each_loop
def test_an_app_that_does_not_look_is_cancelled(serve: Serve, loop: str) -> None:
    """When the grace period is over."""
    grace = ("--asgi-disconnect-grace-period", "1")
    server = serve_on(serve, loop, "asgi_probes:app", *grace)
    with server.connect() as connection:
        connection.send(format_request(target="/deaf"))
        server.wait_event("waiting")
    left = time.monotonic()
    [event] = server.wait_event("cancelled")
    # Both clocks are the machine's monotonic one.
    assert 0.8 <= event["at"] - left <= 5.0
    server.wait_event("over")
    assert server.get("/").status == 200


def test_without_a_grace_period_it_is_cancelled_at_once(serve: Serve) -> None:
    server = serve("asgi_probes:app", "--asgi-disconnect-grace-period", "0")
    with server.connect() as connection:
        connection.send(format_request(target="/deaf"))
        server.wait_event("waiting")
    server.wait_event("cancelled", 2.0)


def test_an_app_that_looks_has_its_time(serve: Serve) -> None:
    """It is told, and cleans up undisturbed."""
    server = serve("asgi_probes:app", "--asgi-disconnect-grace-period", "5")
    with server.connect() as connection:
        connection.send(format_request(target="/warned"))
        server.wait_event("waiting")
    server.wait_event("told")
    server.wait_event("clean")


def test_a_client_that_only_ends_its_sending(serve: Serve) -> None:
    """It waits for its answer, and an app that does not look for its leaving gives it."""
    server = serve("asgi_probes:app")
    with server.connect() as connection:
        connection.send(format_request("POST", "/echo", body=b"abc"))
        connection.finish_sending()
        assert connection.read_response("POST").body == b"abc"
        assert connection.read_to_close() == b""


def test_pipelined_requests_of_a_client_that_leaves(serve: Serve) -> None:
    """The one that runs learns of it; those behind it are never begun."""
    server = serve("asgi_probes:app")
    with server.connect() as connection:
        connection.send(format_request(target="/wait") + format_request(target="/wait"))
        server.wait_event("waiting")
    assert received(server, 2) == [DISCONNECT] * 2
    server.wait_event("refused")
    assert server.get("/").status == 200
    assert len(server.events("waiting")) == 1
