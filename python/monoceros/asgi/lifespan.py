"""The lifespan of one worker: the app is told of its start and its end.

    state       what happens                    becomes
    NEW         the task begins                 STARTING
    STARTING    lifespan.startup.complete       RUNNING
    STARTING    lifespan.startup.failed         FAILED      the worker does not boot
    STARTING    the app returns or raises       ABSENT      with `on` the worker does not boot
    RUNNING     the worker ends                 STOPPING    lifespan.shutdown is received
    RUNNING     the app returns or raises       ABSENT      it will not hear of the end
    STOPPING    lifespan.shutdown.complete      OVER
    STOPPING    lifespan.shutdown.failed        OVER        told in the log
    STOPPING    the app returns or raises       OVER        what it raises is told in the log
    FAILED, OVER   the app returns or raises    the same

Rules:
- Any other message that the app sends is an error of the app, raised where it sends it.
- An app that does not know lifespans says so by an exception or by answering as to a request; that
  is served without a word. Whatever else is raised in a start is told with its traceback.
- The app runs in a task of its own, so that what it sets in context variables stays there.
"""

import asyncio
import enum
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from monoceros.asgi.stacks import describe_task
from monoceros.errors import StartupFailed

#: The part of ASGI that this module speaks.
SPEC_VERSION: Final = "2.0"

#: Seconds that the app may go on after it has said that its end is complete.
AFTERWARDS: Final = 0.5

#: What apps for requests alone look for in a scope, or in the first message.
_OF_REQUESTS: Final = frozenset(
    {"path", "raw_path", "query_string", "method", "headers", "scheme", "server", "client"}
    | {"http_version", "root_path", "body", "more_body"}
)


class State(enum.Enum):
    """Where the lifespan stands."""

    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    OVER = "over"
    FAILED = "failed"
    ABSENT = "absent"


class Event(enum.Enum):
    """What happens to it. The app's messages have their own names."""

    BEGUN = "begun"
    STARTED = "lifespan.startup.complete"
    START_FAILED = "lifespan.startup.failed"
    TOLD_TO_STOP = "told to stop"
    STOPPED = "lifespan.shutdown.complete"
    STOP_FAILED = "lifespan.shutdown.failed"
    LEFT = "left"


MOVES: Final[Mapping[tuple[State, Event], State]] = {
    (State.NEW, Event.BEGUN): State.STARTING,
    (State.STARTING, Event.STARTED): State.RUNNING,
    (State.STARTING, Event.START_FAILED): State.FAILED,
    (State.STARTING, Event.LEFT): State.ABSENT,
    (State.RUNNING, Event.TOLD_TO_STOP): State.STOPPING,
    (State.RUNNING, Event.LEFT): State.ABSENT,
    (State.STOPPING, Event.STOPPED): State.OVER,
    (State.STOPPING, Event.STOP_FAILED): State.OVER,
    (State.STOPPING, Event.LEFT): State.OVER,
    (State.FAILED, Event.LEFT): State.FAILED,
    (State.OVER, Event.LEFT): State.OVER,
}

#: What an app may send.
_MESSAGES: Final = {
    event.value: event
    for event in (Event.STARTED, Event.START_FAILED, Event.STOPPED, Event.STOP_FAILED)
}


