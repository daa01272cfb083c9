"""WebSockets: how they begin, and what is said in them."""

import asyncio
import json
import os
from typing import Any

import pytest
import websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from support.asgi import on_each_loop, run, serve_on, websocket_url
from support.client import DELIVERIES, Connection, Delivery, Response
from support.frames import (
    ACCEPT,
    BINARY,
    CONTINUATION,
    FIN,
    PING,
    PONG,
    TEXT,
    Frame,
    RawSocket,
    close,
    frame,
    handshake,
)
from support.server import Server
from support.serving import Serve

APP = "asgi_sockets:app"

#: Keys of a WebSocket's scope: those of HTTP without the method, and the subprotocols.
KEYS = {
    "type",
    "asgi",
    "http_version",
    "scheme",
    "path",
    "raw_path",
    "query_string",
    "root_path",
    "headers",
    "client",
    "server",
    "subprotocols",
    "state",
    "extensions",
}


def answer(server: Server, target: str, **changed: str | None) -> Response:
    """What a handshake is answered with."""
    with server.connect() as connection:
        connection.send(handshake(target, **changed))
        return connection.read_response()


def dial(server: Server, target: str, **options: Any) -> websockets.connect:
    url = websocket_url(server, target)
    return websockets.connect(url, proxy=None, open_timeout=30, max_size=None, **options)


# Handshakes.


@on_each_loop
def test_a_handshake(serve: Serve, loop: str) -> None:
    server = serve_on(serve, loop, APP)
    with RawSocket.open(server.address, "/echo") as socket:
        response = socket.response
        assert (response.version, response.status) == ("HTTP/1.1", 101)
        assert response.get("Sec-WebSocket-Accept") == ACCEPT
        assert (response.get("Upgrade") or "").lower() == "websocket"
        assert (response.get("Connection") or "").lower() == "upgrade"
        for name in ("Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Content-Length"):
            assert response.get(name) is None
        socket.send(frame(TEXT, b"hello"))
        assert socket.read_frame() == Frame(TEXT, b"hello")


@pytest.mark.parametrize("delivery", DELIVERIES.values(), ids=DELIVERIES)
def test_frames_behind_the_handshake(serve: Serve, delivery: Delivery) -> None:
    """A client need not wait for the answer to be parsed right."""
    server = serve(APP)
    with Connection(server.address) as connection:
        delivery(connection, handshake("/echo") + frame(TEXT, b"one") + frame(BINARY, b"two"))
        assert connection.read_response().status == 101
        connection.__class__ = RawSocket
        assert isinstance(connection, RawSocket)
        assert connection.read_frame() == Frame(TEXT, b"one")
        assert connection.read_frame() == Frame(BINARY, b"two")


REFUSED: dict[str, tuple[dict[str, str | None], int]] = {
    "no version": ({"Sec_WebSocket_Version": None}, 426),
    "an old version": ({"Sec_WebSocket_Version": "8"}, 426),
    "no key": ({"Sec_WebSocket_Key": None}, 400),
    "a short key": ({"Sec_WebSocket_Key": "c2hvcnQ="}, 400),
    "no base64": ({"Sec_WebSocket_Key": "!" * 24}, 400),
}


def test_handshakes_that_are_refused(serve: Serve, subtests: pytest.Subtests) -> None:
    server = serve(APP)
    server.allow_log("(?i)invalid request|websocket")
    for name, (changed, status) in REFUSED.items():
        with subtests.test(name):
            response = answer(server, "/echo", **changed)
            assert response.status == status
            if status == 426:
                assert response.get("Sec-WebSocket-Version") == "13"
    assert server.get("/").status == 200


def test_an_upgrade_that_is_none(serve: Serve) -> None:
    """Without the word in Connection, or to something else, it is a request like any other."""
    server = serve(APP)
    assert answer(server, "/", Connection="keep-alive").status == 200
    assert answer(server, "/", Upgrade="h2c").status == 200
    assert answer(server, "/", Connection=None, Upgrade=None).status == 200


def test_words_in_lists_and_any_case(serve: Serve) -> None:
    """As browsers and proxies send them."""
    server = serve(APP)
    changed = {"Connection": "keep-alive, UPGRADE", "Upgrade": "WebSocket"}
    assert answer(server, "/idle", **changed).status == 101


