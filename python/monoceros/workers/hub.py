"""gevent's hub, for the worker classes that run on it: patched in time."""

import gevent.monkey


def patch_process() -> None:
    """Make the standard library cooperative, before the app is imported; the second time it does
    nothing."""
    gevent.monkey.patch_all()
