"""What one reload makes: a configuration, its sockets and the code that was on disk then."""

from dataclasses import dataclass, field
from typing import Any

from monoceros import _core
from monoceros.arbiter.tracebacks import SeenTracebacks
from monoceros.listeners import Listener


@dataclass(eq=False)
class Generation:
    """One generation of workers; its number counts from 1.

    `mold` is its mold process when `preload_app` is set. `proven`: one of its workers has been
    READY. `failures`: how many of its workers or molds ended without ever being READY.
    `last_failure` tells the last one's end, for the operator.
    """

    number: int
    cfg: Any
    listeners: list[Listener]
    worker_class: Any
    #: What workers need for TLS; None without.
    tls: _core.TlsStore | None = None
    #: By which connections of its workers move; None: they stay.
    handoff: _core.Handoff | None = None
    seen: SeenTracebacks = field(default_factory=SeenTracebacks)
    mold: Any = None
    proven: bool = False
    failures: int = 0
    last_failure: str = ""
    #: The log says that the app has turned out to be an ASGI app.
    asgi_told: bool = False

    @property
    def preload(self) -> bool:
        """Its workers are forked from a mold."""
        return bool(self.cfg.preload_app)

    @property
    def uses_engine(self) -> bool:
        """Its workers accept, read and drain by the engine, and not by an event loop of theirs."""
        return bool(getattr(self.worker_class, "uses_engine", False))

    @property
    def timeout_bounds_request(self) -> bool:
        """The setting `timeout` is the deadline of a request, not of the interpreter's beat."""
        return bool(getattr(self.worker_class, "timeout_bounds_request", False))

    @property
    def app_threads(self) -> int:
        """How many requests one worker runs at a time."""
        of_class = getattr(self.worker_class, "requests_at_once", None)
        if of_class is not None:
            return int(of_class(self.cfg))
        return 1 if self.timeout_bounds_request else max(1, int(self.cfg.threads))
