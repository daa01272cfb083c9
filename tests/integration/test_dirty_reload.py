"""HUP and dirty apps: new code, new configuration, failures, and what stays meanwhile."""

import signal
import threading
from typing import Any

import psutil

from monoceros.dirty import DirtyClient, StashClient
from support.dirty import DirtyServer
from support.serving import Serve
from support.waiting import wait_for

APP = "own:App"
OWN = """
import os, time
from events import note
from monoceros.dirty import DirtyApp

class App(DirtyApp):
    def version(self):
        return VERSION

    def who(self):
        return os.getpid()

    def sleep(self, seconds):
        note("sleeping")
        time.sleep(seconds)
        return VERSION

    def close(self):
        note("close", version=VERSION)
"""


def own(version: str, more: str = "") -> str:
    return f"VERSION = {version!r}\n{OWN}{more}"


def write(dirty: DirtyServer, name: str, text: str) -> None:
    (dirty.server.directory / name).write_text(text)


def wait_version(dirty: DirtyServer, version: str) -> None:
    wait_for(lambda: dirty.call("version", app=APP) == version, 30, f"version {version}")


def test_new_code_takes_the_place_of_the_old(serve: Serve) -> None:
    dirty = DirtyServer(serve, apps=(APP,), dirty_workers=2, files={"own.py": own("old")})
    assert dirty.call("version", app=APP) == "old"
    arbiter, before = dirty.arbiter, dirty.of_role("dirty-worker")
    stash = StashClient(dirty.path)
    stash.put("t", "key", "kept")
    results: list[Any] = []
    slow = DirtyClient(dirty.path, timeout=60)
    calling = threading.Thread(target=lambda: results.append(slow.execute(APP, "sleep", 1)))
    calling.start()
    dirty.wait_event("sleeping")
    most: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            most.append(len(dirty.of_role("dirty-worker")))
            done.wait(0.01)

    watching = threading.Thread(target=watch)
    watching.start()
    write(dirty, "own.py", own("new"))
    dirty.server.send_signal(signal.SIGHUP)
    wait_version(dirty, "new")
    # Calls that were there finish, with the code that they were begun with.
    calling.join(60)
    assert results == ["old"]
    dirty.server.wait_log("Reload of dirty apps complete: 2 dirty workers of generation 2", 30)
    done.set()
    watching.join(60)
    dirty.wait_dirty_workers(2, without=tuple(before))
    assert max(most) <= 3
    assert {dirty.call("version", app=APP) for _ in range(6)} == {"new"}
    # The dirty arbiter is the same, and so is what it keeps.
    assert dirty.arbiter == arbiter
    assert stash.get("t", "key") == "kept"
    stash.close()
    assert [event["version"] for event in dirty.server.events("close")] == ["old", "old"]


def test_code_that_does_not_boot_changes_nothing(serve: Serve) -> None:
    dirty = DirtyServer(serve, apps=(APP,), dirty_workers=2, files={"own.py": own("old")})
    dirty.server.expect_log(r"Dirty worker \(pid:\d+\) failed to boot.*no model")
    dirty.server.expect_log(r"Dirty worker \(pid:\d+\) exited with code 3")
    dirty.server.expect_log(
        r"Reload of dirty apps failed: the new code does not boot \(dirty worker .*exit status 3 "
        r"before it was ready\). The former workers keep serving"
    )
    before = dirty.of_role("dirty-worker")
    broken = "    def init(self):\n        raise RuntimeError('no model')\n"
    write(dirty, "own.py", own("broken", broken))
    dirty.server.send_signal(signal.SIGHUP)
    dirty.server.wait_log("The former workers keep serving", 30)
    assert dirty.call("version", app=APP) == "old"
    assert dirty.wait_dirty_workers(2) == before
    # One failed boot, not one per worker.
    assert dirty.server.log.count("failed to boot") == 1
    write(dirty, "own.py", own("mended"))
    dirty.server.send_signal(signal.SIGHUP)
    wait_version(dirty, "mended")
    dirty.wait_dirty_workers(2, without=tuple(before))


def test_a_reload_that_fails_in_the_web_app_leaves_dirty_apps_alone(serve: Serve) -> None:
    dirty = DirtyServer(serve, apps=(APP,), files={"own.py": own("old")})
    dirty.server.expect_log("Reload failed, nothing has changed: .*absent")
    before = dirty.of_role("dirty-worker")
    write(dirty, "own.py", own("new"))
    write(dirty, "conf.py", dirty.config + "worker_class = 'absent.Worker'\n")
    dirty.server.send_signal(signal.SIGHUP)
    dirty.server.wait_log("Reload failed", 30)
    assert dirty.call("version", app=APP) == "old"
    assert dirty.of_role("dirty-worker") == before


def test_a_new_configuration(serve: Serve) -> None:
    dirty = DirtyServer(serve, apps=(APP,), files={"own.py": own("old")})
    before = dirty.of_role("dirty-worker")
    config = dirty.config.replace("dirty_workers = 1", "dirty_workers = 3")
    write(dirty, "conf.py", config.replace("['own:App']", "['own:App', 'heavy:Single:1']"))
    dirty.server.send_signal(signal.SIGHUP)
    dirty.wait_dirty_workers(3, without=tuple(before))
    assert dirty.call("who", app="heavy:Single") in dirty.of_role("dirty-worker")
    # Fewer, and another app.
    before = dirty.wait_ready(3)
    write(dirty, "conf.py", dirty.config)
    dirty.server.send_signal(signal.SIGHUP)
    dirty.wait_dirty_workers(1, without=tuple(before))
    assert dirty.order({"app": "heavy:Single", "action": "who"})["error"] == (
        "DirtyNoWorkersAvailableError"
    )


def test_dirty_apps_come_and_go(serve: Serve) -> None:
    dirty = DirtyServer(serve, apps=(APP,), files={"own.py": own("old")})
    write(dirty, "conf.py", "dirty_apps = ['own:App']\n")
    arbiter = dirty.arbiter
    dirty.server.send_signal(signal.SIGHUP)
    wait_for(lambda: not psutil.pid_exists(arbiter), 30, "the dirty arbiter to be gone")
    dirty.server.get()
    write(dirty, "conf.py", dirty.config)
    dirty.server.send_signal(signal.SIGHUP)
    dirty.wait_dirty_workers(1)
    assert dirty.order({"app": APP, "action": "version"}) == {"result": "old"}


def test_dirty_apps_are_added_to_a_server_that_had_none(serve: Serve) -> None:
    server = serve("heavy:app", config="", files={"own.py": own("new")})
    (server.directory / "conf.py").write_text("dirty_apps = ['own:App']\ndirty_workers = 1\n")
    before = server.workers()
    server.send_signal(signal.SIGHUP)
    wait_for(lambda: not set(before) & set(server.workers()), 30, "new web workers")
    body = b'{"app": "own:App", "action": "version"}'
    assert server.exchange("POST", "/", (), body).body == b'{"result": "new"}'
