"""The processes behind dirty apps: how many, crashes, back-off, privileges, stops and ends."""

import asyncio
import os
import pwd
import signal
import sysconfig
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

import monoceros
from integration.test_privileges import nobodys_python
from monoceros.arbiter.stacks import process_state
from monoceros.dirty import (
    DirtyClient,
    DirtyConnectionError,
    DirtyError,
    DirtyNoWorkersAvailableError,
    DirtyTimeoutError,
)
from support.dirty import HEAVY, DirtyServer
from support.processes import title
from support.server import APPS
from support.serving import Serve
from support.waiting import holds_for, wait_for


def answering(dirty: DirtyServer, app: str, number: int) -> set[int]:
    """The pids of the workers that answer for an app, when so many have."""
    found: set[int] = set()

    def enough() -> bool:
        found.add(dirty.call("who", app=app))
        return len(found) >= number

    wait_for(enough, 20, f"{number} workers to answer for {app}")
    for _ in range(10):
        found.add(dirty.call("who", app=app))
    return found


def test_each_app_is_in_as_many_workers_as_it_may_be(serve: Serve) -> None:
    dirty = DirtyServer(serve, apps=(HEAVY, "heavy:Limited", "heavy:Single:1"), dirty_workers=3)
    assert len(answering(dirty, "heavy:Single", 1)) == 1
    assert len(answering(dirty, "heavy:Limited", 2)) == 2
    pids = dirty.of_role("dirty-worker")
    loaded = {event["pid"] for event in dirty.wait_event("init", 3)}
    assert loaded == set(pids)
    # Who takes the place of the worker that has all gets all, too.
    (single,) = answering(dirty, "heavy:Single", 1)
    dirty.server.expect_log("was sent SIGKILL")
    os.kill(single, signal.SIGKILL)
    dirty.wait_dirty_workers(3, without=(single,))
    (again,) = answering(dirty, "heavy:Single", 1)
    assert again != single
    titles = sorted(title(each) for each in dirty.server.family())
    assert (
        titles[:4]
        == ["monoceros: dirty-arbiter [heavy:app]"] + ["monoceros: dirty-worker [heavy:app]"] * 3
    )


def test_signals_change_the_number_of_workers(serve: Serve) -> None:
    dirty = DirtyServer(serve, apps=(HEAVY, "heavy:Limited"), dirty_workers=2)
    dirty.server.expect_log("Cannot decrease below 2 dirty workers")
    os.kill(dirty.arbiter, signal.SIGTTIN)
    dirty.wait_ready(3)
    assert len(answering(dirty, "heavy:Limited", 2)) == 2
    os.kill(dirty.arbiter, signal.SIGTTOU)
    dirty.wait_dirty_workers(2)
    dirty.wait_event("close", 1)
    os.kill(dirty.arbiter, signal.SIGTTOU)
    dirty.server.wait_log("Cannot decrease")
    assert len(dirty.wait_dirty_workers(2)) == 2


def test_a_worker_that_would_have_nothing_to_do_is_not_started(serve: Serve) -> None:
    dirty = DirtyServer(serve, apps=("heavy:Heavy:1",), dirty_workers=1)
    dirty.server.expect_log("a further one would have nothing to do")
    os.kill(dirty.arbiter, signal.SIGTTIN)
    dirty.server.wait_log("nothing to do")
    assert dirty.call("count") == 1


def test_the_crash_of_the_dirty_arbiter(serve: Serve) -> None:
    dirty = DirtyServer(serve)
    dirty.server.expect_log(r"Dirty arbiter \(pid:\d+\) was sent SIGKILL!")
    arbiter, (worker,) = dirty.arbiter, dirty.of_role("dirty-worker")
    outcome: list[Any] = []

    def call() -> None:
        try:
            dirty.call("sleep", 600)
        except DirtyError as error:
            outcome.append(error)

    calling = threading.Thread(target=call)
    calling.start()
    dirty.wait_event("sleeping")
    os.kill(arbiter, signal.SIGKILL)
    calling.join(60)
    assert isinstance(outcome[0], DirtyConnectionError)
    assert "The dirty arbiter ended" in str(outcome[0])
    # The next calls are made at the same address, from here and from web apps that were connected.
    assert dirty.call("who")["parent"] == dirty.arbiter != arbiter
    assert dirty.order({"action": "who"})["result"]["parent"] == dirty.arbiter
    wait_for(lambda: not psutil.pid_exists(worker), 20, "its worker to be gone")


