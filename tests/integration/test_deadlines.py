"""Requests that take too long: what is said of them, to whom, and what comes after."""

import re
import time

import pytest

from support.client import Response, Truncated, answered, format_request
from support.server import Concurrent, Server
from support.serving import Serve
from support.waiting import wait_for

#: Seconds; the least that the settings allow.
DEADLINE = 1

#: The log names the request this soon after its deadline, and a client has its 504.
EXPLANATION_BOUND = 1.0

#: The server is as it was this soon after a deadline.
RECOVERY_BOUND = 5.0

FUNCTIONS = {
    "sleep": "stuck_in_sleep",
    "lock": "stuck_on_a_lock",
    "loop": "stuck_in_a_loop",
    "c": "stuck_in_c",
    "c-sleep": "stuck_in_c_sleep",
}

MODES = {
    "sync-timeout": ["--timeout", str(DEADLINE)],
    "sync-request-timeout": ["--request-timeout", str(DEADLINE)],
    "threads-request-timeout": ["--request-timeout", str(DEADLINE), "--threads", "2"],
}

#: In these the interpreter stands still for all threads.
HOLDING = {"c", "c-sleep"}


def explained(server: Server, way: str) -> bool:
    """Whether the log names the method, the path and the function."""
    return any(
        f"GET /stuck/{way}" in record.text and FUNCTIONS[way] in record.text
        for record in server.records("ERROR", "CRITICAL", "WARNING")
    )


@pytest.mark.parametrize("way", FUNCTIONS)
@pytest.mark.parametrize("mode", MODES)
def test_stuck_request(serve: Serve, mode: str, way: str) -> None:
    """504 to the client, request and stack in the log, an access line, capacity soon back."""
    server = serve("stuck:app", "--access-logfile", "access.log", *MODES[mode])
    # Whatever is said about it must name the request or the worker that is replaced.
    server.expect_log(rf"GET /stuck/{way}\b.*{FUNCTIONS[way]}")
    server.allow_log(r"WORKER TIMEOUT|SIGABRT|SIGKILL|[Ww]orker \(?pid")
    threads = mode.startswith("threads")
    with server.connect(20.0) as connection:
        started = time.monotonic()
        connection.send(format_request(target=f"/stuck/{way}"))
        if threads and way not in HOLDING:
            server.wait_event("stuck")
            for _ in range(10):
                assert server.get(timeout=1.0).status == 200
        response = connection.read_response()
        assert response.status == 504
        took = time.monotonic() - started
        assert DEADLINE * 0.9 < took < DEADLINE + EXPLANATION_BOUND
    bound = started + DEADLINE + EXPLANATION_BOUND - time.monotonic()
    wait_for(lambda: explained(server, way), max(bound, 0.0), "the log to name request and stack")
    recovery = started + DEADLINE + RECOVERY_BOUND
    if threads:
        wait_for(lambda: both_threads_work(server), recovery - time.monotonic(), "two threads")
    else:
        wait_for(lambda: answered(server.address), recovery - time.monotonic(), "an answer")
    access = server.directory / "access.log"
    line = rf'"GET /stuck/{way} HTTP/1.1" 504 '
    wait_for(lambda: re.search(line, access.read_text()), 2.0, "the access line")
    server.wait_workers(1)
    assert server.log.count(f"GET /stuck/{way}") <= 2, "it is said more than once"


def both_threads_work(server: Server) -> bool:
    """Two requests meet in one worker."""
    return Concurrent(server.address, ["/meet", "/meet"], timeout=2.0).statuses() == [200, 200]


@pytest.mark.parametrize("mode", MODES)
def test_stuck_after_the_head(serve: Serve, mode: str) -> None:
    """What has begun cannot become a 504: the answer is cut, never completed."""
    server = serve("stuck:app", *MODES[mode])
    server.expect_log(r"GET /stuck-after/sleep\b.*stuck_in_sleep")
    server.allow_log(r"WORKER TIMEOUT|SIGABRT|SIGKILL|[Ww]orker \(?pid")
    with server.connect(20.0) as connection:
        started = time.monotonic()
        connection.send(format_request(target="/stuck-after/sleep"))
        with pytest.raises(Truncated) as cut:
            connection.read_response()
        assert b"504" not in cut.value.received
        assert time.monotonic() - started < DEADLINE + RECOVERY_BOUND
    wait_for(lambda: answered(server.address), RECOVERY_BOUND, "an answer")


def test_requests_beside_a_stuck_one_end_well(serve: Serve) -> None:
    """The worker is replaced once its other requests have had their chance."""
    server = serve("stuck:app", "--request-timeout", "2", "--threads", "3")
    [pid] = server.workers()
    server.expect_log(r"GET /stuck/lock\b.*stuck_on_a_lock")
    server.allow_log(r"WORKER TIMEOUT|SIGABRT|SIGKILL|[Ww]orker \(?pid")
    stuck = Concurrent(server.address, ["/stuck/lock"])
    server.wait_event("stuck")
    results = []

    def over() -> bool:
        results.append(server.get("/", timeout=2.0).status)
        return len(server.workers()) == 1 and pid not in server.workers()

    wait_for(over, 2 + RECOVERY_BOUND, "the replacement")
    assert set(results) == {200}
    assert len(results) > 20
    assert stuck.statuses() == [504]


