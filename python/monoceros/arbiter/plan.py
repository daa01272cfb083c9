"""What to start and whom to drain: the arithmetic of the fleet, without processes.

Words:
- *fresh*: of the generation that is to serve, not marked for replacement, not told to leave;
- *retiring*: READY, but of another generation or marked; it serves until it can be spared.

Rules:
- As many fresh workers are started as are missing.
- A retiring worker is drained when the READY ones without it are enough. So every replacement that
  becomes ready frees one old worker, and a replacement that never does frees none.
- Too many fresh workers: those that still boot go first, youngest first (they serve nobody), then
  the oldest.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from monoceros.arbiter.states import STAYING, Departure, WorkerState


class Planned(Protocol):
    """What the plan has to know of a worker."""

    @property
    def age(self) -> int: ...
    @property
    def state(self) -> WorkerState: ...
    @property
    def generation(self) -> object: ...
    @property
    def marked(self) -> Departure | None: ...


W = TypeVar("W", bound=Planned)


@dataclass
class Plan(Generic[W]):
    """The next moves: `missing` workers to start, and whom to drain for which reason."""

    missing: int = 0
    retire: list[tuple[W, Departure]] = field(default_factory=list)


def make_plan(workers: Iterable[W], generation: object, wanted: int) -> Plan[W]:
    """Compare what is there with what is wanted.

    Args:
        workers: every worker that has not been reaped.
        generation: the generation that is to serve.
        wanted: how many workers of it.
    """
    staying = sorted((w for w in workers if w.state in STAYING), key=lambda w: w.age)
    fresh = [w for w in staying if w.generation is generation and w.marked is None]
    fresh_ready = [w for w in fresh if w.state is WorkerState.READY]
    fresh_booting = [w for w in fresh if w.state is WorkerState.BOOTING]
    others = [w for w in staying if w.generation is not generation or w.marked is not None]
    retiring = [w for w in others if w.state is WorkerState.READY]
    plan: Plan[W] = Plan(missing=max(0, wanted - len(fresh)))

    spare = len(fresh_ready) + len(retiring) - wanted
    for worker in retiring[: max(0, spare)]:
        plan.retire.append((worker, worker.marked or Departure.RELOAD))
    # Old code that has not booted yet is of no use once new code has been proven.
    if fresh_ready:
        late = [w for w in others if w.state is WorkerState.BOOTING]
        plan.retire.extend((worker, worker.marked or Departure.RELOAD) for worker in late)

    excess = len(fresh) - wanted
    if excess > 0:
        # One that is only asked for has no pid to send a signal to yet: it is looked at again
        # when it is there.
        victims = list(reversed(fresh_booting))[:excess]
        beyond = len(fresh_ready) - wanted
        if beyond > 0:
            victims += fresh_ready[:beyond]
        plan.retire.extend((worker, Departure.SCALE_DOWN) for worker in victims)
    return plan