@pytest.mark.parametrize("loop", [False, True], ids=["thread", "event loop"])
def test_a_call_that_the_dirty_arbiter_had_not_read_is_made_again(serve: Serve, loop: bool) -> None:
    dirty = DirtyServer(serve)
    dirty.server.expect_log("was sent SIGKILL")
    arbiter = dirty.arbiter
    results: list[Any] = []

    async def ask() -> None:
        async with DirtyClient(dirty.path, timeout=60) as client:
            results.append((await client.execute_async(HEAVY, "who"))["parent"])
            stop()
            results.append((await client.execute_async(HEAVY, "who"))["parent"])

    def ask_in_thread() -> None:
        results.append(dirty.call("who")["parent"])
        stop()
        results.append(dirty.call("who")["parent"])

    def stop() -> None:
        os.kill(arbiter, signal.SIGSTOP)
        wait_for(lambda: process_state(arbiter) == "stopped", 20, "it to stand still")

    calling = threading.Thread(target=lambda: asyncio.run(ask()) if loop else ask_in_thread())
    calling.start()
    wait_for(lambda: process_state(arbiter) == "stopped", 20, "it to stand still")
    holds_for(lambda: len(results) == 1, 0.3, "no answer")
    os.kill(arbiter, signal.SIGKILL)
    calling.join(60)
    assert results == [arbiter, dirty.arbiter]


def test_the_dirty_arbiter_can_be_told_to_end(serve: Serve) -> None:
    dirty = DirtyServer(serve)
    arbiter = dirty.arbiter
    results: list[Any] = []
    calling = threading.Thread(target=lambda: results.append(dirty.call("sleep", 1)))
    calling.start()
    dirty.wait_event("sleeping")
    os.kill(arbiter, signal.SIGTERM)
    calling.join(60)
    assert results == ["slept"]
    dirty.wait_event("close")
    assert dirty.call("who")["parent"] == dirty.arbiter != arbiter


def test_a_worker_that_is_told_to_end_finishes_its_call(serve: Serve) -> None:
    dirty = DirtyServer(serve)
    (pid,) = dirty.of_role("dirty-worker")
    results: list[Any] = []
    calling = threading.Thread(target=lambda: results.append(dirty.call("sleep", 1)))
    calling.start()
    dirty.wait_event("sleeping")
    os.kill(pid, signal.SIGTERM)
    calling.join(60)
    assert results == ["slept"]
    assert dirty.call("who")["pid"] != pid
    assert dirty.wait_event("close")[0]["pid"] == pid


def test_a_call_that_was_not_begun_is_given_to_another_worker(serve: Serve) -> None:
    dirty = DirtyServer(serve)
    dirty.server.expect_log("was sent SIGKILL")
    (pid,) = dirty.of_role("dirty-worker")
    results: list[Any] = []
    # A worker that is stopped takes nothing up.
    os.kill(pid, signal.SIGSTOP)
    calling = threading.Thread(target=lambda: results.append(dirty.call("who")["pid"]))
    calling.start()
    holds_for(lambda: not results, 0.3, "no answer")
    os.kill(pid, signal.SIGKILL)
    calling.join(60)
    assert results == dirty.wait_ready(1, without=(pid,))


BROKEN = """
from monoceros.dirty import DirtyApp
from events import note
note("imported")
class App(DirtyApp):
    def init(self):
        raise RuntimeError("no model")
"""

MENDED = """
from monoceros.dirty import DirtyApp
class App(DirtyApp):
    def who(self):
        return "mended"
"""


