"""Dirty apps' queue, seats, tables, errors, names and patience: the parts without I/O."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from monoceros.arbiter.states import Departure, IllegalMove, WorkerState
from monoceros.config import Config
from monoceros.dirty import errors
from monoceros.dirty.app import AppSpec, Declaration, DirtyApp, declaration, parse_spec
from monoceros.dirty.calls import MARGIN, STREAM_IDLE, WELCOME_PATIENCE, Patience
from monoceros.dirty.fleet import DirtyGeneration, missing_seats, spare_workers
from monoceros.dirty.tables import Operation, Tables
from monoceros.dirty.task import MAX_WAITING, MAX_WAITING_BYTES, Queue, Task, TaskEvent, TaskState
from monoceros.dirty.values import decode, decode_whole, encode
from monoceros.errors import AppImportError


def task(number: int, app: str = "a", size: int = 1) -> Task:
    return Task(number, app, "act", b"x" * size, None, 0.0)


class TestQueue:
    def test_apps_take_turns(self) -> None:
        queue = Queue()
        for number in range(6):
            assert queue.put(task(number, "greedy"))
        assert queue.put(task(10, "modest"))
        order = []
        while (found := queue.next_of(["greedy", "modest"])) is not None:
            order.append(found.number)
        assert order == [0, 10, 1, 2, 3, 4, 5]
        assert len(queue) == 0 and queue.bytes == 0

    def test_only_what_a_worker_has_is_taken(self) -> None:
        queue = Queue()
        queue.put(task(1, "a"))
        assert queue.next_of(["b"]) is None
        assert queue.next_of([]) is None
        assert len(queue) == 1

    def test_number_and_bytes_are_bounded(self) -> None:
        queue = Queue()
        for number in range(MAX_WAITING):
            assert queue.put(task(number))
        assert not queue.put(task(-1))
        assert queue.put(task(-2, "another"))
        big = task(-3, "big")
        queue.bytes = MAX_WAITING_BYTES
        assert not queue.put(big)

    def test_what_is_put_back_is_the_first_again(self) -> None:
        queue = Queue()
        first, second = task(1), task(2)
        queue.put(first)
        queue.put(second)
        assert queue.next_of(["a"]) is first
        queue.put_back(first)
        assert [each.number for each in queue] == [1, 2]
        queue.remove(second)
        with pytest.raises(ValueError):
            queue.remove(second)


def test_a_task_has_one_last_word() -> None:
    each = task(1)
    each.move(TaskEvent.DISPATCHED)
    each.move(TaskEvent.CLIENT_LEFT)
    assert each.state is TaskState.ABANDONED
    each.move(TaskEvent.TIMED_OUT)
    each.move(TaskEvent.ENDED)
    assert each.state is TaskState.DONE
    for event in TaskEvent:
        with pytest.raises(IllegalMove):
            each.move(event)


def generation(number: int, *specs: tuple[str, int | None], **declared: int | None) -> Any:
    found = DirtyGeneration(number, SimpleNamespace(), [AppSpec(*spec) for spec in specs])
    found.declared = {path: Declaration(limit, []) for path, limit in declared.items()}
    return found


def record(seat: int, of: Any, state: WorkerState = WorkerState.READY, worn: bool = False) -> Any:
    staying = state in (WorkerState.BOOTING, WorkerState.READY) and not worn
    return SimpleNamespace(seat=seat, generation=of, state=state, staying=staying)


class TestSeats:
    def test_limits_hold_by_the_seat(self) -> None:
        pool = generation(1, ("all", None), ("two", None), ("one", 1), all=None, two=2, one=7)
        assert [pool.apps_of(seat) for seat in range(3)] == [
            ["all", "two", "one"],
            ["all", "two"],
            ["all"],
        ]
        assert pool.least_workers == 2
        counts = Counter(app for seat in range(5) for app in pool.apps_of(seat))
        assert counts == {"all": 5, "two": 2, "one": 1}

    def test_one_worker_comes_first_where_the_classes_have_to_say(self) -> None:
        unknown: Any = generation(1, ("a", None), ("b", 1))
        assert missing_seats([], unknown, 3) == [0]
        assert missing_seats([record(0, unknown)], unknown, 3) == []
        unknown.declared["a"] = Declaration(None, [])
        assert missing_seats([record(0, unknown)], unknown, 3) == [1, 2]

    def test_seats_without_apps_stay_empty(self) -> None:
        limited = generation(1, ("a", 2))
        assert missing_seats([], limited, 5) == [0, 1]

    def test_a_worn_worker_is_replaced_beside_it(self) -> None:
        pool = generation(1, ("a", 9))
        fleet: Any = [record(0, pool, worn=True), record(1, pool)]
        assert missing_seats(fleet, pool, 2) == [0]

    def test_a_reload_needs_one_worker_more_at_a_time(self) -> None:
        old, new = generation(1, ("a", 9)), generation(2, ("a", 9))
        fleet: list[Any] = [record(seat, old) for seat in range(3)]
        most = 0
        for _ in range(20):
            for each in spare_workers(fleet, new, 3):
                assert each[1] is Departure.RELOAD
                fleet[fleet.index(each[0])] = record(each[0].seat, old, WorkerState.DRAINING)
            missing = missing_seats(fleet, new, 3)
            fleet += [record(seat, new, WorkerState.BOOTING) for seat in missing]
            most = max(most, len(fleet))
            # What boots gets ready; what drains is gone.
            fleet = [
                record(each.seat, each.generation)
                for each in fleet
                if each.state is not WorkerState.DRAINING
            ]
        assert most == 4
        assert [(each.seat, each.generation) for each in fleet] == [(s, new) for s in range(3)]

    def test_fewer_seats(self) -> None:
        pool = generation(1, ("a", 9))
        fleet: Any = [record(seat, pool) for seat in range(3)]
        assert spare_workers(fleet, pool, 2) == [(fleet[2], Departure.SCALE_DOWN)]

    def test_workers_that_boot_with_the_former_code_go_at_once(self) -> None:
        old, new = generation(1, ("a", 9)), generation(2, ("a", 9))
        booting = record(0, old, WorkerState.BOOTING)
        assert spare_workers([booting], new, 1) == [(booting, Departure.RELOAD)]


class TestTables:
    def ask(self, tables: Tables, operation: int, *request: Any, value: bytes = b"") -> bytes:
        table, key, pattern = (*request, None, None, None)[:3]
        return tables.answer(encode([operation, table, key, pattern]) + value)

    def test_a_value_is_never_looked_at(self) -> None:
        tables = Tables()
        self.ask(tables, Operation.PUT, "t", "k", value=b"whatever")
        assert self.ask(tables, Operation.GET, "t", "k") == encode(True) + b"whatever"
        assert self.ask(tables, Operation.GET, "t", "other") == encode(False)
        assert self.ask(tables, Operation.GET, "other", "k") == encode(False)

    def test_requests_that_make_no_sense(self) -> None:
        tables = Tables()
        for payload in (
            encode([99, "t", "k", None]), encode([1]), encode(7), encode([2, ["t"], "k", None]),
            encode([2, "t", {"k": 1}, None]),
        ):  # fmt: skip
            with pytest.raises(errors.StashError):
                tables.answer(payload)
        with pytest.raises(errors.DirtyProtocolError):
            self.ask(tables, Operation.PUT, "t", "k")
        assert decode_whole(self.ask(tables, Operation.TABLES)) == []

    def test_keys_by_pattern(self) -> None:
        tables = Tables()
        for key in ("user:1", "user:2", "other", 5):
            self.ask(tables, Operation.PUT, "t", key, value=encode(None))
        assert decode_whole(self.ask(tables, Operation.KEYS, "t", None, "user:*")) == [
            "user:1",
            "user:2",
        ]
        assert decode(self.ask(tables, Operation.KEYS, "t"))[0] == ["user:1", "user:2", "other", 5]


@pytest.mark.parametrize(
    "error",
    [
        errors.DirtyError("a", {"b": 1}),
        errors.DirtyTimeoutError("late", 3),
        errors.DirtyConnectionError("gone", "/path"),
        errors.DirtyWorkerError("died", 7, "tb"),
        errors.DirtyAppError("bad", "m:C", "act", "tb"),
        errors.DirtyAppNotFoundError("m:C"),
        errors.DirtyNoWorkersAvailableError("m:C", "none"),
        errors.DirtyProtocolError("odd", b"\xff"),
        errors.StashTableNotFoundError("t"),
        errors.StashKeyNotFoundError("t", "k"),
    ],
)
def test_an_error_arrives_as_it_was_sent(error: errors.DirtyError) -> None:
    found = errors.DirtyError.from_dict(decode_whole(encode(error.to_dict())))
    assert type(found) is type(error)
    assert vars(found) == vars(error)
    assert str(found) == error.message


def test_an_unknown_error_is_a_dirty_error() -> None:
    found = errors.DirtyError.from_dict({"error_type": "SystemExit", "message": "m"})
    assert type(found) is errors.DirtyError and found.message == "m"


class TestNames:
    def test_specs(self) -> None:
        assert parse_spec("a.b:C") == AppSpec("a.b:C", None)
        assert parse_spec(" a:C:3 ") == AppSpec("a:C", 3)

    @pytest.mark.parametrize(
        "text", ["a", "a:", ":C", "a:C:", "a:C:0", "a:C:-1", "a:C:x", "a:C:1:2"]
    )
    def test_what_is_no_spec_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="write"):
            parse_spec(text)
        with pytest.raises(ValueError, match="dirty_apps"):
            Config().set("dirty_apps", [text])

    def test_an_app_is_named_once(self) -> None:
        with pytest.raises(ValueError, match="a:C is named more than once"):
            Config().set("dirty_apps", ["a:C", "b:C", "a:C:2"])

    @pytest.mark.parametrize("limit", [0, -1, "2", True, 1.5])
    def test_a_class_says_a_number_or_nothing(self, limit: Any) -> None:
        app = type("App", (DirtyApp,), {"workers": limit})
        with pytest.raises(AppImportError, match="workers ="):
            declaration("m:App", app)

    def test_stashes_are_names(self) -> None:
        assert declaration("m:A", type("A", (), {"stashes": ["x"]})) == (None, ["x"])
        with pytest.raises(AppImportError, match="stashes"):
            declaration("m:A", type("A", (), {"stashes": "x"}))

    def test_private_names_are_no_actions(self) -> None:
        for action in ("_x", "__class__", "absent"):
            with pytest.raises(ValueError, match=f"Unknown action: {action}"):
                DirtyApp()(action)


class TestPatience:
    def test_a_timeout_is_for_the_whole_call(self) -> None:
        patience = Patience(5.0, 100.0)
        patience.welcome(300.0, 101.0)
        assert patience.left(102.0) == 3.0
        with pytest.raises(errors.DirtyTimeoutError) as late:
            patience.left(105.0)
        assert late.value.timeout == 5.0

    def test_without_one_the_server_gives_up_first(self) -> None:
        patience = Patience(None, 0.0)
        assert patience.left(0.0) == WELCOME_PATIENCE
        patience.welcome(300.0, 10.0)
        assert patience.left(10.0) == 600.0 + MARGIN
        patience.heard(500.0)
        assert patience.left(500.0) == 300.0 + MARGIN

    def test_a_server_without_a_limit_is_waited_for(self) -> None:
        patience = Patience(None, 0.0)
        patience.welcome(0.0, 1.0)
        assert patience.left(1e9) is None

    def test_a_stream_is_bounded_from_item_to_item(self) -> None:
        patience = Patience(100.0, 0.0, stream=True)
        assert patience.left(0.0) == STREAM_IDLE
        patience.heard(20.0)
        assert patience.left(20.0) == STREAM_IDLE
        with pytest.raises(errors.DirtyTimeoutError, match="next chunk") as idle:
            patience.left(50.0)
        assert idle.value.timeout == STREAM_IDLE
        patience.heard(99.0)
        with pytest.raises(errors.DirtyTimeoutError, match="total"):
            patience.left(100.0)
