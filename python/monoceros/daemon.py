"""A daemon: the server leaves its terminal, but not before the operator knows that it works.

```
launcher (the command) --fork--> between (a new session) --fork--> daemon (the master)
```

Rules:
- The launcher waits until the daemon listens, and ends with 0; when the daemon ends before that,
  it repeats what the daemon has said on standard error and ends with its status.
- Until then the daemon's output goes to a file in memory, so that a start in silence stays silent
  and no pipe can break under the daemon. Afterwards it goes nowhere.
- What leads to such a file is recognized by its name, so that a new master, whose old one has given
  it one, needs not be told.
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from monoceros import _core, handover
from monoceros.errors import ConfigError

#: Permission bits that a daemon's files are made without (Gunicorn's contract).
UMASK: Final = 0o022

#: The most of a daemon's output that is repeated, bytes: the end, where the reason stands.
REPEATED_MOST: Final = 64 * 1024

_NAME: Final = "monoceros-output"
_OUTPUTS: Final = (1, 2)
_LISTENS: Final = "listens"


def launch(cfg: Any) -> int:
    """Go on as a daemon; in the launcher this does not return.

    Returns a descriptor that the launcher listens to, for `listens` and `reported`; -1 where nobody
    does: without `daemon`, and in a new master that an old one has started, which is one already.

    Raises:
        ConfigError: no process or descriptor to be had.
    """
    if not cfg.daemon or handover.is_heir(os.environ):
        return -1
    if os.environ.get("NOTIFY_SOCKET"):
        sys.stderr.write(
            "Warning: NOTIFY_SOCKET is set and so is daemon: a service manager that waits for a "
            "notification loses sight of a process that goes into the background. Leave daemon "
            "off under systemd.\n"
        )
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        output = output_file()
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        between = os.fork()
    except OSError as error:
        raise ConfigError(f"can't become a daemon: {error.strerror}") from error
    if between:
        os.close(theirs)
        os.waitpid(between, 0)
        _wait(ours, output)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.close(ours)
    os.umask(UMASK)
    redirect(output, inherit=cfg.enable_stdio_inheritance)
    os.close(output)
    return theirs


def _wait(told: int, output: int) -> None:
    """The rest of the launcher's life."""
    status = 1
    try:
        with os.fdopen(told) as pipe:
            word = pipe.read()
        if word == _LISTENS:
            status = 0
        else:
            status = int(word) if word else 1
            text = said(output)
            if not text:
                text = f"The daemon ended with status {status} before it listened; see its log.\n"
            sys.stderr.write(text)
            sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def output_file() -> int:
    """A file in memory for what a process says before it is known to work."""
    return _core.memory_file(_NAME)


def said(output: int) -> str:
    """What stands in such a file; the end of it, if it is very long."""
    size = os.fstat(output).st_size
    skipped = max(0, size - REPEATED_MOST)
    return os.pread(output, REPEATED_MOST, skipped).decode(errors="replace")


def redirect(output: int, *, inherit: bool) -> None:
    """Standard input from nowhere, output and error to the file; with `inherit` only what is a
    terminal."""
    with Path(os.devnull).open("rb") as null:
        os.dup2(null.fileno(), 0)
    for number in _OUTPUTS:
        if not inherit or _is_terminal(number):
            os.dup2(output, number)


def lend(output: int) -> None:
    """Send to the file what would go nowhere."""
    for number in _OUTPUTS:
        if _leads_to(number) == os.devnull:
            os.dup2(output, number)


def _leads_to(number: int) -> str:
    with contextlib.suppress(OSError):
        return str(Path(f"/proc/self/fd/{number}").readlink())
    return ""


def _is_terminal(number: int) -> bool:
    with contextlib.suppress(OSError):
        return os.isatty(number)
    return False


def listens(told: int) -> None:
    """The server works: let the launcher go, if there is one, and say nothing more to it."""
    if told >= 0:
        # The launcher may have been interrupted.
        with contextlib.suppress(BrokenPipeError):
            os.write(told, _LISTENS.encode())
        os.close(told)
    for number in _OUTPUTS:
        if _NAME in _leads_to(number):
            with Path(os.devnull).open("wb") as null:
                os.dup2(null.fileno(), number)


@contextlib.contextmanager
def reported(told: Callable[[], int]) -> Iterator[None]:
    """Report the exit status of what happens inside to the launcher, while `told` gives a
    descriptor."""
    try:
        yield
    except SystemExit as end:
        if told() >= 0:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
            sys.stderr.flush()
            os.write(told(), str(code).encode())
        raise