def test_workers_that_do_not_boot_are_started_ever_more_slowly(serve: Serve) -> None:
    dirty = DirtyServer(
        serve, apps=("own:App",), dirty_workers=3, files={"own.py": BROKEN}, wait=False
    )
    dirty.server.expect_log(r"Dirty worker \(pid:\d+\) failed to boot:.*RuntimeError: no model")
    dirty.server.expect_log("failed to boot, as told above: RuntimeError: no model")
    dirty.server.expect_log(r"Dirty worker \(pid:\d+\) exited with code 3")
    dirty.server.expect_log(r"Failure: dirty worker .* Next try in 0.5 s")
    dirty.server.allow_log(r"Failure number \d in a row")
    dirty.server.expect_log(r"Failure number 2 in a row: dirty worker .*exit status 3 before it")
    dirty.server.wait_log("Failure number 2 in a row")
    # Whoever calls hears at once, and why.
    with pytest.raises(DirtyNoWorkersAvailableError, match="exit status 3 before it was ready"):
        dirty.call("who", app="own:App")
    assert dirty.order({"app": "own:App", "action": "who"})["facts"]["app_path"] == "own:App"
    # 3 + 1 boots at once would be a round; a loop would make hundreds of them by now.
    assert len(dirty.server.events("imported")) < 20
    # The web app was never in danger, and no HUP is needed.
    (dirty.server.directory / "own.py").write_text(MENDED)

    def mended() -> bool:
        try:
            return dirty.call("who", app="own:App") == "mended"
        except DirtyNoWorkersAvailableError:
            return False

    wait_for(mended, 40, "the mended app")
    dirty.wait_ready(3)


def test_an_app_that_is_not_there_is_named(serve: Serve) -> None:
    # Nothing boots while the server stops.
    options = ("--respawn-backoff", "30")
    dirty = DirtyServer(serve, *options, apps=("heavy:Absent",), wait=False)
    dirty.server.expect_log("Dirty app not found: 'heavy' has no 'Absent'")
    dirty.server.expect_log("exited with code 4")
    dirty.server.expect_log("Failure: dirty worker")
    dirty.server.allow_log("Failure number|failed to boot")
    dirty.server.wait_log("Failure: dirty worker")
    assert dirty.server.get().status == 200


LOADING = """
import os, time
from monoceros.dirty import DirtyApp
class App(DirtyApp):
    def init(self):
        while not os.path.exists("loaded"):
            time.sleep(0.01)
    def who(self):
        return "loaded"
"""


def test_calls_wait_for_apps_that_are_being_loaded(serve: Serve) -> None:
    dirty = DirtyServer(serve, apps=("own:App",), files={"own.py": LOADING}, wait=False)
    results: list[Any] = []
    calling = threading.Thread(target=lambda: results.append(dirty.call("who", app="own:App")))
    calling.start()
    with pytest.raises(DirtyTimeoutError):
        DirtyClient(dirty.path, timeout=0.2).execute("own:App", "who")
    assert results == []
    (dirty.server.directory / "loaded").touch()
    calling.join(60)
    assert results == ["loaded"]


def test_an_app_that_never_boots_is_explained(serve: Serve) -> None:
    dirty = DirtyServer(
        serve,
        "--boot-timeout",
        "1",
        "--respawn-backoff",
        "30",
        apps=("own:App",),
        dirty_workers=2,
        files={"own.py": LOADING},
        wait=False,
    )
    dirty.server.expect_log(
        r"Dirty worker \(pid:\d+\) has not booted within boot_timeout \(1 s\).*own.py.*in init"
    )
    dirty.server.expect_log("was killed by its master because of its boot timeout")
    dirty.server.allow_log("^Failure")
    dirty.server.wait_log("has not booted within boot_timeout", 30)


