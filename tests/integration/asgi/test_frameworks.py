"""Six frameworks, each with the same site, over real sockets, on both loops.

There is one server per framework and loop. Every check of a site is a subtest, so that one that
fails keeps no other from running.
"""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx
import pytest
import websockets
from frameworks import shared

from support.asgi import on_each_loop, serve_on, websocket_url
from support.client import format_request
from support.server import Server
from support.serving import Serve

MIB = 1024 * 1024

#: What is uploaded.
UPLOAD = os.urandom(4 * MIB)

#: Requests that have to be served at once.
CONCURRENT = 20

#: Seconds that a request may take on a busy machine.
TIMEOUT = 30.0


@dataclass(frozen=True)
class Framework:
    """What a framework has; why it lacks something stands beside its entry."""

    name: str
    websockets: bool = True
    lifespan: bool = True
    #: The status of a WebSocket that its app refuses.
    rejected: int = 403
    #: The handler is told the code of a WebSocket's end.
    tells_codes: bool = True
    #: The code with which a WebSocket ends whose handler fails.
    failed: int = 1011
    #: It answers HEAD itself, for routes of GET and for files.
    answers_head: bool = True


FRAMEWORKS = [
    Framework("starlette"),
    Framework("fastapi"),
    # Neither is part of Django: its handler raises for every scope but that of HTTP.
    Framework("django", websockets=False, lifespan=False),
    # It ends the handler's task, and keeps the code to itself; a handler that fails is to it one
    # that has come to its end.
    Framework("quart", tells_codes=False, failed=1000),
    # It closes the socket itself.
    Framework("litestar", failed=4500),
    # It has no route for HEAD, and answers that for a file with two lengths that differ.
    Framework("blacksheep", answers_head=False),
]


class Visit:
    """A client at a site; each public method is a check."""

    def __init__(self, server: Server, framework: Framework) -> None:
        self.server = server
        self.framework = framework
        self.http = httpx.AsyncClient(base_url=server.url(""), timeout=TIMEOUT, trust_env=False)

    async def plain(self) -> None:
        answer = await self.http.get("/plain")
        assert answer.status_code == 200
        assert answer.text == "hello"
        assert answer.headers["content-type"].startswith("text/plain")

    async def head(self) -> None:
        if not self.framework.answers_head:
            return
        answer = await self.http.head("/plain")
        assert answer.content == b""
        # Some frameworks have a route for GET alone.
        assert answer.status_code in (200, 405)
        # What follows on the connection is read right.
        assert (await self.http.head("/static/file.txt")).content == b""
        assert (await self.http.get("/plain")).text == "hello"

    async def parameters(self) -> None:
        answer = await self.http.get("/items/7", params={"q": "ä & b=c"})
        assert answer.json() == {"id": 7, "q": "ä & b=c"}

    async def not_found(self) -> None:
        assert (await self.http.get("/nowhere")).status_code == 404

    async def json(self) -> None:
        sent = {"text": "ä", "list": [1, 2.5, None], "deep": {"a": {"b": True}}}
        answer = await self.http.post("/json", json=sent)
        assert answer.status_code == 200
        assert answer.json() == {"got": sent}
        assert answer.headers["content-type"].startswith("application/json")

    async def form(self) -> None:
        sent = {"name": "Ä B", "age": "7"}
        assert (await self.http.post("/form", data=sent)).json() == sent

    async def upload(self) -> None:
        answer = await self.http.post("/upload", files={"file": ("noise.bin", UPLOAD)})
        assert answer.json() == {
            "name": "noise.bin",
            "size": len(UPLOAD),
            "sha256": hashlib.sha256(UPLOAD).hexdigest(),
        }

    async def stream(self) -> None:
        expected = b"".join(b"piece %d\n" % index for index in range(shared.PIECES))
        async with self.http.stream("GET", "/stream") as answer:
            assert answer.headers["transfer-encoding"] == "chunked"
            assert b"".join([piece async for piece in answer.aiter_bytes()]) == expected

    async def streamed_upload(self) -> None:
        async def pieces():  # type: ignore[no-untyped-def]
            for _ in range(16):
                yield bytes(65_536)
                await asyncio.sleep(0)

        answer = await self.http.post("/count", content=pieces())
        assert answer.json()["size"] == MIB
        assert answer.json()["pieces"] > 1

    async def client_leaves_stream(self) -> None:
        before = len(self.server.events("stream over"))
        async with self.http.stream("GET", "/endless") as answer:
            async for piece in answer.aiter_bytes():
                assert piece.startswith(b"tick\n")
                break
        over = before + 1
        await asyncio.to_thread(self.server.wait_event, "stream over", 20.0, over)

    async def background(self) -> None:
        assert (await self.http.get("/background")).text == "answered"
        await asyncio.to_thread(self.server.wait_event, "background done")

    async def state(self) -> None:
        assert (await self.http.get("/state")).text == "ready"

    async def failure(self) -> None:
        answer = await self.http.get("/fail")
        assert answer.status_code == 500
        await asyncio.to_thread(self.server.wait_log, "RuntimeError: failed on purpose")
        # The connection of a handled error serves on.
        assert (await self.http.get("/plain")).text == "hello"

    async def broken_stream(self) -> None:
        received = b""
        # The end inside a chunk, or a reset.
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            async with self.http.stream("GET", "/broken") as answer:
                assert answer.status_code == 200
                async for piece in answer.aiter_bytes():
                    received += piece
        assert received in (b"good\n", b"")
        await asyncio.to_thread(self.server.wait_log, "RuntimeError: broken in the middle")

    async def cookies(self) -> None:
        answer = await self.http.get("/cookies", headers={"cookie": "sent=yes; other=no"})
        assert answer.json() == {"sent": "yes", "other": "no"}
        assert {cookie.name: cookie.value for cookie in answer.cookies.jar} == {
            "one": "1",
            "two": "2",
        }
        assert len(answer.headers.get_list("set-cookie")) == 2
        self.http.cookies.clear()

    async def redirect(self) -> None:
        answer = await self.http.get("/redirect")
        assert answer.is_redirect
        followed = await self.http.get("/redirect", follow_redirects=True)
        assert followed.text == "hello"

    async def static_file(self) -> None:
        answer = await self.http.get("/static/file.txt")
        assert answer.status_code == 200
        assert answer.content == shared.FILE
        missing = await self.http.get("/static/none.txt")
        assert missing.status_code == 404

    async def thread(self) -> None:
        """A synchronous endpoint runs beside the loop."""
        assert (await self.http.get("/thread")).text != "MainThread"

    async def contexts(self) -> None:
        values = [f"value-{number}" for number in range(CONCURRENT)]
        answers = await asyncio.gather(
            *(self.http.get("/context", params={"value": value}) for value in values)
        )
        assert [answer.text for answer in answers] == values

    async def concurrency(self) -> None:
        """Each of these requests waits until all of them are there."""
        async with httpx.AsyncClient(
            base_url=self.server.url(""),
            timeout=TIMEOUT,
            trust_env=False,
            limits=httpx.Limits(max_connections=CONCURRENT),
        ) as http:
            answers = await asyncio.gather(
                *(http.get("/together", params={"n": CONCURRENT}) for _ in range(CONCURRENT))
            )
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.json() for answer in answers} == {CONCURRENT}

    async def pipelining(self) -> None:
        def ask() -> list[str]:
            with self.server.connect(TIMEOUT) as connection:
                connection.send(format_request(target="/plain") * 3)
                return [connection.read_response().text for _ in range(3)]

        assert await asyncio.to_thread(ask) == ["hello"] * 3