@on_each_loop
def test_the_scope(serve: Serve, loop: str) -> None:
    server = serve_on(serve, loop, APP)
    with RawSocket.open(
        server.address,
        "/scope?a=%20b",
        Sec_WebSocket_Protocol="chat, superchat",
        Origin="http://a.example",
    ) as socket:
        found = json.loads(socket.read_frame().payload)
        client = list(socket.sock.getsockname())
    assert set(found) == KEYS
    assert found["type"] == "websocket"
    assert found["asgi"] == {"version": "3.0", "spec_version": "2.5"}
    assert found["http_version"] == "1.1"
    assert found["scheme"] == "ws"
    assert found["path"] == "/scope"
    assert found["raw_path"] == ["bytes", "/scope"]
    assert found["query_string"] == ["bytes", "a=%20b"]
    assert found["root_path"] == ""
    assert found["client"] == client
    assert found["server"] == list(server.address)
    assert found["subprotocols"] == ["chat", "superchat"]
    assert found["state"]["made_at_startup"] == "ready"
    assert "websocket.http.response" in found["extensions"]
    assert [["bytes", "origin"], ["bytes", "http://a.example"]] in found["headers"]


def test_the_scheme_behind_a_proxy(serve: Serve) -> None:
    server = serve(APP)
    with RawSocket.open(server.address, "/scope", X_Forwarded_Proto="https") as socket:
        assert json.loads(socket.read_frame().payload)["scheme"] == "wss"


def test_a_subprotocol_and_fields_of_the_app(serve: Serve) -> None:
    server = serve(APP)
    with RawSocket.open(
        server.address, "/accept?protocol=chat", Sec_WebSocket_Protocol="other, chat"
    ) as socket:
        response = socket.response
        assert response.get("Sec-WebSocket-Protocol") == "chat"
        assert response.get("x-one") == "1"
        assert response.all("set-cookie") == ["a=1", "b=2"]


def test_an_app_that_does_not_wait_for_the_connection(serve: Serve) -> None:
    server = serve(APP)
    with RawSocket.open(server.address, "/early") as socket:
        assert socket.read_frame() == Frame(TEXT, b"early")


def test_a_client_that_leaves_before_it_is_accepted(serve: Serve) -> None:
    server = serve(APP)
    server.allow_log("slow-accept")
    with Connection(server.address) as connection:
        connection.send(handshake("/slow-accept"))
        server.wait_event("waiting")
    (server.directory / "gate").touch()
    assert server.get("/").status == 200


# Refusals by the app.


def test_a_close_before_the_accept_is_403(serve: Serve) -> None:
    server = serve(APP)
    assert answer(server, "/reject").status == 403


def test_an_app_that_returns_before_the_accept(serve: Serve) -> None:
    server = serve(APP)
    server.allow_log("/return-early")
    assert answer(server, "/return-early").status in (403, 500)
    assert server.get("/").status == 200


@on_each_loop
def test_an_app_that_fails_before_the_accept(serve: Serve, loop: str) -> None:
    server = serve_on(serve, loop, APP)
    server.expect_log("/raise-early.*RuntimeError: failed early")
    assert answer(server, "/raise-early").status == 500
    assert server.get("/").status == 200


def test_an_answer_in_place_of_a_websocket(serve: Serve) -> None:
    server = serve(APP)
    response = answer(server, "/deny")
    assert response.status == 401
    assert response.get("www-authenticate") == "Basic"
    assert response.body == b"who are you?"


def test_a_message_before_the_accept(serve: Serve) -> None:
    server = serve(APP)
    server.expect_log("/send-first")
    assert answer(server, "/send-first").status == 500


# Messages.


@on_each_loop
@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflate"])
def test_messages_come_back(serve: Serve, loop: str, deflate: bool) -> None:
    server = serve_on(serve, loop, APP)
    messages: list[str | bytes] = [
        "",
        b"",
        "text",
        "ä€😀" * 100,
        b"\0\xff" * 60,
        *(os.urandom(size) for size in (125, 126, 127, 65_535, 65_536, 1_000_000)),
        "same " * 100_000,
    ]

    async def converse() -> None:
        compression = "deflate" if deflate else None
        async with dial(server, "/echo", compression=compression) as socket:
            assert bool(socket.protocol.extensions) == deflate
            for message in messages * 2:
                await socket.send(message)
                assert await socket.recv() == message
            for message in messages:
                await socket.send(message)
            assert [await socket.recv() for _ in messages] == messages

    run(converse)


def test_both_kinds_look_as_the_specification_says(serve: Serve) -> None:
    """One of the two keys has the value; the other is absent, or None."""
    server = serve(APP)
    with RawSocket.open(server.address, "/shape") as socket:
        socket.send(frame(TEXT, b"a") + frame(BINARY, b"b"))
        text, binary = (json.loads(socket.read_frame().payload) for _ in range(2))
    assert text.pop("bytes", "NoneType") == "NoneType"
    assert text == {"type": "str", "text": "str"}
    assert binary.pop("text", "NoneType") == "NoneType"
    assert binary == {"type": "str", "bytes": "bytes"}


