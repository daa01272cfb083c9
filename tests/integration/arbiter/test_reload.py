"""Reload: new code beside the old, old code when the new does not boot, nothing lost."""

import signal
import threading
import time
from collections.abc import Callable

from integration.arbiter.helpers import SITE, Site, answer, wait_version
from support.client import get
from support.ports import free_port, is_free
from support.processes import descriptors
from support.server import Concurrent, Server, listen_on
from support.waiting import holds_for, wait_for

Start = Callable[..., Server]


def test_hup_serves_new_code(start: Start, preload: list[str]) -> None:
    server = start(*preload, workers=2)
    before = server.workers()
    Site(server).version("two")
    server.send_signal(signal.SIGHUP)
    wait_version(server, "two")
    wait_for(lambda: not set(server.workers()) & set(before), 10, "the old workers to end")
    server.wait_workers(2)
    if preload:
        wait_for(lambda: len(server.molds()) == 1, 10, "the old mold to end")


def test_broken_code_costs_nothing_and_mended_code_is_served(
    start: Start, preload: list[str]
) -> None:
    server = start(*preload, workers=2)
    server.allow_log("failed to boot|exited with code 3")
    server.expect_log("Reload failed: The new code does not boot .* stay in force")
    before = server.workers()
    Site(server).write("def broken_function():\n    raise ValueError('x')\nbroken_function()\n")
    server.send_signal(signal.SIGHUP)
    server.wait_log("Reload failed")
    assert server.log.count("in broken_function") == 1, "one traceback"
    wait_for(lambda: server.workers() == before, 10, "the old workers and nobody else")
    assert answer(server)[0] == "one"
    boots = server.log.count("Booting")
    holds_for(lambda: server.log.count("Booting") == boots, 1.5, "no further tries")
    Site(server).version("two")
    server.send_signal(signal.SIGHUP)
    wait_version(server, "two")


def test_code_that_crashes_costs_nothing(start: Start, preload: list[str]) -> None:
    server = start(*preload, workers=2)
    server.allow_log("exited with code 9")
    server.expect_log("Reload failed: .*exit status 9")
    before = server.workers()
    Site(server).write("import os; os._exit(9)\n")
    server.send_signal(signal.SIGHUP)
    server.wait_log("Reload failed")
    wait_for(lambda: server.workers() == before, 10, "the old workers and nobody else")
    assert answer(server)[0] == "one"


def test_old_code_serves_while_new_code_imports(start: Start, preload: list[str]) -> None:
    server = start(*preload)
    Site(server).version("two", "import time\ntime.sleep(4)")
    server.send_signal(signal.SIGHUP)
    server.wait_log("Hang up: Master")
    slowest, versions = 0.0, set()
    deadline = time.monotonic() + 15
    while "two" not in versions and time.monotonic() < deadline:
        began = time.monotonic()
        versions.add(answer(server)[0])
        slowest = max(slowest, time.monotonic() - began)
    assert versions == {"one", "two"}
    assert slowest < 3.0, "nobody waited for the import"


def test_under_load_nothing_is_lost(start: Start, preload: list[str]) -> None:
    server = start(*preload, workers=2)
    failures: list[str] = []
    served = [0]
    ended = threading.Event()

    def load() -> None:
        while not ended.is_set():
            try:
                assert get(server.address, "/", 10).status == 200
                served[0] += 1
            except Exception as error:
                failures.append(repr(error))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(3):
        Site(server).version(f"version{number}")
        server.send_signal(signal.SIGHUP)
        server.wait_log("Reload complete", count=number + 1)
    for scale in (signal.SIGTTIN, signal.SIGTTIN, signal.SIGTTOU, signal.SIGTTOU):
        server.send_signal(scale)
        server.wait_log(f"Handling signal: {scale.name[3:].lower()}")
    ended.set()
    for thread in threads:
        thread.join(20)
    assert failures == []
    assert served[0] > 20


def test_a_broken_configuration_changes_nothing(start: Start, preload: list[str]) -> None:
    server = start(*preload, config="raw_env = ['MARK=one']\n")
    server.expect_log("Reload failed, nothing has changed: .*in broken_config")
    server.expect_log("Reload failed, nothing has changed: .*timeout")
    before = server.workers()
    (server.directory / "conf.py").write_text("def broken_config():\n    1/0\nbroken_config()\n")
    server.send_signal(signal.SIGHUP)
    server.wait_log("Reload failed")
    assert server.workers() == before
    assert answer(server)[0] == "one"
    (server.directory / "conf.py").write_text("timeout = -5\n")
    server.send_signal(signal.SIGHUP)
    server.wait_log("Reload failed", count=2)
    assert server.log.count("Traceback") == 1, "the configuration's own, not ours"
    assert server.workers() == before
    (server.directory / "conf.py").write_text("")
    server.send_signal(signal.SIGHUP)
    server.wait_log("Reload complete")


