"""A worker's place in the server: its slot in the scoreboard and what ties it to its master."""

from collections.abc import Callable
from dataclasses import dataclass

from monoceros import _core


@dataclass(frozen=True)
class Seat:
    """Given to a worker by the arbiter (or the mold) right before it is forked.

    `lifeline`: descriptor of a pipe's reading end that reports end-of-file when the master is no
    more; -1 for none. `fleet`: how many workers the server wants, for `wsgi.multiprocess`.
    `tls`: certificates and keys; None for plain HTTP. `edits`: descriptor of the pipe to the
    arbiter for what `reload` has seen; -1 for none. `is_news`: whether no worker of this generation
    has told of this failure to load the app yet. `handoff`: the exchange by which connections move
    between workers; None where they do not.
    """

    scoreboard: _core.Scoreboard
    slot: int
    lifeline: int
    fleet: int
    tls: _core.TlsStore | None = None
    edits: int = -1
    is_news: Callable[[BaseException], bool] = lambda _error: True
    handoff: _core.Handoff | None = None

    def arrive(self, pid: int) -> None:
        """The forked process takes the seat."""
        self.scoreboard.set_pid(self.slot, pid)

    def beat(self) -> None:
        """The interpreter can run Python now."""
        self.scoreboard.beat(self.slot)

    def serves_asgi(self) -> None:
        """The app has turned out to be an ASGI app."""
        self.scoreboard.set_asgi(self.slot)

    def ready(self) -> None:
        """The app is imported; the worker is about to serve."""
        self.scoreboard.beat(self.slot)
        self.scoreboard.set_state(self.slot, _core.READY)

    def draining(self) -> None:
        """The worker finishes what it has; tells the arbiter unless it is no news to it."""
        if self.scoreboard.read(self.slot).state == _core.READY:
            self.scoreboard.set_state(self.slot, _core.DRAINING)

    def last_beat(self) -> float:
        """When the interpreter last beat; 0.0 if never."""
        return self.scoreboard.read(self.slot).python_beat
