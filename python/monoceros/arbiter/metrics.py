"""Metrics that only the master knows: how many workers there are, and how many connections wait.

They are records of the level debug with the metric in `extra`, as hooks write theirs: a logger
that sends metrics finds them there, any other one writes the record where debug is on.
"""

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from monoceros.arbiter.arbiter import Arbiter

#: Seconds between two looks at the kernel's queues (Gunicorn's rhythm).
INTERVAL: Final = 1.0


class Metrics:
    """Tells the log of the fleet's size when it changes, and of the backlog where it is wanted."""

    def __init__(self, server: "Arbiter") -> None:
        self._server = server
        self._told: int | None = None
        #: When to look again, seconds on the monotonic clock.
        self.next_at = float("inf")

    def turn(self, now: float) -> None:
        """Tell what is to be told now."""
        count = len(self._server.WORKERS)
        if count != self._told:
            self._told = count
            self._tell(f"{count} workers", "gunicorn.workers", count, "gauge")
        if not self._server.cfg.enable_backlog_metric:
            self.next_at = float("inf")
        elif self.next_at == float("inf") or now >= self.next_at:
            self.next_at = now + INTERVAL
            lengths = [listener.get_backlog() for listener in self._server.LISTENERS]
            known = [length for length in lengths if length >= 0]
            if known:
                backlog = sum(known)
                self._tell(f"socket backlog: {backlog}", "gunicorn.backlog", backlog, "histogram")

    def _tell(self, text: str, metric: str, value: int, kind: str) -> None:
        extra: dict[str, Any] = {"metric": metric, "value": value, "mtype": kind}
        self._server.log.debug(text, extra=extra)
