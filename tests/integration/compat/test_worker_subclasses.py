"""Subclasses of Gunicorn's sync and gthread classes: what they override is really used."""

import os
import signal
import subprocess
import sys

import pytest

from support.server import Concurrent
from support.serving import Serve
from support.waiting import wait_for

KINDS = ["Sync", "Threads"]

HOOKS = """
from events import note

def pre_request(worker, req):
    note("pre_request", path=req.path, body=req.body is not None)

def post_request(worker, req, environ, resp):
    note("post_request", path=req.path, code=resp.status_code, sent=resp.sent)
"""


def names(events: list[dict[str, object]], *kinds: str) -> list[object]:
    return [event["event"] for event in events if not kinds or event["event"] in kinds]


@pytest.mark.parametrize("kind", KINDS)
def test_handle_request_is_around_the_app(serve: Serve, kind: str) -> None:
    server = serve(
        "worker_classes:app",
        "--worker-class",
        f"worker_classes.Measuring{kind}",
        config=HOOKS,
        probe=None,
    )
    with server.connect() as connection:
        host, port = connection.sock.getsockname()[:2]
        answer = connection.request("GET", "/first?x=1")
        assert connection.request("GET", "/stream").text == "0\n1\n2\n"
    server.wait_event("post_request", count=2)
    before = server.events("before")
    assert [each["path"] for each in before] == ["/first", "/stream"]
    assert before[0]["addr"] == [host, port]
    assert before[0]["listener"] == server.url("")
    assert before[0]["thread"] == answer.text.split()[1], "not the thread that runs the app"
    assert [each["nr"] for each in server.events("after")] == [1, 2]
    # The body is made within the method, and the hooks are called where Gunicorn calls them.
    assert names(server.events())[-8:] == [
        "before",
        "pre_request",
        "chunk",
        "chunk",
        "chunk",
        "closed",
        "after",
        "post_request",
    ]
    assert [each["sent"] for each in server.events("post_request")] == [len(answer.body), 6]


@pytest.mark.parametrize("kind", KINDS)
def test_handle_and_handle_error(serve: Serve, kind: str) -> None:
    server = serve(
        "worker_classes:app", "--worker-class", f"worker_classes.Reporting{kind}", probe=None
    )
    server.expect_log("Error handling request /fail")
    assert server.get("/fail").status == 500
    assert server.get("/").status == 200
    [error] = server.events("error")
    assert (error["path"], error["error"]) == ("/fail", "ValueError('failing on purpose')")
    assert [each["peer"][0] for each in server.events("handle")] == ["127.0.0.1"] * 2
    assert server.log.count("ValueError: failing on purpose") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_methods_of_a_workers_life(serve: Serve, kind: str) -> None:
    server = serve("worker_classes:app", "--worker-class", f"worker_classes.Life{kind}", probe=None)
    assert server.get("/").text.split()[2] == "yes"
    assert names(server.events(), "init_process", "load_wsgi", "run") == [
        "init_process",
        "load_wsgi",
        "run",
    ]
    # An idle worker notifies, again and again.
    server.wait_event("notify", count=3, timeout=30)
    [pid] = server.workers()
    os.kill(pid, signal.SIGTERM)
    server.wait_event("handle_exit")
    wait_for(lambda: server.workers() not in ([], [pid]), 20, "another worker")
    [second] = server.wait_ready()
    server.expect_log("SIGABRT|exited with code 1")
    server.allow_log("Failure")
    os.kill(second, signal.SIGABRT)
    server.wait_event("handle_abort")
    wait_for(lambda: server.workers() not in ([], [second]), 20, "a third worker")
    server.wait_ready()
    assert server.stop(signal.SIGINT) == 0
    assert server.events("handle_quit")


def test_alive_false_ends_a_worker(serve: Serve) -> None:
    """A handler that only sets `alive`, as Gunicorn's loop wants it."""
    server = serve("worker_classes:app", "--worker-class", "worker_classes.OwnExit", probe=None)
    assert server.get("/").status == 200
    assert server.stop() == 0
    assert server.events("handle_exit")


@pytest.mark.parametrize("options", [[], ["--threads", "3"]], ids=["sync", "threads"])
def test_a_hook_ends_its_worker_by_alive(serve: Serve, options: list[str]) -> None:
    """Operators bound the memory of a process so: no request is lost, another worker takes over."""
    config = """
def post_request(worker, req):
    if req.path == "/last":
        worker.alive = False
"""
    server = serve("worker_classes:app", *options, config=config)
    [pid] = server.workers()
    server.allow_log("Failure|Worker")
    assert server.get("/last").text.split()[0] == str(pid)

    def other() -> bool:
        answer = server.get("/")
        assert answer.status == 200
        return answer.text.split()[0] != str(pid)

    wait_for(other, 20, "another worker")


def test_get_thread_pool(serve: Serve) -> None:
    server = serve(
        "worker_classes:app",
        "--threads",
        "2",
        "--worker-class",
        "worker_classes.PooledThreads",
        probe=None,
    )
    assert server.get("/").text.split()[1].startswith("mine")
    assert len(server.wait_event("prepared", count=2)) == 2


def test_what_is_overridden_in_vain_is_told(serve: Serve) -> None:
    server = serve("worker_classes:app", "--worker-class", "worker_classes.InVain", probe=None)
    server.expect_log(r"worker_classes\.InVain\.accept is never called")
    server.expect_log(r"worker_classes\.InVain\.run_for_one is never called")
    assert server.get("/").status == 200


def test_a_method_that_leaves_the_app_out_is_an_error(serve: Serve) -> None:
    server = serve("worker_classes:app", "--worker-class", "worker_classes.WithoutApp", probe=None)
    server.expect_log(r"worker_classes\.WithoutApp has not called the app")
    assert server.get("/").status == 500
    assert server.events("left out")


CODE = """
import sys
from monoceros import compat
compat.install()
import worker_classes
from monoceros.workers.overrides import needs_route
names = ["Plain", "LifeSync", "LifeThreads", "PooledThreads", "OwnExit",
         "MeasuringSync", "MeasuringThreads", "ReportingSync"]
print(*(name for name in names if needs_route(getattr(worker_classes, name))))
"""


def test_only_what_is_per_request_leaves_the_fast_way() -> None:
    from support.server import APPS

    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env=os.environ | {"PYTHONPATH": str(APPS)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == ["MeasuringSync", "MeasuringThreads", "ReportingSync"]


def test_greenlets_do_not_meet(serve: Serve) -> None:
    """Requests that run at the same time in one thread keep their own place."""
    pytest.importorskip("gevent", reason="gevent is not installed")
    server = serve("greenlet_classes:app", "--worker-class", "greenlet_classes.Measuring")
    targets = ["/slow", "/a", "/b", "/c"]
    results = Concurrent(server.address, targets).wait()
    assert [getattr(each, "text", each) for each in results] == targets
    after = server.wait_event("after", count=5)
    assert {each["path"] for each in after} == {"/", *targets}
