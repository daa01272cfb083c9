"""Clients that are slow, on purpose or not, cost nobody else anything."""

import contextlib
import time

import pytest

from support.client import Closed, Connection, Truncated, format_request
from support.load import Load
from support.processes import memory
from support.server import Server
from support.serving import Serve
from support.waiting import wait_for

MIB = 1024 * 1024

#: The deadlines in these tests, in seconds, and what a check may take beyond them.
DEADLINE = 3
SLACK = 3.0

#: Of an ordinary request beside slow ones.
P99_BOUND = 0.050

#: Of all workers together, with all slow clients connected.
MEMORY_BOUND = 64 * MIB

HALF_HEADS = 600
STALLED_UPLOADS = 100
NOT_READING = 50
LARGE = 30_000_000


def ordinary_requests(server: Server, seconds: float) -> None:
    """Both kinds of ordinary client are served quickly for a while."""
    loads = [
        Load(server.address, clients=2, keep_alive=True),
        Load(server.address, clients=2, keep_alive=False),
    ]
    with loads[0], loads[1]:
        end = time.monotonic() + seconds
        wait_for(lambda: time.monotonic() >= end, seconds + 5, "the load to have run")
    for load in loads:
        load.assert_no_loss(at_least=50)
        assert load.latency(0.99) < P99_BOUND, f"p99 is {load.latency(0.99) * 1000:.1f} ms"


@pytest.mark.alone
def test_all_kinds_at_once(serve: Serve) -> None:
    """Half-sent heads, stalled uploads and clients that do not read, on two sync workers."""
    deadlines = [
        part
        for name in ("--header-timeout", "--body-timeout", "--write-timeout")
        for part in (name, str(DEADLINE + 2))
    ]
    server = serve("probes:app", *deadlines, workers=2)
    server.allow_log("messages of this kind were left out")
    workers = server.workers()
    # Both workers have made the large block, so that it does not count as growth.
    wait_for(lambda: _made_large(server) == set(workers), 10.0, "both workers to be warm")
    before = server.memory()
    open_before = sum(server.descriptor_counts().values())
    with contextlib.ExitStack() as stack, server.assert_no_descriptor_growth(timeout=20.0):
        heads, uploads, readers = [], [], []
        for number in range(HALF_HEADS):
            connection = stack.enter_context(server.connect(20.0))
            connection.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "[: 10 + number % 30])
            heads.append(connection)
        for number in range(STALLED_UPLOADS):
            connection = stack.enter_context(server.connect(20.0))
            fields = [("Content-Length", "1000000")]
            begun = b"z" * (number * 3000)
            connection.send(format_request("POST", "/received?stalled", fields) + begun)
            uploads.append(connection)
        for number in range(NOT_READING):
            connection = stack.enter_context(server.connect(20.0, receive_buffer=4096))
            target = f"/large?bytes={LARGE}" if number % 2 else "/stream?pieces=460"
            connection.send(format_request(target=target))
            readers.append(connection)
        ordinary_requests(server, 2.0)
        grown = server.memory() - before
        assert grown < MEMORY_BOUND, f"the workers have grown by {grown / MIB:.0f} MiB"
        for connection in heads:
            response = connection.read_response()
            assert response.status == 408 and response.get("Connection") == "close"
            assert connection.read_to_close() == b""
        for connection in uploads:
            with contextlib.suppress(Closed):
                assert connection.read_response().status == 408
        wait_for(
            lambda: sum(server.descriptor_counts().values()) <= open_before,
            15.0,
            "the slow clients to be cut",
        )
        for connection in readers:
            with pytest.raises(Truncated):
                connection.read_response()
    assert not server.events("called"), "an app was called for a stalled upload"
    assert server.workers() == workers
    ordinary_requests(server, 0.5)


def _made_large(server: Server) -> set[int]:
    """Ask for the large block once more; the workers that have it by now."""
    server.get(f"/large?bytes={LARGE}")
    return {pid for pid in server.workers() if memory(pid) > LARGE}