@pytest.mark.parametrize("delivery", DELIVERIES.values(), ids=DELIVERIES)
def test_fragments_are_one_message(serve: Serve, delivery: Delivery) -> None:
    """Also with a ping between them, and cut inside a character."""
    server = serve(APP)
    euro = "€".encode()
    with RawSocket.open(server.address, "/echo") as socket:
        delivery(
            socket,
            frame(TEXT, b"one " + euro[:1], first=0)
            + frame(CONTINUATION, euro[1:2], first=0)
            + frame(PING, b"between")
            + frame(CONTINUATION, b"", first=0)
            + frame(CONTINUATION, euro[2:] + b" two", first=FIN),
        )
        assert socket.read_frame() == Frame(PONG, b"between")
        assert socket.read_frame() == Frame(TEXT, "one € two".encode())


def test_pings_are_answered(serve: Serve) -> None:
    """The app does not see them, nor stray pongs; one that does not read does not hold them."""
    server = serve(APP)
    with RawSocket.open(server.address, "/deaf") as socket:
        for payload in (b"", b"x", b"y" * 125):
            socket.send(frame(PING, payload) + frame(PONG, b"stray"))
            assert socket.read_frame() == Frame(PONG, payload)


@on_each_loop
def test_sending_and_receiving_at_once(serve: Serve, loop: str) -> None:
    server = serve_on(serve, loop, APP)

    async def converse() -> None:
        async with dial(server, "/chat") as socket:
            await socket.send("x")
            assert [await socket.recv() for _ in range(100)] == [str(n) for n in range(100)]

    run(converse)
    server.wait_event("left")


@on_each_loop
def test_many_at_once(serve: Serve, loop: str) -> None:
    server = serve_on(serve, loop, APP)

    async def one(number: int) -> None:
        async with dial(server, "/echo") as socket:
            for turn in range(20):
                text = f"{number} {turn} " * (turn * 50)
                await socket.send(text)
                assert await socket.recv() == text

    async def converse() -> None:
        await asyncio.gather(*(one(number) for number in range(50)))

    run(converse)
    assert len(server.wait_event("left", count=50)) == 50


# permessage-deflate.


OFFERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no server takeover": {"server_no_context_takeover": True},
    "no client takeover": {"client_no_context_takeover": True},
    "neither": {"server_no_context_takeover": True, "client_no_context_takeover": True},
    "server bits": {"server_max_window_bits": 9},
    "client bits": {"client_max_window_bits": 10},
    "both bits": {"server_max_window_bits": 12, "client_max_window_bits": 12},
}


def test_offers_of_deflate(serve: Serve, subtests: pytest.Subtests) -> None:
    """Whatever is agreed on, both understand each other."""
    server = serve(APP)
    texts = [f"message {number} " * 500 for number in range(10)]

    async def converse(options: dict[str, Any]) -> None:
        offer = ClientPerMessageDeflateFactory(**{"client_max_window_bits": True, **options})
        async with dial(server, "/echo", extensions=[offer], compression=None) as socket:
            [agreed] = socket.protocol.extensions
            assert agreed.name == "permessage-deflate"
            for text in texts:
                await socket.send(text)
                assert await socket.recv() == text

    for name, options in OFFERS.items():
        with subtests.test(name):
            run(lambda options=options: converse(options))


def test_repeated_messages_are_sent_small(serve: Serve) -> None:
    """What is agreed on is also done."""
    server = serve(APP)
    with RawSocket.open(
        server.address, "/echo", Sec_WebSocket_Extensions="permessage-deflate"
    ) as socket:
        assert "permessage-deflate" in (socket.response.get("Sec-WebSocket-Extensions") or "")
        socket.send(frame(TEXT, b"same " * 10_000))
        found = socket.read_frame()
        assert found.rsv1
        assert len(found.payload) < 1000


def test_deflate_can_be_switched_off(serve: Serve) -> None:
    server = serve(APP, config="websocket_deflate = False")
    with RawSocket.open(
        server.address, "/echo", Sec_WebSocket_Extensions="permessage-deflate"
    ) as socket:
        assert socket.response.get("Sec-WebSocket-Extensions") is None
        socket.send(frame(TEXT, b"x"))
        assert socket.read_frame() == Frame(TEXT, b"x")


def test_extensions_that_nobody_knows(serve: Serve) -> None:
    server = serve(APP)
    with RawSocket.open(
        server.address, "/echo", Sec_WebSocket_Extensions="x-unknown; a=b, permessage-deflate; c=d"
    ) as socket:
        assert socket.response.get("Sec-WebSocket-Extensions") is None
        socket.send(close(1000))
        assert socket.read_close().code == 1000
