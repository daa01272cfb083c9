"""`gunicorn.workers.gasgi`: the worker class for ASGI apps."""

from monoceros.compat import forward

__getattr__ = forward("monoceros.workers.gasgi")
