"""The selector of an asyncio loop in which the engine waits: one wait for connections and for
whatever else the app waits for.

The app's descriptors are in an epoll of their own, which the engine's epoll watches. So a loop that
has nothing but connections never looks at it.

Rules:
- Before `attach` and after `detach` it is a plain epoll: a worker accepts only when its app has
  started, and the app ends after the last connection.
- In between `select` is a turn of the engine, and asks its own epoll when there may be news.
"""

import selectors
from collections.abc import Callable
from typing import Protocol

Ready = list[tuple[selectors.SelectorKey, int]]


class Turning(Protocol):
    """What the selector needs of an engine."""

    def turn(self, timeout: float | None, /) -> bool: ...
    @property
    def ended(self) -> bool: ...


class EngineSelector(selectors.EpollSelector):
    """See the module for its rules. `fileno` is the epoll's."""

    _engine: Turning | None = None
    _on_end: Callable[[], object]

    def attach(self, engine: Turning, on_end: Callable[[], object]) -> None:
        """From now on `select` is the engine's turn, and calls `on_end` after each one that finds
        the engine at its end."""
        self._engine, self._on_end = engine, on_end

    def detach(self) -> None:
        """The engine is not used again."""
        self._engine = None

    def select(self, timeout: float | None = None) -> Ready:
        """As of EpollSelector."""
        engine = self._engine
        if engine is None:
            return super().select(timeout)
        has_news = engine.turn(timeout)
        if engine.ended:
            self._on_end()
        return super().select(0) if has_news else []
