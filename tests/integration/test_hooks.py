"""Server hooks around real requests: order, arguments, and what they may do."""

import signal

import pytest

from support.serving import WAYS, Serve
from support.waiting import wait_for

#: A configuration that notes every hook with what it was given.
NOTING = """
from events import note

def nworkers_changed(server, new, old):
    note("nworkers_changed", new=new, old=old)

def on_starting(server):
    note("on_starting", pid_of_server=server.pid)

def when_ready(server):
    note("when_ready", listeners=[str(each) for each in server.LISTENERS])

def on_reload(server):
    note("on_reload")

def pre_fork(server, worker):
    note("pre_fork", worker=str(worker.pid), age=worker.age)

def post_fork(server, worker):
    note("post_fork", worker=worker.pid, age=worker.age)
    server.log.info("a word from post_fork")

def post_worker_init(worker):
    note("post_worker_init", worker=worker.pid, callable=callable(worker.wsgi))

def pre_request(worker, req):
    fields = [list(each) for each in req.headers]
    note("pre_request", method=req.method, uri=req.uri, path=req.path, query=req.query,
         version=list(req.version), fields=fields, peer=str(req.remote_addr[0]))

def post_request(worker, req, environ, resp):
    note("post_request", path=environ.get("PATH_INFO"), same=req.path == environ.get("PATH_INFO"),
         status=resp.status if resp else None, code=resp.status_code if resp else None,
         sent=resp.sent if resp else None)

def worker_int(worker):
    note("worker_int", worker=worker.pid)

def worker_abort(worker):
    note("worker_abort", worker=worker.pid)

def worker_exit(server, worker):
    note("worker_exit", worker=worker.pid)

def child_exit(server, worker):
    note("child_exit", worker=worker.pid)

def on_exit(server):
    note("on_exit")
"""


def names(events: list[dict[str, object]]) -> list[object]:
    return [event["event"] for event in events]


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_order(serve: Serve, options: tuple[str, ...]) -> None:
    """One worker, one request, HUP, INT: every hook once, in Gunicorn's order."""
    server = serve("probes:app", *options, config=NOTING, probe=None)
    [first] = server.workers()
    assert server.get("/?a=1").status == 200
    server.wait_event("post_request")
    assert names(server.events()) == [
        "nworkers_changed",
        "on_starting",
        "when_ready",
        "pre_fork",
        "post_fork",
        "post_worker_init",
        "pre_request",
        "post_request",
    ]
    before = len(server.events())
    server.send_signal(signal.SIGHUP)
    server.wait_event("child_exit")
    assert names(server.events())[before:] == [
        "nworkers_changed",
        "on_reload",
        "pre_fork",
        "post_fork",
        "post_worker_init",
        "worker_exit",
        "child_exit",
    ]
    assert [e["worker"] for e in server.events("worker_exit")] == [first]
    before = len(server.events())
    assert server.stop(signal.SIGINT) == 0
    assert names(server.events())[before:] == [
        "worker_int",
        "worker_exit",
        "child_exit",
        "on_exit",
    ]


def test_arguments(serve: Serve) -> None:
    """What hooks find in what they are given."""
    server = serve("probes:app", config=NOTING, probe=None)
    [worker] = server.workers()
    body = b"the body"
    response = server.exchange("POST", "/echo?a=%20b", [("X-Mixed-Case", "Value")], body)
    assert response.body == body
    server.wait_event("post_request")
    first = {event["event"]: event for event in server.events()}
    assert (first["nworkers_changed"]["new"], first["nworkers_changed"]["old"]) == (1, None)
    assert first["on_starting"]["pid_of_server"] == first["on_starting"]["pid"] == server.pid
    assert first["when_ready"]["listeners"] == [server.url("")]
    assert first["pre_fork"]["worker"] == "[booting]"
    assert first["post_fork"]["worker"] == first["post_fork"]["pid"] == worker
    assert first["post_fork"]["age"] == first["pre_fork"]["age"] == 1
    assert first["post_worker_init"]["callable"] is True
    before = first["pre_request"]
    assert (before["method"], before["uri"], before["path"]) == ("POST", "/echo?a=%20b", "/echo")
    assert (before["query"], before["version"]) == ("a=%20b", [1, 1])
    assert ["X-MIXED-CASE", "Value"] in before["fields"]
    assert before["peer"] == "127.0.0.1"
    after = first["post_request"]
    assert after["same"] is True
    assert (after["status"], after["code"], after["sent"]) == ("200 OK", 200, len(body))
    server.wait_log("a word from post_fork")


@pytest.mark.parametrize(
    "signature", ["worker, req", "worker, req, environ", "worker, req, environ, resp"]
)
def test_post_request_takes_two_three_or_four(serve: Serve, signature: str) -> None:
    config = f"""
from events import note

def post_request({signature}):
    note("after", path=req.path)
"""
    server = serve("probes:app", config=config, probe=None)
    server.get("/pid")
    assert server.wait_event("after")[0]["path"] == "/pid"


def test_post_request_runs_after_errors(serve: Serve) -> None:
    """Also for an app that fails, and an exception in it harms nobody."""
    config = """
from events import note

def post_request(worker, req, environ, resp):
    note("after", path=req.path, status=resp.status if resp else None)
    if req.path == "/pid":
        raise RuntimeError("failing on purpose in post_request")
"""
    server = serve("probes:app", config=config, probe=None)
    server.expect_log("Error handling request /fail")
    server.expect_log("failing on purpose in post_request")
    assert server.get("/fail").status == 500
    assert server.get("/pid").status == 200
    assert server.get("/").status == 200
    assert [e["path"] for e in server.wait_event("after", count=3)] == ["/fail", "/pid", "/"]


def test_pre_request_logs_at_debug_by_default(serve: Serve) -> None:
    server = serve("probes:app", "--log-level", "debug", probe=None)
    server.get("/pid?x=1")
    wait_for(
        lambda: any("GET /pid" in record.text for record in server.records("DEBUG")),
        5.0,
        "the request at debug level",
    )


def test_hooks_with_preload(serve: Serve) -> None:
    """With --preload every hook still runs, and worker hooks run in the worker."""
    server = serve("probes:app", "--preload", config=NOTING, workers=2)
    pids = server.workers()
    assert sorted(e["pid"] for e in server.events("post_fork")) == pids
    assert sorted(e["pid"] for e in server.events("post_worker_init")) == pids
    assert len(server.events("pre_fork")) == 2
    assert server.stop() == 0
    assert sorted(e["worker"] for e in server.events("child_exit")) == pids
    assert sorted(e["worker"] for e in server.events("worker_exit")) == pids
    assert len(server.events("on_exit")) == 1
