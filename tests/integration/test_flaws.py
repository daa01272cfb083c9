"""Flaws of Gunicorn's that are not copied, where no other test shows it.

Which test shows it for each of them stands in `docs/contract/flaws.py`.
"""

import http
import stat

import pytest

from support.client import Connection, format_request, get
from support.serving import Serve
from support.waiting import wait_for

#: Waits, once it has been called, until a file is there.
GATED = """
import os, time
from events import note

def app(environ, start_response):
    if environ["PATH_INFO"] != "/":
        note("begun", target=environ["PATH_INFO"])
        while not os.path.exists("open" + environ["PATH_INFO"].replace("/", "-")):
            time.sleep(0.01)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


def test_no_request_waits_behind_a_busy_worker(serve: Serve) -> None:
    """As many requests run as there are threads: who has none free accepts nothing."""
    server = serve("gated:app", "--threads", "2", workers=2, files={"gated.py": GATED})
    server.allow_log("Slow request in worker")  # where the machine is very slow
    begun = 0
    for number in range(5):
        connections = []
        for _ in range(4):
            connection = server.connect(60)
            connection.send(format_request("GET", f"/{number}"))
            connections.append(connection)
            begun += 1
            server.wait_event("begun", 30, count=begun)
        (server.directory / f"open-{number}").touch()
        assert [connection.read_response().status for connection in connections] == [200] * 4
        for connection in connections:
            connection.close()


MARK = "marked-by-the-client"

WRONG = {
    "target": f"GET /{MARK} x HTTP/1.1\r\nHost: a\r\n\r\n",
    "method": f"{MARK}() / HTTP/1.1\r\nHost: a\r\n\r\n",
    "version": f"GET / HTTP/1.1{MARK}\r\nHost: a\r\n\r\n",
    "name": f"GET / HTTP/1.1\r\nHost: a\r\n{MARK}(: x\r\n\r\n",
    "value": f"GET / HTTP/1.1\r\nHost: a\r\nX: {MARK}\x01\r\n\r\n",
    "coding": f"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {MARK}, chunked\r\n\r\n",
    "length": f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {MARK}\r\n\r\n",
    "script": f"GET /x HTTP/1.1\r\nHost: a\r\nSCRIPT_NAME: /{MARK}\r\n\r\n",
    "exception": f"GET /fail?{MARK} HTTP/1.1\r\nHost: a\r\n\r\n",
}


def test_error_pages_tell_neither_the_request_nor_the_exception(serve: Serve) -> None:
    server = serve()
    server.allow_log("Invalid request|Error handling request")
    for name, request in WRONG.items():
        with server.connect() as connection:
            connection.send(request.encode("latin-1"))
            response = connection.read_response()
        assert response.status >= 400, name
        assert response.reason == http.HTTPStatus(response.status).phrase, name
        shown = f"{response.fields} {response.text}"
        assert MARK not in shown, name
        assert "on purpose" not in shown, name
        assert "Traceback" not in shown, name


def test_a_field_size_of_0_is_no_small_limit(serve: Serve) -> None:
    server = serve("probes:app", "--limit-request-field_size", "0", "--limit-request-line", "0")
    with server.connect() as connection:
        fields = [("X-Large", "x" * 100_000)]
        assert connection.request(target="/?" + "q" * 100_000, fields=fields).status == 200


@pytest.mark.parametrize("parser", ["auto", "fast", "python"])
def test_every_parser_is_there(serve: Serve, parser: str) -> None:
    server = serve("probes:app", "--http-parser", parser)
    assert server.get().text == "hello, world\n"


@pytest.mark.parametrize("mode", [0o660, 0o600])
def test_a_unix_socket_is_not_everybodys(serve: Serve, mode: int) -> None:
    server = serve("probes:app", "--socket-mode", f"{mode:04o}", bind="unix:site.sock")
    path = server.directory / "site.sock"
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert get(str(path)).status == 200


def test_a_second_server_takes_nothing_from_the_first(serve: Serve) -> None:
    """Neither its unix socket while it runs, nor, when the second ends, the socket's file."""
    first = serve(bind="unix:site.sock")
    path = str(first.directory / "site.sock")
    second = serve(bind=f"unix:{path}", address=path, wait=False)
    second.expect_log("a living process listens there")
    second.expect_exit(1)
    second.other_addresses, second.address = [], str(second.directory / "never")
    assert second.wait_exit(30) == 1
    assert first.get().status == 200


def test_threads_are_not_taken_by_silent_connections(serve: Serve) -> None:
    """Browsers connect ahead of need; load balancers probe."""
    server = serve("probes:app", "-k", "gthread", "--threads", "2")
    silent = [server.connect() for _ in range(8)]
    with Connection(server.address) as connection:
        for _ in range(3):
            assert connection.request().status == 200
    begun = [server.connect() for _ in range(8)]
    for each in begun:
        each.send(b"GET / HTTP/1.1\r\nHo")
    wait_for(lambda: server.get().status == 200, 10, "an answer beside half-sent requests")
    for each in [*silent, *begun]:
        each.close()
