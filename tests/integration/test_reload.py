"""HUP under load: new code, broken code, slow code; no request is lost."""

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from support.load import Load
from support.server import Server
from support.serving import Serve
from support.waiting import holds_for, wait_for

#: An app that answers with its version and whose import can be made slow or broken.
APP = """
{before}
BODY = b"{version}"

def app(environ, start_response):
    start_response("200 OK", [("Content-Length", str(len(BODY)))])
    return [BODY]
"""

BROKEN = "raise RuntimeError('this code does not boot')"

#: What a reload may add to the latency of a request, in seconds.
ADDED_LATENCY = 0.100

KINDS = pytest.mark.parametrize("preload", [False, True], ids=["plain", "preload"])


def code(version: str, before: str = "") -> str:
    return APP.format(version=version, before=before)


def replace_code(server: Server, text: str) -> None:
    """Put new code in place at once, as a deployment does."""
    draft = server.directory / "site_app.py.new"
    draft.write_text(text)
    draft.rename(server.directory / "site_app.py")


def start(serve: Serve, preload: bool, *options: str, workers: int = 1) -> Server:
    return serve(
        "site_app:app",
        *(["--preload"] if preload else []),
        *options,
        workers=workers,
        files={"site_app.py": code("old")},
    )


class Loads:
    """Both kinds of client at once."""

    def __init__(self, server: Server, clients: int = 3) -> None:
        self.loads = [
            Load(server.address, clients=clients, keep_alive=True),
            Load(server.address, clients=clients, keep_alive=False),
        ]

    def __enter__(self) -> "Loads":
        for load in self.loads:
            load.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        for load in self.loads:
            load.__exit__(*exc)

    def answered_since(self, at: float, body: bytes) -> bool:
        """Whether every load has lately had enough answers, and only this one."""
        for load in self.loads:
            bodies = [o.body for o in load.outcomes if o.started > at]
            if len(bodies) < 10 or set(bodies) != {body}:
                return False
        return True

    def check(self, bodies: set[bytes]) -> None:
        for load in self.loads:
            load.assert_no_loss(at_least=20)
            assert load.bodies() == bodies


def wait_only(loads: Loads, body: bytes, timeout: float = 15.0) -> None:
    """Until clients of both kinds get this answer only."""

    def only() -> bool:
        return loads.answered_since(time.monotonic() - 0.4, body)

    wait_for(only, timeout, f"answers to be {body!r}")


@KINDS
def test_new_code(serve: Serve, preload: bool) -> None:
    """HUP means new code, with --preload too; nothing is lost on the way."""
    server = start(serve, preload, workers=2)
    with Loads(server) as loads:
        wait_only(loads, b"old")
        for version in ("new", "newer"):
            replace_code(server, code(version))
            server.send_signal(signal.SIGHUP)
            wait_for(
                lambda v=version: server.get().body == v.encode(), 15.0, f"{version} to be served"
            )
        server.wait_log("Booting worker", count=6)
    for load in loads.loads:
        load.assert_no_loss(at_least=20)
    server.wait_workers(2)
    molds = 1 if preload else 0
    wait_for(lambda: len(server.molds()) == molds, 10.0, "the old molds to end")
    assert server.get().body == b"newer"


@KINDS
def test_broken_code_then_mended_code(serve: Serve, preload: bool) -> None:
    """The old code serves on, one traceback says why; the next HUP brings the mended code."""
    server = start(serve, preload, workers=2)
    server.expect_log("this code does not boot")
    server.allow_log("(?i:reload)|exited with code 3")
    pids = server.wait_ready()
    with Loads(server) as loads:
        wait_only(loads, b"old")
        replace_code(server, code("never", BROKEN))
        server.send_signal(signal.SIGHUP)
        server.wait_log("this code does not boot")
        wait_for(lambda: "Reload failed" in server.log, 10.0, "the end of the failed reload")
        holds_for(lambda: server.workers() == pids, 1.0, "the old workers serve on")
        loads.check({b"old"})
        replace_code(server, code("mended"))
        server.send_signal(signal.SIGHUP)
        wait_for(lambda: server.get().body == b"mended", 15.0, "the mended code")
    for load in loads.loads:
        load.assert_no_loss(at_least=20)
        assert load.bodies() <= {b"old", b"mended"}
    assert server.log.count("Traceback") == 1
    server.wait_workers(2)


