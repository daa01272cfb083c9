"""The life of a worker with an event loop: start, lifespan, signals, end."""

import json
import os
import signal
from pathlib import Path

import pytest

from support.load import Load
from support.server import Concurrent, Server
from support.serving import Serve
from support.waiting import holds_for, wait_for

ON_EACH_LOOP = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])

HOOKS = """
from events import note

def post_worker_init(worker):
    note("post_worker_init", lifespan=worker.lifespan is not None)

def worker_int(worker):
    note("worker_int")

def worker_exit(server, worker):
    note("worker_exit", closed=worker.loop.is_closed())

def pre_request(worker, req):
    note("pre_request", path=req.path)

def post_request(worker, req, environ, resp):
    note("post_request", path=req.path, status=resp.status_code)
"""


def start(serve: Serve, loop: str, *options: str, lifespan: str = "", **more: object) -> Server:
    env = {"LIFESPAN": lifespan}
    return serve("asgi_life:app", "--asgi-loop", loop, *options, env=env, **more)  # type: ignore[arg-type]


def names(server: Server, *kinds: str) -> list[str]:
    """Events of these kinds in their order."""
    return [event["event"] for event in server.events() if event["event"] in kinds]


@ON_EACH_LOOP
def test_order_of_a_life(serve: Serve, loop: str) -> None:
    server = start(serve, loop, config=HOOKS)
    assert loop.startswith("uv") == server.get("/loop").text.startswith("Uv")
    assert server.stop() == 0
    assert names(server, "post_worker_init", "startup", "shutdown", "closed", "worker_exit") == [
        "post_worker_init",
        "startup",
        "shutdown",
        "closed",
        "worker_exit",
    ]
    assert server.events("post_worker_init")[0]["lifespan"] is False
    assert server.events("worker_exit")[0]["closed"] is True


@ON_EACH_LOOP
def test_request_hooks(serve: Serve, loop: str) -> None:
    server = start(serve, loop, config=HOOKS)
    server.get("/loop")
    server.wait_event("post_request", count=2)
    before, after = server.events("pre_request"), server.events("post_request")
    assert [event["path"] for event in before] == ["/", "/loop"]
    assert [(event["path"], event["status"]) for event in after] == [("/", 200), ("/loop", 200)]


@ON_EACH_LOOP
def test_every_worker_has_a_lifespan_of_its_own(serve: Serve, loop: str) -> None:
    server = start(serve, loop, workers=3)
    started = [event["pid"] for event in server.wait_event("startup", count=3)]
    assert sorted(started) == server.workers()
    assert server.stop() == 0
    assert sorted(event["pid"] for event in server.events("closed")) == sorted(started)


@ON_EACH_LOOP
def test_requests_have_copies_of_the_state(serve: Serve, loop: str) -> None:
    server = start(serve, loop)
    assert json.loads(server.get("/state").text) == {"number": 2, "shared": [2]}
    assert json.loads(server.get("/state").text) == {"number": 2, "shared": [2, 2]}
    assert server.get("/variable").text == "untouched", "the lifespan's context is its own"


@ON_EACH_LOOP
def test_a_worker_serves_when_its_app_has_started(serve: Serve, loop: str) -> None:
    server = start(serve, loop, lifespan="late-start", wait=False)
    server.wait_event("startup")
    early = Concurrent(server.address, ["/"])
    holds_for(lambda: early.results == [None], 0.5, "nobody is served while the app starts")
    (server.directory / "started").touch()
    assert early.statuses() == [200]


@ON_EACH_LOOP
def test_an_order_to_end_while_the_app_starts(serve: Serve, loop: str) -> None:
    server = start(serve, loop, lifespan="late-start", wait=False)
    server.wait_event("startup")
    assert server.stop(timeout=10.0) == 0
    assert not server.events("shutdown")


def test_boot_timeout_bounds_the_start(serve: Serve) -> None:
    server = start(serve, "asyncio", "--boot-timeout", "1", lifespan="late-start", wait=False)
    server.expect_log("has not booted within boot_timeout")
    server.allow_log("was killed by its master|Failure")
    server.wait_log("has not booted within boot_timeout", timeout=20.0)
    (server.directory / "started").touch()
    assert server.wait_answer().status == 200


