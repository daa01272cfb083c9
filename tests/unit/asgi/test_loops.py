"""The loops that a worker can have, and the signals that both a worker and its app want."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from monoceros.asgi.closing import close_loop
from monoceros.asgi.loops import EngineLoop, make_loop

LOG = logging.getLogger("test-loops")

LOOPS = ["asyncio", "uvloop"]


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
    """Both kinds, each with a descriptor that wakes it for signals, as the worker has one."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    made = make_loop(request.param, LOG)
    reader, writer = os.pipe2(os.O_NONBLOCK)
    made.add_reader(reader, os.read, reader, 100)
    former = signal.set_wakeup_fd(writer)
    before = signal.getsignal(signal.SIGUSR2)
    yield made
    if not made.is_closed():
        made.remove_reader(reader)
        made.close()
    signal.signal(signal.SIGUSR2, before)
    signal.set_wakeup_fd(former)
    os.close(reader)
    os.close(writer)


def test_names(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_loop("asyncio", LOG)
    assert isinstance(made, EngineLoop)
    made.close()
    monkeypatch.setitem(sys.modules, "uvloop", None)
    for name, warned in (("auto", False), ("uvloop", True)):
        caplog.clear()
        made = make_loop(name, LOG)
        assert isinstance(made, EngineLoop)
        made.close()
        assert ("asyncio is used" in caplog.text) is warned


def test_auto_is_uvloop_where_it_is_installed() -> None:
    uvloop = pytest.importorskip("uvloop")
    made = make_loop("auto", LOG)
    assert isinstance(made, uvloop.Loop)
    made.close()


def until(loop: asyncio.AbstractEventLoop, happened: Callable[[], bool]) -> None:
    async def wait() -> None:
        async with asyncio.timeout(10):
            while not happened():
                await asyncio.sleep(0.005)

    loop.run_until_complete(wait())


def test_the_workers_handler_and_the_apps_both_run(loop: asyncio.AbstractEventLoop) -> None:
    heard: list[str] = []
    signal.signal(signal.SIGUSR2, lambda _sig, _frame: heard.append("worker"))

    def send() -> None:
        os.kill(os.getpid(), signal.SIGUSR2)

    loop.add_signal_handler(signal.SIGUSR2, heard.append, "first")
    loop.add_signal_handler(signal.SIGUSR2, heard.append, "app")
    loop.call_soon(send)
    until(loop, lambda: len(heard) >= 2)
    assert sorted(heard) == ["app", "worker"]
    assert loop.remove_signal_handler(signal.SIGUSR2)
    assert not loop.remove_signal_handler(signal.SIGUSR2)
    loop.call_soon(send)
    until(loop, lambda: len(heard) >= 3)
    assert heard[2] == "worker"


def test_a_signal_wakes_a_loop_that_waits(loop: asyncio.AbstractEventLoop) -> None:
    stopped: list[bool] = []

    def stop() -> None:
        stopped.append(True)
        loop.stop()

    loop.add_signal_handler(signal.SIGUSR2, stop)
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR2))
    timer.start()
    loop.call_later(20, loop.stop)
    loop.run_forever()
    timer.join()
    assert stopped


def test_what_cannot_be_handled_is_refused(loop: asyncio.AbstractEventLoop) -> None:
    async def coroutine() -> None: ...

    with pytest.raises(RuntimeError):
        loop.add_signal_handler(signal.SIGKILL, lambda: None)
    with pytest.raises(TypeError):
        loop.add_signal_handler(signal.SIGUSR2, coroutine)


def test_a_closed_loop_gives_back_the_handlers(loop: asyncio.AbstractEventLoop) -> None:
    def before(_sig: int, _frame: Any) -> None: ...

    signal.signal(signal.SIGUSR2, before)
    loop.add_signal_handler(signal.SIGUSR2, lambda: None)
    assert signal.getsignal(signal.SIGUSR2) is not before
    loop.close()
    assert signal.getsignal(signal.SIGUSR2) is before


class TestClosing:
    def test_tasks_get_their_finally(self, loop: asyncio.AbstractEventLoop) -> None:
        noted: list[str] = []

        async def works() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                noted.append("finally")

        task = loop.create_task(works())
        loop.run_until_complete(asyncio.sleep(0))
        close_loop(loop, 5.0, LOG)
        assert noted == ["finally"]
        assert task.cancelled()
        assert loop.is_closed()

    def test_a_stubborn_task_is_shown_and_left(
        self, loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
    ) -> None:
        ends = asyncio.Event()

        async def stubborn() -> None:
            while not ends.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await ends.wait()

        async def main() -> asyncio.Task[None]:
            task = asyncio.create_task(stubborn())
            await asyncio.sleep(0)
            return task

        task = loop.run_until_complete(main())
        close_loop(loop, 0.05, LOG)
        assert "1 task of the app did not end" in caplog.text
        assert "in TestClosing.test_a_stubborn" in caplog.text
        assert not task.done()
        # What the process would do for us: nobody is to complain about a task that is pending.
        task._log_destroy_pending = False  # type: ignore[attr-defined]

    def test_a_thread_that_runs_on_is_told(
        self, loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
    ) -> None:
        ends = threading.Event()
        loop.run_in_executor(None, ends.wait)
        loop.run_until_complete(asyncio.sleep(0))
        close_loop(loop, 0.05, LOG)
        assert "run still" in caplog.text
        assert not loop.is_closed(), "its threads may want to tell it something"
        ends.set()
        loop.run_until_complete(loop.shutdown_default_executor())

    def test_a_generator_is_closed(self, loop: asyncio.AbstractEventLoop) -> None:
        noted: list[str] = []

        async def generates() -> Any:
            try:
                yield 1
            finally:
                noted.append("closed")

        generator = generates()

        async def begin() -> None:
            async for _ in generator:
                break

        loop.run_until_complete(begin())
        close_loop(loop, 5.0, LOG)
        assert noted == ["closed"]
