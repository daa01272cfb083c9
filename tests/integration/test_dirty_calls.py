"""Calls of dirty apps: results, errors, streams, the stash; from web apps and event loops."""

import asyncio
import signal
import threading
import time
from typing import Any

import pytest

from monoceros.dirty import (
    DirtyAppError,
    DirtyClient,
    DirtyError,
    DirtyNoWorkersAvailableError,
    DirtyProtocolError,
    DirtyTimeoutError,
    DirtyWorkerError,
    StashClient,
    StashError,
    StashTableNotFoundError,
)
from monoceros.dirty.calls import encode_call
from monoceros.dirty.frames import Kind, encode_frame
from monoceros.dirty.values import encode
from support.client import connect
from support.dirty import HEAVY, DirtyServer
from support.serving import Serve
from support.waiting import wait_for


def test_a_web_app_calls_a_dirty_app(serve: Serve) -> None:
    dirty = DirtyServer(serve)
    answer = dirty.order({"action": "who"})["result"]
    assert answer["pid"] in dirty.of_role("dirty-worker")
    assert answer["parent"] == dirty.arbiter
    assert dirty.order({"action": "echo", "args": [1, "x"], "kwargs": {"k": None}}) == {
        "result": [[1, "x"], {"k": None}]
    }
    # What an app keeps in its attributes stays.
    assert [dirty.order({"action": "count"})["result"] for _ in range(3)] == [1, 2, 3]
    assert dirty.order({"action": "items", "args": [4], "take": -1}) == {"result": [1, 2, 3, 4]}


def test_every_type_arrives_as_it_was_sent(serve: Serve) -> None:
    dirty = DirtyServer(serve)
    values: list[Any] = [
        None, True, False, 0, -(2**63), 2**63 - 1, 1.5, b"\0\xff", "é", [], [[1], {}],
        {"a": [{"b": b""}]}, "x" * 3_000_000,
    ]  # fmt: skip
    for value in values:
        assert dirty.call("echo", value) == [[value], {}]
    assert dirty.call("echo", (1, {2: 3})) == [[[1, {"2": 3}]], {}]


def test_errors_say_what_went_wrong(serve: Serve) -> None:
    dirty = DirtyServer(serve)
    dirty.server.expect_log("Error executing heavy:Heavy.fail: broken")
    dirty.server.expect_log("Error executing heavy:Heavy._hidden: Unknown action: _hidden")
    with pytest.raises(DirtyAppError, match=r"^broken$") as failed:
        dirty.call("fail", "broken")
    assert failed.value.app_path == HEAVY
    assert failed.value.action == "fail"
    assert failed.value.traceback is not None
    assert "raise ValueError(text)" in failed.value.traceback
    with pytest.raises(DirtyAppError, match="Unknown action: _hidden"):
        dirty.call("_hidden")
    with pytest.raises(DirtyNoWorkersAvailableError, match="not among dirty_apps") as absent:
        dirty.call("who", app="no:App")
    assert absent.value.app_path == "no:App"
    with pytest.raises(DirtyProtocolError, match=r"at args\[0\]\[1\]: builtins.object"):
        dirty.client.execute(HEAVY, "echo", [0, object()])
    with pytest.raises(DirtyProtocolError, match=r"result of heavy:Heavy.unsendable.*builtins.set"):
        dirty.call("unsendable")
    with pytest.raises(DirtyError, match="read it with stream"):
        dirty.call("items", 2)
    # Through the web app the same, and the server is well.
    answer = dirty.order({"action": "fail", "args": ["broken"]})
    assert (answer["error"], answer["text"]) == ("DirtyAppError", "broken")
    assert dirty.call("count") == 1