@pytest.mark.parametrize("sent", [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\n"], ids=len)
def test_header_deadline(serve: Serve, sent: bytes) -> None:
    """408 after `header_timeout`; a connection that never said a byte is closed without."""
    server = serve("probes:app", "--header-timeout", "2", "--keep-alive", "2")
    started = time.monotonic()
    with server.connect(10.0) as connection:
        if not sent:
            connection.wait_closed(2 + SLACK)
        else:
            connection.send(sent)
            assert connection.read_response().status == 408
            assert connection.read_to_close() == b""
        assert 1.5 < time.monotonic() - started < 2 + SLACK


def test_header_deadline_is_for_the_whole_head(serve: Serve) -> None:
    """Dripping does not extend it."""
    server = serve("probes:app", "--header-timeout", "2")
    started = time.monotonic()
    with server.connect(0.1) as connection:
        data = iter(b"GET / HTTP/1.1\r\nX-Slow: " + b"x" * 1000)

        def dripped() -> bool:
            """Send a byte; whether an answer has come instead of the time for the next."""
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.send(bytes([next(data)]))
            try:
                return connection.receive()
            except TimeoutError:
                return False

        wait_for(dripped, 2 + SLACK, "an answer to the dripping client")
        assert time.monotonic() - started > 1.5
        assert connection.read_response().status == 408


def test_header_deadline_on_a_kept_connection(serve: Serve) -> None:
    """It begins with the first byte of a request; idle time before it is `keepalive`'s."""
    server = serve("probes:app", "--header-timeout", "1", "--keep-alive", "30")
    with server.connect() as connection:
        connection.request()
        started = time.monotonic()
        wait_for(lambda: time.monotonic() - started > 1.6, 3.0, "more than header_timeout")
        assert connection.request().status == 200
        connection.send(b"GET / HT")
        assert connection.read_response().status == 408


def test_body_deadline(serve: Serve) -> None:
    """An upload without progress is cut after `body_timeout`; one that goes on slowly is not.

    So slowly that it would fall short of the least rate, which is lifted for once.
    """
    server = serve("probes:app", "--body-timeout", "2", "--body-min-rate", "0")
    fields = [("Content-Length", "4")]
    with server.connect() as stalled, server.connect() as steady:
        started = time.monotonic()
        stalled.send(format_request("POST", "/received?stalled", fields) + b"a")
        steady.send(format_request("POST", "/received?steady", fields))
        for index in range(3):
            due = started + 1.0 * (index + 1)
            wait_for(lambda due=due: time.monotonic() >= due, 3.0, "the next byte's time")
            steady.send(b"b")
        with contextlib.suppress(Closed):
            assert stalled.read_response().status == 408
        assert stalled.read_to_close() == b""
        assert time.monotonic() - started < 2 + SLACK
        steady.send(b"b")
        assert steady.read_response().body == b"4"
    assert [event["query"] for event in server.events("called")] == ["steady"]


def test_write_deadline(serve: Serve) -> None:
    """Who does not read is cut after `write_timeout`; who reads slowly gets everything."""
    server = serve("probes:app", "--write-timeout", "2")
    size = 4_000_000
    request = format_request(target=f"/large?bytes={size}")
    with server.connect(receive_buffer=4096) as stuck, server.connect(receive_buffer=4096) as slow:
        stuck.send(request)
        slow.send(request)
        slow.read_until(b"\r\n\r\n")
        started = time.monotonic()
        received = len(slow.buffer)
        # About a megabyte in 3 s: progress all the time, though slow.
        for step in range(1, 31):
            due = started + step * 0.1
            wait_for(lambda due=due: time.monotonic() >= due, 1.0, "the next read's time")
            received += len(slow.sock.recv(35_000))
        while received < size:
            data = slow.sock.recv(65_536)
            assert data, "the slow reader was cut"
            received += len(data)
        with pytest.raises(Truncated):
            stuck.read_response()


@pytest.mark.parametrize("threads", [1, 2])
def test_slow_senders_hold_no_thread(serve: Serve, threads: int) -> None:
    """More half-sent requests than threads; every other request is answered at once."""
    server = serve("probes:app", "--threads", str(threads))
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            connection: Connection = stack.enter_context(server.connect())
            connection.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhal")
        for _ in range(20):
            assert server.get(timeout=2.0).status == 200
