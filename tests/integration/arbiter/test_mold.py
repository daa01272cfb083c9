"""Preload: one import for all workers, in a process that does nothing else."""

import signal
from collections.abc import Callable

import psutil

from integration.arbiter.helpers import SITE, answer, kill
from support.server import Server
from support.waiting import wait_for

Start = Callable[..., Server]


def test_the_app_is_imported_once_and_not_by_the_master(start: Start) -> None:
    server = start("--preload", workers=3)
    (event,) = server.events("imported")
    assert [event["pid"]] == server.molds()
    assert server.pid != event["pid"]


def test_without_preload_every_worker_imports(start: Start) -> None:
    server = start(workers=3)
    events = server.wait_event("imported", count=3)
    assert sorted(e["pid"] for e in events) == server.workers()


def test_the_master_is_the_parent_of_all(start: Start) -> None:
    server = start("--preload", workers=2)
    for pid in [*server.workers(), *server.molds()]:
        assert psutil.Process(pid).ppid() == server.pid
    for pid in [server.pid, *server.molds()]:
        assert psutil.Process(pid).num_threads() == 1


def test_a_mold_that_dies_costs_no_worker_and_comes_back_when_needed(start: Start) -> None:
    server = start("--preload", workers=2)
    server.expect_log("Mold .* was sent SIGKILL")
    server.allow_log("Worker .* was sent SIGKILL|Failure")
    workers, (mold,) = server.workers(), server.molds()
    kill(mold, signal.SIGKILL)
    server.wait_log("Mold (pid:")
    assert server.workers() == workers
    answer(server)
    kill(workers[0], signal.SIGKILL)
    wait_for(lambda: len(server.workers()) == 2 and server.molds(), 10, "a worker by a new mold")
    assert server.molds() != [mold]


def test_threads_of_the_app_are_named(start: Start) -> None:
    site = SITE + (
        "\nthreading.Thread(target=time.sleep, args=(60,), name='poller', daemon=True).start()\n"
    )
    server = start("--preload", site=site, workers=2)
    server.expect_log("has started 1 thread at import under preload: poller")
    assert len(server.records("WARNING")) == 1


def test_a_lock_held_by_a_thread_of_the_mold_does_not_stop_reloads(start: Start) -> None:
    """The master itself has no threads: whatever the app does in the mold, HUP works."""
    site = SITE + (
        "\nlock = threading.Lock()\n"
        "def hold():\n    with lock:\n        time.sleep(60)\n"
        "threading.Thread(target=hold, daemon=True).start()\n"
    )
    server = start("--preload", site=site)
    server.expect_log("at import under preload")
    for count in range(1, 4):
        server.send_signal(signal.SIGHUP)
        server.wait_log("Reload complete", count=count)
    answer(server)


def test_pre_fork_runs_in_the_mold_and_hooks_see_the_workers(start: Start) -> None:
    config = (
        "from events import note\n"
        "def pre_fork(server, worker):\n    note('pre_fork', age=worker.age, its=worker.pid)\n"
        "def post_fork(server, worker):\n    note('post_fork', age=worker.age, its=worker.pid)\n"
        "def child_exit(server, worker):\n    note('child_exit', age=worker.age, its=worker.pid)\n"
    )
    server = start("--preload", config=config)
    (pid,), (mold,) = server.workers(), server.molds()
    (before,), (after,) = server.events("pre_fork"), server.events("post_fork")
    assert (before["pid"], before["its"], before["age"]) == (mold, "[booting]", 1)
    assert (after["pid"], after["its"], after["age"]) == (pid, pid, 1)
    assert server.stop() == 0
    (ended,) = server.events("child_exit")
    assert (ended["pid"], ended["its"], ended["age"]) == (server.pid, pid, 1)


def test_a_failing_pre_fork_ends_a_start_and_fails_a_reload(start: Start) -> None:
    failing = "def pre_fork(server, worker):\n    raise ValueError('no')\n"
    server = start("--preload", config=failing, wait=False)
    server.expect_exit(1)
    server.expect_log("could not make a worker.*ValueError: no")
    server.allow_log("Failure|Reason: No worker|Shutting down|could not make a worker")
    assert server.wait_exit() == 1
    assert server.log.count("Traceback") == 1
    second = start("--preload")
    second.expect_log("could not make a worker")
    second.expect_log("Reload failed")
    before = second.workers()
    (second.directory / "conf.py").write_text(failing)
    second.send_signal(signal.SIGHUP)
    second.wait_log("Reload failed")
    assert second.workers() == before


def test_preload_can_be_switched_by_a_reload(start: Start) -> None:
    server = start(config="preload_app = False\n", workers=2)
    (server.directory / "conf.py").write_text("preload_app = True\n")
    server.send_signal(signal.SIGHUP)
    server.wait_log("Reload complete")
    assert len(server.molds()) == 1
    (server.directory / "conf.py").write_text("preload_app = False\n")
    server.send_signal(signal.SIGHUP)
    server.wait_log("Reload complete", count=2)
    wait_for(lambda: not server.molds(), 10, "the mold to end")
    answer(server)
