"""Refusals on the wire: limits, errors that can be read, and what they cost nobody else."""

import contextlib
import socket
import time

import pytest

from support.client import Closed, Connection, chunked, format_request
from support.serving import Serve

INVALID = "Invalid request from ip=127.0.0.1"


def test_limits_by_default(serve: Serve) -> None:
    """4094 bytes of request line, 100 fields, 8190 bytes a field; one more is too many."""
    server = serve("mirror:app")
    server.expect_log(INVALID)
    # "GET " + target + " HTTP/1.1"
    line = "/" + "x" * (4094 - len("GET / HTTP/1.1"))
    field = "y" * (8190 - len("X-Long: \r\n"))
    many = [(f"X-{number}", "1") for number in range(99)]  # and Host
    with server.connect() as connection:
        assert connection.request("GET", line).status == 200
        assert connection.request("GET", "/", [("X-Long", field)]).status == 200
        assert connection.request("GET", "/", many).status == 200
    for status, target, fields in [
        (414, line + "x", []),
        (431, "/", [("X-Long", field + "y")]),
        (431, "/", [*many, ("X-More", "1")]),
    ]:
        with server.connect() as connection:
            assert connection.request("GET", target, fields).status == status


def test_limits_before_the_end(serve: Serve) -> None:
    """A head that is too large is refused when it passes the limit, not when it ends."""
    server = serve("mirror:app")
    server.expect_log(INVALID)
    endless = {
        414: b"GET /" + b"x" * 20_000,
        431: b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"y" * 20_000,
    }
    for status, data in endless.items():
        with server.connect() as connection:
            connection.send(data)
            assert connection.read_response().status == status
            assert connection.read_to_close() == b""


def test_error_can_be_read_while_the_client_sends(serve: Serve) -> None:
    """The server drains what comes after its refusal, so that no reset destroys the answer."""
    server = serve("mirror:app")
    server.expect_log(INVALID)
    for size in (100_000, 1_000_000):
        with server.connect() as connection:
            connection.send(b"GET / HTTP/1.1\r\nbad line\r\n")
            sent = 0
            try:
                while sent < size:
                    connection.send(b"z" * 10_000)
                    sent += 10_000
            except (BrokenPipeError, ConnectionResetError):
                # The draining has a bound; what counts is that the answer is here.
                assert sent >= 50_000
            assert connection.read_response().status == 400


def test_lingering_ends(serve: Serve) -> None:
    """A client that never closes after its error does not keep the connection for long."""
    server = serve("mirror:app")
    server.expect_log(INVALID)
    with server.assert_no_descriptor_growth(timeout=15.0):
        connection = server.connect()
        connection.send(b"bad\r\n\r\n")
        connection.read_to_close()
        baseline = time.monotonic()
        try:
            # The server has half-closed; it reads on for a while, then resets or refuses.
            while time.monotonic() - baseline < 15.0:
                connection.sock.sendall(b"x")
                connection.sock.settimeout(0.1)
                try:
                    connection.sock.recv(1)
                except TimeoutError:
                    continue
        except (BrokenPipeError, ConnectionResetError):
            pass
        else:
            pytest.fail("the server still reads 15 s after its refusal")
        finally:
            connection.close()


def test_error_after_good_requests(serve: Serve) -> None:
    """What came before the mistake is answered, in order; what came after it is not."""
    server = serve("mirror:app")
    server.expect_log(INVALID)
    good = format_request(target="/1") + format_request(target="/2")
    with server.connect() as connection:
        connection.send(good + b"BAD\r\n\r\n" + format_request(target="/3"))
        assert b'"/1"' in connection.read_response().body
        assert b'"/2"' in connection.read_response().body
        assert connection.read_response().status == 400
        assert connection.read_to_close() == b""


def test_bad_chunk_never_reaches_the_app(serve: Serve) -> None:
    """A body that breaks its coding is refused with 400; no app has seen the part before."""
    server = serve()
    server.expect_log(INVALID)
    head = format_request("POST", "/received?bad", [("Transfer-Encoding", "chunked")])
    with server.assert_no_descriptor_growth():
        for broken in (b"5\r\nhello\r\nxyz\r\n", b"5\r\nhelloX\r\n", b"5 \r\nhello\r\n", b"-1\r\n"):
            with server.connect() as connection:
                connection.send(head + broken)
                assert connection.read_response().status == 400
                assert connection.read_to_close() == b""
    assert not server.events("called")


@pytest.mark.parametrize("how", ["close", "reset", "half-close"])
@pytest.mark.parametrize("size", [100, 1_000_000], ids=["memory", "spooled"])
def test_body_shorter_than_declared(serve: Serve, how: str, size: int) -> None:
    """The client leaves before its body is whole: the app never takes the part for the whole."""
    server = serve()
    server.allow_log(INVALID)
    with server.assert_no_descriptor_growth():
        for coded in (False, True):
            connection = server.connect()
            if coded:
                head = format_request("POST", "/received?part", [("Transfer-Encoding", "chunked")])
                connection.send(head + chunked([b"x" * size])[:-5])
            else:
                fields = [("Content-Length", str(size + 1))]
                connection.send(format_request("POST", "/received?part", fields) + b"x" * size)
            if how == "half-close":
                connection.finish_sending()
                with contextlib.suppress(Closed):
                    assert connection.read_response().status == 400
                connection.close()
            elif how == "reset":
                connection.reset()
            else:
                connection.close()
    assert server.get().status == 200
    assert not server.events("received"), "the app was given a truncated body as if it were whole"


def test_silent_and_half_requests_leave_no_trace(serve: Serve) -> None:
    """Connections that say nothing, or half of something, and leave."""
    server = serve()
    with server.assert_no_descriptor_growth():
        for data in (b"", b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n"):
            for end in (Connection.close, Connection.reset):
                connection = server.connect()
                if data:
                    connection.send(data)
                end(connection)
        assert server.get().status == 200
    assert server.get().status == 200


def test_tls_hello_is_refused(serve: Serve) -> None:
    """A TLS client on a plain port gets a clear end at once."""
    server = serve()
    server.expect_log(INVALID)
    with server.connect() as connection:
        connection.send(bytes.fromhex("16030100c8010000c40303") + b"\0" * 190)
        assert connection.read_response().status == 400


def test_port_scan(serve: Serve) -> None:
    """Many connections that are opened and dropped at once: nothing is left, all is well."""
    server = serve()
    with server.assert_no_descriptor_growth():
        for _ in range(300):
            sock = socket.create_connection(server.address)
            sock.close()
        assert server.get().status == 200
