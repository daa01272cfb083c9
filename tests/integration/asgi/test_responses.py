"""Answers of apps that do right."""

import pytest

from support.asgi import on_each_loop, serve_on
from support.client import Connection, format_request
from support.serving import Serve

MIB = 1024 * 1024


@on_each_loop
def test_a_whole_answer(serve: Serve, loop: str) -> None:
    server = serve_on(serve, loop, "asgi_probes:app")
    with server.connect() as connection:
        for _ in range(3):
            response = connection.request(target="/")
            assert (response.version, response.status) == ("HTTP/1.1", 200)
            assert response.reason == "OK"
            assert response.framing == "length"
            assert response.text == "hello, world\n"
            assert response.get("Content-Type") == "text/plain"
            assert response.get("Date")
            assert response.get("Server")


def test_fields_of_the_app(serve: Serve) -> None:
    """In their order, as they are; Date and Server of the app stand for the server's."""
    server = serve("asgi_probes:app")
    response = server.get("/fields")
    found = [(name.lower(), value) for name, value in response.fields]
    sent = [
        ("x-one", "1"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("x-mixed", "caf\xe9"),
        ("server", "mine"),
        ("date", "Mon, 01 Jan 2024 00:00:00 GMT"),
    ]
    assert [pair for pair in found if pair in sent] == sent
    assert [name for name, _ in found].count("server") == 1
    assert [name for name, _ in found].count("date") == 1


def test_what_is_optional(serve: Serve) -> None:
    server = serve("asgi_probes:app")
    with server.connect() as connection:
        for _ in range(2):
            response = connection.request(target="/defaults")
            assert (response.status, response.body) == (200, b"")
            assert response.framing == "length"


def test_other_types_that_hold_bytes(serve: Serve) -> None:
    server = serve("asgi_probes:app")
    response = server.get("/shapes")
    assert response.body == b"abcd"
    assert response.get("x-one") == "1"


@on_each_loop
def test_pieces_without_a_length_are_chunks(serve: Serve, loop: str) -> None:
    server = serve_on(serve, loop, "asgi_probes:app")
    with server.connect() as connection:
        for number in (0, 1, 100):
            response = connection.request(target=f"/pieces?n={number}")
            assert response.text == "".join(f"piece {index}\n" for index in range(number))
            assert response.framing in ("chunked", "length")
        assert connection.request(target="/pieces?n=5").framing == "chunked"
        assert connection.request(target="/pieces?n=5&length=1").framing == "length"


def test_each_piece_leaves_at_once(serve: Serve) -> None:
    server = serve("asgi_probes:app")
    with server.connect() as connection:
        connection.send(format_request(target="/dribble"))
        seen = connection.read_until(b"first")
        (server.directory / "gate").touch()
        connection.buffer[:0] = seen
        assert connection.read_response().body == b"firstsecond"


def test_the_head_waits_for_the_first_piece(serve: Serve) -> None:
    """So that an app that fails before it gets a 500."""
    server = serve("asgi_probes:app")
    server.expect_log("failed behind the start")
    assert server.get("/raise-started").status == 500


@pytest.mark.parametrize("size", [1, 4095, 4096, 65_536, 3 * MIB])
def test_bodies_of_all_sizes(serve: Serve, size: int) -> None:
    server = serve("asgi_probes:app")
    with server.connect(30.0) as connection:
        for _ in range(2):
            assert connection.request(target=f"/large?size={size}").body == b"x" * size


def test_head_has_no_body(serve: Serve) -> None:
    server = serve("asgi_probes:app")
    with server.connect() as connection:
        response = connection.request("HEAD", "/")
        assert (response.status, response.get("Content-Length")) == (200, "13")
        response = connection.request("HEAD", "/pieces?n=5&length=1")
        assert response.get("Content-Length") == "40"
        assert connection.request("HEAD", "/pieces?n=5").status == 200
        assert connection.request(target="/").text == "hello, world\n"


@pytest.mark.parametrize("code", [204, 304])
def test_statuses_without_a_body(serve: Serve, code: int) -> None:
    server = serve("asgi_probes:app")
    with server.connect() as connection:
        response = connection.request(target=f"/status?code={code}")
        assert response.status == code
        assert response.get("x-kept") == "yes"
        assert response.get("Transfer-Encoding") is None
        if code == 204:
            assert response.get("Content-Length") is None
        assert connection.request(target="/").text == "hello, world\n"


@pytest.mark.parametrize("code", [200, 201, 299, 404, 418, 500, 599, 799])
def test_statuses(serve: Serve, code: int) -> None:
    server = serve("asgi_probes:app")
    response = server.get(f"/status?code={code}&body=text")
    assert (response.status, response.text) == (code, "text")


def test_http_1_0(serve: Serve) -> None:
    """A stream ends with its connection, and a length keeps it where that is asked for."""
    server = serve("asgi_probes:app")
    with server.connect() as connection:
        response = connection.request(target="/", version="HTTP/1.0", host=None)
        assert response.text == "hello, world\n"
        assert connection.read_to_close() == b""
    with server.connect() as connection:
        response = connection.request(target="/pieces?n=3", version="HTTP/1.0", host=None)
        assert response.get("Transfer-Encoding") is None
        assert response.text == "piece 0\npiece 1\npiece 2\n"
    with server.connect() as connection:
        for _ in range(2):
            kept = [("Connection", "keep-alive")]
            response = connection.request(target="/", fields=kept, version="HTTP/1.0")
            assert response.framing == "length"
            assert not response.closes


def test_an_app_that_closes(serve: Serve) -> None:
    server = serve("asgi_probes:app")
    with server.connect() as connection:
        response = connection.request(target="/close")
        assert response.closes
        assert response.all("Connection") == ["close"]
        connection.wait_closed(10)


def test_a_client_that_closes(serve: Serve) -> None:
    server = serve("asgi_probes:app")
    with server.connect() as connection:
        response = connection.request(target="/", fields=[("Connection", "close")])
        assert response.closes
        connection.wait_closed(10)


def test_framing_that_the_app_names(serve: Serve) -> None:
    """Transfer-Encoding: chunked of an app leaves the framing to the server."""
    server = serve("asgi_probes:app")
    with server.connect() as connection:
        for _ in range(2):
            response = connection.request(target="/coded")
            assert (response.framing, response.body) == ("chunked", b"onetwo")


@on_each_loop
def test_pipelined_requests_are_answered_in_order(serve: Serve, loop: str) -> None:
    server = serve_on(serve, loop, "asgi_probes:app")
    targets = ["/pieces?n=2", "/", "/large?size=100000", "/status?code=404&body=x", "/defaults"]
    expected = [
        (200, b"piece 0\npiece 1\n"),
        (200, b"hello, world\n"),
        (200, b"x" * 100_000),
        (404, b"x"),
        (200, b""),
    ]
    with server.connect() as connection:
        connection.send(b"".join(format_request(target=target) for target in targets) * 3)
        found = [_answer(connection) for _ in range(3 * len(targets))]
    assert found == expected * 3


def _answer(connection: Connection) -> tuple[int, bytes]:
    response = connection.read_response()
    return response.status, response.body


def test_pipelined_requests_with_bodies(serve: Serve) -> None:
    server = serve("asgi_probes:app")
    with server.connect() as connection:
        bodies = [b"a" * 10, b"", b"b" * 70_000, b"c"]
        connection.send(b"".join(format_request("POST", "/echo", body=each) for each in bodies))
        assert [connection.read_response("POST").body for _ in bodies] == bodies


def test_what_comes_behind_the_end_is_ignored(serve: Serve) -> None:
    server = serve("asgi_probes:app")
    with server.connect() as connection:
        for count in (1, 2):
            assert connection.request(target="/more").text == "answered"
            server.wait_event("over", count=count)
        assert connection.request(target="/").text == "hello, world\n"
