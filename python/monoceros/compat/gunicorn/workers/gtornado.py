"""`gunicorn.workers.gtornado`: the worker class on Tornado's loop."""

from monoceros.compat import forward

__getattr__ = forward("monoceros.workers.gtornado")
