"""Connections: persistence, pipelining, versions, 100-continue, bodies of both codings."""

import hashlib
import json
import re

import pytest

from support.client import Connection, Truncated, chunked, format_request
from support.server import Server
from support.serving import Serve
from support.waiting import holds_for

CHUNKED = [("Transfer-Encoding", "chunked")]


@pytest.fixture(params=[1, 3], ids=["sync", "threads"])
def server(request: pytest.FixtureRequest, serve: Serve) -> Server:
    return serve("probes:app", "--threads", str(request.param), "--body-buffer", "65536")


def test_keep_alive(server: Server) -> None:
    """One connection for many requests of all kinds."""
    with server.assert_no_descriptor_growth(), server.connect() as connection:
        for number in range(100):
            assert connection.request().body == b"hello, world\n"
            body = b"b" * number
            assert connection.request("POST", "/echo", body=body).body == body
            assert connection.request("HEAD", "/").get("Content-Length") == "13"
            assert connection.request("GET", "/nowhere").status == 404
            assert len(connection.request("GET", "/stream?pieces=2&size=10").body) == 20


@pytest.mark.parametrize(
    ("version", "fields", "stays"),
    [
        ("HTTP/1.1", [], True),
        ("HTTP/1.1", [("Connection", "close")], False),
        ("HTTP/1.1", [("Connection", "Close")], False),
        ("HTTP/1.1", [("Connection", "keep-alive, close")], False),
        ("HTTP/1.1", [("Connection", "foo"), ("Connection", "close")], False),
        ("HTTP/1.0", [], False),
        ("HTTP/1.0", [("Connection", "keep-alive")], True),
        ("HTTP/1.0", [("Connection", "Keep-Alive")], True),
    ],
)
def test_who_keeps_the_connection(
    server: Server, version: str, fields: list[tuple[str, str]], stays: bool
) -> None:
    """As the client asks and RFC 9112, 9.3 says; and the answer says which it is."""
    with server.connect() as connection:
        response = connection.request("GET", "/", fields, version=version)
        assert response.body == b"hello, world\n"
        assert response.version == "HTTP/1.1" or version == "HTTP/1.0"
        assert response.closes is not stays
        if stays:
            assert connection.request().body == b"hello, world\n"
        else:
            connection.wait_closed(3.0)


def test_keepalive_setting(serve: Serve) -> None:
    """An idle connection is closed after `keepalive` seconds, without a word."""
    server = serve("probes:app", "--keep-alive", "1")
    with server.connect() as connection:
        connection.request()
        assert 0.5 < connection.wait_closed(5.0) < 3.0


def test_keepalive_off(serve: Serve) -> None:
    """`keepalive` 0 closes after each answer, and says so."""
    server = serve("probes:app", "--keep-alive", "0")
    with server.connect() as connection:
        assert connection.request().get("Connection") == "close"
        connection.wait_closed(3.0)


def test_idle_connection_outlives_the_old_default(serve: Serve) -> None:
    """Proxies idle for long: after more than Gunicorn's 2 s the connection is still there."""
    server = serve()
    with server.connect() as connection:
        connection.request()
        holds_for(connection.is_open, 2.5, "the connection stays open")
        assert connection.request().status == 200


@pytest.mark.parametrize("delivery", ["whole", "bytewise", "split"])
def test_pipelining(server: Server, delivery: str) -> None:
    """Requests in one go are answered in order, whatever their bodies and durations are."""
    requests, expected = [], []
    for number in range(20):
        body = f"body {number}".encode() * (number * 10)
        requests.append(format_request("POST", "/echo", body=body))
        expected.append(body)
        requests.append(format_request("POST", "/echo", CHUNKED) + chunked([body[:7], body[7:]]))
        expected.append(body)
        requests.append(format_request("GET", f"/sleep?seconds=0.00{number % 3}"))
        expected.append(b"slept\n")
    data = b"".join(requests)
    with server.connect() as connection:
        if delivery == "whole":
            connection.send(data)
        elif delivery == "bytewise":
            connection.send_bytewise(data[:20_000])
            connection.send(data[20_000:])
        else:
            connection.send_split(data, 7)
        assert [connection.read_response().body for _ in expected] == expected