def test_two_workers_one_stuck(serve: Serve) -> None:
    """Only the stuck worker is replaced, and nobody waits for it."""
    server = serve("stuck:app", "--timeout", "2", workers=2)
    server.expect_log(r"GET /stuck/loop\b.*stuck_in_a_loop")
    server.allow_log(r"WORKER TIMEOUT|SIGABRT|SIGKILL|[Ww]orker \(?pid")
    before = set(server.wait_ready())
    stuck = Concurrent(server.address, ["/stuck/loop"])
    [event] = server.wait_event("stuck")
    for _ in range(20):
        assert server.get(timeout=1.0).status == 200
    assert stuck.statuses() == [504]
    wait_for(
        lambda: len(server.workers()) == 2 and event["pid"] not in server.workers(),
        RECOVERY_BOUND + 2,
        "the replacement",
    )
    assert before - {event["pid"]} <= set(server.workers())


@pytest.mark.parametrize("threads", [1, 2])
def test_deadlines_are_off_by_default(serve: Serve, threads: int) -> None:
    """Idle workers have none, and `timeout` 0 means none."""
    server = serve("stuck:app", "--timeout", "0", "--threads", str(threads))
    pids = server.workers()
    assert server.get("/slow", timeout=10.0).status == 200
    assert server.workers() == pids


def test_idle_worker_is_never_stuck(serve: Serve) -> None:
    """A worker without requests, or between those of slow clients, does not time out."""
    server = serve("stuck:app", "--timeout", "1")
    pids = server.workers()
    with server.connect() as connection:
        connection.request()
        connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
        due = time.monotonic() + 2.5
        wait_for(lambda: time.monotonic() >= due, 4.0, "more than the timeout")
        connection.send(b"\r\n")
        assert connection.read_response().status == 200
    assert server.workers() == pids


def test_threads_are_not_bound_by_timeout(serve: Serve) -> None:
    """A long request in a threaded worker is answered, and named once as slow, with its stack."""
    server = serve("stuck:app", "--timeout", "2", "--threads", "2")
    server.expect_log(r"GET /slow\b")
    pids = server.workers()
    response = server.get("/slow", timeout=10.0)
    assert (response.status, response.body) == (200, b"fine\n")
    named = [r for r in server.records("WARNING") if "GET /slow" in r.text]
    assert len(named) == 1
    assert "stuck.py" in named[0].text, "where it is slow is not said"
    assert not server.records("ERROR", "CRITICAL")
    assert server.workers() == pids


@pytest.mark.parametrize("way", sorted(HOLDING))
def test_threads_that_cannot_run_python_are_bound_by_timeout(serve: Serve, way: str) -> None:
    """For a threaded worker `timeout` says that its interpreter still runs."""
    server = serve("stuck:app", "--timeout", "2", "--threads", "2")
    server.expect_log(FUNCTIONS[way])
    server.allow_log(r"WORKER TIMEOUT|SIGABRT|SIGKILL|[Ww]orker \(?pid|GET /stuck/")
    [pid] = server.workers()
    stuck = Concurrent(server.address, [f"/stuck/{way}"])
    server.wait_event("stuck")
    wait_for(lambda: pid not in server.workers(), 2 + RECOVERY_BOUND, "the stuck worker's end")
    wait_for(lambda: answered(server.address), RECOVERY_BOUND, "an answer")
    [result] = stuck.wait()
    assert not isinstance(result, Response) or result.status == 504
    assert "/stuck/" in server.log, "the request is not named"


def test_slow_import_is_not_bound_by_timeout(serve: Serve) -> None:
    """A ten second import with `timeout` 2 boots: a boot has a deadline of its own."""
    server = serve(
        "own:app",
        "--timeout",
        "2",
        files={"own.py": "import time\ntime.sleep(10)\nfrom probes import app\n"},
        probe=None,
    )
    assert server.wait_answer(timeout=20.0).status == 200
    assert server.log.count("Booting worker") == 1


def test_boot_timeout(serve: Serve) -> None:
    """`boot_timeout` bounds an import; the log says where it hangs, and the server gives up."""
    server = serve(
        "own:app",
        "--boot-timeout",
        "1",
        files={
            "own.py": "import time\ndef hang_in_import():\n    time.sleep(60)\nhang_in_import()\n"
        },
        wait=False,
    )
    server.expect_log("hang_in_import")
    server.allow_log(r".")
    server.expect_exit(1, 3)
    assert server.wait_exit(30.0) != 0
