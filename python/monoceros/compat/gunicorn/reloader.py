"""`gunicorn.reloader`: what watches the app's files."""

from monoceros.compat import absent

_INSTEAD = "set `reload` and `reload_engine`; the arbiter replaces the workers"

__getattr__ = absent(
    "gunicorn.reloader",
    dict.fromkeys(
        ("Reloader", "InotifyReloader", "ReloaderBase", "reloader_engines", "preferred_reloader"),
        _INSTEAD,
    ),
)