@ON_EACH_LOOP
@pytest.mark.parametrize("mode", ["auto", "on"])
@pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["plain", "preload"])
def test_a_start_that_fails_ends_the_server(
    serve: Serve, loop: str, mode: str, preload: list[str]
) -> None:
    server = start(
        serve, loop, "--asgi-lifespan", mode, *preload, lifespan="fails", wait=False, workers=2
    )
    server.expect_log("the app's lifespan startup has failed: no database today")
    server.allow_log(".")
    server.expect_exit(3)
    assert server.wait_exit() == 3
    assert "Worker failed to boot." in server.log


def test_an_exception_in_the_start_ends_the_server_with_on(serve: Serve) -> None:
    server = start(serve, "asyncio", "--asgi-lifespan", "on", lifespan="raises", wait=False)
    server.expect_log("has raised an exception and not completed its lifespan startup")
    server.allow_log(".")
    server.expect_exit(3)
    assert server.wait_exit() == 3
    assert "in opens_the_database" in server.log


def test_an_exception_in_the_start_is_told_with_auto(serve: Serve) -> None:
    server = start(serve, "asyncio", lifespan="raises", workers=2)
    server.expect_log(r"failed in its lifespan startup \(ConnectionError\)")
    server.wait_log("failed in its lifespan startup", count=2)
    assert server.log.count("in opens_the_database") == 1, "one traceback is enough"
    assert server.get("/").status == 200
    assert server.stop() == 0
    assert not server.events("shutdown")


@pytest.mark.parametrize(("mode", "lifespan"), [("auto", "absent"), ("off", "fails")])
def test_an_app_without_a_lifespan(serve: Serve, mode: str, lifespan: str) -> None:
    server = start(serve, "asyncio", "--asgi-lifespan", mode, lifespan=lifespan)
    assert json.loads(server.get("/state").text) == {"number": 1, "shared": [1]}
    assert not server.events("startup")
    assert not server.records("WARNING")


@ON_EACH_LOOP
def test_a_reload_to_an_app_that_does_not_start(serve: Serve, loop: str) -> None:
    """The old worker goes on serving, and its lifespan goes on."""
    text = "import os\nos.environ['LIFESPAN'] = {!r}\nfrom asgi_life import app\n"
    server = serve("own:app", "--asgi-loop", loop, files={"own.py": text.format("")})
    (server.directory / "own.py").write_text(text.format("fails"))
    server.expect_log("Reload failed")
    server.allow_log("lifespan startup has failed|exited with code 3")
    server.send_signal(signal.SIGHUP)
    server.wait_log("Reload failed", timeout=20.0)
    assert server.get("/").status == 200
    assert not server.events("shutdown")


@ON_EACH_LOOP
def test_term_finishes_what_runs_then_ends_the_lifespan(serve: Serve, loop: str) -> None:
    server = start(serve, loop)
    slow = Concurrent(server.address, ["/slow"])
    server.wait_event("slow")
    server.send_signal(signal.SIGTERM)
    server.wait_log("Handling signal: term")
    holds_for(lambda: not server.events("shutdown"), 0.3, "the lifespan ends last")
    (server.directory / "gate").touch()
    assert slow.statuses() == [200]
    assert server.wait_exit() == 0
    assert names(server, "slow", "shutdown", "closed") == ["slow", "shutdown", "closed"]


@ON_EACH_LOOP
def test_what_takes_too_long_is_cut_and_the_lifespan_still_ends(serve: Serve, loop: str) -> None:
    server = start(serve, loop, "--graceful-timeout", "1")
    slow = Concurrent(server.address, ["/slow"])
    server.wait_event("slow")
    server.expect_log("ended before these could be finished: GET /slow")
    server.allow_log("Error handling request /slow")
    assert server.stop() == 0
    slow.wait()
    assert names(server, "shutdown", "closed") == ["shutdown", "closed"]


@ON_EACH_LOOP
def test_an_end_that_never_comes_is_cut_with_its_stack(serve: Serve, loop: str) -> None:
    server = start(serve, loop, "--graceful-timeout", "1", lifespan="stuck-end")
    server.expect_log("lifespan shutdown has not ended")
    assert server.stop() == 0
    assert "in never_closes" in server.log
    assert not server.events("closed")