def test_pipelining_without_reading(server: Server) -> None:
    """A client that only sends is answered as far as buffers go, then waits; nothing is lost."""
    count = 300
    with server.connect() as connection, server.connect() as other:
        for _ in range(count):
            connection.send(format_request(target="/large?bytes=100000"))
        assert other.request().status == 200
        for _ in range(count):
            assert len(connection.read_response().body) == 100_000


def test_request_after_close_is_not_answered(server: Server) -> None:
    with server.connect() as connection:
        last = format_request("GET", "/", [("Connection", "close")])
        connection.send(last + format_request(target="/received?after"))
        assert connection.read_response().status == 200
        assert connection.read_to_close() == b""
    assert not server.events("called")


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 5_000_000])
def test_bodies_up(server: Server, size: int) -> None:
    """Bodies in memory and spooled, with a length and chunked, arrive as they were sent."""
    body = (b"%08d" * (size // 8 + 1) % tuple(range(size // 8 + 1)))[:size]
    expected = f"{size} {hashlib.sha256(body).hexdigest()}"
    with server.assert_no_descriptor_growth(), server.connect() as connection:
        assert connection.request("POST", "/digest", body=body).text == expected
        pieces = [body[at : at + 9973] for at in range(0, size, 9973)]
        request = format_request("PUT", "/digest", CHUNKED) + chunked(pieces, "X-Trailer: 1\r\n")
        connection.send_split(request, 3)
        assert connection.read_response().text == expected
        connection.send(format_request("GET", "/digest", body=body))
        assert connection.read_response().text == expected


def test_body_is_complete_before_the_app_is_called(server: Server) -> None:
    """The app waits for no client: it is called when the last byte is here."""
    body = b"0123456789" * 10
    request = format_request("POST", "/received?slow", body=body)
    with server.connect() as connection:
        connection.send(request[:-1])
        holds_for(lambda: not server.events("called"), 0.3, "the app is not called")
        assert server.get().status == 200
        connection.send(request[-1:])
        assert connection.read_response().body == b"100"


@pytest.mark.parametrize("size", [0, 1, 65_536, 10_000_000])
def test_bodies_down(server: Server, size: int) -> None:
    """Large answers to a client with small buffers: whole with a length, and chunked."""
    with server.connect(receive_buffer=8192) as connection:
        response = connection.request("GET", f"/large?bytes={size}")
        assert response.body == b"x" * size
        assert response.framing == "length"
        response = connection.request("GET", f"/stream?pieces={size // 65_536}&size=65536")
        assert len(response.body) == size // 65_536 * 65_536
        assert response.framing == "chunked" or size < 65_536 * 2


def test_pieces_are_sent_as_they_come(server: Server) -> None:
    """A generator's piece leaves before the next is made: server-sent events work."""
    with server.connect() as connection:
        connection.send(format_request(target="/ticks?count=3&pause=1"))
        connection.read_until(b"tick 0\n")
        assert not connection.buffer.endswith(b"tick 1\n\r\n")
        connection.read_until(b"tick 1\n")
        connection.read_until(b"0\r\n\r\n")


def test_chunks_are_well_formed(server: Server) -> None:
    """Sizes in hex, no empty chunk before the last, one end."""
    with server.connect() as connection:
        connection.send(format_request(target="/stream?pieces=3&size=26"))
        head = connection.read_until(b"\r\n\r\n")
        assert b"content-length" not in head.lower()
        body = connection.read_until(b"0\r\n\r\n")
        assert re.fullmatch(rb"(1[aA]\r\nx{26}\r\n){3}0\r\n\r\n", body)
        assert connection.request().status == 200


def test_continue(server: Server) -> None:
    """100-continue is sent when the client waits for it, before the body, once."""
    fields = [("Expect", "100-continue"), ("Content-Length", "4")]
    with server.connect() as connection:
        for _ in range(2):
            connection.send(format_request("POST", "/echo", fields))
            assert connection.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.send(b"body")
            response = connection.read_response()
            assert (response.status, response.body, response.interim) == (200, b"body", [])


def test_continue_is_not_needed(server: Server) -> None:
    """None for HTTP/1.0 and for a request without body; a body that is here needs none either."""
    fields = [("Expect", "100-continue")]
    with server.connect() as connection:
        response = connection.request("POST", "/echo", fields, b"body", version="HTTP/1.0")
        assert (response.body, response.interim) == (b"body", [])
    with server.connect() as connection:
        response = connection.request("GET", "/", fields)
        assert (response.status, response.interim) == (200, [])
        response = connection.request("POST", "/echo", fields, b"body")
        assert response.body == b"body"
        assert len(response.interim) <= 1
        assert connection.request().status == 200


def test_other_expectations_fail(server: Server) -> None:
    server.expect_log("Invalid request")
    with server.connect() as connection:
        assert connection.request("POST", "/echo", [("Expect", "magic")], b"x").status == 417
        assert connection.read_to_close() == b""


def test_head_of_everything(server: Server) -> None:
    """No body after HEAD, of whatever shape: the next answer begins where it should."""
    server.allow_log("(?i:body)")
    with server.connect() as connection:
        for target in ("/", "/large?bytes=100000", "/stream", "/environ", "/nowhere", "/tracked"):
            assert connection.request("HEAD", target).body == b""
            assert connection.request().body == b"hello, world\n"


def test_client_that_half_closes(server: Server) -> None:
    """A client that has shut down its sending side still gets its answers."""
    with server.connect() as connection:
        connection.send(format_request(target="/sleep?seconds=0.2") + format_request())
        connection.finish_sending()
        assert connection.read_response().body == b"slept\n"
        assert connection.read_response().body == b"hello, world\n"
        assert connection.read_to_close() == b""


def test_bytes_after_the_request_wait(server: Server) -> None:
    """The beginning of the next request, sent early, is not lost."""
    second = format_request("POST", "/echo", body=b"second")
    with server.connect() as connection:
        connection.send(format_request(target="/sleep?seconds=0.1") + second[:30])
        assert connection.read_response().body == b"slept\n"
        connection.send(second[30:])
        assert connection.read_response().body == b"second"


@pytest.mark.parametrize("target", ["/large?bytes=30000000", "/stream?pieces=500"])
def test_client_that_leaves_early(server: Server, target: str) -> None:
    """Disconnects in mid-answer cost nothing but that answer."""
    workers = server.workers()
    with server.assert_no_descriptor_growth():
        for end in (Connection.close, Connection.reset) * 3:
            connection = server.connect(receive_buffer=4096)
            connection.send(format_request(target=target))
            connection.read_until(b"xxxx")
            end(connection)
        assert server.get().status == 200
    assert server.workers() == workers


def test_client_that_leaves_before_its_answer(server: Server) -> None:
    """Gone while the app runs: no error in the log, nothing left open."""
    with server.assert_no_descriptor_growth():
        for end in (Connection.close, Connection.reset):
            connection = server.connect()
            connection.send(format_request(target="/sleep?seconds=0.2"))
            server.wait_event("sleeping")
            end(connection)
        assert server.get().status == 200


def test_two_workers_do_not_mix_answers(serve: Serve) -> None:
    """Many connections over two workers and threads, each with its own echo."""
    server = serve("probes:app", "--threads", "2", workers=2)
    connections = [server.connect() for _ in range(40)]
    try:
        for turn in range(10):
            for number, connection in enumerate(connections):
                body = f"{turn} {number}".encode()
                connection.send(format_request("POST", "/echo", body=body))
            for number, connection in enumerate(connections):
                assert connection.read_response().body == f"{turn} {number}".encode()
    finally:
        for connection in connections:
            connection.close()


def test_absolute_target_and_options(serve: Serve) -> None:
    server = serve("mirror:app")
    with server.connect() as connection:
        facts = json.loads(connection.request("GET", "http://test.example/a%20b?q").body)
        assert (facts["path"], facts["query"]) == ("/a b", "q")
        assert facts["target"] == "http://test.example/a%20b?q"
        facts = json.loads(connection.request("OPTIONS", "*").body)
        assert facts["target"] == "*"


def test_truncation_is_seen_by_this_client() -> None:
    """The client that all these tests trust does tell a part from a whole."""
    import socket

    for data in (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nContent-",
    ):
        ours, theirs = socket.socketpair()
        connection = Connection.__new__(Connection)
        connection.sock, connection.buffer = ours, bytearray()
        theirs.sendall(data)
        theirs.close()
        with pytest.raises(Truncated):
            connection.read_response()
        ours.close()
