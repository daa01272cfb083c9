"""`gunicorn.dirty.errors`: what can go wrong with dirty arbiters."""

from monoceros.compat import forward

__getattr__ = forward("monoceros.dirty.errors")