def test_streams(serve: Serve) -> None:
    dirty = DirtyServer(serve)
    stream = dirty.client.stream
    assert list(stream(HEAVY, "items", 3)) == [1, 2, 3]
    assert list(stream(HEAVY, "async_items", 3)) == [1, 2, 3]
    assert list(stream(HEAVY, "items", 0)) == []
    assert list(stream(HEAVY, "coroutine", "once")) == ["once"]
    assert dirty.call("coroutine", 7) == 7
    dirty.server.expect_log("after one")
    broken = stream(HEAVY, "broken_items")
    assert next(broken) == 1
    with pytest.raises(DirtyAppError, match="after one"):
        next(broken)


def test_a_call_within_a_stream_of_the_same_client(serve: Serve) -> None:
    dirty = DirtyServer(serve, config="dirty_threads = 2\n")
    seen = [(item, dirty.call("count")) for item in dirty.client.stream(HEAVY, "items", 3)]
    assert seen == [(1, 1), (2, 2), (3, 3)]


@pytest.mark.parametrize("action", ["items", "async_items"])
def test_a_client_that_reads_slowly_keeps_the_generator_waiting(serve: Serve, action: str) -> None:
    dirty = DirtyServer(serve)
    stream = dirty.client.stream(HEAVY, action, 2000, 10_000)
    assert len(next(stream)) == 10_000
    stream.close()
    # It was closed, too, and long before the end: 20 MB, of which the window and what sockets
    # hold were made.
    noted = dirty.wait_event(f"{action} over".replace("_", " "))
    assert noted[0]["made"] < 1000
    # All of a long stream comes when it is read.
    assert sum(map(len, dirty.client.stream(HEAVY, action, 1000, 10_000))) == 10_000_000
    dirty.wait_event(f"{action} over".replace("_", " "), 2)


def test_a_client_that_leaves_cancels_its_call(serve: Serve) -> None:
    dirty = DirtyServer(serve)
    with pytest.raises(DirtyTimeoutError):
        DirtyClient(dirty.path, timeout=0.2).execute(HEAVY, "endless")
    # It had begun or not: either way the only thread is free again.
    assert dirty.call("coroutine", 1) == 1
    assert len(dirty.server.events("endless")) == len(dirty.server.events("endless over"))


def test_threads_run_calls_at_the_same_time(serve: Serve) -> None:
    dirty = DirtyServer(serve, config="dirty_threads = 4\n")
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(dirty.call("meet", 4))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == [4, 4, 4, 4]


def test_an_event_loop_makes_calls(serve: Serve) -> None:
    dirty = DirtyServer(serve, config="dirty_threads = 3\n")
    client = DirtyClient(dirty.path, timeout=60)

    async def main() -> None:
        async with client:
            assert await client.execute_async(HEAVY, "echo", 1) == [[1], {}]
            meetings = (client.execute_async(HEAVY, "meet", 3) for _ in range(3))
            assert await asyncio.gather(*meetings) == [3, 3, 3]
            items = [item async for item in client.stream_async(HEAVY, "async_items", 3)]
            assert items == [1, 2, 3]
            with pytest.raises(DirtyAppError):
                await client.execute_async(HEAVY, "fail", "broken")
            with pytest.raises(DirtyTimeoutError):
                await DirtyClient(dirty.path, timeout=0.2).execute_async(HEAVY, "endless")
            task = asyncio.ensure_future(client.execute_async(HEAVY, "endless"))
            await asyncio.to_thread(dirty.wait_event, "endless")
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            stream = client.stream_async(HEAVY, "items", 1000, 10_000)
            async for _ in stream:
                break
            await stream.aclose()
            await asyncio.to_thread(dirty.wait_event, "items over")

    dirty.server.expect_log("broken")
    asyncio.run(main())
    began = len(dirty.server.events("endless"))
    dirty.wait_event("endless over", began)


