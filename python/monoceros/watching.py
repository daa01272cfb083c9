"""Files whose change means that the app should be loaded again.

Rules:
- Watched is every file that a module was loaded from, what the operator has named, and, when the
  app could not be loaded, every file that its failure names, also those that are missing.
- What counts is a file's stamp. A notification of the kernel is only a reason to look at once, and
  without one somebody looks every second.
- A file that was changed while it was being loaded has changed: what was loaded may be half of it.
- Watching goes on after a change: the reload that it leads to may fail, and be mended.
"""

import contextlib
import glob
import importlib.util
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

#: How often files are looked at, seconds.
INTERVAL: Final = 1.0

#: Changes that come this close together, milliseconds, are one.
TOGETHER: Final = 50

#: How far behind the clock a file's time may be, nanoseconds: the kernel stamps files by its tick.
TICK: Final = 10_000_000

#: The characters that make a name a pattern.
PATTERN: Final = "*?["

Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class Change:
    """A file that has changed. `stamp` tells one change from the next; `early` means that it has
    happened while the app was being loaded."""

    path: str
    stamp: Stamp | None
    early: bool = False


def engine_of(name: str) -> str:
    """`inotify` or `poll`, for a value of `reload_engine`."""
    if name == "auto":
        return "inotify" if importlib.util.find_spec("watchfiles") else "poll"
    return name


class WatchedFiles:
    """The files and their stamps.

    Args:
        extra: paths and patterns that the operator has named.
        missing: paths that need not exist.
        since: when loading began, nanoseconds of the wall clock.
    """

    def __init__(self, extra: Iterable[str], missing: Iterable[str], since: int) -> None:
        self._extra = list(extra)
        self._missing = list(missing)
        self._since = since - TICK
        self._stamps: dict[str, Stamp | None] = {}

    def start(self) -> Change | None:
        """Take stamps of everything; what has changed since loading began."""
        self.look()
        for path, stamp in self._stamps.items():
            if stamp is not None and stamp[0] > self._since:
                return Change(path, stamp, early=True)
        return None

    def look(self) -> Change | None:
        """The first file found that is not what it was when it was last looked at."""
        found = None
        for path in dict.fromkeys((*module_files(), *self._named())):
            stamp = _stamp(path)
            if path not in self._stamps:
                self._stamps[path] = stamp
            elif self._stamps[path] != stamp:
                self._stamps[path] = stamp
                found = found or Change(path, stamp)
        return found

    def folders(self) -> set[str]:
        """The folders in which changes would be seen."""
        names = {os.path.dirname(path) for path in self._stamps}  # noqa: PTH120
        return {name for name in names if Path(name).is_dir()}

    def unmatched(self) -> list[str]:
        """Patterns that no file matches."""
        return [name for name in self._extra if _is_pattern(name) and not _expand(name)]

    def _named(self) -> Iterator[str]:
        for name in self._extra:
            yield from _expand(name) if _is_pattern(name) else [name]
        yield from self._missing


def module_files() -> Iterator[str]:
    """Where the modules of this process have been loaded from."""
    for module in list(sys.modules.values()):
        try:
            path = getattr(module, "__file__", None)
        except Exception:  # a lazy module of somebody else's making
            continue
        if isinstance(path, str) and path.startswith("/"):
            yield path[:-1] if path.endswith((".pyc", ".pyo")) else path


def files_of_failure(error: BaseException) -> list[str]:
    """The files that have to do with why an app could not be loaded."""
    found: list[str] = []
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        traceback = link.__traceback__
        while traceback is not None:
            found.append(traceback.tb_frame.f_code.co_filename)
            traceback = traceback.tb_next
        if isinstance(link, SyntaxError) and link.filename:
            found.append(link.filename)
        if isinstance(link, ImportError):
            found.extend(_places(link))
        link = link.__cause__ or link.__context__
    return [path for path in dict.fromkeys(found) if path.startswith("/")]


def _places(error: ImportError) -> Iterator[str]:
    """Where a module that is missing would be looked for, or was found wanting."""
    if error.path:
        yield error.path
    if isinstance(error, ModuleNotFoundError) and error.name:
        relative = error.name.replace(".", os.sep)
        for folder in sys.path:
            base = os.path.join(os.path.abspath(folder), relative)  # noqa: PTH100, PTH118
            yield f"{base}.py"
            yield f"{base}{os.sep}__init__.py"


def _is_pattern(name: str) -> bool:
    return any(character in name for character in PATTERN)


def _expand(pattern: str) -> list[str]:
    return glob.glob(pattern, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern


def _stamp(path: str) -> Stamp | None:
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


class Watcher(threading.Thread):
    """Looks at the files until the process ends, and tells of every change.

    Args:
        files: what to watch.
        engine: a value of `reload_engine`.
        tell: called with each change.
        log: the server's logger.
    """

    def __init__(
        self, files: WatchedFiles, engine: str, tell: Callable[[Change], None], log: Any
    ) -> None:
        super().__init__(name="reloader", daemon=True)
        self._files = files
        self._engine = engine_of(engine)
        self._tell = tell
        self._log = log

    def run(self) -> None:
        for pattern in self._files.unmatched():
            self._log.warning("reload_extra_files: nothing matches %s yet", pattern)
        change = self._files.start()
        if change is not None:
            self._tell(change)
        for _ in self._occasions():
            change = self._files.look()
            if change is not None:
                self._tell(change)

    def _occasions(self) -> Iterator[None]:
        """Comes back whenever it is time to look."""
        if self._engine == "inotify":
            try:
                yield from self._notified()
            except OSError as error:
                self._log.warning(
                    "The kernel does not watch the app's folders (%s): they are looked at every "
                    "second instead. See fs.inotify.max_user_watches.",
                    error,
                )
        while True:
            time.sleep(INTERVAL)
            yield

    def _notified(self) -> Iterator[None]:
        import watchfiles

        while True:
            folders = self._files.folders()
            for _ in watchfiles.watch(
                *folders,
                watch_filter=None,
                recursive=False,
                debounce=TOGETHER,
                rust_timeout=int(INTERVAL * 1000),
                yield_on_timeout=True,
                raise_interrupt=False,
            ):
                yield
                if self._files.folders() != folders:
                    break


def teller(pipe: int, pid: int) -> Callable[[Change], None]:
    """A function that tells the arbiter of a change: one line of JSON in a pipe that all workers
    share, {"pid", "file", "stamp", "early"}. A pipe takes such a line whole (PIPE_BUF)."""

    def tell(change: Change) -> None:
        message = {"pid": pid, "file": change.path, "stamp": change.stamp, "early": change.early}
        # A full pipe means that the arbiter has enough to follow.
        with contextlib.suppress(BlockingIOError):
            os.write(pipe, json.dumps(message).encode() + b"\n")

    return tell
