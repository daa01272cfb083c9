"""The plan: whatever happens to workers, capacity is never given away for a promise."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from monoceros.arbiter.plan import make_plan
from monoceros.arbiter.states import STAYING, Departure, WorkerState


@dataclass(eq=False)
class Fake:
    age: int
    state: WorkerState
    generation: object
    marked: Departure | None = None


def workers(*rows: tuple[WorkerState, object]) -> list[Fake]:
    return [Fake(age, state, generation) for age, (state, generation) in enumerate(rows, 1)]


READY, BOOTING, REQUESTED = WorkerState.READY, WorkerState.BOOTING, WorkerState.REQUESTED


def test_what_is_missing_is_started() -> None:
    plan = make_plan(workers((READY, 1)), 1, 3)
    assert plan.missing == 2
    assert not plan.retire


def test_a_new_generation_boots_beside_the_old_one() -> None:
    plan = make_plan(workers((READY, 1), (READY, 1)), 2, 2)
    assert plan.missing == 2
    assert not plan.retire


def test_each_new_ready_worker_frees_the_oldest_old_one() -> None:
    fleet = workers((READY, 1), (READY, 1), (READY, 2), (BOOTING, 2))
    plan = make_plan(fleet, 2, 2)
    assert [(w.age, why) for w, why in plan.retire] == [(1, Departure.RELOAD)]


def test_old_code_that_still_boots_goes_when_new_code_is_proven() -> None:
    fleet = workers((BOOTING, 1), (BOOTING, 2))
    assert not make_plan(fleet, 2, 1).retire
    fleet[1].state = READY
    assert [w.age for w, _ in make_plan(fleet, 2, 1).retire] == [1]


def test_a_marked_worker_is_replaced_first() -> None:
    fleet = workers((READY, 1), (READY, 1))
    fleet[0].marked = Departure.RECYCLE
    plan = make_plan(fleet, 1, 2)
    assert (plan.missing, plan.retire) == (1, [])
    fleet.append(Fake(3, READY, 1))
    plan = make_plan(fleet, 1, 2)
    assert plan.missing == 0
    assert [(w.age, why) for w, why in plan.retire] == [(1, Departure.RECYCLE)]


def test_scaling_down_drains_the_oldest() -> None:
    plan = make_plan(workers((READY, 1), (READY, 1), (READY, 1)), 1, 2)
    assert [(w.age, why) for w, why in plan.retire] == [(1, Departure.SCALE_DOWN)]


def test_scaling_down_prefers_those_that_serve_nobody() -> None:
    plan = make_plan(workers((READY, 1), (READY, 1), (BOOTING, 1)), 1, 2)
    assert [w.age for w, _ in plan.retire] == [3]


def test_the_dead_and_the_leaving_do_not_count() -> None:
    leaving = [WorkerState.DRAINING, WorkerState.ABORTING, WorkerState.KILLED]
    plan = make_plan(workers(*[(state, 1) for state in leaving]), 1, 2)
    assert plan.missing == 2
    assert not plan.retire


fleets = st.lists(
    st.builds(
        Fake,
        age=st.integers(),
        state=st.sampled_from(WorkerState),
        generation=st.integers(1, 3),
        marked=st.sampled_from([None, Departure.RECYCLE, Departure.OVERDUE]),
    ),
    max_size=12,
    unique_by=lambda worker: worker.age,
)


@given(fleet=fleets, wanted=st.integers(0, 6))
def test_no_plan_lowers_capacity_below_what_is_wanted(fleet: list[Fake], wanted: int) -> None:
    plan = make_plan(fleet, 3, wanted)
    ready = [w for w in fleet if w.state is READY]
    retired = [w for w, _ in plan.retire]
    assert len(set(map(id, retired))) == len(retired), "nobody is told twice"
    assert all(w.state in STAYING for w in retired)
    left = [w for w in ready if w not in retired]
    assert len(left) >= min(wanted, len(ready))


class Rolling(RuleBasedStateMachine):
    """Random life of a fleet under the plan: boots, deaths, reloads, scaling, recycling."""

    @initialize(wanted=st.integers(1, 4))
    def begin(self, wanted: int) -> None:
        self.fleet: list[Fake] = []
        self.generation = 1
        self.wanted = wanted
        self.age = 0

    def ready(self) -> int:
        return sum(w.state is READY for w in self.fleet)

    @rule()
    def apply(self) -> None:
        before = self.ready()
        plan = make_plan(self.fleet, self.generation, self.wanted)
        for worker, _ in plan.retire:
            worker.state = WorkerState.DRAINING
        for _ in range(plan.missing):
            self.age += 1
            self.fleet.append(Fake(self.age, BOOTING, self.generation))
        assert self.ready() >= min(before, self.wanted)

    @rule(data=st.data())
    def becomes_ready(self, data: st.DataObject) -> None:
        booting = [w for w in self.fleet if w.state is BOOTING]
        if booting:
            data.draw(st.sampled_from(booting)).state = READY

    @rule(data=st.data())
    def dies(self, data: st.DataObject) -> None:
        if self.fleet:
            self.fleet.remove(data.draw(st.sampled_from(self.fleet)))

    @rule(data=st.data())
    def asks_to_be_recycled(self, data: st.DataObject) -> None:
        ready = [w for w in self.fleet if w.state is READY and w.marked is None]
        if ready and not any(w.marked and w.state is READY for w in self.fleet):
            data.draw(st.sampled_from(ready)).marked = Departure.RECYCLE

    @rule()
    def reload(self) -> None:
        self.generation += 1

    @rule(wanted=st.integers(1, 4))
    def scale(self, wanted: int) -> None:
        self.wanted = wanted

    @invariant()
    def left_alone_it_settles(self) -> None:
        """From any state, when nothing fails, the fleet becomes exactly what is wanted."""
        if not hasattr(self, "fleet"):
            return
        fleet = [Fake(w.age, w.state, w.generation, w.marked) for w in self.fleet]
        age = self.age
        for _ in range(40):
            plan = make_plan(fleet, self.generation, self.wanted)
            if not plan.missing and not plan.retire and all(w.state is READY for w in fleet):
                break
            for worker, _ in plan.retire:
                worker.state = WorkerState.GONE
            for _ in range(plan.missing):
                age += 1
                fleet.append(Fake(age, BOOTING, self.generation))
            for worker in fleet:
                if worker.state is BOOTING:
                    worker.state = READY
            fleet = [w for w in fleet if w.state in STAYING]
        assert len(fleet) == self.wanted
        assert all(w.generation == self.generation and w.marked is None for w in fleet)


TestRolling = Rolling.TestCase
