"""Worker classes of others, as they come from the package index, under our arbiter.

They bring their own loop, parser and drain; the arbiter's part is boot, readiness, beats, timeout,
reload, scaling and stop.
"""

import contextlib
import os
import select
import signal
import threading
from pathlib import Path

import pytest

from monoceros.workers.doors import DOORS_SIGNAL
from support.client import Closed, Connection, Response, get
from support.server import Concurrent, Server
from support.serving import Serve
from support.tls import Authority
from support.waiting import wait_for

#: Worker class, app.
CLASSES = {
    "uvicorn_worker": ("uvicorn_worker.UvicornWorker", "asgi_site:app"),
    "uvicorn_h11": ("uvicorn_worker.UvicornH11Worker", "asgi_site:app"),
    "uvicorn.workers": ("uvicorn.workers.UvicornWorker", "asgi_site:app"),
    "aiohttp": ("aiohttp.GunicornWebWorker", "aiohttp_site:app"),
    "aiohttp_uvloop": ("aiohttp.GunicornUVLoopWebWorker", "aiohttp_site:app"),
}

#: One of each family, for what does not depend on the loop.
FAMILIES = ["uvicorn_worker", "aiohttp"]

HOOKS = """
from events import note

def post_fork(server, worker):
    note("post_fork", worker=worker.pid, age=worker.age)

def post_worker_init(worker):
    note("post_worker_init", worker=worker.pid)

def worker_exit(server, worker):
    note("worker_exit", worker=worker.pid)

def child_exit(server, worker):
    note("child_exit", worker=worker.pid)
"""


def start(serve: Serve, name: str, *options: str, **more: object) -> Server:
    worker_class, app = CLASSES[name]
    return serve(app, "--worker-class", worker_class, *options, config=HOOKS, probe="/pid", **more)  # type: ignore[arg-type]


def open_gate(server: Server) -> None:
    (server.directory / "gate").touch()


@pytest.mark.parametrize("name", CLASSES)
def test_serves_and_stops_gracefully(serve: Serve, name: str) -> None:
    """Hooks, answers, and a request under way that TERM does not cut."""
    server = start(serve, name)
    [pid] = server.workers()
    assert server.get("/pid").text == str(pid)
    assert [each["worker"] for each in server.events("post_worker_init")] == [pid]
    slow = Concurrent(server.address, ["/slow"])
    server.wait_event("slow")
    server.send_signal(signal.SIGTERM)
    server.wait_log("Handling signal: term")
    open_gate(server)
    assert slow.statuses() == [200]
    assert server.wait_exit() == 0
    events = ["lifespan_shutdown", "child_exit"]
    if "aiohttp" in name:
        # Uvicorn's ends by the signal itself when it has drained, under Gunicorn too.
        events.append("worker_exit")
    for event in events:
        assert len(server.events(event)) == 1, event