def test_an_unwritable_log_changes_nothing(start: Start) -> None:
    server = start()
    server.expect_log("Reload failed, nothing has changed: ")
    (server.directory / "conf.py").write_text("errorlog = '/no/such/folder/log'\n")
    server.send_signal(signal.SIGHUP)
    server.wait_log("Reload failed")
    assert answer(server)[0] == "one"


def test_binds_change(start: Start, preload: list[str]) -> None:
    ports = [free_port(), free_port()]
    bind = "bind = ['127.0.0.1:{}', 'unix:both.sock']\n"
    server = start(*preload, config=bind.format(ports[0]), bind="", address=("127.0.0.1", ports[0]))
    server.other_addresses.append(("127.0.0.1", ports[1]))
    path = server.directory / "both.sock"
    inode = path.stat().st_ino
    (server.directory / "conf.py").write_text(bind.format(ports[1]))
    server.send_signal(signal.SIGHUP)
    server.wait_log("Reload complete")
    assert get(("127.0.0.1", ports[1]), "/", 10).status == 200
    assert path.stat().st_ino == inode, "what stays is the same socket"
    assert get(str(path), "/", 10).status == 200
    wait_for(lambda: is_free(ports[0], "127.0.0.1"), 10, "the old port to be let go of")
    (server.directory / "conf.py").write_text(f"bind = '127.0.0.1:{ports[1]}'\n")
    server.send_signal(signal.SIGHUP)
    server.wait_log("Reload complete", count=2)
    wait_for(lambda: not path.exists(), 10, "the socket that is given up to be removed")


def test_a_bind_to_a_taken_port_changes_nothing(start: Start, preload: list[str]) -> None:
    port, taken = free_port(), free_port()
    server = start(
        *preload,
        config=f"bind = '127.0.0.1:{port}'\n",
        bind="",
        address=("127.0.0.1", port),
    )
    server.expect_log(f"Reload failed, nothing has changed: Can't listen on 127.0.0.1:{taken}")
    with listen_on(("127.0.0.1", taken)):
        (server.directory / "conf.py").write_text(f"bind = '127.0.0.1:{taken}'\n")
        server.send_signal(signal.SIGHUP)
        server.wait_log("Reload failed")
    assert answer(server)[0] == "one"


def test_a_new_bind_of_code_that_does_not_boot_is_taken_back(
    start: Start, preload: list[str]
) -> None:
    port, other = free_port(), free_port()
    server = start(
        *preload,
        config=f"bind = '127.0.0.1:{port}'\n",
        bind="",
        address=("127.0.0.1", port),
    )
    server.allow_log("failed to boot|exited with code 3")
    server.expect_log("Reload failed")
    Site(server).write("raise ValueError\n")
    (server.directory / "conf.py").write_text(f"bind = '127.0.0.1:{other}'\nworkers = 3\n")
    server.send_signal(signal.SIGHUP)
    server.wait_log("Reload failed")
    wait_for(lambda: is_free(other, "127.0.0.1"), 10, "the new port to be let go of")
    server.wait_workers(1)
    assert answer(server)[0] == "one"
    assert server.stop() == 0


def test_scaling_survives_a_reload_unless_the_configuration_changes(start: Start) -> None:
    server = start(config="workers = 2\n", workers=2)
    server.send_signal(signal.SIGTTIN)
    server.wait_workers(3)
    server.send_signal(signal.SIGHUP)
    server.wait_log("Reload complete: 3 workers")
    server.wait_workers(3)
    (server.directory / "conf.py").write_text("workers = 1\n")
    # The command line wins over the file: the server was started without --workers there.
    server.send_signal(signal.SIGHUP)
    server.wait_log("Reload complete", count=2)


def test_a_hup_during_a_reload_runs_afterwards(start: Start, preload: list[str]) -> None:
    server = start(*preload)
    Site(server).version("two", "from events import note\nnote('two')\nimport time\ntime.sleep(1)")
    server.send_signal(signal.SIGHUP)
    server.wait_event("two")
    Site(server).version("three")
    server.send_signal(signal.SIGHUP)
    server.wait_log("Reload complete", count=2)
    wait_for(lambda: answer(server)[0] == "three", 10, "the last code")
    server.wait_workers(1)


def test_other_signals_are_heard_during_a_reload(start: Start, preload: list[str]) -> None:
    """Nothing in the master waits for the new workers, or for old ones that drain."""
    server = start(*preload, "--graceful-timeout", "20")
    Concurrent(server.address, ["/sleep?4"])
    server.wait_event("sleeping")
    Site(server).version("two")
    server.send_signal(signal.SIGHUP)
    server.wait_log("Reload complete")
    began = time.monotonic()
    server.send_signal(signal.SIGTTIN)
    wait_for(lambda: len(server.workers()) >= 3, 10, "a further worker")
    assert time.monotonic() - began < 3
    server.allow_log("killed")
    assert server.stop(signal.SIGQUIT) == 0


