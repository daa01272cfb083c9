"""Server hooks: their order, where they run, what they are given, what happens if they fail."""

import signal
from collections.abc import Callable

import pytest

from integration.arbiter.helpers import answer, kill
from support.server import Concurrent, Server
from support.waiting import wait_for

Start = Callable[..., Server]

MASTER_HOOKS = ("on_starting", "when_ready", "on_reload", "on_exit")
PAIR_HOOKS = ("pre_fork", "post_fork", "child_exit", "worker_exit")
WORKER_HOOKS = ("post_worker_init", "worker_int", "worker_abort")

ALL = "from events import note\n" + "".join(
    [f"def {name}(server):\n    note('{name}', server=server.pid)\n" for name in MASTER_HOOKS]
    + [f"def {name}(server, worker):\n    note('{name}', age=worker.age)\n" for name in PAIR_HOOKS]
    + [f"def {name}(worker):\n    note('{name}', age=worker.age)\n" for name in WORKER_HOOKS]
    + ["def nworkers_changed(server, new, old):\n    note('nworkers_changed', new=new, old=old)\n"]
)


def names(server: Server) -> list[str]:
    ignored = ("imported", "sleeping", "serving")
    return [event["event"] for event in server.events() if event["event"] not in ignored]


def test_the_order_of_one_life(start: Start) -> None:
    """Gunicorn's order for one worker, a reload and an interrupt."""
    server = start(config=ALL)
    begin = ["nworkers_changed", "on_starting", "when_ready", "pre_fork", "post_fork"]
    assert names(server) == [*begin, "post_worker_init"]
    assert [(e["new"], e["old"]) for e in server.events("nworkers_changed")] == [(1, None)]
    server.send_signal(signal.SIGHUP)
    server.wait_event("child_exit")
    so_far = [*begin, "post_worker_init"]
    assert names(server)[6:] == [
        "nworkers_changed",
        "on_reload",
        "pre_fork",
        "post_fork",
        "post_worker_init",
        "worker_exit",
        "child_exit",
    ]
    assert server.events("nworkers_changed")[1]["old"] == 1
    assert server.stop(signal.SIGINT) == 0
    assert names(server)[len(so_far) + 7 :] == [
        "worker_int",
        "worker_exit",
        "child_exit",
        "on_exit",
    ]
    in_master = {"nworkers_changed", *MASTER_HOOKS, "pre_fork", "child_exit"}
    for event in server.events():
        if event["event"] in in_master:
            assert event["pid"] == server.pid, event
        elif event["event"] != "imported":
            assert event["pid"] != server.pid, event


@pytest.mark.parametrize("name", ["on_starting", "when_ready"])
def test_a_hook_without_which_there_is_no_start(start: Start, name: str) -> None:
    server = start(config=f"def {name}(server):\n    raise ValueError('no start')\n", wait=False)
    server.expect_exit(1)
    server.expect_log(f"Exception in {name} hook.*ValueError: no start")
    assert server.wait_exit() == 1


def test_other_failing_hooks_do_not_end_the_master(start: Start) -> None:
    text = "".join(
        f"def {name}({arguments}):\n    raise ValueError('in {name}')\n"
        for name, arguments in {
            "on_reload": "server",
            "child_exit": "server, worker",
            "worker_exit": "server, worker",
            "nworkers_changed": "server, new, old",
            "on_exit": "server",
        }.items()
    )
    server = start(config=text)
    for name in ("on_reload", "child_exit", "nworkers_changed", "on_exit"):
        server.expect_log(f"Exception in {name} hook.*in {name}")
    server.expect_log("Exception in worker_exit hook of worker")
    server.send_signal(signal.SIGHUP)
    server.wait_log("Reload complete")
    answer(server)
    assert server.stop() == 0


def test_a_failing_hook_in_the_worker_is_a_boot_failure(start: Start, preload: list[str]) -> None:
    config = "def post_fork(server, worker):\n    raise ValueError('no fork')\n"
    server = start(*preload, config=config, wait=False)
    server.expect_exit(3)
    server.expect_log("ValueError: no fork")
    server.allow_log("")
    assert server.wait_exit() == 3


def test_what_hooks_read_of_the_server(start: Start, preload: list[str]) -> None:
    config = (
        "from events import note\n"
        "def post_fork(server, worker):\n"
        "    server.log.info('forked %s', worker.pid)\n"
        "    note('seen', pid_of=worker.pid, workers=server.num_workers,\n"
        "         address=[list(a) for a in server.address], proc=server.proc_name,\n"
        "         listeners=[str(l) for l in server.LISTENERS], timeout=server.timeout,\n"
        "         context=sorted(map(str, server.START_CTX)), codes=[server.WORKER_BOOT_ERROR,\n"
        "         server.APP_LOAD_ERROR], class_name=server.worker_class.__name__)\n"
    )
    server = start(*preload, "--timeout", "17", config=config)
    (seen,) = server.events("seen")
    assert isinstance(server.address, tuple)
    assert seen["pid_of"] == seen["pid"]
    assert seen["workers"] == 1
    assert seen["address"] == [list(server.address)]
    assert seen["listeners"] == [server.url("").rstrip("/")]
    assert (seen["timeout"], seen["codes"]) == (17, [3, 4])
    assert seen["context"] == ["0", "args", "cwd"]
    assert seen["class_name"] == "PythonWorker"


def test_a_thread_of_a_hook_may_kill_workers(start: Start, preload: list[str]) -> None:
    """What memory watchers do: a thread made in when_ready goes through server.WORKERS."""
    config = (
        "import os, signal, threading, time\n"
        "def watch(server):\n"
        "    while not os.path.exists('now'):\n"
        "        time.sleep(0.02)\n"
        "    for pid in list(server.WORKERS):\n"
        "        server.kill_worker(pid, signal.SIGTERM)\n"
        "def when_ready(server):\n"
        "    threading.Thread(target=watch, args=(server,), daemon=True).start()\n"
    )
    server = start(*preload, config=config, workers=2)
    before = server.workers()
    (server.directory / "now").touch()
    wait_for(
        lambda: len(server.workers()) == 2 and not set(server.workers()) & set(before),
        10,
        "both to be replaced",
    )


def test_a_hook_may_order_the_stop(start: Start) -> None:
    config = "def child_exit(server, worker):\n    server.halt('the hook wants it', 7)\n"
    server = start(config=config)
    server.expect_exit(7)
    server.allow_log("SIGKILL|Shutting down|Reason: the hook wants it")
    kill(server.workers()[0], signal.SIGKILL)
    assert server.wait_exit() == 7
    assert "Reason: the hook wants it" in server.log


def test_a_bug_in_the_master_still_answers_what_runs(start: Start, preload: list[str]) -> None:
    config = (
        "import os\n"
        "def when_ready(server):\n"
        "    manage = server.manage_workers\n"
        "    def broken():\n"
        "        if os.path.exists('now'):\n"
        "            raise RuntimeError('a bug')\n"
        "        manage()\n"
        "    server.manage_workers = broken\n"
    )
    server = start(*preload, "--pid", "server.pid", config=config, workers=2)
    server.expect_exit(255)
    server.expect_log("Unhandled exception in main loop.*a bug")
    running = Concurrent(server.address, ["/sleep?1.5"])
    server.wait_event("sleeping")
    (server.directory / "now").touch()
    assert server.wait_exit() == 255
    (response,) = running.wait()
    assert getattr(response, "status", response) == 200
    assert not (server.directory / "server.pid").exists()
