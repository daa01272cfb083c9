"""The end of a loop: what the app has left behind is ended, each part within a bound.

A worker that ends must not wait for ever for a task that does not let itself be cancelled, or for
a thread of the app's. What is left is told; then the process ends anyway.
"""

import asyncio
from typing import Any, Final

from monoceros.asgi.stacks import describe_task

#: Tasks that are shown one by one.
TASKS_TOLD: Final = 5


def close_loop(loop: asyncio.AbstractEventLoop, seconds: float, log: Any) -> None:
    """Cancel tasks, close asynchronous generators, let the threads of the default executor finish,
    and close the loop; each for at most `seconds`. With threads left it stays open for them."""
    _cancel_tasks(loop, seconds, log)
    generators = loop.create_task(loop.shutdown_asyncgens())
    threads = loop.create_task(loop.shutdown_default_executor())
    parts = {generators, threads}
    _, late = loop.run_until_complete(asyncio.wait(parts, timeout=seconds))
    if not late:
        loop.close()
        return
    if threads in late:
        # Neither cancelled nor closed: both would wait for the threads.
        log.warning(
            "Threads of the app (asyncio.to_thread, run_in_executor) run still %.1f s after its "
            "end.",
            seconds,
        )
    if generators in late:
        log.warning("Asynchronous generators of the app do not end: %s", describe_task(generators))


def _cancel_tasks(loop: asyncio.AbstractEventLoop, seconds: float, log: Any) -> None:
    tasks = asyncio.all_tasks(loop)
    if not tasks:
        return
    for task in tasks:
        task.cancel()
    ended, stubborn = loop.run_until_complete(asyncio.wait(tasks, timeout=seconds))
    if stubborn:
        shown = list(stubborn)[:TASKS_TOLD]
        log.warning(
            "%d task%s of the app did not end within %.1f s of being cancelled:\n%s",
            len(stubborn),
            "" if len(stubborn) == 1 else "s",
            seconds,
            "\n".join(describe_task(task) for task in shown),
        )
    for task in ended:
        if not task.cancelled() and task.exception() is not None:
            loop.call_exception_handler(
                {
                    "message": "a task that was cancelled at the worker's end has failed",
                    "exception": task.exception(),
                    "task": task,
                }
            )
