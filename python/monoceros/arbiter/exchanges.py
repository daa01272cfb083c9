"""The exchanges by which connections move between workers.

Rules:
- Workers share one when they have the same sockets in the same order: a reload that does not touch
  `bind` keeps it. One that does makes another, and connections stay on their side.
- The arbiter holds every exchange for as long as a worker may send to it: what is under way is
  lost by no worker's death.
- A worker takes what is left before it ends. What one that was killed could not take waits for its
  replacement; where none will come it is refused here, so that no client waits for ever.
"""

from typing import TYPE_CHECKING, Any

from monoceros import _core
from monoceros.listeners import Listener

if TYPE_CHECKING:
    from monoceros.arbiter.arbiter import Arbiter


class Exchanges:
    """Every exchange of this master."""

    def __init__(self, server: "Arbiter") -> None:
        self._server = server
        self._open: list[_core.Handoff] = []

    def for_generation(
        self, cfg: Any, listeners: list[Listener], worker_class: Any, tls: _core.TlsStore | None
    ) -> _core.Handoff | None:
        """The exchange for workers of this kind; None where connections stay with who has accepted
        them: sessions (TLS) and requests of front ends (uwsgi) cannot be moved."""
        moves = getattr(worker_class, "moves_connections", False)
        if not moves or tls is not None or cfg.protocol == "uwsgi":
            return None
        for other in reversed(self._server.generations):
            if other.handoff is not None and other.listeners == listeners:
                return other.handoff
        made = _core.Handoff()
        self._open.append(made)
        return made

    def turn(self) -> None:
        """Refuse what is under way where nobody will read it any more."""
        server = self._server
        for handoff in list(self._open):
            # Workers whose app has turned out to be an ASGI app take no part, nor will the next.
            of_it = [record for record in server.fleet if record.generation.handoff is handoff]
            if any(not record.asgi for record in of_it):
                continue
            if any(generation.handoff is handoff for generation in server.generations):
                serves = server.generation.handoff is handoff and server.num_workers > 0
                if serves and not of_it and not server.stopping:
                    continue
            else:
                self._open.remove(handoff)
            self._turn_away(handoff)

    def close(self) -> None:
        """The last worker has gone."""
        while self._open:
            self._turn_away(self._open.pop())

    def _turn_away(self, handoff: _core.Handoff) -> None:
        count = handoff.turn_away()
        if count:
            self._server.log.warning(
                "%d requests were on their way from one worker to another when the last one "
                "ended, and were answered with 503",
                count,
            )
