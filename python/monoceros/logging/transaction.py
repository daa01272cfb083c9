"""Changing the logging configuration whole or not at all.

The rules of this module:

- Nothing that worked before a failed change is touched by it: no handler is closed, no level or
  filter stays changed, no half-built handler is left behind.
- What a change replaces is closed when the change as a whole has succeeded, not before.
- A change inside a change belongs to the outer one: a subclass's setup that fails after it has
  called its parent's takes back the parent's part too.
"""

import logging
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

# The registry of handlers that the standard library closes at exit and clears in dictConfig and
# fileConfig. It has no public face.
_registry: Any = logging


def loggers() -> list[logging.Logger]:
    """Every named logger that exists; the root logger has no name."""
    known = logging.root.manager.loggerDict.values()
    return [logger for logger in list(known) if isinstance(logger, logging.Logger)]


def attached_handlers() -> dict[int, logging.Handler]:
    """Every handler in use by its identity: attached to a logger, or the target of one that is."""
    found: dict[int, logging.Handler] = {}
    pending = [handler for logger in (logging.root, *loggers()) for handler in logger.handlers]
    while pending:
        handler = pending.pop()
        if id(handler) not in found:
            found[id(handler)] = handler
            target = getattr(handler, "target", None)
            if isinstance(target, logging.Handler):
                pending.append(target)
    return found


@contextmanager
def sheltered_handlers() -> Iterator[None]:
    """Hide the existing handlers from the standard library, which would close them all."""
    named, listed = dict(_registry._handlers), list(_registry._handlerList)
    _registry._handlers.clear()
    _registry._handlerList.clear()
    try:
        yield
    finally:
        _registry._handlerList[:0] = listed
        for name, handler in named.items():
            _registry._handlers.setdefault(name, handler)


@dataclass(frozen=True)
class _LoggerState:
    level: int
    propagate: bool
    disabled: bool
    handlers: list[logging.Handler]
    filters: list[Any]


@dataclass(frozen=True)
class _HandlerState:
    level: int
    formatter: logging.Formatter | None
    filters: list[Any]


class Transaction:
    """A change of the logging configuration on behalf of `owner`, whose attributes it keeps."""

    def __init__(self, owner: object) -> None:
        self._owner = owner
        self._attributes = dict(vars(owner))
        self._loggers = {
            logger: _LoggerState(
                logger.level,
                logger.propagate,
                logger.disabled,
                list(logger.handlers),
                list(logger.filters),
            )
            for logger in (logging.root, *loggers())
        }
        self._attached = attached_handlers()
        self._handlers = {
            handler: _HandlerState(handler.level, handler.formatter, list(handler.filters))
            for handler in self._attached.values()
        }
        self._named = dict(_registry._handlers)
        self._listed = list(_registry._handlerList)
        self._on_commit: list[Callable[[], None]] = []
        self._on_rollback: list[Callable[[], None]] = []

    def on_commit(self, action: Callable[[], None]) -> None:
        """Run `action` when the whole change has succeeded."""
        self._on_commit.append(action)

    def on_rollback(self, action: Callable[[], None]) -> None:
        """Run `action` when the change has failed."""
        self._on_rollback.append(action)

    def commit(self) -> None:
        for action in self._on_commit:
            action()
        in_use = attached_handlers()
        replaced = [handler for key, handler in self._attached.items() if key not in in_use]
        logging.shutdown([weakref.ref(handler) for handler in replaced])

    def rollback(self) -> None:
        for logger in (logging.root, *loggers()):
            state = self._loggers.get(logger, _LoggerState(logging.NOTSET, True, False, [], []))
            logger.setLevel(state.level)
            logger.propagate = state.propagate
            logger.disabled = state.disabled
            logger.handlers[:] = state.handlers
            logger.filters[:] = state.filters
        for handler, kept in self._handlers.items():
            handler.setLevel(kept.level)
            handler.setFormatter(kept.formatter)
            handler.filters[:] = kept.filters
        fresh = [entry for entry in _registry._handlerList if entry not in self._listed]
        _registry._handlerList[:] = self._listed
        _registry._handlers.clear()
        _registry._handlers.update(self._named)
        vars(self._owner).clear()
        vars(self._owner).update(self._attributes)
        for action in self._on_rollback:
            action()
        logging.shutdown(fresh)


_current: Transaction | None = None


@contextmanager
def transaction(owner: object) -> Iterator[Transaction]:
    """Make what happens inside one change: kept when it succeeds, undone when it raises."""
    global _current
    if _current is not None:
        yield _current
        return
    change = _current = Transaction(owner)
    try:
        yield change
        change.commit()
    except BaseException:
        change.rollback()
        raise
    finally:
        _current = None