class SocketVisit:
    """A WebSocket client at a site; each public method is a check."""

    def __init__(self, server: Server, framework: Framework) -> None:
        self.server = server
        self.framework = framework

    def connect(self, path: str, **options: object) -> websockets.connect:
        url = websocket_url(self.server, path)
        return websockets.connect(url, open_timeout=TIMEOUT, proxy=None, **options)  # type: ignore[arg-type]

    async def echo(self) -> None:
        async with self.connect("/ws/echo") as socket:
            for message in ("text", "ä" * 1000, b"bytes", UPLOAD[:100_000], ""):
                await socket.send(message)
                assert await socket.recv() == message

    async def many_at_once(self) -> None:
        async def one(number: int) -> None:
            async with self.connect("/ws/echo") as socket:
                for turn in range(5):
                    await socket.send(f"{number} {turn}")
                    assert await socket.recv() == f"{number} {turn}"

        await asyncio.gather(*(one(number) for number in range(CONCURRENT)))

    async def client_closes(self) -> None:
        before = len(self.server.events("websocket left"))
        async with self.connect("/ws/echo") as socket:
            await socket.send("x")
            await socket.recv()
            await socket.close(4002, "enough")
            assert socket.close_code == 4002
        count = before + 1
        left = await asyncio.to_thread(self.server.wait_event, "websocket left", 10.0, count)
        if self.framework.tells_codes:
            assert 4002 in [event["code"] for event in left]

    async def app_closes(self) -> None:
        async with self.connect("/ws/protocol", subprotocols=["first", "second"]) as socket:
            assert socket.subprotocol == "second"
            assert await socket.recv() == "spoken"
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await socket.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "as asked")

    async def app_rejects(self) -> None:
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with self.connect("/ws/reject"):
                pass
        assert refused.value.response.status_code == self.framework.rejected

    async def app_fails(self) -> None:
        async with self.connect("/ws/crash") as socket:
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == self.framework.failed

    async def unknown_path(self) -> None:
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with self.connect("/ws/nowhere"):
                pass
        assert refused.value.response.status_code in (403, 404)


def checks(visit: object) -> dict[str, Callable[[], Awaitable[None]]]:
    """The checks of a visit by name, in the order in which they are written."""
    return {
        name: getattr(visit, name)
        for name, member in vars(type(visit)).items()
        if asyncio.iscoroutinefunction(member)
    }


@on_each_loop
@pytest.mark.parametrize("framework", FRAMEWORKS, ids=lambda each: each.name)
def test_a_site(serve: Serve, subtests: pytest.Subtests, framework: Framework, loop: str) -> None:
    app = f"frameworks.{framework.name}_site:app"
    server = serve_on(serve, loop, app, probe="/plain")
    server.allow_log("failed on purpose|broken in the middle")
    # What Django says of a 404, and BlackSheep of a WebSocket for which it has no route.
    server.allow_log("Not Found: /")
    server.allow_log("Exception while handling WebSocket.*Not found")

    async def all_checks() -> None:
        visit = Visit(server, framework)
        everything = checks(visit)
        if framework.websockets:
            sockets = checks(SocketVisit(server, framework))
            everything |= {f"websocket {name}": check for name, check in sockets.items()}
        async with visit.http:
            for name, check in everything.items():
                with subtests.test(name):
                    async with asyncio.timeout(TIMEOUT):
                        await check()

    asyncio.run(all_checks())
    if framework.lifespan:
        with subtests.test("lifespan"):
            assert [event["count"] for event in server.events("started")] == [1]
            assert not server.events("stopped")
            server.stop()
            assert len(server.events("stopped")) == 1
