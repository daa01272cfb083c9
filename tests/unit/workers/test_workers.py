"""Worker classes without a server: what they tell the engine, and what they observe."""

import logging
import sys
from datetime import timedelta
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest

from monoceros import _core
from monoceros.config import Config
from monoceros.workers.base import Worker
from monoceros.workers.errors import ErrorStream
from monoceros.workers.gthread import ThreadWorker
from monoceros.workers.observer import make_observer
from monoceros.workers.seat import Seat
from monoceros.workers.sync import SyncWorker


class Log:
    """As much of a logger as a worker uses; keeps what it is given."""

    access_log_enabled = False

    def __init__(self) -> None:
        self.error_log = logging.getLogger("tests.workers")
        self.error_log.setLevel(logging.INFO)
        self.error_log.propagate = False
        self.lines: list[Any] = []

    def wants_every_request(self) -> bool:
        return self.access_log_enabled

    def access(self, *arguments: Any) -> None:
        self.lines.append(arguments)

    def exception(self, text: str, *arguments: Any) -> None:
        self.lines.append(text % arguments)


def make(kind: type[Worker] = SyncWorker, **settings: Any) -> Any:
    cfg = Config()
    for name, value in settings.items():
        cfg.set(name, value)
    return kind(1, 99, [], None, cfg.timeout / 2.0, cfg, Log())


def seat() -> Seat:
    board = _core.Scoreboard(2, 4)
    board.open(0, 1)
    return Seat(board, 0, -1, 3)


def test_attributes_of_the_contract() -> None:
    worker = make(Worker, timeout=31)
    assert (worker.age, worker.ppid, worker.pid, worker.timeout) == (1, 99, "[booting]", 15.5)
    assert (worker.booted, worker.aborted, worker.alive, worker.nr) == (False, False, True, 0)
    assert (worker.reloader, worker.max_requests, str(worker)) == (
        None,
        sys.maxsize,
        "<Worker [booting]>",
    )
    assert [each.name for each in worker.SIGNALS] == [
        f"SIG{name}"
        for name in ("ABRT", "HUP", "QUIT", "INT", "TERM", "USR1", "USR2", "WINCH", "CHLD")
    ]
    worker.tmp.notify()
    assert worker.tmp.fileno() == -1
    worker.tmp.close()


def test_jitter_is_drawn_within_its_bound() -> None:
    drawn = {make(max_requests=100, max_requests_jitter=5).max_requests for _ in range(200)}
    assert drawn == set(range(100, 106))


def test_a_beat_and_readiness_reach_the_scoreboard() -> None:
    worker, place = make(Worker), seat()
    worker.take_seat(place)
    worker.notify()
    assert place.scoreboard.read(0).python_beat > 0
    assert place.scoreboard.read(0).state == _core.BOOTING
    assert worker.tmp.last_update() == place.scoreboard.read(0).python_beat
    place.ready()
    assert place.scoreboard.read(0).state == _core.READY
    place.draining()
    assert place.scoreboard.read(0).state == _core.DRAINING


def test_draining_before_ready_says_nothing() -> None:
    place = seat()
    place.draining()
    assert place.scoreboard.read(0).state == _core.BOOTING


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        (SyncWorker, {}, {"threads": 1, "multithread": False, "timeout": 7, "slow_after": 0}),
        (
            ThreadWorker,
            {"threads": 4},
            {"threads": 4, "multithread": True, "timeout": 0, "slow_after": 7},
        ),
        (SyncWorker, {"max_requests": 5}, {"max_requests": 5}),
        (SyncWorker, {}, {"max_requests": 0, "workers": 3, "lifeline": -1}),
        (ThreadWorker, {"request_timeout": 9}, {"request_timeout": 9}),
    ],
)
def test_engine_options(
    kind: type[Worker], settings: dict[str, Any], expected: dict[str, Any]
) -> None:
    worker = make(kind, timeout=7, **settings)
    worker.take_seat(seat())
    options = worker.options()
    assert {name: options[name] for name in expected} == expected


def test_without_anything_to_observe_there_is_no_observer() -> None:
    assert make_observer(make()) is None


def test_each_reason_to_observe() -> None:
    assert make_observer(make(pre_request=lambda worker, req: None)) is not None
    assert make_observer(make(post_request=lambda worker, req: None)) is not None
    logging_worker = make()
    logging_worker.log.access_log_enabled = True
    assert make_observer(logging_worker) is not None
    debugging_worker = make()
    debugging_worker.log.error_log.setLevel(logging.DEBUG)
    assert make_observer(debugging_worker) is not None


REQUEST = SimpleNamespace(method="GET", uri="/", path="/", query="", scheme="http", headers=[])
RESPONSE = SimpleNamespace(status="200 OK", headers=[])


def test_post_request_gets_as_many_arguments_as_it_takes() -> None:
    seen: list[tuple[Any, ...]] = []
    for hook in (
        lambda w, r: seen.append((r,)),
        lambda w, r, e: seen.append((r, e)),
        lambda w, r, e, p: seen.append((r, e, p)),
    ):
        observer = make_observer(make(post_request=hook))
        assert observer is not None
        observer.after(REQUEST, {"a": 1}, RESPONSE, 0.5)
    assert seen == [(REQUEST,), (REQUEST, {"a": 1}), (REQUEST, {"a": 1}, RESPONSE)]


def test_a_request_is_seen_before_and_after() -> None:
    seen: list[Any] = []
    worker = make(pre_request=lambda w, r: seen.append((w, r)))
    observer = make_observer(worker)
    assert observer is not None
    observer.before(REQUEST)
    observer.after(REQUEST, {}, RESPONSE, 1.25)
    assert seen == [(worker, REQUEST)]
    assert worker.log.lines == [(RESPONSE, REQUEST, {}, timedelta(seconds=1.25))]


def test_a_failing_post_request_is_logged_and_the_access_line_written() -> None:
    def hook(worker: Any, request: Any) -> None:
        raise ValueError

    worker = make(post_request=hook)
    observer = make_observer(worker)
    assert observer is not None
    observer.after(REQUEST, {}, RESPONSE, 0.0)
    assert worker.log.lines[0] == "Exception in post_request hook"
    assert worker.log.lines[1][0] == RESPONSE


def test_wsgi_errors_go_to_the_error_log() -> None:
    log = Log()
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    log.error_log.addHandler(handler)
    errors = ErrorStream(log)
    try:
        assert errors.write("one\n") == 4
        errors.writelines(["two\n", "three\n"])
        errors.flush()
        print("printed", file=errors)  # type: ignore[call-overload]
        assert stream.getvalue() == "one\ntwo\nthree\nprinted\n"
    finally:
        log.error_log.removeHandler(handler)


def test_wsgi_errors_without_a_stream_become_records() -> None:
    class Queue(logging.Handler):
        def __init__(self) -> None:
            super().__init__()
            self.texts: list[str] = []

        def emit(self, record: logging.LogRecord) -> None:
            self.texts.append(record.getMessage())

    log = SimpleNamespace(error_log=logging.getLogger("tests.workers.queue"))
    log.error_log.propagate = False
    handler = Queue()
    log.error_log.addHandler(handler)
    try:
        ErrorStream(log).write("50 % done\nand more\n\n")
        assert handler.texts == ["50 % done", "and more", ""]
    finally:
        log.error_log.removeHandler(handler)