def test_the_time_of_a_call_is_bounded(serve: Serve) -> None:
    dirty = DirtyServer(serve, "--dirty-timeout", "1", config="dirty_threads = 2\n")
    dirty.server.expect_log(
        r"DIRTY WORKER TIMEOUT \(pid:\d+\): heavy:Heavy.sleep has run for .*over dirty_timeout "
        r"\(1 s\). Its client got DirtyTimeoutError. The worker is killed and replaced."
        r".*heavy.py\", line \d+, in sleep"
    )
    dirty.server.expect_log("was killed by its master because of a request over its deadline")
    (pid,) = dirty.of_role("dirty-worker")
    answer = dirty.order({"action": "sleep", "args": [600]})
    assert answer["error"] == "DirtyTimeoutError"
    assert answer["text"] == "Execution of heavy:Heavy.sleep timed out"
    assert answer["facts"]["timeout"] == 1
    dirty.wait_ready(1, without=(pid,))


def test_a_worker_whose_other_calls_are_fine_finishes_them_first(serve: Serve) -> None:
    dirty = DirtyServer(serve, "--dirty-timeout", "3", config="dirty_threads = 2\n")
    dirty.server.expect_log("replaced, and killed when its other calls are done")
    dirty.server.expect_log("was killed by its master because of a request over its deadline")
    results: list[Any] = []

    (pid,) = dirty.of_role("dirty-worker")

    def sleep(seconds: float) -> None:
        try:
            results.append(dirty.call("sleep", seconds))
        except DirtyError as error:
            results.append(type(error))

    stuck = threading.Thread(target=sleep, args=(600,))
    stuck.start()
    dirty.wait_event("sleeping")
    # A stream's deadline begins anew with each item, so it outlasts that of the other call.
    stream = dirty.client.stream(HEAVY, "items", 1_000_000)
    assert next(stream) == 1
    while not results:
        next(stream)
    assert results == [DirtyTimeoutError]
    for _ in range(100):
        next(stream)
    stream.close()
    stuck.join(60)
    dirty.wait_dirty_workers(1, without=(pid,))


def test_an_interpreter_that_is_held_is_explained_and_replaced(serve: Serve) -> None:
    dirty = DirtyServer(serve, "--dirty-timeout", "1")
    dirty.server.expect_log(r"DIRTY WORKER TIMEOUT .*heavy.py\", line \d+, in spin")
    dirty.server.expect_log("was killed by its master")
    (pid,) = dirty.of_role("dirty-worker")
    with pytest.raises(DirtyTimeoutError):
        dirty.call("spin")
    dirty.wait_ready(1, without=(pid,))


def test_without_a_timeout_calls_take_as_long_as_they_want(serve: Serve) -> None:
    dirty = DirtyServer(serve, "--dirty-timeout", "0")
    before = dirty.server.family()
    assert DirtyClient(dirty.path).execute(HEAVY, "sleep", 0.5) == "slept"
    assert list(DirtyClient(dirty.path).stream(HEAVY, "items", 2)) == [1, 2]

    # Nobody turns in circles: the dirty arbiter and its worker use no CPU while they are idle.
    def used() -> float:
        spent = 0.0
        for process in before:
            times = process.cpu_times()
            spent += times.user + times.system
        return spent

    began, since = used(), time.monotonic()
    wait_for(lambda: time.monotonic() - since > 1, 10, "a second to pass")
    assert used() - began < 0.5


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_the_crash_of_a_worker_is_an_error_of_its_call_only(
    serve: Serve, number: signal.Signals
) -> None:
    dirty = DirtyServer(serve)
    dirty.server.expect_log(rf"Dirty worker \(pid:\d+\) was sent {number.name}!")
    dirty.server.allow_log("crashed")
    queued: list[Any] = []
    waiting = threading.Thread(target=lambda: queued.append(dirty.call("count")))
    (pid,) = dirty.of_role("dirty-worker")
    dying = threading.Thread(target=lambda: _expect_death(dirty, number, pid))
    dying.start()
    dirty.wait_event("dying")
    waiting.start()
    dying.join(60)
    waiting.join(60)
    # What waited behind it was served by the next worker.
    assert queued == [1]
    assert dirty.call("who")["pid"] != pid


