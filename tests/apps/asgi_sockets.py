"""An ASGI app for WebSockets: a path for each way in which a conversation begins, goes and ends."""

import asyncio
import contextlib
import json

import asgi_probes
from asgi_probes import App, Receive, Scope, Send, query, shown, wait_for_gate
from events import note

_routes: dict[str, App] = {}


def route(path: str):  # type: ignore[no-untyped-def]
    def register(function: App) -> App:
        _routes[path] = function
        return function

    return register


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await _routes[scope["path"]](scope, receive, send)
    else:
        await asgi_probes.app(scope, receive, send)


async def accept(receive: Receive, send: Send, **more: object) -> None:
    message = await receive()
    assert message == {"type": "websocket.connect"}, message
    await send({"type": "websocket.accept", **more})


async def say(send: Send, text: str) -> None:
    await send({"type": "websocket.send", "text": text})


async def until_left(receive: Receive) -> None:
    """Reads on and notes the end."""
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            note("left", code=message["code"], reason=message.get("reason"))
            return


@route("/echo")
async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Messages as they come, until the client leaves; it may have left before it has them back."""
    await accept(receive, send)
    messages = 0
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            reason = message.get("reason")
            note("left", code=message["code"], reason=reason, messages=messages)
            return
        messages += 1
        key = "bytes" if message.get("text") is None else "text"
        with contextlib.suppress(OSError):
            await send({"type": "websocket.send", key: message[key]})


@route("/naive")
async def naive(scope: Scope, receive: Receive, send: Send) -> None:
    """Does not look for the end: what its send() raises then leaves it."""
    await accept(receive, send)
    note("waiting")
    await wait_for_gate()
    try:
        while True:
            await say(send, "tick")
            await asyncio.sleep(0.01)
    finally:
        note("over")


@route("/shape")
async def shape(scope: Scope, receive: Receive, send: Send) -> None:
    """What a message looks like to the app."""
    await accept(receive, send)
    for _ in range(2):
        message = await receive()
        keys = {key: type(value).__name__ for key, value in message.items()}
        await say(send, json.dumps(keys))
    await until_left(receive)


@route("/scope")
async def show_scope(scope: Scope, receive: Receive, send: Send) -> None:
    await accept(receive, send)
    await say(send, json.dumps(shown(scope)))
    await send({"type": "websocket.close"})


@route("/accept")
async def accepting(scope: Scope, receive: Receive, send: Send) -> None:
    """With a subprotocol and fields of its own."""
    await accept(
        receive,
        send,
        subprotocol=query(scope, "protocol") or None,
        headers=[(b"x-one", b"1"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")],
    )
    await until_left(receive)


@route("/early")
async def early(scope: Scope, receive: Receive, send: Send) -> None:
    """Accepts without having asked for the connection, and sends at once."""
    await send({"type": "websocket.accept"})
    await say(send, "early")
    assert (await receive())["type"] == "websocket.connect"
    await until_left(receive)


@route("/slow-accept")
async def slow_accept(scope: Scope, receive: Receive, send: Send) -> None:
    note("waiting")
    await wait_for_gate()
    await accept(receive, send)
    await until_left(receive)


@route("/close")
async def close(scope: Scope, receive: Receive, send: Send) -> None:
    """Says something and closes, then tries to go on."""
    await accept(receive, send)
    await say(send, "last")
    message: dict[str, object] = {"type": "websocket.close"}
    if query(scope, "code"):
        message["code"] = int(query(scope, "code"))
    if query(scope, "reason"):
        message["reason"] = query(scope, "reason")
    await send(message)
    try:
        await say(send, "too late")
    except (OSError, RuntimeError) as error:
        note("refused", error=type(error).__name__, is_os_error=isinstance(error, OSError))
    await until_left(receive)


@route("/return")
async def leave(scope: Scope, receive: Receive, send: Send) -> None:
    """Accepts and comes to its end."""
    await accept(receive, send)


@route("/raise")
async def fail(scope: Scope, receive: Receive, send: Send) -> None:
    await accept(receive, send)
    await receive()
    raise RuntimeError("failed inside")


@route("/reject")
async def reject(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.close"})


@route("/return-early")
async def return_early(scope: Scope, receive: Receive, send: Send) -> None:
    """Neither accepts nor rejects."""
    await receive()


@route("/raise-early")
async def raise_early(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    raise RuntimeError("failed early")


@route("/deny")
async def deny(scope: Scope, receive: Receive, send: Send) -> None:
    """An answer of its own in place of the WebSocket."""
    assert "websocket.http.response" in scope["extensions"]
    await receive()
    await send(
        {
            "type": "websocket.http.response.start",
            "status": 401,
            "headers": [(b"www-authenticate", b"Basic"), (b"content-type", b"text/plain")],
        }
    )
    await send({"type": "websocket.http.response.body", "body": b"who ", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b"are you?"})


@route("/send-first")
async def send_first(scope: Scope, receive: Receive, send: Send) -> None:
    """A message before it is accepted."""
    await receive()
    await say(send, "too early")


@route("/accept-twice")
async def accept_twice(scope: Scope, receive: Receive, send: Send) -> None:
    await accept(receive, send)
    await send({"type": "websocket.accept"})


#: Messages to send that are wrong, by name.
WRONG: dict[str, dict[str, object]] = {
    "nothing": {"type": "websocket.send"},
    "neither": {"type": "websocket.send", "text": None, "bytes": None},
    "types": {"type": "websocket.send", "text": b"bytes"},
    "http": {"type": "http.response.start", "status": 200},
    "code": {"type": "websocket.close", "code": 70_000},
    "reason": {"type": "websocket.close", "code": 1000, "reason": "x" * 200},
}


@route("/wrong")
async def wrong(scope: Scope, receive: Receive, send: Send) -> None:
    await accept(receive, send)
    await send(WRONG[query(scope, "name")])


@route("/idle")
async def idle(scope: Scope, receive: Receive, send: Send) -> None:
    """Waits for its end."""
    await accept(receive, send)
    await say(send, "open")
    await until_left(receive)


@route("/deaf")
async def deaf(scope: Scope, receive: Receive, send: Send) -> None:
    """Accepts, and reads nothing until the gate is open; then counts what came."""
    await accept(receive, send)
    note("waiting")
    await wait_for_gate()
    count = size = 0
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            note("left", code=message["code"], reason=message.get("reason"))
            return
        if message.get("text") == "end":
            await say(send, json.dumps({"count": count, "size": size}))
        else:
            count += 1
            size += len(message["bytes"])


@route("/flood")
async def flood(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends for ever."""
    await accept(receive, send)
    size, count = int(query(scope, "size", "65536")), 0
    try:
        while True:
            await send({"type": "websocket.send", "bytes": bytes(size)})
            count += 1
            if count % 16 == 0:
                note("sent", sent=count * size)
    except OSError as error:
        note("refused", error=type(error).__name__)
        await until_left(receive)


@route("/chat")
async def chat(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends and receives at the same time, from tasks of its own."""
    await accept(receive, send)

    async def count() -> None:
        for number in range(100):
            await say(send, str(number))
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(count())
        group.create_task(until_left(receive))


@route("/after")
async def after(scope: Scope, receive: Receive, send: Send) -> None:
    """When the client has left: receive() again, send()."""
    await accept(receive, send)
    await until_left(receive)
    try:
        await say(send, "too late")
    except OSError as error:
        note("refused", error=type(error).__name__)
    note("again", type=(await receive())["type"])
