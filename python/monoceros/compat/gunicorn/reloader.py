"""`gunicorn.reloader`: what watches the app's files."""

from monoceros.compat import absent

_INSTEAD = "the arbiter reloads by itself; set `reload` where this release has it, or send SIGHUP"

__getattr__ = absent(
    "gunicorn.reloader",
    dict.fromkeys(
        ("Reloader", "InotifyReloader", "ReloaderBase", "reloader_engines", "preferred_reloader"),
        _INSTEAD,
    ),
)
