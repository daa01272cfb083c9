"""`gunicorn.workers.sync`: one request at a time."""

from monoceros.workers.sync import SyncWorker as SyncWorker


class StopWaiting(Exception):
    """Raised by Gunicorn's own loop; never here, where the engine waits."""
