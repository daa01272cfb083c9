"""The selector of an asyncio loop that is the engine: one epoll for connections and for whatever
else the app waits for.

Rules:
- Before `attach` and after `detach` it is a plain epoll: a worker accepts only when its app has
  started, and its app ends after the last connection.
- In between, `select` serves the engine's connections and returns the app's descriptors.
- A descriptor that was closed without being unregistered is none of this module's business: epoll
  has forgotten it by itself, and the key stays until somebody unregisters it, as in the module
  selectors.
"""

import contextlib
import selectors
from collections.abc import Callable, Mapping
from select import EPOLLIN, EPOLLOUT, epoll
from typing import Any, Protocol


class Turning(Protocol):
    """What the selector needs of an engine."""

    def turn(self, timeout: float | None, /) -> list[tuple[int, int]]: ...
    def watch(self, descriptor: int, events: int, /) -> object: ...
    @property
    def ended(self) -> bool: ...


class EngineSelector(selectors.BaseSelector):
    """See the module for its rules. Methods without documentation mean what BaseSelector's do."""

    def __init__(self) -> None:
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._plain: epoll | None = epoll()
        self._engine: Turning | None = None
        self._ended: Callable[[], object] = lambda: None

    def attach(self, engine: Turning, ended: Callable[[], object]) -> None:
        """From now on `select` is the engine's `turn`, and calls `ended` after each one that finds
        the engine at its end."""
        assert self._plain is not None
        self._engine, self._ended = engine, ended
        plain, self._plain = self._plain, None
        plain.close()
        self._move(engine.watch)

    def detach(self) -> None:
        """Back to a plain epoll; the engine is not used again."""
        assert self._engine is not None
        engine, self._engine = self._engine, None
        self._plain = epoll()
        for descriptor in self._keys:
            with contextlib.suppress(OSError):
                engine.watch(descriptor, 0)
        self._move(self._plain.register)

    def _move(self, watch: Callable[[int, int], object]) -> None:
        for descriptor, key in self._keys.items():
            with contextlib.suppress(OSError):  # closed, as the module says
                watch(descriptor, _epoll_mask(key.events))

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        if not events or events & ~(selectors.EVENT_READ | selectors.EVENT_WRITE):
            raise ValueError(f"Invalid events: {events!r}")
        key = selectors.SelectorKey(fileobj, self._descriptor(fileobj), events, data)
        if key.fd in self._keys:
            raise KeyError(f"{fileobj!r} (FD {key.fd}) is already registered")
        if self._engine is not None:
            self._engine.watch(key.fd, _epoll_mask(events))
        else:
            self._epoll.register(key.fd, _epoll_mask(events))
        self._keys[key.fd] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        key = self._keys.pop(self._known(fileobj))
        with contextlib.suppress(OSError):  # closed, as the module says
            if self._engine is not None:
                self._engine.watch(key.fd, 0)
            else:
                self._epoll.unregister(key.fd)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = self._keys[self._known(fileobj)]
        if events != key.events:
            if self._engine is not None:
                self._engine.watch(key.fd, _epoll_mask(events))
            else:
                self._epoll.modify(key.fd, _epoll_mask(events))
        key = key._replace(events=events, data=data)
        self._keys[key.fd] = key
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        engine = self._engine
        if engine is not None:
            found = engine.turn(timeout)
            if engine.ended:
                self._ended()
        else:
            found = self._poll(timeout)
        if not found:
            return []
        ready = []
        for descriptor, events in found:
            key = self._keys.get(descriptor)
            if key is None:
                continue
            mask = 0
            if events & ~EPOLLIN:
                mask |= selectors.EVENT_WRITE
            if events & ~EPOLLOUT:
                mask |= selectors.EVENT_READ
            if mask & key.events:
                ready.append((key, mask & key.events))
        return ready

    def _poll(self, timeout: float | None) -> list[tuple[int, int]]:
        # More than one at a time, and one where there is none, or it would not wait.
        most = max(len(self._keys), 1)
        return self._epoll.poll(None if timeout is None else max(0.0, timeout), most)

    def close(self) -> None:
        if self._plain is not None:
            self._plain.close()
        self._keys.clear()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return _Map(self)

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys[self._known(fileobj)]

    @property
    def _epoll(self) -> epoll:
        assert self._plain is not None
        return self._plain

    def _known(self, fileobj: Any) -> int:
        """The descriptor of what is registered; KeyError where nothing is."""
        try:
            descriptor = self._descriptor(fileobj)
        except ValueError:
            # It has been closed: its key is found by the object.
            for key in self._keys.values():
                if key.fileobj is fileobj:
                    return key.fd
            raise KeyError(f"{fileobj!r} is not registered") from None
        if descriptor not in self._keys:
            raise KeyError(f"{fileobj!r} is not registered")
        return descriptor

    @staticmethod
    def _descriptor(fileobj: Any) -> int:
        """Raises ValueError where there is none."""
        if isinstance(fileobj, int):
            descriptor = fileobj
        else:
            try:
                descriptor = int(fileobj.fileno())
            except (AttributeError, TypeError, ValueError):
                raise ValueError(f"Invalid file object: {fileobj!r}") from None
        if descriptor < 0:
            raise ValueError(f"Invalid file descriptor: {descriptor}")
        return descriptor


class _Map(Mapping[Any, selectors.SelectorKey]):
    """What is registered, by file object or descriptor."""

    def __init__(self, selector: EngineSelector) -> None:
        self._selector = selector

    def __len__(self) -> int:
        return len(self._selector._keys)

    def __getitem__(self, fileobj: Any) -> selectors.SelectorKey:
        return self._selector.get_key(fileobj)

    def __iter__(self) -> Any:
        return iter(self._selector._keys)


def _epoll_mask(events: int) -> int:
    """What a selector's mask means to epoll. Errors and hang-ups come unasked."""
    mask = 0
    if events & selectors.EVENT_READ:
        mask |= EPOLLIN
    if events & selectors.EVENT_WRITE:
        mask |= EPOLLOUT
    return mask
