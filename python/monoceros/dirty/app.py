"""Dirty apps: the base class, how one is named, how one is loaded.

An app is named `MODULE:CLASS`, in the setting `dirty_apps` also `MODULE:CLASS:N` for the number of
workers that load it (Gunicorn's contract, `gunicorn.dirty.app`).
"""

import importlib
from typing import Any, ClassVar, NamedTuple

from monoceros.errors import AppImportError


class DirtyApp:
    """Base of dirty apps: what it keeps in its attributes lives as long as the dirty worker.

    `init` is called once in each worker that has the app, `close` when that worker ends. A call of
    a client is `app(action, *args, **kwargs)`. With `dirty_threads` above 1 calls run at the same
    time, and the app has to be ready for it.

    A generator that an action returns is streamed, an async one too; a coroutine is awaited. Both
    run on the event loop of the dirty worker.
    """

    #: How many dirty workers load this app; None means all.
    workers: ClassVar[int | None] = None

    #: Tables of the stash that exist before the first `init`.
    stashes: ClassVar[list[str] | tuple[str, ...]] = ()

    def init(self) -> None:
        """Called once, before the first call: load what is heavy here."""

    def __call__(self, action: str, *args: Any, **kwargs: Any) -> Any:
        """One call. Raises ValueError for an action that is no public method."""
        method = None if action.startswith("_") else getattr(self, action, None)
        if method is None:
            raise ValueError(f"Unknown action: {action}")
        return method(*args, **kwargs)

    def close(self) -> None:
        """Called when the worker ends."""


class AppSpec(NamedTuple):
    """An entry of `dirty_apps`: the app's path, and the number of workers where it says one."""

    path: str
    limit: int | None


def parse_spec(text: str) -> AppSpec:
    """Read an entry of `dirty_apps`. Raises ValueError with what is wrong with it."""
    module, _, rest = text.strip().partition(":")
    name, colon, number = rest.partition(":")
    if not module or not name.isidentifier():
        raise ValueError(f"{text!r} names no dirty app: write MODULE:CLASS or MODULE:CLASS:N")
    path = f"{module}:{name}"
    if not colon:
        return AppSpec(path, None)
    if not number.isdecimal() or int(number) < 1:
        raise ValueError(
            f"{text!r} asks for {number!r} workers of {path}: write a whole number of 1 or more"
        )
    return AppSpec(path, int(number))


class Declaration(NamedTuple):
    """What an app's class says of itself."""

    limit: int | None
    stashes: list[str]


def import_class(path: str) -> type[Any]:
    """The class that `path` names.

    Raises AppImportError when its module has no such class, and whatever importing it raises.
    """
    module_name, _, name = path.partition(":")
    module = importlib.import_module(module_name)
    try:
        found = getattr(module, name)
    except AttributeError:
        raise AppImportError(f"Dirty app not found: {module_name!r} has no {name!r}.") from None
    if not isinstance(found, type):
        raise AppImportError(f"Dirty app {path} is no class but {type(found).__name__!r}.")
    for method in ("init", "__call__", "close"):
        if not callable(getattr(found, method, None)):
            raise AppImportError(
                f"Dirty app {path} has no method {method}: derive it from DirtyApp."
            )
    return found


def declaration(path: str, found: type[Any]) -> Declaration:
    """What `found` declares. Raises AppImportError for a declaration that makes no sense."""
    limit = getattr(found, "workers", None)
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise AppImportError(
            f"Dirty app {path} has workers = {limit!r}: use None or a whole number of 1 or more."
        )
    stashes = getattr(found, "stashes", ())
    if isinstance(stashes, str) or not all(isinstance(name, str) for name in stashes):
        raise AppImportError(f"Dirty app {path} has stashes = {stashes!r}: use a list of names.")
    return Declaration(limit, list(stashes))
