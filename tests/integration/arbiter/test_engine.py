"""Workers on the engine: deadlines, recycling, draining, as the master sees them."""

import signal
import threading
import time
from collections.abc import Callable

import psutil
import pytest

from integration.arbiter.helpers import Site, answer, kill, wait_gone, wait_version
from support.client import get
from support.server import Concurrent, Server
from support.waiting import holds_for, wait_for

Start = Callable[..., Server]

#: One app thread, several, and the limit that bounds a request there.
SYNC = ["--timeout", "1"]
SYNC_OWN = ["--request-timeout", "1"]
THREADS = ["--threads", "3", "--request-timeout", "1"]

STUCK = ["stuck-in-python", "stuck-in-c", "loop", "lock"]

SITE = """
import ctypes, os, threading, time
from events import note

note("imported")
VERSION = "one"
lock = threading.Lock()
lock.acquire()

def stuck_in_c():
    ctypes.PyDLL(None).sleep(60)

def stuck_in_python():
    time.sleep(60)

def stuck_in_loop():
    while True:
        pass

def stuck_on_lock():
    lock.acquire()

def app(environ, start):
    path = environ["PATH_INFO"]
    if path == "/sleep":
        note("sleeping")
        time.sleep(float(environ["QUERY_STRING"]))
    elif path.startswith("/stuck"):
        note("stuck")
        {"/stuck-in-c": stuck_in_c, "/stuck-in-python": stuck_in_python,
         "/stuck-loop": stuck_in_loop, "/stuck-lock": stuck_on_lock}[path]()
    body = f"{VERSION} {os.getpid()} {path}".encode()
    start("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


@pytest.fixture
def engine(start: Start) -> Start:
    """A server whose workers run on the engine."""

    def run(*options: str, worker_class: str = "sync", **more: object) -> Server:
        return start(*options, site=SITE, worker_class=worker_class, **more)

    return run


@pytest.mark.parametrize("limit", [SYNC, SYNC_OWN, THREADS], ids=["sync", "sync-own", "threads"])
@pytest.mark.parametrize("how", ["in-python", "in-c", "loop", "lock"])
def test_a_request_over_its_deadline(
    engine: Start, preload: list[str], limit: list[str], how: str
) -> None:
    server = engine(*preload, *limit, "--access-logfile", "-", "--graceful-timeout", "5")
    (pid,) = server.workers()
    function = "stuck_" + {"loop": "in_loop", "lock": "on_lock"}.get(how, how.replace("-", "_"))
    server.expect_log(rf"TIMEOUT \(pid:{pid}\): request \d+ \"GET /stuck-{how}\".*{function}")
    server.allow_log(f"pid:{pid}")
    running = Concurrent(server.address, [f"/stuck-{how}"])
    server.wait_event("stuck")
    began = time.monotonic()
    (response,) = running.wait()
    assert getattr(response, "status", response) == 504
    assert time.monotonic() - began < 2.5
    server.wait_log("TIMEOUT (pid:", timeout=2)
    wait_for(lambda: server.workers() not in ([], [pid]), 5, "a replacement")
    # Where Python is held, a connection may go to the stuck worker until that is found out.
    assert server.wait_answer().status == 200
    assert time.monotonic() - began < 6, "capacity is back within 5 s of the deadline"
    wait_for(lambda: pid not in server.workers(), 10, "the stuck worker to be gone")
    lines = [line for line in server.stdout.splitlines() if f"/stuck-{how}" in line]
    assert len(lines) == 1
    assert '" 504 ' in lines[0]


def test_neighbours_of_a_stuck_request_are_answered(engine: Start) -> None:
    server = engine(*THREADS)
    server.allow_log("REQUEST TIMEOUT|overdue|aborted|deadline")
    stuck = Concurrent(server.address, ["/stuck-in-python"])
    server.wait_event("stuck")
    beside = Concurrent(server.address, ["/sleep?0.7"] * 2)
    for response in [*beside.wait()]:
        assert getattr(response, "status", response) == 200
    (response,) = stuck.wait()
    assert getattr(response, "status", response) == 504


def test_a_long_request_of_a_threaded_worker_is_named_once(engine: Start) -> None:
    server = engine("--threads", "2", "--timeout", "1")
    server.expect_log(r"Slow request in worker .*GET /sleep\?3.*in app")
    (pid,) = server.workers()
    (response,) = Concurrent(server.address, ["/sleep?3"]).wait()
    assert getattr(response, "status", response) == 200
    assert server.log.count("Slow request") == 1
    assert server.workers() == [pid]


def test_a_call_that_holds_the_interpreter_is_found_in_a_threaded_worker(engine: Start) -> None:
    server = engine("--threads", "2", "--timeout", "2")
    (pid,) = server.workers()
    server.expect_log(rf"WORKER TIMEOUT \(pid:{pid}\): its Python has not run.*stuck_in_c")
    server.allow_log(f"pid:{pid}")
    Concurrent(server.address, ["/stuck-in-c"])
    server.wait_event("stuck")
    wait_for(lambda: pid not in server.workers(), 8, "the stuck worker to be gone")
    assert answer(server)[1] != pid


@pytest.mark.parametrize("options", [[], ["--threads", "2"]], ids=["sync", "threads"])
def test_idle_engine_workers_are_left_alone(engine: Start, options: list[str]) -> None:
    server = engine(*options, "--timeout", "1", workers=2)
    before = server.workers()
    holds_for(lambda: server.workers() == before, 3.5, "nobody is replaced")
    answer(server)


@pytest.mark.parametrize("options", [[], ["--threads", "2"]], ids=["sync", "threads"])
def test_recycling_keeps_capacity_and_loses_nothing(
    engine: Start, preload: list[str], options: list[str]
) -> None:
    server = engine(*preload, *options, "--max-requests", "40", workers=2)
    first = server.workers()
    for _ in range(300):
        assert get(server.address, "/", 10).status == 200
    wait_for(lambda: not set(first) & set(server.workers()), 10, "both to be recycled")
    server.wait_workers(2)
    assert "Autorestarting worker after current request." in server.log


@pytest.mark.parametrize("options", [[], ["--threads", "2"]], ids=["sync", "threads"])
def test_reload_and_scaling_under_load_lose_nothing(
    engine: Start, preload: list[str], options: list[str]
) -> None:
    server = engine(*preload, *options, workers=2)
    failures: list[str] = []
    served = [0]
    ended = threading.Event()

    def one_connection_each() -> None:
        while not ended.is_set():
            try:
                assert get(server.address, "/", 10).status == 200
                served[0] += 1
            except Exception as error:
                failures.append(f"a connection each: {error!r}")

    def keep_alive() -> None:
        while not ended.is_set():
            with server.connect() as connection:
                for _ in range(50):
                    try:
                        response = connection.request("GET", "/")
                        assert response.status == 200
                        served[0] += 1
                    except Exception as error:
                        failures.append(f"keep-alive: {error!r}")
                        break
                    if response.closes:
                        break

    threads = [threading.Thread(target=f) for f in (one_connection_each, keep_alive) * 2]
    for thread in threads:
        thread.start()
    for number in range(3):
        Site(server).write(SITE.replace('"one"', f'"v{number}"'))
        server.send_signal(signal.SIGHUP)
        server.wait_log("Reload complete", count=number + 1)
    for scale in (signal.SIGTTIN, signal.SIGTTOU):
        server.send_signal(scale)
        server.wait_log(f"Handling signal: {scale.name[3:].lower()}")
    kill(server.workers()[0], signal.SIGTERM)
    server.send_signal(signal.SIGHUP)
    server.wait_log("Reload complete", count=4)
    ended.set()
    for thread in threads:
        thread.join(20)
    assert failures == []
    assert served[0] > 50


@pytest.mark.parametrize("options", [[], ["--threads", "2"]], ids=["sync", "threads"])
def test_a_connection_that_was_promised_to_be_kept_is_kept(
    engine: Start, options: list[str]
) -> None:
    """An answer that is under way when its worker begins to drain says that it is the last one, or
    is not the last one."""
    server = engine(*options, workers=2)
    with server.connect() as connection:
        connection.send(b"GET /sleep?0.5 HTTP/1.1\r\nHost: a\r\n\r\n")
        (event,) = server.wait_event("sleeping")
        kill(event["pid"], signal.SIGTERM)
        first = connection.read_response()
        assert first.status == 200
        if not first.closes:
            assert connection.request("GET", "/").status == 200


def test_term_answers_what_is_queued(engine: Start) -> None:
    server = engine()
    running = Concurrent(server.address, ["/sleep?0.5"] * 6)
    server.wait_event("sleeping")

    def connected() -> int:
        """Connections of this process to the server that the kernel has accepted."""
        mine = psutil.Process().net_connections("tcp")
        return sum(c.raddr == server.address and c.status == psutil.CONN_ESTABLISHED for c in mine)

    wait_for(lambda: connected() == 6, 10, "all to be connected")
    began = time.monotonic()
    assert server.stop() == 0
    assert [getattr(r, "status", r) for r in running.wait()] == [200] * 6
    assert time.monotonic() - began < 10


def test_a_drain_over_its_time_says_what_was_cut(engine: Start) -> None:
    server = engine("--graceful-timeout", "1")
    server.expect_log(r"GET /sleep\?20")
    server.allow_log("pid:")
    Concurrent(server.address, ["/sleep?20"])
    server.wait_event("sleeping")
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("options", [[], ["--threads", "2"]], ids=["sync", "threads"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_a_quick_stop_does_not_wait_for_requests(
    engine: Start, options: list[str], number: signal.Signals
) -> None:
    config = "from events import note\ndef worker_int(worker):\n    note('worker_int')\n"
    server = engine(*options, config=config)
    server.allow_log("GET /sleep|killed|Error handling request")
    Concurrent(server.address, ["/sleep?20"])
    server.wait_event("sleeping")
    began = time.monotonic()
    assert server.stop(number) == 0
    assert time.monotonic() - began < 3
    assert len(server.events("worker_int")) == 1


def test_an_idle_keep_alive_connection_does_not_hold_a_stop(engine: Start) -> None:
    server = engine()
    with server.connect() as connection:
        connection.request("GET", "/")
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 3


def test_the_master_gone_the_engine_ends_by_itself(engine: Start, preload: list[str]) -> None:
    server = engine(*preload, "--threads", "2", workers=2)
    Concurrent(server.address, ["/stuck-in-c"])
    server.wait_event("stuck")
    server.expect_exit(-9)
    server.send_signal(signal.SIGKILL)
    server.wait_exit()
    wait_gone(server)


def test_request_hooks_and_the_access_log(engine: Start) -> None:
    config = (
        "from events import note\n"
        "def pre_request(worker, req):\n    note('pre', path=req.path, method=req.method)\n"
        "def post_request(worker, req, environ, resp):\n"
        "    note('post', path=environ['PATH_INFO'], status=resp.status)\n"
    )
    server = engine("--access-logfile", "-", config=config, probe=None)
    answer(server, "/some/path?q=1")
    (before,) = server.wait_event("pre")
    (after,) = server.wait_event("post")
    assert (before["method"], before["path"]) == ("GET", "/some/path")
    assert (after["path"], after["status"]) == ("/some/path", "200 OK")
    wait_for(lambda: '"GET /some/path?q=1 HTTP/1.1" 200 ' in server.stdout, 5, "the access line")


def test_new_code_is_served_after_a_reload(engine: Start, preload: list[str]) -> None:
    server = engine(*preload)
    Site(server).write(SITE.replace('"one"', '"two"'))
    server.send_signal(signal.SIGHUP)
    wait_version(server, "two")
