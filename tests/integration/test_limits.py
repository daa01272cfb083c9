"""How large a request's body may be, and how slowly it may come."""

import contextlib
import time
from pathlib import Path

import pytest

from support.client import DELIVERIES, Connection, Delivery, chunked, format_request
from support.processes import memory
from support.serving import Serve
from support.waiting import wait_for

MIB = 1024 * 1024
LIMIT = 2000

REFUSED = "the body is larger than 2000 bytes"

#: What a worker may grow by while it refuses, and what a refused upload may have sent.
MEMORY_BOUND = 8 * MIB
UPLOAD = 30 * MIB


def coded(size: int, piece: int = 700) -> bytes:
    """A request with a chunked body of that size."""
    pieces = [b"x" * min(piece, size - at) for at in range(0, size, piece)]
    head = format_request("POST", "/received", [("Transfer-Encoding", "chunked")])
    return head + chunked(pieces)


@pytest.mark.parametrize("bind", [None, "unix:app.sock"], ids=["tcp", "unix"])
@pytest.mark.parametrize("threads", [1, 2])
def test_limit_request_body(serve: Serve, bind: str | None, threads: int) -> None:
    """One byte more than the limit is 413, whatever the framing and the delivery."""
    options = ["--limit-request-body", str(LIMIT), "--threads", str(threads)]
    server = serve("probes:app", *options, bind=bind)
    server.expect_log(REFUSED)

    def exchange(delivery: Delivery, request: bytes) -> int:
        with server.connect() as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                delivery(connection, request)
            response = connection.read_response()
            if response.status != 200:
                assert response.get("Connection") == "close"
                assert connection.read_to_close() == b""
            return response.status

    for delivery in DELIVERIES.values():
        for size, status in [(LIMIT, 200), (LIMIT + 1, 413)]:
            plain = format_request("POST", "/received", body=b"x" * size)
            assert exchange(delivery, plain) == status, (delivery, size)
            assert exchange(delivery, coded(size)) == status, (delivery, size)
    assert all(event["size"] == LIMIT for event in server.events("received"))


def test_no_limit_by_default(serve: Serve) -> None:
    server = serve()
    assert server.exchange("POST", "/received", body=b"x" * (5 * MIB)).body == str(5 * MIB).encode()


def test_a_body_that_is_too_large_is_not_asked_for(serve: Serve) -> None:
    """`Expect: 100-continue` gets the 413 instead of the 100, and a body that fits the 100."""
    server = serve("probes:app", "--limit-request-body", str(LIMIT))
    server.expect_log(REFUSED)
    expects = [("Expect", "100-continue")]
    with server.connect() as connection:
        connection.send(
            format_request("POST", "/echo", [*expects, ("Content-Length", str(LIMIT + 1))])
        )
        response = connection.read_response()
        assert (response.status, response.interim) == (413, [])
        assert connection.read_to_close() == b""
    with server.connect() as connection:
        connection.send(format_request("POST", "/received", [*expects, ("Content-Length", "5")]))
        assert connection.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.send(b"12345")
        assert connection.read_response().body == b"5"


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_refused_upload_costs_no_memory(serve: Serve, framing: str) -> None:
    """Clients that send all of a large upload before they read find the 413; memory is flat."""
    server = serve("probes:app", "--limit-request-body", str(LIMIT))
    server.expect_log(REFUSED)
    [pid] = server.workers()
    before = memory(pid)
    with server.assert_no_descriptor_growth():
        for _ in range(3):
            with server.connect() as connection:
                send_upload(connection, framing)
                assert connection.read_response().status == 413
                connection.finish_sending()
                assert connection.read_to_close() == b""
    assert memory(pid) - before < MEMORY_BOUND
    assert not server.events("called")


def send_upload(connection: Connection, framing: str) -> None:
    block = b"x" * MIB
    if framing == "length":
        connection.send(format_request("POST", "/received", [("Content-Length", str(UPLOAD))]))
    else:
        connection.send(format_request("POST", "/received", [("Transfer-Encoding", "chunked")]))
        block = b"%x\r\n%s\r\n" % (len(block), block)
    for _ in range(UPLOAD // MIB):
        connection.send(block)


def test_a_body_that_drips_is_cut(serve: Serve) -> None:
    """It makes progress within every `body_timeout`, and less than `body_min_rate` asks for."""
    server = serve("probes:app", "--body-timeout", "2", "--body-min-rate", "1000")
    with server.connect() as dripping, server.connect() as steady:
        for connection in (dripping, steady):
            connection.send(format_request("POST", "/received", [("Content-Length", "10000")]))
        started = time.monotonic()
        dripping.sock.settimeout(0.2)
        steady_sent = 0
        while True:
            assert time.monotonic() - started < 10.0, "it may drip for ever"
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                dripping.send(b"x")
            if steady_sent < 10_000:
                steady.send(b"y" * 400)
                steady_sent += 400
            try:
                dripping.receive()
                break
            except TimeoutError:
                continue
        assert time.monotonic() - started > 1.5
        assert dripping.read_response().status == 408
        steady.send(b"y" * (10_000 - steady_sent))
        assert steady.read_response().body == b"10000"
    server.wait_log("comes at less than 1000 bytes/s: 408")


def test_trailers_are_limited_as_fields_are(serve: Serve) -> None:
    server = serve("probes:app", "--limit-request-fields", "5")
    server.expect_log("Invalid request")
    head = format_request("POST", "/received", [("Transfer-Encoding", "chunked")])
    for count, status in [(5, 200), (6, 431)]:
        with server.connect() as connection:
            trailers = "".join(f"X-T{number}: v\r\n" for number in range(count))
            connection.send(head + chunked([b"body"], trailers))
            assert connection.read_response().status == status


def test_chunk_extensions_are_limited(serve: Serve) -> None:
    """A long one, and many that deliver little: 400, before the memory or the time is gone."""
    server = serve()
    server.expect_log("Invalid request")
    head = format_request("POST", "/received", [("Transfer-Encoding", "chunked")])
    long = b"1;x=" + b"y" * 2000 + b"\r\na\r\n"
    many = b"1;x=yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\na\r\n" * 2000
    for body in (long, many):
        with server.connect() as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.send(head + body)
            assert connection.read_response().status == 400
    assert not server.events("called")


def test_spool_files_have_no_name(serve: Serve, tmp_path: Path) -> None:
    """While an upload is spooled its folder is empty, and its worker holds a nameless file."""
    folder = tmp_path / "spool"
    folder.mkdir()
    server = serve("probes:app", "--spool-dir", str(folder))
    [pid] = server.workers()
    with server.connect() as connection:
        connection.send(format_request("POST", "/received", [("Content-Length", "1000000")]))
        connection.send(b"z" * 900_000)

        def spooled() -> list[str]:
            links = Path(f"/proc/{pid}/fd").iterdir()
            return [str(link.readlink()) for link in links if link.readlink().parent == folder]

        [name] = wait_for(spooled, 5.0, "the spool file")
        assert name.endswith("(deleted)")
        assert list(folder.iterdir()) == []
        connection.send(b"z" * 100_000)
        assert connection.read_response().body == b"1000000"
