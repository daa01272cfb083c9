"""How WebSockets end: by the client, by the app, by a mistake of either, by the server."""

import signal

import pytest
import websockets
from asgi_sockets import WRONG

from support.asgi import on_each_loop, run, serve_on, websocket_url
from support.client import Truncated
from support.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    PING,
    RSV1,
    TEXT,
    Frame,
    RawSocket,
    close,
    frame,
)
from support.server import Server
from support.serving import Serve

APP = "asgi_sockets:app"


def left(server: Server) -> tuple[int, str]:
    """The end that the app has been told."""
    event = server.wait_event("left")[-1]
    return event["code"], event["reason"] or ""


# By the client.


@on_each_loop
@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1001, "going"), (3000, "äh"), (4999, "x" * 123)]
)
def test_a_close_of_the_client(serve: Serve, loop: str, code: int, reason: str) -> None:
    """It has its own code back, and the connection ends."""
    server = serve_on(serve, loop, APP)
    with RawSocket.open(server.address, "/echo") as socket:
        text = reason.encode()[:123]
        socket.send(close(code, text))
        assert socket.read_close().code == code
        assert socket.read_to_close() == b""
    assert left(server) == (code, text.decode())


def test_a_close_without_a_code(serve: Serve) -> None:
    server = serve(APP)
    with RawSocket.open(server.address, "/echo") as socket:
        socket.send(frame(CLOSE))
        assert socket.read_close().code in (None, 1000)
    assert left(server)[0] == 1005


@on_each_loop
def test_a_client_that_is_gone(serve: Serve, loop: str) -> None:
    """1006 tells that nobody has said anything."""
    server = serve_on(serve, loop, APP)
    RawSocket.open(server.address, "/echo").close()
    assert left(server)[0] == 1006
    RawSocket.open(server.address, "/echo").reset()
    assert server.wait_event("left", count=2)[1]["code"] == 1006


def test_behind_the_end(serve: Serve) -> None:
    """send() is an OSError; receive() tells of the end again."""
    server = serve(APP)
    with RawSocket.open(server.address, "/after") as socket:
        socket.send(close(1000))
        socket.read_close()
    server.wait_event("refused")
    assert server.wait_event("again")[0]["type"] == "websocket.disconnect"


def test_messages_before_the_close_arrive(serve: Serve) -> None:
    """All of them, although the close is there already; what is said to them may be too late."""
    server = serve(APP)
    with RawSocket.open(server.address, "/echo") as socket:
        socket.send(b"".join(frame(TEXT, b"%d" % number) for number in range(20)) + close(1000))
        found = []
        while (each := socket.read_frame()).opcode != CLOSE:
            found.append(each.payload)
    assert left(server)[0] == 1000
    assert server.events("left")[0]["messages"] == 20
    assert found == [b"%d" % number for number in range(len(found))]


@on_each_loop
def test_an_app_that_does_not_look_for_the_end(serve: Serve, loop: str) -> None:
    """What its send() raises is nobody's mistake, and in no log."""
    server = serve_on(serve, loop, APP)
    with RawSocket.open(server.address, "/naive") as socket:
        server.wait_event("waiting")
        socket.send(close(1000))
    (server.directory / "gate").touch()
    server.wait_event("over")
    assert server.get("/").status == 200


# By the app.


@on_each_loop
@pytest.mark.parametrize(
    ("query", "code", "reason"),
    [
        ("", 1000, ""),
        ("?code=1001", 1001, ""),
        ("?code=4000&reason=enough", 4000, "enough"),
        ("?reason=only", 1000, "only"),
    ],
)
def test_a_close_of_the_app(serve: Serve, loop: str, query: str, code: int, reason: str) -> None:
    """What it says before arrives; nothing is sent behind it."""
    server = serve_on(serve, loop, APP)
    with RawSocket.open(server.address, f"/close{query}") as socket:
        assert socket.read_frame() == Frame(TEXT, b"last")
        found = socket.read_close()
        assert (found.code, found.reason) == (code, reason)
        socket.send(close(code))
        assert socket.read_to_close() == b""
    [event] = server.wait_event("refused")
    assert event["is_os_error"]
    assert left(server)[0] == code