def test_a_stop_waits_for_web_requests_that_call_dirty_apps(serve: Serve) -> None:
    dirty = DirtyServer(serve)
    answers: list[Any] = []
    asking = threading.Thread(
        target=lambda: answers.append(dirty.order({"action": "sleep", "args": [1]}))
    )
    asking.start()
    dirty.wait_event("sleeping")
    assert dirty.server.stop() == 0
    asking.join(60)
    assert answers == [{"result": "slept"}]
    assert [event["app"] for event in dirty.server.events("close")] == ["Heavy"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_a_quick_stop_waits_for_nobody(serve: Serve, number: signal.Signals) -> None:
    dirty = DirtyServer(serve)
    dirty.server.allow_log("was killed by its master because of the server's stop")
    outcome: list[Any] = []

    def call() -> None:
        try:
            DirtyClient(dirty.path).execute(HEAVY, "sleep", 600)
        except DirtyConnectionError as error:
            outcome.append(error)

    calling = threading.Thread(target=call)
    calling.start()
    dirty.wait_event("sleeping")
    assert dirty.server.stop(number) == 0
    calling.join(60)
    assert len(outcome) == 1


def test_a_call_that_outlasts_the_graceful_time_is_told(serve: Serve) -> None:
    dirty = DirtyServer(serve, "--dirty-graceful-timeout", "1")
    dirty.server.expect_log(
        r"has not ended within dirty_graceful_timeout \(1 s\); it runs heavy:Heavy.sleep for .* s:"
        r" it is killed.\n.*in sleep"
    )
    dirty.server.expect_log("was killed by its master because of the server's stop")
    outcome: list[Any] = []

    def call() -> None:
        try:
            dirty.call("sleep", 600)
        except DirtyError as error:
            outcome.append(str(error))

    calling = threading.Thread(target=call)
    calling.start()
    dirty.wait_event("sleeping")
    assert dirty.server.stop() == 0
    calling.join(60)
    assert outcome == ["The dirty arbiter has stopped before the call was done"]


def test_nobody_outlives_a_killed_master(serve: Serve) -> None:
    dirty = DirtyServer(serve, "--preload", dirty_workers=2)
    dirty.server.allow_log("The master is gone|was killed by its master")
    dirty.server.expect_exit(-signal.SIGKILL)
    folder = Path(dirty.path).parent
    assert folder.exists()
    dirty.server.send_signal(signal.SIGKILL)
    dirty.server.wait_exit()
    wait_for(lambda: not dirty.server.family(), 20, "everybody to be gone")
    wait_for(lambda: not folder.exists(), 20, "the socket's folder to be removed")


def test_preloaded_web_workers_are_clients(serve: Serve) -> None:
    dirty = DirtyServer(serve, "--preload", workers=2)
    pids = {dirty.order({"action": "who"})["result"]["pid"] for _ in range(4)}
    assert pids == set(dirty.of_role("dirty-worker"))


def test_dirty_processes_hold_no_listening_socket_and_no_client(serve: Serve) -> None:
    dirty = DirtyServer(serve, dirty_workers=2)
    port = dirty.server.address[1]
    dirty.call("count")
    for pid in [dirty.arbiter, *dirty.of_role("dirty-worker")]:
        process = psutil.Process(pid)
        assert [c for c in process.net_connections("inet") if c.laddr and c.laddr[1] == port] == []
        assert process.num_threads() == 1 or pid != dirty.arbiter
    # One channel to the dirty arbiter each, and what the app's own clients have open.
    for pid in dirty.of_role("dirty-worker"):
        sockets = psutil.Process(pid).net_connections("unix")
        assert len(sockets) < 8, sockets


HOOKS = """
from events import note
def on_dirty_starting(arbiter):
    path = arbiter.socket_path
    note("on_dirty_starting", workers=arbiter.num_workers, here=arbiter.pid, path=path)
def dirty_post_fork(arbiter, worker):
    note("dirty_post_fork", worker=worker.pid, known=worker.pid in arbiter.workers, age=worker.age)
def dirty_worker_init(worker):
    note("dirty_worker_init", worker=worker.pid, apps=list(worker.apps), paths=worker.app_paths)
def dirty_worker_exit(arbiter, worker):
    note("dirty_worker_exit", worker=worker.pid)
"""


def test_hooks(serve: Serve) -> None:
    dirty = DirtyServer(serve, config=HOOKS)
    (pid,), arbiter = dirty.of_role("dirty-worker"), dirty.arbiter
    assert dirty.call("count") == 1
    assert dirty.server.stop() == 0
    hooks = [event for event in dirty.server.events() if "dirty" in event["event"]]
    for event in hooks:
        del event["at"]
    assert hooks == [
        {
            "event": "on_dirty_starting",
            "pid": arbiter,
            "workers": 1,
            "here": arbiter,
            "path": dirty.path,
        },
        {"event": "dirty_post_fork", "pid": arbiter, "worker": pid, "known": True, "age": 1},
        {
            "event": "dirty_worker_init",
            "pid": pid,
            "worker": pid,
            "apps": [HEAVY],
            "paths": [HEAVY],
        },
        {"event": "dirty_worker_exit", "pid": arbiter, "worker": pid},
    ]


def test_log_files_are_reopened(serve: Serve, tmp_path: Path) -> None:
    log = tmp_path / "error.log"
    dirty = DirtyServer(serve, "--error-logfile", str(log), wait=False)
    dirty.server.error_log = log
    dirty.wait_ready(1)
    dirty.server.expect_log("broken")
    log.rename(tmp_path / "error.log.1")
    dirty.server.send_signal(signal.SIGUSR1)

    def told() -> bool:
        # The dirty worker hears of it after its master and the dirty arbiter.
        with pytest.raises(DirtyError):
            dirty.call("fail", "broken")
        return log.exists() and "broken" in log.read_text()

    wait_for(told, 20, "a line in the new log")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_dirty_workers_and_their_clients_run_as_the_user(serve: Serve, tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    # A folder of pytest's is its owner's alone.
    for each in (tmp_path, *tmp_path.parents):
        if each.is_relative_to(Path(os.environ.get("TMPDIR", "/tmp"))) and each != Path("/tmp"):
            each.chmod(each.stat().st_mode | 0o055)
    (tmp_path / "events.jsonl").touch()
    (tmp_path / "events.jsonl").chmod(0o666)
    package = str(Path(monoceros.__file__).parent.parent)
    search = [package, sysconfig.get_path("purelib"), str(APPS)]
    dirty = DirtyServer(
        serve,
        "--user",
        "nobody",
        program=[nobodys_python(), "-m", "monoceros"],
        env={
            "PYTHONPATH": os.pathsep.join(search),
            "EVENTS": str(tmp_path / "events.jsonl"),
        },
    )
    # From a web worker, which is nobody, through the socket, which was made by root.
    answer = dirty.order({"action": "who"})["result"]
    assert answer["uid"] == nobody.pw_uid
    status = Path(dirty.path).stat()
    assert (status.st_uid, status.st_gid) == (nobody.pw_uid, nobody.pw_gid)
    assert status.st_mode & 0o777 == 0o600
    assert Path(dirty.path).parent.stat().st_uid == 0
    # They end with their parent, whatever the kernel forgets with a change of user.
    (worker,) = dirty.of_role("dirty-worker")
    dirty.server.expect_log("was sent SIGKILL")
    os.kill(dirty.arbiter, signal.SIGKILL)
    wait_for(lambda: not psutil.pid_exists(worker), 20, "the dirty worker to be gone")
    assert dirty.order({"action": "who"})["result"]["uid"] == nobody.pw_uid


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--dirty-app", "heavy:Heavy"), "dirty_workers is 0"),
        (("--dirty-workers", "1"), "dirty_apps is empty"),
    ],
)
def test_half_a_configuration_is_told(serve: Serve, options: tuple[str, ...], said: str) -> None:
    server = serve("heavy:app", *options)
    server.expect_log(f"{said}: there are no dirty apps. Both settings are needed.")
    assert server.get().status == 200


def test_without_dirty_apps_a_client_says_so(serve: Serve) -> None:
    server = serve("heavy:app")
    server.expect_log("KeyError: 'GUNICORN_DIRTY_SOCKET'")
    assert server.exchange("POST", "/", (), b"{}").status == 500
    answer = server.exchange("POST", "/", (), b'{"action": "who"}')
    server.expect_log("set dirty_apps, and dirty_workers to 1 or more")
    assert answer.status == 500