def _expect_death(dirty: DirtyServer, number: int, pid: int) -> None:
    with pytest.raises(DirtyWorkerError, match=signal.Signals(number).name) as died:
        dirty.call("die", number)
    assert died.value.worker_id == pid


def test_the_stash(serve: Serve) -> None:
    dirty = DirtyServer(serve, dirty_workers=2)
    # The tables that an app declares are there before its init().
    assert all(event["declared"] for event in dirty.wait_event("init", 2))
    with StashClient(dirty.path) as stash:
        assert stash.tables() == ["declared"]
        assert stash.get("absent", "key") is None
        assert stash.get("absent", "key", 7) == 7
        assert stash.get("declared", "key", "default") == "default"
        # An error's shape is data like any other.
        for value in ({"error": "key_not_found"}, None, False, [], b"\xff" * 100_000):
            stash.put("t", "key", value)
            assert stash.get("t", "key", "default") == value
        assert stash.exists("t") and stash.exists("t", "key") and not stash.exists("t", "other")
        assert stash.info("t") == {"size": 1, "table": "t"}
        with pytest.raises(StashTableNotFoundError, match="absent") as missing:
            stash.info("absent")
        assert missing.value.table_name == "absent"
        table = stash.table("t")
        table[5] = "five"
        table["user:1"] = None
        assert table[5] == "five" and 5 in table and table["user:1"] is None
        with pytest.raises(KeyError):
            table["missing"]
        with pytest.raises(KeyError):
            del table["missing"]
        assert table.keys("user:*") == ["user:1"] and len(table) == 3
        assert dict(table.items())["user:1"] is None
        del table["user:1"]
        assert stash.delete("t", "key") is True
        assert stash.delete("t", "key") is False
        table.clear()
        assert list(table) == []
        assert stash.delete_table("t") is True
        assert stash.delete_table("t") is False
        with pytest.raises(StashError, match="cannot be sent"):
            stash.put("t", "key", object())
        with pytest.raises(StashError, match="keys are"):
            stash.get("t", ["no key"])
        # All of that on one connection that was never closed, and dirty workers share it.
        dirty.call("put", "shared", "key", {"n": 1})
        assert {str(dirty.call("get", "shared", "key")) for _ in range(4)} == {"{'n': 1}"}
        assert dirty.call("get", "shared", "absent", 3) == 3


def test_rubbish_is_cut_off_and_nobody_else_notices(serve: Serve) -> None:
    dirty = DirtyServer(serve)
    dirty.server.expect_log("A client of dirty apps is cut off: What was received is no message")
    dirty.server.expect_log("A client of dirty apps is cut off: A message of .* bytes is too long")
    dirty.server.expect_log("A client of dirty apps is cut off: A call names no app and action")
    dirty.server.expect_log("A client of dirty apps is cut off: it has sent RESULT")
    dirty.server.expect_log("A client of dirty apps is cut off: A value is cut off")
    dirty.server.allow_log("before the last one was answered")
    call = encode_call(HEAVY, "sleep", (0,), {})
    too_long = bytearray(encode_frame(Kind.CALL))
    too_long[4:8] = b"\xff\xff\xff\xff"
    for data in (
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        bytes(too_long),
        encode_frame(Kind.CALL, 0, encode(["only one"])),
        encode_frame(Kind.RESULT, 0, encode(None)),
        encode_frame(Kind.CALL),
        call + call,
    ):
        with connect(dirty.path, 60) as sock:
            sock.sendall(data)
            heard = b""
            while more := sock.recv(65536):
                heard += more
                if data == call + call and heard.count(b"slept") == 2:
                    break  # the second one was read when the first had been answered
        assert heard.startswith(b"MD")
    # Half a message and an end; one that never goes on.
    with connect(dirty.path, 60) as sock:
        sock.sendall(call[:20])
    with connect(dirty.path, 60) as silent:
        silent.sendall(call[:20])
        assert dirty.call("count") == 1
