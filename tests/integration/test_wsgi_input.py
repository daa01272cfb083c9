"""`wsgi.input` behaves as io.BytesIO does, for every call and size argument."""

import io
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inputs import play

from support.client import Connection, chunked, format_request
from support.server import Server
from support.serving import WAYS, Serve

#: Bodies beyond it are spooled to a file. Small, so that both kinds occur in every run.
BODY_BUFFER = 4096

sizes = st.one_of(st.none(), st.integers(-2, 20), st.integers(0, 20_000))
calls = st.one_of(
    st.tuples(st.sampled_from(["read", "readline", "readlines"])),
    st.tuples(st.sampled_from(["read", "readline", "readlines"]), sizes),
    st.tuples(st.sampled_from(["next", "rest"])),
)
texts = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\0", b"line\n"]),
        st.integers(100, 6000).map(lambda size: b"y" * size),
    ),
    max_size=12,
).map(b"".join)


def ask(connection: Connection, body: bytes, script: list[list[Any]], coded: bool) -> Any:
    fields = [("X-Script", json.dumps(script))]
    if coded:
        pieces = [body[at : at + 1000] for at in range(0, len(body), 1000)]
        request = format_request("POST", "/", [*fields, ("Transfer-Encoding", "chunked")])
        connection.send(request + chunked(pieces))
    else:
        connection.send(format_request("POST", "/", fields, body))
    response = connection.read_response()
    assert response.status == 200, response
    return json.loads(response.body)


def compare(server: Server, body: bytes, script: list[list[Any]]) -> None:
    expected = json.loads(json.dumps(play(io.BytesIO(body), script)))
    with server.connect() as connection:
        for coded in (False, True):
            assert ask(connection, body, script, coded) == expected, (script, coded)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_random_scripts(serve: Serve, way: tuple[str, ...]) -> None:
    server = serve("inputs:app", "--body-buffer", str(BODY_BUFFER), *way)

    @settings(
        max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
    )
    @given(texts, st.lists(calls.map(list), max_size=8))
    def run(body: bytes, script: list[list[Any]]) -> None:
        compare(server, body, script)

    with server.assert_no_descriptor_growth():
        run()


@pytest.mark.parametrize("size", [0, 1, BODY_BUFFER - 1, BODY_BUFFER, BODY_BUFFER + 1, 300_000])
def test_every_size_argument(serve: Serve, size: int) -> None:
    """Around the border between memory and spool, with each argument that a caller may give."""
    server = serve("inputs:app", "--body-buffer", str(BODY_BUFFER))
    body = (b"0123456789abcde\n" * (size // 16 + 1))[:size]
    for argument in ([], [None], [-1], [0], [1], [16], [17], [4096], [size], [size + 1], [10**9]):
        for name in ("read", "readline", "readlines"):
            first = [name, *argument]
            compare(server, body, [first, first, ["readline"], ["read", 5], ["rest"], ["read"]])


def test_wrong_arguments(serve: Serve) -> None:
    """A wrong type is a TypeError, as with BytesIO, and the stream goes on from where it was."""
    server = serve("inputs:app")
    script: list[list[Any]] = [
        ["read", "5"],
        ["readline", "5"],
        ["readlines", "5"],
        ["read", 1, 2],
        ["read", 4],
        ["read"],
    ]
    compare(server, b"one\ntwo\n", script)


def test_input_outlives_its_request_without_harm(serve: Serve) -> None:
    """An app that keeps wsgi.input does not read another request's body through it."""
    app = """
kept = []

def app(environ, start_response):
    if kept:
        try:
            body = kept[0].read()
        except (ValueError, OSError):
            body = b""
    else:
        kept.append(environ["wsgi.input"])
        body = b""
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
    server = serve("own:app", files={"own.py": app}, probe=None)
    with server.connect() as connection:
        assert connection.request("POST", "/", body=b"first").body == b""
        assert connection.request("POST", "/", body=b"second").body in (b"", b"first")
        assert connection.request("POST", "/", body=b"third").body == b""


def test_unread_body_does_not_become_a_request(serve: Serve) -> None:
    """A body that the app leaves alone is skipped: the connection stays in step."""
    server = serve("probes:app", "--body-buffer", str(BODY_BUFFER))
    smuggled = format_request(target="/fail")
    with server.connect() as connection:
        for body in (smuggled, smuggled * 200):
            assert connection.request("POST", "/unread", body=body).body == b"unread\n"
            head = format_request("POST", "/unread", [("Transfer-Encoding", "chunked")])
            connection.send(head + chunked([body]))
            assert connection.read_response().body == b"unread\n"
        assert connection.request().body == b"hello, world\n"