def test_an_old_worker_that_does_not_drain_is_cut(start: Start, preload: list[str]) -> None:
    server = start(*preload, "--graceful-timeout", "1", worker_class="python_worker.DeafWorker")
    server.expect_log("has not ended within graceful_timeout")
    before = server.workers()
    Site(server).version("two")
    server.send_signal(signal.SIGHUP)
    wait_version(server, "two")
    wait_for(lambda: not set(server.workers()) & set(before), 10, "the old worker to be cut")


def test_a_stop_during_a_reload_ends_both_generations(start: Start, preload: list[str]) -> None:
    server = start(*preload, workers=2)
    Site(server).write(
        "from events import note\nnote('booting')\nimport time\ntime.sleep(60)\n" + SITE
    )
    server.send_signal(signal.SIGHUP)
    server.wait_event("booting")
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 5


def test_raw_env_of_the_new_configuration(start: Start) -> None:
    site = SITE.replace('VERSION = "one"', 'VERSION = os.environ.get("MARK", "none")')
    server = start(site=site, config="raw_env = ['MARK=first']\n")
    assert answer(server)[0] == "first"
    (server.directory / "conf.py").write_text("raw_env = ['MARK=second']\n")
    server.send_signal(signal.SIGHUP)
    wait_version(server, "second")
    (server.directory / "conf.py").write_text("raw_env = []\n")
    server.send_signal(signal.SIGHUP)
    server.wait_log("Reload complete", count=2)
    wait_for(lambda: answer(server)[0] == "none", 10, "the variable to be gone")


def test_the_master_keeps_nothing_of_former_generations(start: Start, preload: list[str]) -> None:
    server = start(*preload, workers=2)
    server.send_signal(signal.SIGHUP)
    server.wait_log("Reload complete")

    def settled() -> dict[str, str]:
        """The master's descriptors when only one generation is there."""
        wait_for(lambda: len(server.family()) == 3 + len(preload), 10, "the old ones to end")
        holds_for(lambda: True, 0.1, "the master to turn once more")
        return descriptors(server.pid)

    before = settled()
    for count in range(2, 6):
        server.send_signal(signal.SIGHUP)
        server.wait_log("Reload complete", count=count)
    after = settled()
    assert len(after) == len(before), (before, after)


def test_a_reload_that_hangs_gives_way_to_the_next(start: Start, preload: list[str]) -> None:
    config = "import monoceros.arbiter.reload as _reload\n_reload.STUCK_AFTER = 1.0\n"
    server = start(*preload, config=config, workers=2)
    server.expect_log("Reload failed: Nothing of it has become ready")
    before = server.workers()
    Site(server).write("from events import note\nnote('hanging')\nimport time\ntime.sleep(60)\n")
    server.send_signal(signal.SIGHUP)
    # All of them hang: one that had not begun would import the mended code.
    server.wait_event("hanging", count=1 if preload else 2)
    Site(server).version("two")
    server.send_signal(signal.SIGHUP)
    wait_version(server, "two")
    server.wait_workers(2)
    assert not set(before) & set(server.workers())


def test_new_code_that_fails_now_and_then_gives_way_to_the_next(start: Start) -> None:
    """One of the new workers is ready, so there is no way back; the others do not boot."""
    server = start(workers=2)
    server.allow_log("exited with code 9|Failure|The reload is not complete")
    flaky = "import os\ntry:\n    os.mkdir('first')\nexcept FileExistsError:\n    os._exit(9)\n"
    Site(server).version("flaky", flaky)
    server.send_signal(signal.SIGHUP)
    server.wait_log("Failure")
    server.wait_workers(2)
    Site(server).version("two")
    server.send_signal(signal.SIGHUP)
    server.wait_log("Reload complete")
    wait_for(lambda: answer(server)[0] == "two", 10, "the last code")
    server.wait_workers(2)


def test_with_every_place_taken_a_reload_still_works(start: Start, preload: list[str]) -> None:
    config = (
        "import monoceros.arbiter.arbiter as _arbiter\n"
        "_arbiter.LEAST_SLOTS = 3\n_arbiter.SLOTS_PER_WORKER = 1\n_arbiter.SPARE_SLOTS = 2\n"
        "_arbiter.REPLACEMENT_SLOTS = 1\n"
    )
    server = start(*preload, config=config)
    server.expect_log("3 workers are wanted, there are places for 2")
    server.allow_log("All 3 places for workers are taken; further ones wait")
    for _ in range(2):
        count = server.log.count("Handling signal: ttin")
        server.send_signal(signal.SIGTTIN)
        server.wait_log("Handling signal: ttin", count=count + 1)
    server.wait_workers(2)
    Site(server).version("two")
    server.send_signal(signal.SIGHUP)
    wait_version(server, "two", timeout=20)
    server.wait_workers(2)
