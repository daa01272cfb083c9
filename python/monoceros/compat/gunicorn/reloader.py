"""`gunicorn.reloader`: the engines that watch the app's files, by name.

The names are those that `reload_engine` takes. Watching is started by the worker itself.
"""

from typing import Any, NoReturn

from monoceros.compat import absent

_INSTEAD = "set `reload` and `reload_engine`; the arbiter replaces the workers"


def preferred_reloader(*arguments: Any, **named: Any) -> NoReturn:
    """Raises RuntimeError: nobody but a worker starts to watch."""
    raise RuntimeError(f"gunicorn.reloader starts nothing here: {_INSTEAD}")


reloader_engines = dict.fromkeys(("auto", "poll", "inotify"), preferred_reloader)

__getattr__ = absent(
    "gunicorn.reloader",
    dict.fromkeys(("Reloader", "InotifyReloader", "ReloaderBase"), _INSTEAD),
)
