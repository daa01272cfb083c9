"""Requests that the server refuses itself: in both logs, and in the error log with the reason."""

import json
import re
from pathlib import Path

import pytest

from support.serving import Serve
from support.waiting import wait_for

BOUND = 20.0

#: Makes Python write the lines.
OWN_LOGGER = """
from monoceros.logging import Logger

class logger_class(Logger):
    def access(self, resp, req, environ, request_time):
        super().access(resp, req, environ, request_time)
"""

#: (what the client sends, the request line in the log, status, why in the error log).
REFUSED = [
    (b"GET / HTTP/1.1\r\nHost: a\r\nBad Field: x\r\n\r\n", "GET / HTTP/1.1", 400, "field"),
    (b"GET /a?b HTTP/1.1\r\n\r\n", "GET /a?b HTTP/1.1", 400, "Host"),
    (b"nonsense\r\n\r\n", "nonsense - -", 400, "method"),
    (b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", "GET / HTTP/9.9", 505, "version"),
    (b'GET /"\x1b[2J HTTP/1.1\r\n\r\n', r"GET /\"\x1b[2J HTTP/1.1", 400, "target"),
    (b"\x16\x03\x01\x00 \x85\r\n\r\n", r"\x16\x03\x01\x00 \x85 -", 400, "method"),
    (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", "GET /x+ -", 414, "limit_request_line"),
    (
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 9000 + b"\r\n\r\n",
        "GET / HTTP/1.1",
        431,
        "limit_request_field_size",
    ),
    (
        b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n",
        "POST /up HTTP/1.1",
        413,
        "limit_request_body",
    ),
    (
        b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "POST /c HTTP/1.1",
        400,
        "chunk",
    ),
    (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "POST / HTTP/1.1",
        501,
        "coding",
    ),
]


@pytest.mark.parametrize("own", ["", OWN_LOGGER], ids=["engine", "python"])
def test_refused_requests_are_in_both_logs(serve: Serve, own: str) -> None:
    """One access line for each, as whoever writes the lines writes them; one warning says why."""
    config = f"accesslog = 'access.log'\nlimit_request_body = 1000\n{own}"
    server = serve("probes:app", config=config, probe=None)
    server.expect_log(r"Invalid request from ip=127\.0\.0\.1: ")
    for sent, _, status, _ in REFUSED:
        with server.connect() as connection:
            connection.send(sent)
            assert connection.read_response().status == status
    assert server.get("/pid").status == 200
    path = server.directory / "access.log"
    wait_for(lambda: lines(path) > len(REFUSED), BOUND, "all lines")
    found = path.read_text().splitlines()
    assert len(found) == len(REFUSED) + 1
    refused = [line for line in found if "/pid" not in line]
    for line, (_, request, status, _) in zip(refused, REFUSED, strict=True):
        words = re.escape(request).replace(r"x\+", "x+")
        assert re.fullmatch(rf'127\.0\.0\.1 - - \[[^]]+\] "{words}" {status} 0 "-" "-"', line), line
    warnings = [record.text for record in server.records("WARNING")]
    reasons = [message for message in warnings if "Invalid request from ip=" in message]
    assert len(reasons) == len(REFUSED)
    for message, (sent, _, _, reason) in zip(reasons, REFUSED, strict=True):
        assert reason.lower() in message.lower(), (sent, message)


def lines(path: Path) -> int:
    return path.read_text().count("\n") if path.exists() else 0


def test_a_request_that_takes_too_long_to_come(serve: Serve) -> None:
    """408, with as much of the request line as has come."""
    server = serve(
        "probes:app",
        "--access-logfile",
        "access.log",
        "--access-log-json",
        "--header-timeout",
        "1",
        "--body-timeout",
        "1",
        probe=None,
    )
    with server.connect() as head, server.connect() as body:
        head.send(b"GET /slow HTTP/1.1\r\nHost")
        body.send(b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
        assert head.read_response().status == 408
        assert body.read_response().status == 408
    path = server.directory / "access.log"
    wait_for(lambda: lines(path) == 2, BOUND, "two lines")
    found = {entry["target"]: entry for entry in map(json.loads, path.read_text().splitlines())}
    assert found["/slow"]["status"] == found["/body"]["status"] == 408
    assert found["/slow"]["protocol"] == "HTTP/1.1"
    assert found["/slow"]["user_agent"] is None


def test_hooks_do_not_see_them(serve: Serve) -> None:
    """As ever: there is no request that they could be shown."""
    config = """
accesslog = "access.log"

def pre_request(worker, request):
    worker.log.info("before %s", request.path)

def post_request(worker, request, environ, response):
    worker.log.info("after %s", request.path)
"""
    server = serve("probes:app", config=config, probe=None)
    server.expect_log("Invalid request from ip=")
    with server.connect() as connection:
        connection.send(b"GET /refused HTTP/1.1\r\n\r\n")
        assert connection.read_response().status == 400
    server.get("/pid")
    server.wait_log("after /pid")
    wait_for(lambda: lines(server.directory / "access.log") == 2, BOUND, "two lines")
    assert "before /refused" not in server.log
    assert "after /refused" not in server.log