class Visitors:
    """Clients that come one after the other, each with a connection of its own.

    A client that a busy machine keeps from sending what it has connected for finds its connection
    closed by such a class, and tries once more then, as every proxy does.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._enough = threading.Event()
        self.pids: list[str] = []
        self.complaints: list[str] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._enough.is_set():
            try:
                response = self._visit()
            except Exception as error:
                self.complaints.append(repr(error))
            else:
                self.pids.append(response.text)
                if response.status != 200:
                    self.complaints.append(str(response.status))
            self._enough.wait(0.01)

    def _visit(self) -> Response:
        try:
            return get(self._server.address, "/pid", 20.0)
        except Closed:
            return get(self._server.address, "/pid", 20.0)

    def stop(self) -> None:
        self._enough.set()
        self._thread.join(30)
        assert not self._thread.is_alive()


@pytest.mark.parametrize(
    ("name", "preload"), [("uvicorn_worker", []), ("aiohttp", ["--preload"])], ids=FAMILIES
)
def test_reload_loses_nothing(serve: Serve, name: str, preload: list[str]) -> None:
    server = start(serve, name, *preload, "--graceful-timeout", "10", workers=2)
    before = server.workers()
    slow = Concurrent(server.address, ["/slow"])
    server.wait_event("slow")
    visitors = Visitors(server)
    wait_for(lambda: visitors.pids, 10, "a first visitor")
    server.send_signal(signal.SIGHUP)
    # One old worker goes at once, the other one has a request to answer.
    wait_for(lambda: len(set(before) & set(server.workers())) <= 1, 20, "an old worker to go")
    open_gate(server)
    assert slow.statuses() == [200]
    wait_for(lambda: not set(before) & set(server.workers()), 20, "the old workers to go")
    now = server.wait_ready()
    seen = len(visitors.pids)
    wait_for(lambda: len(visitors.pids) > seen + 5, 10, "visitors of the new workers")
    visitors.stop()
    assert visitors.complaints == []
    assert {int(pid) for pid in visitors.pids[seen + 1 :]} <= set(now)


@pytest.mark.parametrize("name", FAMILIES)
def test_scales_and_reopens(serve: Serve, name: str) -> None:
    """TTIN, TTOU, USR1, and INT, which waits for nobody."""
    server = start(serve, name)
    server.send_signal(signal.SIGTTIN)
    both = server.wait_ready(2)
    server.send_signal(signal.SIGTTOU)
    [left] = server.wait_workers(1)
    assert left in both
    server.send_signal(signal.SIGUSR1)
    server.wait_log("Handling signal: usr1")
    assert server.wait_answer("/pid").text == str(left)
    # Uvicorn's hears only TERM.
    server.allow_log("was killed by its master because of the server's stop")
    assert server.stop(signal.SIGINT) == 0


@pytest.mark.parametrize("name", FAMILIES)
def test_a_blocked_loop_is_found(serve: Serve, name: str) -> None:
    server = start(serve, name, "--timeout", "3")
    [pid] = server.workers()
    server.expect_log(rf"WORKER TIMEOUT \(pid:{pid}\).*_answer")
    server.allow_log("WORKER TIMEOUT")
    server.allow_log(r"Worker \(pid:\d+\)")
    server.allow_log("Failure")
    Concurrent(server.address, ["/block"])
    server.wait_event("block")
    wait_for(lambda: pid not in server.workers(), 30, "the blocked worker to be replaced")
    assert server.wait_answer("/pid", 30).text != str(pid)


@pytest.mark.parametrize("name", FAMILIES)
def test_max_requests(serve: Serve, name: str) -> None:
    """The worker ends by itself after so many, and another one is there.

    How it ends is its own: aiohttp's may keep a connection that it has just accepted waiting until
    graceful_timeout.
    """
    server = start(serve, name, "--max-requests", "10", "--graceful-timeout", "4")
    [first] = server.workers()
    server.allow_log("Maximum request limit|Failure|Worker")

    def other() -> bool:
        with contextlib.suppress(OSError, Closed):
            get(server.address, "/pid", 10.0)
        return first not in server.workers()

    wait_for(other, 60, "the worker to end")
    server.wait_ready()
    assert server.wait_answer("/pid").text != str(first)


@pytest.mark.parametrize("name", ["uvicorn_worker", "uvicorn_h11", "aiohttp", "aiohttp_uvloop"])
def test_doors_are_closed_before_the_end(serve: Serve, name: str) -> None:
    """The signal that comes before TERM: connections that are there are served, new ones wait in
    the kernel's queue for whoever comes next. Nothing is dropped, however the loop drains."""
    server = start(serve, name)
    [pid] = server.workers()
    with server.connect() as kept, contextlib.ExitStack() as waiting:
        assert kept.request("GET", "/pid").text == str(pid)
        os.kill(pid, DOORS_SIGNAL)

        def is_queued() -> Connection | None:
            connection = Connection(server.address, 30.0)
            connection.send(b"GET /pid HTTP/1.1\r\nHost: a\r\n\r\n")
            readable, _, _ = select.select([connection.sock], [], [], 0.5)
            if readable:
                connection.close()
                return None
            waiting.callback(connection.close)
            return connection

        queued = wait_for(is_queued, 20, "a connection that is not accepted")
        assert kept.request("GET", "/pid").text == str(pid)
        os.kill(pid, signal.SIGTERM)
        assert queued.read_response("GET").text not in ("", str(pid))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_start_up_that_fails_ends_the_server(serve: Serve, name: str) -> None:
    """It fails in `run`, when the class has been booted already: exit status 3 as with Gunicorn."""
    worker_class, app = CLASSES[name]
    server = serve(app, "--worker-class", worker_class, env={"BROKEN": "1"}, wait=False, probe=None)
    server.expect_exit(3)
    assert server.wait_exit() == 3
    server.expect_log("Worker failed to boot")
    server.allow_log("exited with code 3|Shutting down")
    server.allow_log("broken on purpose")
    server.allow_log("Application startup failed")
    server.allow_log("failed to boot")
    assert "Listening at" in server.log


@pytest.mark.parametrize("name", FAMILIES)
def test_tls_is_pythons(serve: Serve, tmp_path: Path, name: str) -> None:
    """With OpenSSL's cipher lists, which the engine's own TLS need not know."""
    authority = Authority(tmp_path)
    worker_class, app = CLASSES[name]
    server = authority.serve(
        serve,
        app,
        authority.pair("server"),
        "--worker-class",
        worker_class,
        "--ciphers",
        "ECDHE+AESGCM:!aNULL",
        probe="/pid",
    )
    response = server.get("/pid")
    assert response.status == 200
    assert response.get("X-Scheme") == "https"