@ON_EACH_LOOP
def test_a_worker_that_drains_for_longer_than_timeout_is_left_alone(
    serve: Serve, loop: str
) -> None:
    """Flaw 11 of Gunicorn's: it is taken to be stuck, and its lifespan never ends."""
    server = start(serve, loop, "--timeout", "1", "--graceful-timeout", "20")
    server.allow_log("Slow request|The slow request is at")
    slow = Concurrent(server.address, ["/slow"])
    server.wait_event("slow")
    server.send_signal(signal.SIGTERM)
    holds_for(lambda: "WORKER TIMEOUT" not in server.log, 2.5, "it is not killed")
    (server.directory / "gate").touch()
    assert slow.statuses() == [200]
    assert server.wait_exit() == 0
    assert server.events("closed")


@ON_EACH_LOOP
def test_idle_connections_do_not_hold_the_end(serve: Serve, loop: str) -> None:
    """Flaw 12 of Gunicorn's. One has been used, one has not said a word."""
    server = start(serve, loop)
    with server.connect() as used, server.connect():
        used.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert used.read_response().status == 200
        assert server.stop(timeout=10.0) == 0
    assert server.events("closed")


@ON_EACH_LOOP
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_int_and_quit_wait_for_nothing(serve: Serve, loop: str, number: signal.Signals) -> None:
    server = start(serve, loop, config=HOOKS)
    server.get("/task")
    slow = Concurrent(server.address, ["/slow"])
    server.wait_event("slow")
    server.allow_log("Error handling request /slow|ended before these could be finished")
    assert server.stop(number, timeout=10.0) == 0
    slow.wait()
    assert not server.events("shutdown")
    assert len(server.events("worker_int")) == 1
    assert server.events("task-ended"), "tasks have their `finally`"


@ON_EACH_LOOP
def test_what_the_app_leaves_behind_is_cancelled(serve: Serve, loop: str) -> None:
    server = start(serve, loop)
    server.get("/task")
    assert server.stop(timeout=10.0) == 0
    assert names(server, "shutdown", "closed", "task-ended") == [
        "shutdown",
        "closed",
        "task-ended",
    ]


@ON_EACH_LOOP
def test_threads_and_subprocesses(serve: Serve, loop: str) -> None:
    server = start(serve, loop)
    assert server.get("/elsewhere").text == "42 from a process 0"


@ON_EACH_LOOP
def test_an_app_may_hear_term_as_well(serve: Serve, loop: str) -> None:
    server = start(serve, loop)
    server.get("/hear")
    assert server.stop(timeout=10.0) == 0
    assert len(server.events("heard-term")) == 1
    assert server.events("closed"), "the worker has heard it, too"


@ON_EACH_LOOP
def test_an_app_that_stops_the_loop_stops_nothing_else(serve: Serve, loop: str) -> None:
    server = start(serve, loop)
    assert server.get("/stop").text == "stopped"
    assert server.get("/").text == str(server.workers()[0])
    assert server.stop() == 0
    assert server.events("closed")


@ON_EACH_LOOP
def test_a_loop_that_is_blocked_is_explained_and_replaced(serve: Serve, loop: str) -> None:
    server = start(serve, loop, "--timeout", "2")
    [pid] = server.workers()
    server.expect_log("WORKER TIMEOUT")
    server.allow_log("was killed by its master|Slow request|The slow request is at")
    blocked = Concurrent(server.address, ["/block"])
    server.wait_event("blocks")
    server.wait_log("WORKER TIMEOUT", timeout=20.0)
    server.wait_log("in holds_the_loop")
    assert "it runs GET /block for" in server.log
    blocked.wait()
    assert int(server.wait_answer().text) != pid


