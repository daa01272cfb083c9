"""`gunicorn.workers.gthread`: a pool of threads."""

from monoceros.compat import absent
from monoceros.workers.gthread import ThreadWorker as ThreadWorker

__getattr__ = absent(
    "gunicorn.workers.gthread",
    {"TConn": "connections are the engine's; override ThreadWorker.handle_request"},
)