@KINDS
def test_code_that_dies(serve: Serve, preload: bool) -> None:
    """New code that kills its process is as broken as code that raises."""
    server = start(serve, preload, workers=2)
    server.expect_log(r"\b9\b")
    server.allow_log("(?i:reload)|exited")
    with Loads(server, clients=2) as loads:
        replace_code(server, code("never", "import os; os._exit(9)"))
        server.send_signal(signal.SIGHUP)
        server.wait_log("Handling signal: hup")
        wait_for(lambda: server.records("ERROR", "WARNING"), 15.0, "the failed reload in the log")
        wait_only(loads, b"old")
        replace_code(server, code("mended"))
        server.send_signal(signal.SIGHUP)
        wait_for(lambda: server.get().body == b"mended", 20.0, "the mended code")
    for load in loads.loads:
        load.assert_no_loss(at_least=20)


@pytest.mark.alone
@KINDS
def test_slow_import(serve: Serve, preload: bool) -> None:
    """One worker and an import of 3 s: nothing is lost and nobody waits for the import."""
    server = start(serve, preload)
    with Loads(server, clients=2) as loads:
        replace_code(server, code("new", "import time; time.sleep(3)"))
        started = time.monotonic()
        server.send_signal(signal.SIGHUP)
        wait_for(lambda: server.get().body == b"new", 15.0, "the new code")
        assert time.monotonic() - started > 2.5
        wait_only(loads, b"new", 100.0 if preload else 15.0)
    for load in loads.loads:
        load.assert_no_loss(at_least=100)
        assert load.latency(1.0) < ADDED_LATENCY
    server.wait_workers(1)


@pytest.mark.parametrize("options", [[], ["--threads", "3"]], ids=["sync", "threads"])
def test_running_request_survives_a_reload(serve: Serve, options: list[str]) -> None:
    """A request that runs while HUP comes is answered by the worker that has it."""
    server = serve("probes:app", *options)
    [pid] = server.workers()
    with server.connect() as running, server.connect() as idle:
        idle.request()
        running.send(b"GET /sleep?seconds=2 HTTP/1.1\r\nHost: x\r\n\r\n")
        server.wait_event("sleeping")
        server.send_signal(signal.SIGHUP)
        server.wait_log("Booting worker", count=2)
        assert running.read_response().body == b"slept\n"
        # The kept connection was promised to be kept: the old worker still answers on it.
        assert idle.request("GET", "/pid").status == 200
    wait_for(lambda: pid not in server.workers(), 10.0, "the old worker's end")
    server.wait_workers(1)


def test_config_is_read_again(serve: Serve) -> None:
    """Workers, threads and the timeout of the new configuration hold after HUP."""
    server = serve(config="workers = 1\n")
    (server.directory / "conf.py").write_text("workers = 3\nproc_name = 'renamed'\n")
    server.send_signal(signal.SIGHUP)
    server.wait_workers(3)
    wait_for(lambda: _titles(server, "worker [renamed]") == 3, 5.0, "three renamed workers")


def _titles(server: Server, text: str) -> int:
    from support.processes import title

    return sum(text in title(each) for each in server.family())


@pytest.mark.parametrize("text", ["workers = 'many'\n", "1 / 0\n", "def post_fork():\n    pass\n"])
def test_broken_config_changes_nothing(serve: Serve, text: str) -> None:
    """A reload with a config that is wrong keeps everything as it was."""
    server = serve(config="workers = 2\n", workers=2, bind=None)
    server.expect_log("(?i:config|reload|workers|post_fork|bind|fd://x)")
    server.allow_log("Traceback")
    pids = server.wait_ready()
    (server.directory / "conf.py").write_text(text)
    server.send_signal(signal.SIGHUP)
    wait_for(lambda: server.records("ERROR", "WARNING", "RAW"), 10.0, "the error in the log")
    holds_for(lambda: server.workers() == pids, 0.5, "the workers stay")
    assert server.get().status == 200


def test_many_reloads_leave_nothing(serve: Serve, tmp_path: Path) -> None:
    """Reloads in a row, also faster than they can run, end with the right workers."""
    server = serve("probes:app", workers=2)
    with Load(server.address, clients=2, keep_alive=False) as load:
        for turn in range(5):
            before = server.workers()
            server.send_signal(signal.SIGHUP)
            server.send_signal(signal.SIGHUP)
            wait_for(
                lambda old=before: (
                    len(server.workers()) == 2 and not set(old) & set(server.workers())
                ),
                15.0,
                f"new workers in turn {turn}",
            )
    load.assert_no_loss(at_least=20)