def test_an_app_that_comes_to_its_end(serve: Serve) -> None:
    """Without a close of its own."""
    server = serve(APP)
    server.allow_log("/return")
    with RawSocket.open(server.address, "/return") as socket:
        assert socket.read_close().code in (1000, 1011)


@on_each_loop
def test_an_app_that_fails(serve: Serve, loop: str) -> None:
    server = serve_on(serve, loop, APP)
    server.expect_log("/raise.*RuntimeError: failed inside")
    with RawSocket.open(server.address, "/raise") as socket:
        socket.send(frame(TEXT, b"x"))
        found = socket.read_close()
        assert found.code == 1011
        assert "failed" not in found.reason
    assert server.get("/").status == 200


def test_messages_of_the_app_that_are_wrong(serve: Serve, subtests: pytest.Subtests) -> None:
    server = serve(APP)
    server.expect_log("/wrong")
    for name in WRONG:
        with subtests.test(name), RawSocket.open(server.address, f"/wrong?name={name}") as socket:
            assert socket.read_close().code == 1011
    server.expect_log("/accept-twice")
    with RawSocket.open(server.address, "/accept-twice") as socket:
        assert socket.read_close().code == 1011


# By mistakes of the client.


MISTAKES: dict[str, tuple[bytes, int]] = {
    "not masked": (frame(TEXT, b"x", masked=False), 1002),
    "reserved bit": (frame(TEXT, b"x", first=FIN | 0x20), 1002),
    "compressed without agreement": (frame(TEXT, b"x", first=FIN | RSV1), 1002),
    "unknown opcode": (frame(0x3, b"x"), 1002),
    "unknown control": (frame(0xB, b"x"), 1002),
    "long ping": (frame(PING, b"x" * 126), 1002),
    "ping in fragments": (frame(PING, b"x", first=0), 1002),
    "continuation of nothing": (frame(CONTINUATION, b"x"), 1002),
    "a message inside another": (frame(TEXT, b"x", first=0) + frame(TEXT, b"y"), 1002),
    "long form of a length": (b"\x81\xfe\x00\x05" + b"\0" * 9, 1002),
    "close of one byte": (frame(CLOSE, b"\x03"), 1002),
    "close with 1005": (close(1005), 1002),
    "close with 1006": (close(1006), 1002),
    "close with 999": (close(999), 1002),
    "close with 5000": (close(5000), 1002),
    "close with a reason that is no text": (close(1000, b"\xff"), 1007),
    "no text": (frame(TEXT, b"abc\xff"), 1007),
    "text cut in a character": (frame(TEXT, "€".encode()[:2]), 1007),
    "a surrogate": (frame(TEXT, b"\xed\xa0\x80"), 1007),
    "no text in the first fragment": (frame(TEXT, b"\xff", first=0), 1007),
}


@on_each_loop
def test_mistakes_of_clients(serve: Serve, subtests: pytest.Subtests, loop: str) -> None:
    """Each has its code, and the app is told the same one."""
    server = serve_on(serve, loop, APP)
    server.allow_log("(?i)websocket")
    for count, (name, (sent, code)) in enumerate(MISTAKES.items(), start=1):
        with subtests.test(name), RawSocket.open(server.address, "/echo") as socket:
            socket.send(sent)
            assert socket.read_close().code == code
            socket.read_to_close()
        told = server.wait_event("left", count=count)[-1]
        assert told["code"] == code, name
    assert server.get("/").status == 200


LIMIT = ("--websocket-max-message-size", "1000")


def test_messages_that_are_too_large(serve: Serve, subtests: pytest.Subtests) -> None:
    """In one frame, whose length alone tells; in fragments; when inflated."""
    server = serve(APP, *LIMIT)
    server.allow_log("(?i)websocket")
    too_large = {
        "frame": frame(BINARY, bytes(1001)),
        "only its head": frame(BINARY, bytes(1001))[:8],
        "fragments": frame(BINARY, bytes(600), first=0) + frame(CONTINUATION, bytes(600)),
    }
    for name, sent in too_large.items():
        with subtests.test(name), RawSocket.open(server.address, "/echo") as socket:
            socket.send(frame(BINARY, bytes(1000)))
            assert socket.read_frame() == Frame(BINARY, bytes(1000))
            socket.send(sent)
            assert socket.read_close().code == 1009

    async def bomb() -> None:
        async with websockets.connect(websocket_url(server, "/echo"), proxy=None) as socket:
            await socket.send("x" * 1_000_000)
            with pytest.raises(websockets.ConnectionClosedError) as closed:
                await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009

    with subtests.test("inflated"):
        run(bomb)


