"""Extensions of HTTP: early hints, trailers, files."""

import os
from pathlib import Path

import pytest

from support.asgi import on_each_loop, serve_on
from support.client import Truncated
from support.server import Server
from support.serving import Serve
from support.tls import Authority

TE = [("TE", "trailers")]

#: More than a socket takes at once.
CONTENT = os.urandom(3 * 1024 * 1024 + 17)


def write(server: Server, content: bytes = CONTENT, name: str = "file") -> None:
    (server.directory / name).write_bytes(content)


@pytest.mark.parametrize("when", ["before", "behind"])
def test_early_hints(serve: Serve, when: str) -> None:
    server = serve("asgi_probes:app")
    with server.connect() as connection:
        for _ in range(2):
            response = connection.request(target=f"/hints?when={when}")
            assert (response.status, response.text) == (200, "hinted")
            [hint] = response.interim
            assert hint.status == 103
            assert hint.all("Link") == ["</a.css>; rel=preload", "</b>"]
            assert response.all("Link") == []


def test_early_hints_are_not_for_http_1_0(serve: Serve) -> None:
    server = serve("asgi_probes:app")
    with server.connect() as connection:
        response = connection.request(target="/hints?when=before", version="HTTP/1.0")
    assert (response.text, response.interim) == ("not offered", [])


@on_each_loop
def test_trailers(serve: Serve, loop: str) -> None:
    server = serve_on(serve, loop, "asgi_probes:app")
    with server.connect() as connection:
        for _ in range(2):
            response = connection.request(target="/trailers", fields=TE)
            assert (response.framing, response.body) == ("chunked", b"somebody")
            assert response.trailers == [("x-sum", "8"), ("x-more", "yes")]
            assert response.get("Trailer") == "x-sum, x-more"


def test_trailers_are_for_whom_asks_for_them(serve: Serve) -> None:
    """Others get the same answer without."""
    server = serve("asgi_probes:app")
    with server.connect() as connection:
        for options in ({}, {"fields": [("TE", "gzip")]}, {"fields": TE, "method": "HEAD"}):
            response = connection.request(target="/trailers", **options)  # type: ignore[arg-type]
            assert response.status == 200
            assert response.trailers == []
        response = connection.request(target="/trailers?length=8", fields=TE)
        assert (response.framing, response.body) == ("length", b"somebody")
    with server.connect() as connection:
        response = connection.request(target="/trailers", fields=TE, version="HTTP/1.0")
        assert (response.framing, response.body) == ("close", b"somebody")


@on_each_loop
def test_a_path(serve: Serve, loop: str) -> None:
    server = serve_on(serve, loop, "asgi_probes:app")
    write(server)
    with server.assert_no_descriptor_growth(), server.connect(30.0) as connection:
        for target in ("/pathsend", f"/pathsend?length={len(CONTENT)}"):
            response = connection.request(target=target)
            assert response.body == CONTENT
            assert response.framing in ("length", "chunked")
        assert connection.request(target="/").status == 200
        server.wait_event("over", count=2)


def test_a_path_over_tls(serve: Serve, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = authority.serve(serve, "asgi_probes:app", authority.pair("server"))
    write(server)
    with server.connect(30.0) as connection:
        assert connection.request(target=f"/pathsend?length={len(CONTENT)}").body == CONTENT


def test_an_empty_file(serve: Serve) -> None:
    server = serve("asgi_probes:app")
    write(server, b"")
    with server.connect() as connection:
        for _ in range(2):
            assert connection.request(target="/pathsend").body == b""


def test_a_path_for_head(serve: Serve) -> None:
    server = serve("asgi_probes:app")
    write(server)
    with server.connect() as connection:
        response = connection.request("HEAD", f"/pathsend?length={len(CONTENT)}")
        assert (response.status, response.get("Content-Length")) == (200, str(len(CONTENT)))
        assert connection.request(target="/").text == "hello, world\n"


def test_a_path_that_leads_nowhere(serve: Serve) -> None:
    """An error of the app's, while nothing is sent."""
    server = serve("asgi_probes:app")
    server.expect_log("No such file or directory")
    assert server.get("/pathsend?name=missing").status == 500


def test_a_file_that_is_shorter_than_its_length(serve: Serve) -> None:
    server = serve("asgi_probes:app")
    server.expect_log(".")
    write(server, b"short")
    with server.connect() as connection:
        try:
            assert connection.request(target="/pathsend?length=100").status == 500
        except Truncated as cut:
            assert b"short" in cut.received
    assert server.get("/").status == 200


def test_a_client_that_leaves_inside_a_file(serve: Serve) -> None:
    server = serve("asgi_probes:app")
    write(server, bytes(64 * 1024 * 1024))
    with server.assert_no_descriptor_growth(20.0):
        with server.connect(receive_buffer=4096) as connection:
            connection.send(b"GET /pathsend HTTP/1.1\r\nHost: a\r\n\r\n")
            connection.read_until(b"\r\n\r\n")
        assert server.get("/").status == 200


def test_a_descriptor(serve: Serve) -> None:
    """A part of a file between bytes, and the rest of the file as the end."""
    server = serve("asgi_probes:app")
    write(server)
    with server.assert_no_descriptor_growth(), server.connect() as connection:
        response = connection.request(target="/zerocopy")
        if response.status == 501:
            pytest.skip("the server does not offer it")
        assert response.body == b"<" + CONTENT[10:30] + b">" + CONTENT[100:]
