"""For those who work on the app."""

import os
from pathlib import Path
from typing import Any

from monoceros.config.setting import Setting
from monoceros.config.validators import validate_bool, validate_choice, validate_list_string
from monoceros.watching import PATTERN

SECTION = "Debugging"


def validate_files(value: Any) -> list[str]:
    """Paths of existing files, or patterns; kept absolute. A relative one counts from the folder in
    which the server was started."""
    kept = []
    for item in validate_list_string(value):
        path = os.path.abspath(item)  # noqa: PTH100 - keeps links
        if not any(character in item for character in PATTERN) and not Path(path).exists():
            raise ValueError(f"{item!r} does not exist")
        kept.append(path)
    return kept


class Reload(Setting):
    """Load the app again whenever one of its files changes. For development.

    Code that cannot be loaded does not end the server: it answers 500, the error log shows the
    traceback, and the next change is followed again. The configuration is read again, too. It
    works with `preload_app`. No bytecode is written, so that two edits within a second both count.
    """

    name = "reload"
    section = SECTION
    cli = ("--reload",)
    action = "store_true"
    validator = validate_bool
    default = False


class ReloadEngine(Setting):
    """How changes are noticed: auto, poll or inotify.

    inotify hears of them from the kernel and needs the package watchfiles, which comes with
    ``pip install monoceros[reload]``. poll looks once a second. auto takes inotify where it can.
    """

    name = "reload_engine"
    section = SECTION
    cli = ("--reload-engine",)
    meta = "STRING"
    validator = validate_choice("auto", "poll", "inotify")
    default = "auto"


class ReloadExtraFiles(Setting):
    """Further files whose change means a reload. May be given several times.

    A name with ``*``, ``?`` or ``[`` is a pattern, in which ``**`` stands for any folders below.
    Patterns are looked through again and again, so that new files count; other names must exist.
    """

    name = "reload_extra_files"
    section = SECTION
    cli = ("--reload-extra-file",)
    meta = "FILES"
    action = "append"
    validator = validate_files
    default: list[str] = []  # noqa: RUF012 - copied by Setting


class Spew(Setting):
    """Print every line of Python that the workers run, before it runs. Very slow."""

    name = "spew"
    section = SECTION
    cli = ("--spew",)
    action = "store_true"
    validator = validate_bool
    default = False
