"""`gunicorn.dirty.app`: apps of dirty arbiters."""

from monoceros.compat import forward

__getattr__ = forward(
    "monoceros.dirty.app",
    "this release of Monoceros has no dirty arbiters",
)
