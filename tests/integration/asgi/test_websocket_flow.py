"""WebSockets whose other side does not read: each waits for its own, and memory stays flat.

And what many that are idle cost.
"""

import resource
import threading
from collections.abc import Callable

import pytest

from support.asgi import on_each_loop, serve_on
from support.frames import BINARY, TEXT, Frame, RawSocket, close, frame, handshake
from support.serving import Serve
from support.waiting import wait_for

APP = "asgi_sockets:app"

MIB = 1024 * 1024

#: What a conversation that is held may cost.
GROWTH_BOUND = 8 * MIB


@on_each_loop
def test_an_app_that_does_not_read(serve: Serve, figures: Callable[[str], None], loop: str) -> None:
    """The client is held; when the app reads, all is there."""
    server = serve_on(serve, loop, APP)
    before = server.memory()
    count, size = 2000, 32 * 1024
    message = frame(BINARY, bytes(size))
    sent = 0
    with RawSocket.open(server.address, "/deaf", timeout=60.0) as socket:
        server.wait_event("waiting")

        def flood() -> None:
            nonlocal sent
            for _ in range(count):
                socket.send(message)
                sent += 1
            socket.send(frame(TEXT, b"end"))

        client = threading.Thread(target=flood, daemon=True)
        client.start()
        last, same = -1, 0

        def stands() -> bool:
            nonlocal last, same
            same = same + 1 if sent == last else 0
            last = sent
            return same >= 50

        wait_for(stands, 60, "the client to be held")
        assert last < count
        held = server.memory() - before
        assert held < GROWTH_BOUND, held
        for _ in range(3):
            assert server.get("/").status == 200
        (server.directory / "gate").touch()
        assert socket.read_frame() == Frame(
            TEXT, b'{"count": %d, "size": %d}' % (count, count * size)
        )
        client.join(20)
        socket.send(close(1000))
        assert socket.read_close().code == 1000
    figures(
        f"websocket to an app that does not read, {loop}: held after {last * size / MIB:.1f} MiB, "
        f"worker grew by {held / MIB:.1f} MiB"
    )


def test_many_small_messages_to_an_app_that_does_not_read(serve: Serve) -> None:
    """Their number is bounded as well as their bytes."""
    server = serve(APP)
    before = server.memory()
    count = 300_000
    messages = frame(BINARY, b"x") * 1000
    with RawSocket.open(server.address, "/deaf", timeout=60.0) as socket:
        server.wait_event("waiting")

        def flood() -> None:
            for _ in range(count // 1000):
                socket.send(messages)
            socket.send(frame(TEXT, b"end"))

        client = threading.Thread(target=flood, daemon=True)
        client.start()
        client.join(1.0)
        assert server.memory() - before < GROWTH_BOUND
        (server.directory / "gate").touch()
        assert socket.read_frame() == Frame(TEXT, b'{"count": %d, "size": %d}' % (count, count))
        client.join(20)


@on_each_loop
def test_a_client_that_does_not_read(
    serve: Serve, figures: Callable[[str], None], loop: str
) -> None:
    """send() holds the app; others are served; it is told when the client leaves."""
    server = serve_on(serve, loop, APP, "--write-timeout", "120")
    before = server.memory()
    with RawSocket.open(server.address, "/flood?size=16384", timeout=60.0):
        count, same = -1, 0

        def stands() -> bool:
            nonlocal count, same
            now = len(server.events("sent"))
            same = same + 1 if now == count else 0
            count = now
            return same >= 50

        wait_for(stands, 60, "the app to be held")
        held = server.memory() - before
        assert held < GROWTH_BOUND, held
        for _ in range(3):
            assert server.get("/").status == 200
    server.wait_event("refused")
    assert server.wait_event("left")[0]["code"] == 1006
    sent = max((event["sent"] for event in server.events("sent")), default=0)
    figures(
        f"websocket to a client that does not read, {loop}: held after {sent / MIB:.1f} MiB, "
        f"worker grew by {held / MIB:.1f} MiB"
    )


#: Open WebSockets that say nothing, and what they may cost beyond none.
IDLE = 5000
IDLE_BOUND = 24 * MIB


@pytest.mark.alone
@on_each_loop
def test_idle_ones_are_cheap(serve: Serve, figures: Callable[[str], None], loop: str) -> None:
    """Each has its task, which waits in receive()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < IDLE + 500:
        pytest.skip(f"only {hard} descriptors are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sockets: list[RawSocket] = []
    try:
        server = serve_on(
            serve, loop, APP, "--worker-connections", str(IDLE + 100), "--backlog", "4096"
        )
        server.allow_log("(?i)descriptors")
        for _ in range(50):  # what the first ones cost once for all
            with RawSocket.open(server.address, "/echo") as socket:
                socket.send(close(1000))
                socket.read_close()
        server.wait_event("left", count=50)
        before = server.memory()
        for first in range(0, IDLE, 250):
            batch = [RawSocket(server.address, 60.0) for _ in range(first, first + 250)]
            sockets += batch
            for socket in batch:
                socket.send(handshake("/echo"))
            for socket in batch:
                assert socket.read_response().status == 101
        grown = server.memory() - before
        figures(
            f"{IDLE} idle WebSockets, {loop}: {grown / MIB:.1f} MiB, {grown / IDLE:.0f} bytes each"
        )
        assert grown < IDLE_BOUND, grown
        # They live.
        for socket in sockets[:: IDLE // 20]:
            socket.send(frame(TEXT, b"x"))
            assert socket.read_frame() == Frame(TEXT, b"x")
    finally:
        for socket in sockets:
            socket.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert server.get("/").status == 200
