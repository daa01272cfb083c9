"""Apps that break the protocol: a 500 while nothing is sent, and never an answer that is cut and
looks whole. The log says each time what was wrong."""

import re

import pytest
from asgi_probes import WRONG

from support.asgi import on_each_loop, serve_on
from support.client import Truncated, format_request
from support.server import Server
from support.serving import Serve
from support.waiting import wait_for


def open_gate(server: Server) -> None:
    (server.directory / "gate").touch()


def reasons(server: Server) -> list[str]:
    return [record.text for record in server.records("WARNING", "ERROR")]


#: Targets of apps that fail before anything is sent, and what the log says.
BEFORE = {
    "/raise": "failed before the start",
    "/raise-started": "failed behind the start",
    "/nothing": r"(?i)without|response|answer",
    "/started": r"(?i)without|before|body|complete",
    "/body-first": r"(?i)http.response.start",
    "/twice": r"(?i)http.response.start",
    "/too-long": r"(?i)content-length",
    "/too-short": r"(?i)content-length",
    "/wrong-body": r"(?i)body",
    "/exit": "odd failure",
}


@on_each_loop
def test_mistakes_before_anything_is_sent(
    serve: Serve, subtests: pytest.Subtests, loop: str
) -> None:
    server = serve_on(serve, loop, "asgi_probes:app")
    server.expect_log(".")
    for target, reason in BEFORE.items():
        with subtests.test(target):
            before = len(reasons(server))
            response = server.get(target)
            assert response.status == 500
            assert "failed" not in response.text
            wait_for(lambda b=before: len(reasons(server)) > b, 10, "a line in the log")
            [said] = reasons(server)[before:]
            assert re.search(reason, said), said
            assert target in said
    assert server.get("/").status == 200


@on_each_loop
def test_messages_that_are_wrong(serve: Serve, subtests: pytest.Subtests, loop: str) -> None:
    server = serve_on(serve, loop, "asgi_probes:app")
    server.expect_log(".")
    for name in WRONG:
        with subtests.test(name):
            before = len(reasons(server))
            response = server.get(f"/wrong?name={name.replace(' ', '+')}")
            assert response.status == 500
            assert not response.all("c")
            wait_for(lambda b=before: len(reasons(server)) > b, 10, "a line in the log")
            assert "Traceback" in reasons(server)[before]
    assert server.get("/").status == 200


def test_a_refused_message_is_an_exception_that_may_be_caught(serve: Serve) -> None:
    server = serve("asgi_probes:app")
    response = server.get("/recover")
    assert response.status == 200
    assert response.text.endswith("Error")


#: Targets of apps that fail when a part is out, what has come of it then, and what the log says.
INSIDE = {
    "/raise-inside": ("part", "failed in the middle"),
    "/raise-inside?length=100": ("part", "failed in the middle"),
    "/too-short-in-pieces": ("abc", r"(?i)content-length"),
}


@on_each_loop
@pytest.mark.parametrize("target", INSIDE)
def test_mistakes_inside_an_answer_cut_it(serve: Serve, loop: str, target: str) -> None:
    part, reason = INSIDE[target]
    server = serve_on(serve, loop, "asgi_probes:app")
    server.expect_log(reason)
    with server.connect() as connection:
        connection.send(format_request(target=target))
        seen = connection.read_until(part.encode())
        open_gate(server)
        connection.buffer[:0] = seen
        with pytest.raises(Truncated) as cut:
            connection.read_response()
    assert b"0\r\n\r\n" not in cut.value.received
    server.wait_log("Traceback" if "raise" in target else "Content-Length".lower()[:7])
    assert server.get("/").status == 200


def test_a_body_beyond_its_length(serve: Serve) -> None:
    """What is beyond is not sent, and the connection is not used again."""
    server = serve("asgi_probes:app")
    server.expect_log(r"(?i)content-length")
    with server.connect() as connection:
        connection.send(format_request(target="/too-long-in-pieces"))
        seen = connection.read_until(b"abc")
        open_gate(server)
        rest = seen + connection.read_to_close()
    assert rest.count(b"HTTP/1.1") == 1
    assert len(rest.partition(b"\r\n\r\n")[2]) <= 4
    assert b"f" not in rest.partition(b"\r\n\r\n")[2]


def test_an_app_that_stops_inside_its_body(serve: Serve) -> None:
    server = serve("asgi_probes:app")
    server.expect_log(r"/unfinished")
    with server.connect() as connection, pytest.raises(Truncated) as cut:
        connection.request(target="/unfinished")
    assert b"0\r\n\r\n" not in cut.value.received


def test_an_app_that_fails_behind_its_answer(serve: Serve) -> None:
    """The client has all of it, and the connection goes on; the log has the traceback."""
    server = serve("asgi_probes:app")
    server.expect_log("failed behind the end")
    with server.connect() as connection:
        assert connection.request(target="/raise-after").text == "answered"
        assert connection.request(target="/").status == 200
    server.wait_log("RuntimeError: failed behind the end")


def test_the_traceback_is_the_apps(serve: Serve) -> None:
    """It names the request, the line that failed, and nothing of the server."""
    server = serve("asgi_probes:app")
    server.expect_log("failed before the start")
    assert server.get("/raise?a=b").status == 500
    server.wait_log("RuntimeError: failed before the start")
    [record] = server.records("ERROR")
    assert "/raise" in record.lines[0]
    assert 'raise RuntimeError("failed before the start")' in record.text
    assert "asgi_probes.py" in record.text


def test_trailers_that_are_announced_and_forgotten(serve: Serve) -> None:
    server = serve("asgi_probes:app")
    server.expect_log("trailers")
    with server.connect() as connection, pytest.raises(Truncated) as cut:
        connection.request(target="/trailers-forgotten", fields=[("TE", "trailers")])
    assert b"0\r\n\r\n" not in cut.value.received
