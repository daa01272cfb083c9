"""Weak spots of Gunicorn's ASGI worker that this one must not have: see docs/contract/flaws.py."""

import json
from typing import Any

import pytest

from support.client import Closed
from support.serving import Serve

TELLING = """
import json

async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] == "websocket.receive":
            pass
        return
    kept = {name: scope[name] for name in ("path", "server", "client", "query_string")}
    kept["query_string"] = kept["query_string"].decode()
    fields = [(b"connection", b"close")] if scope["path"] == "/close" else []
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": json.dumps(kept).encode()})
"""

UPGRADE = (
    b"GET /socket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)

#: The first byte of a ping.
PING = b"\x89"


def start(serve: Serve, *options: str, **more: Any) -> Any:
    return serve("own:app", *options, files={"own.py": TELLING}, **more)


def test_the_server_of_a_unix_socket_is_its_path(serve: Serve) -> None:
    server = start(serve, bind="unix:site.sock")
    told = json.loads(server.get("/").text)
    path, port = told["server"]
    assert (path.rpartition("/")[2], port) == ("site.sock", None)
    assert told["client"] is None


def test_a_target_in_absolute_form_is_a_path(serve: Serve) -> None:
    server = start(serve)
    with server.connect() as connection:
        connection.send(b"GET http://elsewhere/a%20b?c=d HTTP/1.1\r\nHost: elsewhere\r\n\r\n")
        told = json.loads(connection.read_response().text)
    assert (told["path"], told["query_string"]) == ("/a b", "c=d")


def test_an_app_may_close_the_connection(serve: Serve) -> None:
    server = start(serve)
    with server.connect() as connection:
        connection.send(b"GET /close HTTP/1.1\r\nHost: a\r\n\r\n")
        assert connection.read_response().status == 200
        with pytest.raises(Closed):
            connection.read_response()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_websockets_are_compressed_and_pinged(serve: Serve, loop: str) -> None:
    server = start(serve, "--asgi-loop", loop, "--websocket-ping-interval", "0.1")
    with server.connect() as connection:
        connection.send(UPGRADE)
        head = connection.read_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"permessage-deflate" in head.lower()
        connection.read_until(PING)


def test_compression_can_be_switched_off(serve: Serve) -> None:
    server = start(serve, "--no-websocket-deflate")
    with server.connect() as connection:
        connection.send(UPGRADE)
        assert b"permessage-deflate" not in connection.read_until(b"\r\n\r\n").lower()
