"""Where the control socket is, and how to name it to the kernel."""

import contextlib
import os
import pwd
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

#: The socket's name in the runtime folder, and the folder in the home (Gunicorn's contract).
NAME: Final = "gunicorn.ctl"
HOME_FOLDER: Final = ".gunicorn"

#: Bytes of the longest path that the kernel takes for a unix socket, without the zero (unix(7)).
PATH_LIMIT: Final = 107


def default_path(environ: Mapping[str, str]) -> str | None:
    """$XDG_RUNTIME_DIR/gunicorn.ctl where that folder exists, else ~/.gunicorn/gunicorn.ctl; None
    for a user without a home."""
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if runtime and Path(runtime).is_dir():
        return str(Path(runtime) / NAME)
    home = environ.get("HOME", "")
    if not home:
        with contextlib.suppress(KeyError):
            home = pwd.getpwuid(os.getuid()).pw_dir
    return str(Path(home) / HOME_FOLDER / NAME) if home else None


@contextlib.contextmanager
def kernel_name(path: str) -> Iterator[str]:
    """`path` as bind() and connect() take it: a long one by way of its folder's descriptor.

    Raises OSError when the folder cannot be opened.
    """
    if len(os.fsencode(path)) <= PATH_LIMIT:
        yield path
        return
    folder, name = os.path.split(path)
    descriptor = os.open(folder or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)