class Lifespan:
    """One lifespan. `state` is what the app fills, and each request has a copy of.

    required: an app that does not complete the start does not boot (`on`).
    is_news: whether the traceback of this exception has not been told yet.
    """

    def __init__(
        self,
        app: Any,
        state: dict[str, Any],
        log: Any,
        *,
        required: bool = False,
        is_news: Callable[[BaseException], bool] = lambda _error: True,
    ) -> None:
        self.state = State.NEW
        self._app = app
        self._log = log
        self._required = required
        self._is_news = is_news
        self._scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": SPEC_VERSION},
            "state": state,
        }
        self._task: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()  # the start is complete, or will never be
        self._told = asyncio.Event()
        self._over = asyncio.Event()
        self._asked = False  # the app has received something
        self._stray = False  # it has sent what belongs to a request
        self._failure: StartupFailed | None = None

    async def start(self) -> None:
        """Let the app start; returns when it has, or does not want to.

        Raises StartupFailed when it cannot.
        """
        self._move(Event.BEGUN)
        self._task = asyncio.get_running_loop().create_task(self._run(), name="lifespan")
        await self._settled.wait()
        if self._failure is not None:
            raise self._failure from self._failure.__cause__

    async def stop(self, seconds: float) -> None:
        """Let the app end, where it has started; what it does not do within `seconds` is told."""
        if self.state is not State.RUNNING:
            return
        assert self._task is not None
        until = time.monotonic() + seconds
        self._move(Event.TOLD_TO_STOP)
        self._told.set()
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            self._log.warning(
                "The app's lifespan shutdown has not ended within the %.1f s that were left of "
                "graceful_timeout; it is cut:\n%s",
                seconds,
                describe_task(self._task),
            )
            return
        left = min(AFTERWARDS, until - time.monotonic())
        await asyncio.wait({self._task}, timeout=max(0.0, left))

    def _move(self, event: Event) -> None:
        try:
            self.state = MOVES[self.state, event]
        except KeyError:
            raise RuntimeError(
                f"{event.value} does not fit: the lifespan is {self.state.value}"
            ) from None

    # What the app sees.

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._receive, self._send)
        except asyncio.CancelledError as error:
            self._leave(error)
            raise
        except Exception as error:
            self._leave(error)
        else:
            self._leave(None)

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "lifespan.startup"}
        await self._told.wait()
        self._told = asyncio.Event()  # there is nothing more to be told
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Any) -> None:
        kind = message["type"]
        event = _MESSAGES.get(kind)
        if event is None:
            self._stray = True
            raise RuntimeError(f"{kind!r} is no message of a lifespan")
        self._move(event)
        if event is Event.START_FAILED:
            self._failure = StartupFailed(
                f"the app's lifespan startup has failed{_reason(message)}"
            )
        elif event is Event.STOP_FAILED:
            self._log.error("The app's lifespan shutdown has failed%s", _reason(message))
        self._wake()

    def _wake(self) -> None:
        if self.state is not State.STARTING:
            self._settled.set()
        if self.state in (State.OVER, State.ABSENT, State.FAILED):
            self._over.set()

    # What follows when it has left.

    def _leave(self, error: BaseException | None) -> None:
        before = self.state
        self._move(Event.LEFT)
        if before is State.STARTING:
            self._left_at_start(error)
        elif error is not None and not isinstance(error, asyncio.CancelledError):
            moment = {
                State.RUNNING: "The app's lifespan has failed, and will not hear of the "
                "worker's end:",
                State.STOPPING: "The app's lifespan shutdown has failed:",
            }.get(before, "The app's lifespan has failed after it was over:")
            if before is not State.FAILED:  # the failure is told already
                self._log.error("%s", moment, exc_info=error)
        self._wake()

    def _left_at_start(self, error: BaseException | None) -> None:
        if self._required:
            told = "has raised an exception" if error else "has returned"
            self._failure = StartupFailed(
                f"the app {told} and not completed its lifespan startup, which "
                "asgi_lifespan = on asks for"
            )
            self._failure.__cause__ = error
        elif error is None or self._is_refusal(error):
            told = f": {type(error).__name__}: {error}" if error else ""
            self._log.debug("The app is served without a lifespan%s", told)
        elif not isinstance(error, asyncio.CancelledError):
            shown = error if self._is_news(error) else None
            self._log.warning(
                "The app has failed in its lifespan startup (%s) and is served without a "
                "lifespan; asgi_lifespan = on would not serve it.",
                type(error).__name__,
                exc_info=shown,
            )

    def _is_refusal(self, error: BaseException) -> bool:
        """Whether the exception says that the app knows no lifespan, and not that its start has
        gone wrong."""
        if self._stray or isinstance(error, NotImplementedError):
            return True
        if isinstance(error, KeyError):
            return bool(error.args) and error.args[0] in _OF_REQUESTS
        if self._asked:
            return False
        text = str(error).lower()
        return isinstance(error, AssertionError) or "lifespan" in text or "scope" in text


def _reason(message: Any) -> str:
    """What the app gives as a reason; frameworks give a whole traceback."""
    text = str(message.get("message") or "").rstrip()
    if not text:
        return ", and it gives no reason"
    return f":\n{text}" if "\n" in text else f": {text}"
