"""`gunicorn.ctl.cli`: the command `gunicornc`."""

from monoceros.compat.command import gunicornc as main

__all__ = ["main"]