@ON_EACH_LOOP
def test_a_loop_that_is_blocked_for_longer_than_graceful_timeout_is_aborted(
    serve: Serve, loop: str
) -> None:
    server = start(serve, loop, "--timeout", "0", "--graceful-timeout", "1", config=HOOKS)
    blocked = Concurrent(server.address, ["/block"])
    server.wait_event("blocks")
    server.expect_log("has not ended within graceful_timeout")
    server.allow_log(".")
    assert server.stop(timeout=10.0) == 0
    assert "in holds_the_loop" in server.log
    blocked.wait()
    assert len(server.events("worker_exit")) == 1
    assert not server.events("shutdown")


RETIRING = """
def post_request(worker, req, environ, resp):
    if req.path == "/task":
        worker.alive = False
"""


@ON_EACH_LOOP
def test_a_hook_may_retire_the_worker(serve: Serve, loop: str) -> None:
    server = start(serve, loop, config=RETIRING)
    [pid] = server.workers()
    server.get("/task")
    wait_for(lambda: server.workers() and pid not in server.workers(), 20.0, "a replacement")
    assert server.wait_answer().status == 200
    assert names(server, "shutdown", "closed", "task-ended") == [
        "shutdown",
        "closed",
        "task-ended",
    ]


@ON_EACH_LOOP
def test_request_timeout_ends_the_request_and_shows_its_coroutine(serve: Serve, loop: str) -> None:
    server = start(serve, loop, "--request-timeout", "1")
    [pid] = server.workers()
    server.expect_log("REQUEST TIMEOUT")
    server.allow_log("request is at|Error handling request /slow")
    assert Concurrent(server.address, ["/slow"]).statuses() == [504]
    server.wait_log("REQUEST TIMEOUT")
    server.wait_log("in file_is_there")
    wait_for(lambda: server.workers() and pid not in server.workers(), 20.0, "a replacement")
    assert server.wait_answer().status == 200


@ON_EACH_LOOP
def test_a_loop_that_is_busy_is_left_alone(serve: Serve, loop: str) -> None:
    """It computes all the time, for longer than `timeout`, a little at a time."""
    server = start(serve, loop, "--timeout", "1")
    server.allow_log("Slow request|The slow request is at")
    busy = Concurrent(server.address, ["/compute"] * 15)
    assert busy.statuses() == [200] * 15
    assert "WORKER TIMEOUT" not in server.log


@ON_EACH_LOOP
@pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["plain", "preload"])
def test_reloads_under_load(serve: Serve, loop: str, preload: list[str]) -> None:
    server = start(serve, loop, *preload, workers=2)
    first = set(server.workers())
    with Load(server.address, clients=2, keep_alive=False, pause=0.005) as load:
        server.send_signal(signal.SIGHUP)
        server.wait_log("Reload complete", timeout=30.0)
        wait_for(lambda: not first & set(server.workers()), 20.0, "the old workers to end")
    load.assert_no_loss(at_least=10)
    assert len(server.events("closed")) == 2, "the old ones' lifespans have ended"


@ON_EACH_LOOP
def test_max_requests(serve: Serve, loop: str) -> None:
    server = start(serve, loop, "--max-requests", "30")
    with Load(server.address, clients=2, keep_alive=False, pause=0.005) as load:
        server.wait_log("Autorestarting worker", timeout=30.0, count=2)
    load.assert_no_loss(at_least=60)
    server.wait_event("closed", count=2)


def test_scaling(serve: Serve) -> None:
    server = start(serve, "asyncio")
    server.send_signal(signal.SIGTTIN)
    server.wait_event("startup", count=2)
    server.wait_workers(2)
    server.send_signal(signal.SIGTTOU)
    server.wait_workers(1)
    assert len(server.wait_event("closed")) == 1
    assert server.get("/").status == 200


def test_a_worker_that_is_killed_is_replaced(serve: Serve) -> None:
    server = start(serve, "asyncio")
    [pid] = server.workers()
    server.expect_log("was sent SIGKILL")
    os.kill(pid, signal.SIGKILL)
    server.wait_event("startup", count=2)
    assert int(server.wait_answer().text) != pid


def test_the_death_of_the_master_ends_workers(serve: Serve, tmp_path: Path) -> None:
    server = start(serve, "asyncio")
    [pid] = server.workers()
    server.expect_exit(-signal.SIGKILL)
    os.kill(server.pid, signal.SIGKILL)
    server.wait_exit()
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), 20.0, "the worker to end")
