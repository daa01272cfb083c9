"""Orders to workers: each followed by a harder one, each with its reason."""

import signal
from types import SimpleNamespace
from typing import Any

import pytest

from monoceros import _core
from monoceros.arbiter.fleet import ABORT_GRACE, DRAIN_MARGIN, Fleet, WorkerRecord
from monoceros.arbiter.generation import Generation
from monoceros.arbiter.stacks import StackFile
from monoceros.arbiter.states import Departure, WorkerEvent, WorkerState
from monoceros.workers.doors import DOORS_PAUSE, DOORS_SIGNAL

GRACE = 30


class Sent:
    """Takes the place of the kernel: nobody is signalled in these tests."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.signals: list[int] = []
        monkeypatch.setattr("os.kill", lambda _pid, number: self.signals.append(number))


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    return Sent(monkeypatch)


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(_core.Scoreboard(4, 1))


def generation(number: int = 1, *, uses_engine: bool = True) -> Generation:
    kind = SimpleNamespace(uses_engine=uses_engine)
    return Generation(number, SimpleNamespace(graceful_timeout=GRACE), [], kind)


def hire(fleet: Fleet, age: int, of: Generation, state: WorkerState) -> WorkerRecord:
    slot = fleet.take_slot()
    fleet.scoreboard.open(slot, age)
    worker: Any = SimpleNamespace(pid=1000 + age)
    record = WorkerRecord(slot, age, of, worker, StackFile.create(), 0.0, state, pid=1000 + age)
    fleet.add(record)
    return record


def test_a_drain_ends_in_abort_and_kill(fleet: Fleet, sent: Sent) -> None:
    record = hire(fleet, 1, generation(), WorkerState.READY)
    fleet.retire(record, Departure.RELOAD, now=100.0)
    assert record.deadline == 100.0 + GRACE + DRAIN_MARGIN
    fleet.abort(record, Departure.OVERDUE, now=140.0)
    assert record.deadline == 140.0 + ABORT_GRACE
    fleet.kill(record, Departure.STOP)
    assert record.deadline is None
    assert sent.signals == [signal.SIGTERM, signal.SIGABRT, signal.SIGKILL]
    assert record.departure is Departure.RELOAD, "the first reason stands"
    assert record.state is WorkerState.KILLED


def test_orders_do_not_go_back(fleet: Fleet, sent: Sent) -> None:
    record = hire(fleet, 1, generation(), WorkerState.READY)
    fleet.kill(record, Departure.STOP)
    fleet.abort(record, Departure.STOP, now=0.0)
    fleet.retire(record, Departure.STOP, now=0.0)
    fleet.kill(record, Departure.STOP)
    assert sent.signals == [signal.SIGKILL]


def test_quit_narrows_the_deadline_of_a_drain(fleet: Fleet, sent: Sent) -> None:
    record = hire(fleet, 1, generation(), WorkerState.READY)
    fleet.retire(record, Departure.RELOAD, now=100.0)
    fleet.retire(record, Departure.STOP, now=101.0, quick_within=2.0)
    assert record.deadline == 103.0
    assert sent.signals == [signal.SIGTERM, signal.SIGQUIT]


def test_a_loop_of_pythons_closes_its_doors_first(fleet: Fleet, sent: Sent) -> None:
    record = hire(fleet, 1, generation(uses_engine=False), WorkerState.READY)
    fleet.retire(record, Departure.RELOAD, now=100.0)
    assert record.deadline == 100.0 + GRACE + DRAIN_MARGIN
    assert record.last_signal is None
    fleet.pass_on(record, 100.0 + DOORS_PAUSE / 2)
    assert sent.signals == [DOORS_SIGNAL]
    fleet.pass_on(record, 100.0 + DOORS_PAUSE)
    fleet.pass_on(record, 101.0)
    assert sent.signals == [DOORS_SIGNAL, signal.SIGTERM]
    assert record.last_signal == signal.SIGTERM


def test_a_harder_order_overtakes_the_one_that_waits(fleet: Fleet, sent: Sent) -> None:
    quick = hire(fleet, 1, generation(uses_engine=False), WorkerState.READY)
    fleet.retire(quick, Departure.RELOAD, now=100.0)
    fleet.retire(quick, Departure.STOP, now=100.1, quick_within=2.0)
    fleet.pass_on(quick, 101.0)
    assert sent.signals == [DOORS_SIGNAL, signal.SIGQUIT]
    stuck = hire(fleet, 2, generation(uses_engine=False), WorkerState.READY)
    fleet.retire(stuck, Departure.RELOAD, now=100.0)
    fleet.abort(stuck, Departure.OVERDUE, now=100.1)
    fleet.pass_on(stuck, 101.0)
    assert sent.signals[2:] == [DOORS_SIGNAL, signal.SIGABRT]


def test_one_that_boots_has_no_doors_to_close(fleet: Fleet, sent: Sent) -> None:
    record = hire(fleet, 1, generation(uses_engine=False), WorkerState.BOOTING)
    fleet.retire(record, Departure.STOP, now=0.0)
    assert sent.signals == [signal.SIGTERM]


def test_a_worker_without_a_pid_gets_no_signal(fleet: Fleet, sent: Sent) -> None:
    record = hire(fleet, 1, generation(), WorkerState.REQUESTED)
    record.pid = None
    fleet.retire(record, Departure.STOP, now=0.0)
    assert record.state is WorkerState.REQUESTED
    assert sent.signals == []
    fleet.forked(record, 77)
    assert fleet.of_pid(77) is record
    assert fleet.workers[77] is record.worker
    fleet.retire(record, Departure.STOP, now=0.0)
    assert sent.signals == [signal.SIGTERM]


def test_elders_that_drain_are_hurried(fleet: Fleet, sent: Sent) -> None:
    hurried: list[int] = []

    class Board:
        """The real scoreboard, but for what it is told to hurry."""

        def __getattr__(self, name: str) -> Any:
            return getattr(board, name)

        def hurry(self, slot: int) -> None:
            hurried.append(slot)

    board = fleet.scoreboard
    fleet.scoreboard = Board()  # type: ignore[assignment]
    old = hire(fleet, 1, generation(1), WorkerState.READY)
    new = hire(fleet, 2, generation(2), WorkerState.READY)
    fleet.retire(old, Departure.RELOAD, now=0.0)
    assert hurried == []
    fleet.retire(new, Departure.RELOAD, now=1.0)
    assert hurried == [old.slot]


def test_slots_return(fleet: Fleet, sent: Sent) -> None:
    records = [hire(fleet, age, generation(), WorkerState.READY) for age in range(1, 5)]
    assert fleet.free_slots == 0
    with pytest.raises(IndexError):
        fleet.take_slot()
    records[2].move(WorkerEvent.REAPED)
    fleet.remove(records[2])
    assert fleet.free_slots == 1
    assert fleet.take_slot() == records[2].slot
    assert fleet.of_age(3) is None
    assert sorted(fleet.workers) == [1001, 1002, 1004]


def test_the_engines_are_told_how_many_share(fleet: Fleet, sent: Sent) -> None:
    one = hire(fleet, 1, generation(), WorkerState.READY)
    hire(fleet, 2, generation(), WorkerState.BOOTING)
    fleet.share()
    assert fleet.scoreboard.fleet == 2
    fleet.retire(one, Departure.RELOAD, now=0.0)
    fleet.share()
    assert fleet.scoreboard.fleet == 1
