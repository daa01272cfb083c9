"""`gunicorn.workers.workertmp`: what tells the master that a worker lives."""

from typing import Any

from monoceros.workers.base import Heartbeat


class WorkerTmp(Heartbeat):
    """Gunicorn's name and constructor."""

    def __init__(self, cfg: Any = None) -> None:
        super().__init__()
