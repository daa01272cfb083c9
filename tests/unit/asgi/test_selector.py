"""The selector that waits in an engine; a stand-in waits here."""

import asyncio
import os
import selectors
import time
from collections.abc import Iterator

import pytest

from monoceros.asgi.selector import EngineSelector


class Engine:
    """Waits for one descriptor, as the real one does for the selector's epoll."""

    def __init__(self, watched: int) -> None:
        self.ended = False
        self.turns: list[float | None] = []
        self._poller = selectors.DefaultSelector()
        self._poller.register(watched, selectors.EVENT_READ)

    def turn(self, timeout: float | None, /) -> bool:
        self.turns.append(timeout)
        return bool(self._poller.select(timeout))

    def close(self) -> None:
        self._poller.close()


@pytest.fixture
def selector() -> Iterator[EngineSelector]:
    with EngineSelector() as made:
        yield made


@pytest.fixture
def engine(selector: EngineSelector) -> Iterator[Engine]:
    made = Engine(selector.fileno())
    yield made
    made.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for descriptor in ends:
        os.close(descriptor)


def test_without_an_engine_it_is_a_selector(
    selector: EngineSelector, pipe: tuple[int, int]
) -> None:
    key = selector.register(pipe[0], selectors.EVENT_READ, "reader")
    assert selector.select(0) == []
    os.write(pipe[1], b"x")
    assert selector.select(None) == [(key, selectors.EVENT_READ)]


def test_attached_it_waits_in_the_engine(
    selector: EngineSelector, engine: Engine, pipe: tuple[int, int]
) -> None:
    before = selector.register(pipe[0], selectors.EVENT_READ)
    selector.attach(engine, lambda: None)
    assert selector.select(0) == []
    os.write(pipe[1], b"x")
    assert selector.select(None) == [(before, selectors.EVENT_READ)]
    selector.unregister(pipe[0])
    after = selector.register(pipe[1], selectors.EVENT_WRITE)
    assert selector.select(5) == [(after, selectors.EVENT_WRITE)]
    assert engine.turns == [0, None, 5]


def test_each_turn_at_the_end_is_told(selector: EngineSelector, engine: Engine) -> None:
    told: list[str] = []
    selector.attach(engine, lambda: told.append("end"))
    selector.select(0)
    assert told == []
    engine.ended = True
    selector.select(0)
    assert told == ["end"]


def test_detached_it_is_a_selector_again(
    selector: EngineSelector, engine: Engine, pipe: tuple[int, int]
) -> None:
    selector.attach(engine, lambda: None)
    key = selector.register(pipe[1], selectors.EVENT_WRITE)
    selector.detach()
    assert selector.select(None) == [(key, selectors.EVENT_WRITE)]
    assert engine.turns == []


def test_a_loop_runs_on_it(selector: EngineSelector, engine: Engine) -> None:
    """Timers, threads and pipes, before, while and after."""
    loop = asyncio.SelectorEventLoop(selector)

    async def work() -> float:
        since = time.monotonic()
        assert await asyncio.to_thread(lambda: 5) == 5
        await asyncio.sleep(0.05)
        process = await asyncio.create_subprocess_exec("true")
        assert await process.wait() == 0
        return time.monotonic() - since

    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(work())
        selector.attach(engine, loop.stop)
        assert loop.run_until_complete(work()) >= 0.05
        assert len(engine.turns) < 100, "it spins"
        selector.detach()
        loop.run_until_complete(work())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()
        asyncio.set_event_loop(None)
