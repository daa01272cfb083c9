"""Where a task stands: the chain of what it awaits, for the log.

A task's own frame says only which coroutine was started. What holds it is at the other end of the
chain of awaits, which goes through coroutines, generators, asynchronous generators, and futures
that are tasks themselves.
"""

import asyncio
import gc
import inspect
import linecache
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final

#: Links of the chain that are shown. A recursion that awaits itself is cut in its middle.
MOST_LINKS: Final = 40

#: Attributes that lead on, with the one that has the frame.
_LINKS: Final = (
    ("cr_await", "cr_frame"),
    ("gi_yieldfrom", "gi_frame"),
    ("ag_await", "ag_frame"),
)


def describe_task(task: "asyncio.Task[Any]") -> str:
    """The task's name, and where it and all that it awaits stand, the innermost last; as a
    traceback reads."""
    head = f"Task {task.get_name()!r}"
    coroutine = task.get_coro()
    if task.done():
        return f"{head} has ended."
    if inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == "CORO_CREATED":
        return f"{head} has not begun: {coroutine.__qualname__}"
    links = list(_links(coroutine))
    if len(links) > MOST_LINKS:
        half = MOST_LINKS // 2
        left_out = f"  ... {len(links) - 2 * half} more ..."
        links = [*links[:half], left_out, *links[-half:]]
    return "\n".join([f"{head} (most recent call last):", *links])


def _links(awaited: Any) -> Iterator[str]:
    seen = set()
    while awaited is not None and id(awaited) not in seen:
        seen.add(id(awaited))
        if isinstance(awaited, asyncio.Task):
            yield f"  in task {awaited.get_name()!r}:"
            awaited = awaited.get_coro()
            continue
        for onward, frame_of in _LINKS:
            if hasattr(awaited, onward):
                frame = getattr(awaited, frame_of)
                if frame is not None:
                    yield _place(frame)
                awaited = getattr(awaited, onward)
                break
        else:
            if isinstance(awaited, asyncio.Future):
                # gather() waits for several; the first that is missing stands for them.
                children = getattr(awaited, "_children", ())
                pending = [child for child in children if not child.done()]
                yield f"  waits for {type(awaited).__name__}"
                awaited = pending[0] if pending else None
            else:
                awaited = _behind(awaited)


def _behind(iterator: Any) -> Any:
    """Whose iterator this is. Those of a future, of a coroutine's `__await__()` and of an
    asynchronous generator do not tell, but the collector knows what they hold."""
    for held in gc.get_referents(iterator):
        if isinstance(held, asyncio.Future) or any(hasattr(held, onward) for onward, _ in _LINKS):
            return held
    return None


def _place(frame: FrameType) -> str:
    code = frame.f_code
    text = linecache.getline(code.co_filename, frame.f_lineno, frame.f_globals).strip()
    place = f'  File "{code.co_filename}", line {frame.f_lineno}, in {code.co_qualname}'
    return f"{place}\n    {text}" if text else place
