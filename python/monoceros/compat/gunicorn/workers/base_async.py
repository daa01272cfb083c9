"""`gunicorn.workers.base_async`: the base of the worker classes on greenlets."""

from monoceros.compat import forward

__getattr__ = forward(
    "monoceros.workers.base_async",
    "this release of Monoceros has no worker class on greenlets: use 'gthread'",
)
