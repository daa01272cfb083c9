"""Where a task stands, by what it awaits."""

import asyncio
import contextlib
import types
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from typing import Any

import pytest

from monoceros.asgi.stacks import MOST_LINKS, describe_task

Start = Callable[[], Coroutine[Any, Any, Any]]


async def innermost() -> None:
    await asyncio.Event().wait()


async def generates() -> AsyncIterator[int]:
    await innermost()
    yield 1


async def through_a_generator() -> None:
    async for _ in generates():
        pass


@types.coroutine
def old_style() -> Generator[Any, None, None]:
    yield from innermost().__await__()


async def through_old_style() -> None:
    await old_style()


async def through_a_context_manager() -> None:
    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[None]:
        await innermost()
        yield

    async with opened():
        pass


async def through_a_task() -> None:
    await asyncio.get_running_loop().create_task(innermost(), name="other")


async def through_gather() -> None:
    await asyncio.gather(asyncio.sleep(0), innermost())


async def described(start: Start) -> str:
    """The stack of a task that has gone as far as it gets, without leaving it behind."""
    task = asyncio.create_task(start(), name="mine")
    for _ in range(10):
        await asyncio.sleep(0)
    text = describe_task(task)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return text


@pytest.mark.parametrize(
    "start",
    [
        innermost,
        through_a_generator,
        through_old_style,
        through_a_context_manager,
        through_a_task,
        through_gather,
    ],
)
def test_the_innermost_is_found(start: Start) -> None:
    text = asyncio.run(described(start))
    assert text.startswith("Task 'mine' (most recent call last):\n")
    outer, inner = text.index(f"in {start.__name__}\n"), text.rindex("in innermost\n")
    assert outer <= inner
    assert "    await asyncio.Event().wait()" in text[inner:]
    assert text.endswith("waits for Future")


def test_other_tasks_are_named() -> None:
    assert "  in task 'other':\n" in asyncio.run(described(through_a_task))


def test_a_long_chain_is_cut_in_its_middle() -> None:
    async def descend(depth: int) -> None:
        await (descend(depth - 1) if depth else innermost())

    text = asyncio.run(described(lambda: descend(200)))
    assert " more ...\n" in text
    assert "in innermost" in text
    assert text.count("  File ") <= MOST_LINKS


def test_tasks_that_wait_for_each_other_end_somewhere() -> None:
    async def main() -> str:
        tasks: list[asyncio.Task[None]] = []

        async def wait_for(number: int) -> None:
            await asyncio.sleep(0)
            await asyncio.wait([tasks[number]])
            await tasks[number]

        tasks.extend(asyncio.create_task(wait_for(1 - number)) for number in range(2))
        for _ in range(5):
            await asyncio.sleep(0)
        text = describe_task(tasks[0])
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        return text

    assert "in wait" in asyncio.run(main())


def test_one_that_has_not_begun_and_one_that_has_ended() -> None:
    async def main() -> tuple[str, str]:
        task = asyncio.create_task(asyncio.sleep(0), name="short")
        before = describe_task(task)
        await task
        return before, describe_task(task)

    before, after = asyncio.run(main())
    assert before == "Task 'short' has not begun: sleep"
    assert after == "Task 'short' has ended."
