"""A worker's lifespan: what the app may say, and what follows."""

import asyncio
import contextvars
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from monoceros.asgi.lifespan import MOVES, Event, Lifespan, State
from monoceros.errors import StartupFailed

App = Callable[[Any, Any, Any], Coroutine[Any, Any, None]]

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="outside")

LOG = logging.getLogger("test-lifespan")


@pytest.fixture(autouse=True)
def every_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, LOG.name)


def telling(*messages: dict[str, Any], then: BaseException | None = None) -> App:
    """An app that receives, sends one of the messages, and so on; then ends."""

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await receive()
            await send(message)
        if then is not None:
            raise then

    return app


STARTED = {"type": "lifespan.startup.complete"}
STOPPED = {"type": "lifespan.shutdown.complete"}


def live(
    app: App, *, required: bool = False, seconds: float = 30.0
) -> tuple[Lifespan, dict[str, Any]]:
    """A whole life."""

    async def main() -> tuple[Lifespan, dict[str, Any]]:
        state: dict[str, Any] = {}
        lifespan = Lifespan(app, state, LOG, required=required)
        await lifespan.start()
        await lifespan.stop(seconds)
        return lifespan, state

    return asyncio.run(main())


@pytest.mark.parametrize("required", [False, True])
def test_start_and_end(required: bool, caplog: pytest.LogCaptureFixture) -> None:
    received = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        assert scope["asgi"] == {"version": "3.0", "spec_version": "2.0"}
        scope["state"]["database"] = "open"
        received.append(await receive())
        await send(STARTED)
        received.append(await receive())
        await send(STOPPED)

    lifespan, state = live(app, required=required)
    assert received == [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    assert state == {"database": "open"}
    assert lifespan.state is State.OVER
    assert caplog.records == []


def test_context_variables_stay_in_its_task() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        VARIABLE.set("inside")
        await telling(STARTED, STOPPED)(scope, receive, send)

    async def main() -> str:
        lifespan = Lifespan(app, {}, LOG)
        await lifespan.start()
        await lifespan.stop(30.0)
        return VARIABLE.get()

    assert asyncio.run(main()) == "outside"


@pytest.mark.parametrize("required", [False, True])
@pytest.mark.parametrize("reason", ["no database", "Traceback:\n  a\nValueError: b", ""])
def test_a_start_that_fails(required: bool, reason: str) -> None:
    with pytest.raises(StartupFailed) as caught:
        live(telling({"type": "lifespan.startup.failed", "message": reason}), required=required)
    assert (reason or "gives no reason") in str(caught.value)


async def only_http(scope: Any, _receive: Any, _send: Any) -> None:
    assert scope["type"] == "http"


async def looks_for_a_path(scope: Any, _receive: Any, _send: Any) -> None:
    print(scope["path"])


async def as_django(_scope: Any, _receive: Any, _send: Any) -> None:
    raise ValueError("Django can only handle ASGI/HTTP connections, not lifespan.")


async def answers_as_to_a_request(_scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def reads_a_body(_scope: Any, receive: Any, _send: Any) -> None:
    print((await receive())["body"])


@pytest.mark.parametrize(
    "app",
    [
        only_http,
        looks_for_a_path,
        as_django,
        answers_as_to_a_request,
        reads_a_body,
        telling(then=NotImplementedError()),
        telling(),
    ],
)
def test_apps_that_know_no_lifespan_are_served(app: App, caplog: pytest.LogCaptureFixture) -> None:
    lifespan, _ = live(app)
    assert lifespan.state is State.ABSENT
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
    assert "is served without a lifespan" in caplog.text


@pytest.mark.parametrize("app", [only_http, telling(), telling(then=KeyError("PASSWORD"))])
def test_with_on_they_do_not_boot(app: App) -> None:
    with pytest.raises(StartupFailed, match="asgi_lifespan = on"):
        live(app, required=True)


async def fails_in_its_start(_scope: Any, receive: Any, _send: Any) -> None:
    await receive()
    raise AssertionError("no such scope of the database")


@pytest.mark.parametrize(
    ("app", "error"),
    [
        (fails_in_its_start, "AssertionError"),
        (telling(then=KeyError("PASSWORD")), "KeyError"),
        (telling(then=RuntimeError("no database")), "RuntimeError"),
    ],
)
def test_an_exception_in_a_start_is_told(
    app: App, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    lifespan, _ = live(app)
    assert lifespan.state is State.ABSENT
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert error in record.getMessage()
    assert record.exc_info


def test_its_traceback_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        await Lifespan(fails_in_its_start, {}, LOG, is_news=lambda _error: False).start()

    asyncio.run(main())
    (record,) = caplog.records
    assert "AssertionError" in record.getMessage()
    assert not record.exc_info


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (telling(STARTED, then=OSError("lost")), "will not hear of the worker's end"),
        (
            telling(STARTED, {"type": "lifespan.shutdown.failed", "message": "no"}),
            "lifespan shutdown has failed: no",
        ),
        (telling(STARTED, STOPPED, then=OSError("lost")), "failed after it was over"),
    ],
)
def test_an_end_that_fails_is_told(end: App, text: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        lifespan = Lifespan(end, {}, LOG)
        await lifespan.start()
        for _ in range(5):
            await asyncio.sleep(0)
        await lifespan.stop(30.0)

    asyncio.run(main())
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert text in record.getMessage()


def test_an_exception_in_the_shutdown_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(STARTED)
        await receive()
        raise OSError("lost")

    lifespan, _ = live(app)
    assert lifespan.state is State.OVER
    (record,) = caplog.records
    assert record.getMessage() == "The app's lifespan shutdown has failed:"
    assert record.exc_info


def test_an_end_that_takes_too_long_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    async def closes_slowly() -> None:
        await asyncio.Event().wait()

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(STARTED)
        await receive()
        await closes_slowly()

    live(app, seconds=0.05)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "graceful_timeout" in record.getMessage()
    assert "closes_slowly" in record.getMessage()


@pytest.mark.parametrize(
    "messages", [[STOPPED], [STARTED, STARTED], [{"type": "lifespan.startup"}]], ids=str
)
def test_what_does_not_fit_is_an_error_of_the_app(messages: list[dict[str, Any]]) -> None:
    caught: list[Exception] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        for message in messages:
            try:
                await send(message)
            except Exception as error:
                caught.append(error)

    live(app)
    (error,) = caught
    assert isinstance(error, RuntimeError)


def test_every_state_has_a_way_in_and_the_last_ones_no_way_out() -> None:
    reached = {after for (before, _), after in MOVES.items() if before is not after}
    assert reached == set(State) - {State.NEW}
    left = {before for (before, _), after in MOVES.items() if before is not after}
    assert left == {State.NEW, State.STARTING, State.RUNNING, State.STOPPING}
    assert all((before, Event.BEGUN) not in MOVES for before in set(State) - {State.NEW})
