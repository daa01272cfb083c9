"""`gunicorn.dirty.stash`: what dirty apps share."""

from monoceros.compat import forward

__getattr__ = forward("monoceros.dirty.stash")
