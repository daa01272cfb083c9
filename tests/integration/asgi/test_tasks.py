"""What apps do with their event loop works as asyncio says, on both loops."""

import asyncio
import json

import httpx
import pytest

from support.asgi import on_each_loop, run, serve_on
from support.client import Truncated, format_request
from support.serving import Serve

APP = "asgi_tasks:app"


@on_each_loop
def test_each_part_of_asyncio(serve: Serve, subtests: pytest.Subtests, loop: str) -> None:
    server = serve_on(serve, loop, APP)

    def ask(target: str) -> object:
        response = server.get(target, 30.0)
        assert response.status == 200, response
        return json.loads(response.body)

    with subtests.test("loop"):
        assert server.get("/loop").text == loop
    with subtests.test("current task"):
        assert ask("/task") == {
            "there": True,
            "same": True,
            "is a task": True,
            "known": True,
            "done": False,
            "main thread": True,
            "running loop": True,
        }
        assert ask("/task-at-once") == {"there": True, "known": True}
    with subtests.test("timeouts"):
        assert ask("/timeout") == ["timeout", "wait_for", "in time", "receive"]
    with subtests.test("groups"):
        doubles = [0, 2, 4, 6, 8]
        assert ask("/groups") == [doubles, doubles, "of a child", 42]
    with subtests.test("threads"):
        assert ask("/threads") == [190, 42]
    with subtests.test("subprocesses"):
        assert ask("/subprocess") == ["LOUD", 3, 7]
    with subtests.test("readers"):
        assert server.get("/readers", 30.0).text == "HELLO\n"
    with subtests.test("cancellation taken back"):
        assert server.get("/cancel-self").text == "came back"
    with subtests.test("sends of several tasks"):
        assert server.get("/others-task").text == "one,two"
        response = server.get("/gathered-sends", 30.0)
        assert response.body == b"".join(b"%05d" % each * 2000 for each in range(200))
    with subtests.test("a task that listens"):
        assert server.get("/listen-and-send").text == "piece,piece,piece,end"
        assert server.wait_event("listened")[0]["type"] == "http.disconnect"


@on_each_loop
def test_contexts_are_kept_apart(serve: Serve, loop: str) -> None:
    """Of requests at the same time, one after another, and of the lifespan."""
    server = serve_on(serve, loop, APP)

    async def ask() -> list[list[str]]:
        limits = httpx.Limits(max_connections=20)
        async with httpx.AsyncClient(base_url=server.url(""), limits=limits) as http:
            targets = [f"/contextvars?value={number}" for number in range(20)]
            answers = await asyncio.gather(*(http.get(target) for target in targets))
        return [answer.json() for answer in answers]

    for _ in range(2):
        assert run(ask) == [["unset", str(n), str(n), str(n)] for n in range(20)]
    with server.connect() as connection:
        for _ in range(5):
            assert connection.request(target="/contextvars-at-once").text == "unset"


@on_each_loop
def test_requests_run_beside_each_other(serve: Serve, loop: str) -> None:
    """One that waits holds none of the others, on the same connection or another."""
    server = serve_on(serve, loop, "asgi_probes:app")
    with server.connect() as waiting:
        waiting.send(format_request(target="/dribble"))
        waiting.read_until(b"first")
        for _ in range(5):
            assert server.get("/").status == 200
        (server.directory / "gate").touch()
        waiting.read_until(b"second")


@on_each_loop
def test_tasks_outlive_their_request(serve: Serve, loop: str) -> None:
    server = serve_on(serve, loop, APP)
    with server.connect() as connection:
        assert connection.request(target="/background").text == "answered"
        assert connection.request(target="/").status == 200
    assert not server.events("background done")
    (server.directory / "gate").touch()
    assert server.wait_event("background done")[0]["value"] == "the request's"


@on_each_loop
def test_an_app_that_goes_on_behind_its_answer(serve: Serve, loop: str) -> None:
    """It holds neither its client nor its connection, and nobody cancels it when that closes."""
    server = serve_on(serve, loop, APP, "--asgi-disconnect-grace-period", "0")
    with server.connect() as connection:
        assert connection.request(target="/work-after").text == "answered"
        assert connection.request(target="/").status == 200
    assert server.get("/").status == 200
    (server.directory / "gate").touch()
    server.wait_event("worked on")


@on_each_loop
def test_a_task_that_is_cancelled_by_its_app(serve: Serve, loop: str) -> None:
    """It has no answer; that is said as of any other app that does not answer."""
    server = serve_on(serve, loop, APP)
    server.expect_log("/cancelled")
    assert server.get("/cancelled").status == 500
    assert server.get("/").status == 200


@on_each_loop
def test_a_request_that_takes_too_long(serve: Serve, loop: str) -> None:
    """504, its task is cancelled, and the log says where it was waiting."""
    server = serve_on(serve, loop, APP, "--request-timeout", "1")
    server.expect_log("/stuck")
    server.expect_log("overdue request is at")
    with server.connect() as connection:
        connection.send(format_request(target="/stuck"))
        server.wait_event("waiting")
        # Others are served meanwhile and afterwards.
        assert server.get("/").status == 200
        assert connection.read_response().status == 504
    server.wait_event("cancelled")
    server.wait_log("_innermost_wait")
    text = "\n".join(record.text for record in server.records("WARNING", "ERROR", "CRITICAL"))
    assert "asgi_tasks.py" in text
    assert "_outer" in text
    assert server.get("/").status == 200


def test_a_request_that_takes_too_long_inside_its_answer(serve: Serve) -> None:
    server = serve(APP, "--request-timeout", "1")
    server.expect_log("/stuck-started")
    server.expect_log("overdue request is at")
    with server.connect() as connection, pytest.raises(Truncated):
        connection.request(target="/stuck-started")
    server.wait_log("_innermost_wait")
    assert server.get("/").status == 200


def test_an_answer_behind_the_504(serve: Serve) -> None:
    """send() refuses it, and the client has one answer."""
    server = serve(APP, "--request-timeout", "1")
    server.expect_log("/stubborn")
    server.expect_log("overdue request is at")
    with server.connect() as connection:
        assert connection.request(target="/stubborn").status == 504
        assert connection.read_to_close() == b""
    server.wait_event("refused")
    assert server.get("/").status == 200
