"""The addresses that the server gives up: at its stop, or because a reload moves it elsewhere.

Rules:
- Whoever is connected by then is answered. The door is shut in the kernel first (`seal`), then the
  arbiter closes its own descriptor, and the last of the workers that have the socket takes what
  waits there and closes it.
- A mold has the socket, too, and answers nobody: the workers wait until it has gone.
- What another master needs is neither sealed nor removed.
"""

from typing import TYPE_CHECKING, Any, Final

from monoceros.arbiter.generation import Generation
from monoceros.arbiter.states import Departure, MoldState
from monoceros.listeners import Listener, shares_otherwise

if TYPE_CHECKING:
    from monoceros.arbiter.arbiter import Arbiter

#: Of so many listeners a worker can be told which ones nobody serves after it.
TOLD_MOST: Final = 64


class Leaving:
    """Lets go of sockets."""

    def __init__(self, server: "Arbiter") -> None:
        self._server = server

    def begin(self, now: float) -> None:
        """A reload cannot be taken back any more: leave the addresses that only the former
        generations have."""
        server = self._server
        for other in server.generations[:-1]:
            left = self._only_of(other)
            if not left:
                continue
            for mold in server.molds:
                if mold.generation is other:
                    mold.dismiss(Departure.RELOAD, now)
            bits = sum(1 << other.listeners.index(each) for each in left) % (1 << TOLD_MOST)
            for record in server.fleet:
                if record.generation is other:
                    server.scoreboard.give_up(record.slot, bits)
            self.forget(other)

    def molds_are_gone(self) -> bool:
        """No mold keeps an address open whose last holder is to be a worker."""
        server = self._server
        return not any(
            mold.state is not MoldState.GONE
            and mold.generation is not server.generation
            and self._only_of(mold.generation)
            for mold in server.molds
        )

    def forget(self, other: Generation) -> None:
        """Close what only this generation has."""
        for listener in self._only_of(other):
            self.give_up(listener)

    def give_up(self, listener: Listener) -> None:
        """Close a socket for good and remove what stands for it, unless another master needs that;
        then close it here only."""
        shared = self._server.upgrade.addresses_are_shared
        if listener.fileno() >= 0 and not shared:
            listener.seal()
        listener.close()
        if not shared:
            listener.remove()

    def warn_of_sharing(self, listeners: list[Listener], cfg: Any) -> None:
        """Say where a change of `reuse_port` comes too late."""
        for listener in shares_otherwise(listeners, cfg):
            self._server.log.warning(
                "reuse_port = %s has no effect on %s, which is open already: it takes a restart",
                cfg.reuse_port,
                listener,
            )

    def _only_of(self, other: Generation) -> list[Listener]:
        present = self._server.generation.listeners
        return [each for each in other.listeners if each not in present]
