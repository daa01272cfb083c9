"""Clients that do not read what an app sends: the app waits, memory does not grow, and nobody else
notices."""

from collections.abc import Callable

import pytest

from support.asgi import on_each_loop, serve_on
from support.client import Connection, format_request
from support.serving import Serve
from support.waiting import wait_for

MIB = 1024 * 1024

#: What a stream that nobody reads may cost, whatever its length.
GROWTH_BOUND = 8 * MIB

#: The size of the stream that is held, and what is read of it when the client goes on.
STREAM = 1024 * MIB
READ_ON = 32 * MIB

APP = """
import asyncio
from asgi_probes import app as probes, body, query, start
from events import note

async def app(scope, receive, send):
    if scope["type"] == "http" and scope["path"] == "/gib":
        await stream(scope, send)
    else:
        await probes(scope, receive, send)

async def stream(scope, send):
    size, total = int(query(scope, "piece")), int(query(scope, "total"))
    await start(send, fields=[(b"content-length", b"%d" % total)])
    piece = bytes(size)
    sent = 0
    try:
        while sent < total:
            await body(send, piece, more=True)
            sent += size
            if sent % (1 << 20) == 0:
                note("sent", sent=sent)
        await body(send)
        note("complete")
    except OSError:
        note("refused", sent=sent)
        raise
"""


def skip(connection: Connection, size: int) -> None:
    """Read that much and keep nothing of it."""
    while size > 0:
        if not connection.buffer:
            assert connection.receive()
        taken = min(size, len(connection.buffer))
        del connection.buffer[:taken]
        size -= taken


@on_each_loop
@pytest.mark.parametrize("piece", [16 * 1024, 4 * MIB], ids=["small", "large"])
def test_a_client_that_stops_reading(
    serve: Serve, figures: Callable[[str], None], loop: str, piece: int
) -> None:
    server = serve_on(serve, loop, "own:app", "--write-timeout", "120", files={"own.py": APP})
    before = server.memory()
    target = f"/gib?piece={piece}&total={STREAM}"
    with server.connect(60.0, receive_buffer=64 * 1024) as connection:
        connection.send(format_request(target=target))
        connection.read_until(b"\r\n\r\n")

        count, same = -1, 0

        def stands() -> bool:
            """The app gets no further."""
            nonlocal count, same
            now = len(server.events("sent"))
            same = same + 1 if now == count else 0
            count = now
            return same >= 30

        wait_for(stands, 60, "the stream to be held")
        held = server.memory() - before
        sent = max((event["sent"] for event in server.events("sent")), default=0)
        assert sent < STREAM // 4
        assert held < GROWTH_BOUND + piece, held
        for _ in range(5):
            assert server.get("/").status == 200
        skip(connection, READ_ON)
        assert max(event["sent"] for event in server.events("sent")) > READ_ON // 2
        grown = server.memory() - before
        assert grown < GROWTH_BOUND + piece, grown
    server.wait_event("refused")
    figures(
        f"1 GiB to a client that stops, pieces of {piece // 1024} KiB, {loop}: held after "
        f"{sent // MIB} MiB, worker grew by {held / MIB:.1f} MiB"
    )


def test_many_clients_that_do_not_read(serve: Serve) -> None:
    """Each costs what its socket takes and a bounded rest."""
    server = serve("own:app", "--write-timeout", "120", files={"own.py": APP})
    before = server.memory()
    connections = [server.connect(60.0, receive_buffer=4096) for _ in range(50)]
    try:
        for connection in connections:
            connection.send(format_request(target=f"/gib?piece=65536&total={STREAM}"))
        for connection in connections:
            connection.read_until(b"\r\n\r\n")
        assert server.get("/").status == 200
        grown = server.memory() - before
        assert grown < 50 * 512 * 1024, grown
    finally:
        for connection in connections:
            connection.close()
    server.wait_event("refused", 20.0, count=50)


def test_one_large_body_to_a_client_that_does_not_read(serve: Serve) -> None:
    """It is the app's own bytes that wait; others are served."""
    server = serve("asgi_probes:app", "--write-timeout", "120")
    with server.connect(60.0, receive_buffer=4096) as connection:
        connection.send(format_request(target=f"/large?size={32 * MIB}"))
        connection.read_until(b"\r\n\r\n")
        for _ in range(5):
            assert server.get("/").status == 200
        skip(connection, 32 * MIB)
        assert connection.request(target="/").text == "hello, world\n"


def test_a_client_that_never_reads_is_cut(serve: Serve) -> None:
    """At write_timeout; the app is told by its send()."""
    server = serve("own:app", "--write-timeout", "1", files={"own.py": APP})
    server.allow_log("write|read")
    with server.connect(60.0, receive_buffer=4096) as connection:
        connection.send(format_request(target=f"/gib?piece=65536&total={STREAM}"))
        server.wait_event("refused", 20.0)
    assert server.get("/").status == 200
