"""`gunicorn.dirty.client`: calling dirty arbiters."""

from monoceros.compat import forward

__getattr__ = forward("monoceros.dirty.client")
