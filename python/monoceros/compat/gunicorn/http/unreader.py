"""`gunicorn.http.unreader`: there is none of Python's here."""

from monoceros.compat import absent

__getattr__ = absent(
    "gunicorn.http.unreader",
    dict.fromkeys(("Unreader", "SocketUnreader", "IterUnreader"), "the engine reads from sockets"),
)