# By the server.


@on_each_loop
def test_a_reload_is_told(serve: Serve, loop: str) -> None:
    """1012: come back at once; who comes finds the new worker."""
    server = serve_on(serve, loop, APP)
    with RawSocket.open(server.address, "/idle") as socket:
        assert socket.read_frame() == Frame(TEXT, b"open")
        server.send_signal(signal.SIGHUP)
        assert socket.read_close().code == 1012
        socket.send(close(1012))
        assert socket.read_to_close() == b""
    assert left(server)[0] == 1012
    with RawSocket.open(server.address, "/idle") as socket:
        assert socket.read_frame() == Frame(TEXT, b"open")


@on_each_loop
def test_a_stop_is_told(serve: Serve, loop: str) -> None:
    """1001: the endpoint goes away. A client that answers is waited for no longer."""
    server = serve_on(serve, loop, APP)
    sockets = [RawSocket.open(server.address, "/idle") for _ in range(5)]
    for socket in sockets:
        assert socket.read_frame() == Frame(TEXT, b"open")
    server.send_signal(signal.SIGTERM)
    for socket in sockets:
        assert socket.read_close().code == 1001
        socket.send(close(1001))
        assert socket.read_to_close() == b""
        socket.close()
    assert server.wait_exit(15) == 0
    assert [event["code"] for event in server.events("left")] == [1001] * 5


def test_a_stop_ends_within_the_grace_time(serve: Serve) -> None:
    """Also when a client does not answer the close."""
    server = serve(APP, "--graceful-timeout", "2")
    server.allow_log("(?i)cut|idle")
    with RawSocket.open(server.address, "/idle") as socket:
        assert socket.read_frame() == Frame(TEXT, b"open")
        server.send_signal(signal.SIGTERM)
        assert socket.read_close().code == 1001
        assert server.wait_exit(15) == 0


def test_an_app_may_finish_while_it_stops(serve: Serve) -> None:
    """A quick stop closes what is open without a word, or with one; it does not hang."""
    server = serve(APP)
    server.allow_log("(?i)/idle|cancel")
    with RawSocket.open(server.address, "/idle") as socket:
        assert socket.read_frame() == Frame(TEXT, b"open")
        server.send_signal(signal.SIGINT)
        try:
            assert socket.read_close().code in (1001, 1011)
        except Truncated as cut:
            assert cut.received == b""
        assert server.wait_exit(15) == 0


# By silence.


def test_a_silent_client_is_asked(serve: Serve) -> None:
    """And one that answers is kept, however long it says nothing."""
    server = serve(APP, config="websocket_ping_interval = 1\nwebsocket_ping_timeout = 1")
    with RawSocket.open(server.address, "/idle") as socket:
        assert socket.read_frame() == Frame(TEXT, b"open")
        for _ in range(2):
            asked = socket.read_frame()
            assert asked.opcode == PING
            socket.send(frame(0xA, asked.payload))
        socket.send(close(1000))
        assert socket.read_frame().code == 1000


@on_each_loop
def test_a_client_that_does_not_answer_is_gone(serve: Serve, loop: str) -> None:
    config = "websocket_ping_interval = 1\nwebsocket_ping_timeout = 1"
    server = serve_on(serve, loop, APP, config=config)
    server.allow_log("(?i)websocket|ping")
    with RawSocket.open(server.address, "/idle") as socket:
        assert socket.read_frame() == Frame(TEXT, b"open")
        assert left(server)[0] in (1006, 1011)
        rest = socket.read_to_close()
    assert rest.startswith(bytes([FIN | PING]))
