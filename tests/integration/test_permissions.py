"""The switches that let in what is refused by default: each works, and says so once."""

import pytest

from support.client import Connection, format_request
from support.serving import Serve

#: Option, a request that only it lets in, what the app then reads from its environ.
SWITCHES = {
    "--permit-obsolete-folding": (
        b"GET /environ HTTP/1.1\r\nHost: a\r\nX-Folded: one\r\n two\r\n\r\n",
        b'"HTTP_X_FOLDED": ["str", "one   two"]',
    ),
    "--strip-header-spaces": (
        b"GET /environ HTTP/1.1\r\nHost: a\r\nX-Spaced : one\r\n\r\n",
        b'"HTTP_X_SPACED": ["str", "one"]',
    ),
    "--permit-unconventional-http-method": (
        b"get /environ HTTP/1.1\r\nHost: a\r\n\r\n",
        b'"REQUEST_METHOD": ["str", "get"]',
    ),
    "--permit-unconventional-http-version": (
        b"GET /environ HTTP/1.9\r\nHost: a\r\n\r\n",
        b'"SERVER_PROTOCOL": ["str", "HTTP/1.1"]',
    ),
}


@pytest.mark.parametrize("option", SWITCHES)
def test_a_switch_lets_in_what_is_refused_without_it(serve: Serve, option: str) -> None:
    request, seen = SWITCHES[option]
    strict = serve("probes:app")
    strict.expect_log("Invalid request from ip=127.0.0.1")
    with strict.connect() as connection:
        connection.send(request)
        assert connection.read_response().status in (400, 505)
    assert "is on" not in strict.log

    lenient = serve("probes:app", option, workers=2)
    name = option.removeprefix("--").replace("-", "_")
    lenient.expect_log(f"^{name} is on: .+")
    for deliver in (Connection.send, Connection.send_bytewise):
        with lenient.connect() as connection:
            deliver(connection, request)
            response = connection.read_response()
            assert response.status == 200
            assert seen in response.body
            # What follows on the connection is in order.
            connection.send(format_request(target="/pid"))
            assert connection.read_response().status == 200
    assert lenient.log.count(f"{name} is on") == 1


def test_folded_methods(serve: Serve) -> None:
    """In upper case for the app, the hooks and the access log, with a body as well."""
    server = serve(
        "probes:app",
        "--permit-unconventional-http-method",
        "--casefold-http-method",
        "--access-logfile",
        "access.log",
        probe=None,
    )
    server.expect_log("casefold_http_method is on|permit_unconventional_http_method is on")
    with server.connect() as connection:
        connection.send(b"proPfind /environ HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b'"REQUEST_METHOD": ["str", "PROPFIND"]' in connection.read_response().body
        connection.send(b"post /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody")
        assert connection.read_response().body == b"body"
        connection.send(b"head /large?bytes=10 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert connection.read_response("HEAD").get("Content-Length") == "10"
    server.stop()
    log = (server.directory / "access.log").read_text()
    for line in ('"PROPFIND /environ HTTP/1.1"', '"POST /echo', '"HEAD /large'):
        assert line in log
