"""One traceback for one cause, over several processes."""

import os
from collections.abc import Callable

from monoceros.arbiter.tracebacks import LIMIT, SeenTracebacks


def caught(function: Callable[[], object]) -> BaseException:
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


def division() -> object:
    return 1 / 0


def text() -> object:
    raise ValueError(f"at {os.getpid()} {id(object())}")


def test_the_first_one_only() -> None:
    seen = SeenTracebacks()
    assert seen.first(caught(division))
    assert not seen.first(caught(division))
    assert seen.first(caught(text)), "another cause is told"
    assert not seen.first(caught(text)), "a pid in the text makes no new cause"
    seen.close()


def test_the_cause_counts() -> None:
    def chained(inner: Callable[[], object]) -> Callable[[], object]:
        def outer() -> object:
            try:
                return inner()
            except Exception as error:
                raise RuntimeError("wrapped") from error

        return outer

    seen = SeenTracebacks()
    assert seen.first(caught(chained(division)))
    assert seen.first(caught(chained(text)))
    assert not seen.first(caught(chained(text)))
    seen.close()


def test_ready_workers_make_it_forget() -> None:
    seen = SeenTracebacks()
    seen.first(caught(division))
    seen.forget()
    assert seen.first(caught(division))
    seen.close()


def test_it_is_bounded() -> None:
    seen = SeenTracebacks()
    told = 0
    for number in range(20):
        kind = type(f"Error{number}", (Exception,), {})
        told += seen.first(kind())
    assert told == LIMIT
    seen.close()


def test_one_of_many_processes_wins() -> None:
    seen = SeenTracebacks()
    reader, writer = os.pipe()
    pids = []
    for _ in range(16):
        pid = os.fork()
        if pid == 0:
            os.write(writer, b"1" if seen.first(caught(division)) else b"0")
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
    os.close(writer)
    answers = os.read(reader, 100)
    os.close(reader)
    assert sorted(answers.decode()) == ["0"] * 15 + ["1"]
    seen.close()
