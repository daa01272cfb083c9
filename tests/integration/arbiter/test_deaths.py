"""Workers that die, masters that die: who is replaced when, and what is said of it."""

import contextlib
import os
import signal
import time
from collections.abc import Callable

import pytest

from integration.arbiter.helpers import SITE, Site, answer, kill, wait_gone
from support.client import Closed, Truncated
from support.server import Concurrent, Server
from support.waiting import wait_for

Start = Callable[..., Server]


@pytest.mark.parametrize(
    ("how", "line"),
    [
        (signal.SIGKILL, r"Worker \(pid:{pid}\) was sent SIGKILL! "),
        ("/exit?5", r"Worker \(pid:{pid}\) exited with code 5"),
        ("/crash", r"Worker \(pid:{pid}\) was sent SIGSEGV!"),
    ],
)
def test_a_worker_that_dies_is_replaced_at_once_and_told(
    start: Start, preload: list[str], how: signal.Signals | str, line: str
) -> None:
    server = start(*preload, "--respawn-backoff", "20")
    (pid,) = server.workers()
    server.expect_log(line.format(pid=pid))
    server.allow_log("crashed")
    if isinstance(how, str):
        with contextlib.suppress(Closed, Truncated, ConnectionError):
            server.get(how)
    else:
        kill(pid, how)
    began = time.monotonic()
    wait_for(lambda: server.workers() not in ([], [pid]), 5, "the replacement")
    assert time.monotonic() - began < 5
    assert answer(server)[1] != pid
    if how == "/crash":
        server.wait_log("crashed:")
        assert "in string_at" in server.log


def test_term_to_a_worker_replaces_it_quietly(start: Start, preload: list[str]) -> None:
    server = start(*preload)
    (pid,) = server.workers()
    kill(pid, signal.SIGTERM)
    wait_for(lambda: server.workers() not in ([], [pid]), 10, "the replacement")
    server.wait_answer()


def test_all_killed_at_once_are_all_replaced_at_once(start: Start, preload: list[str]) -> None:
    server = start(*preload, "--respawn-backoff", "20", workers=4)
    server.expect_log("was sent SIGKILL!")
    before = server.workers()
    for pid in before:
        kill(pid, signal.SIGKILL)
    wait_for(
        lambda: len(server.workers()) == 4 and not set(server.workers()) & set(before),
        10,
        "four new workers",
    )
    answer(server)


def test_a_later_boot_failure_does_not_stop_the_server(start: Start, preload: list[str]) -> None:
    server = start(*preload, workers=2)
    server.allow_log("SIGKILL|exited with code 3|failed to boot|Failure|keep failing")
    first, second = server.workers()
    Site(server).write("raise ValueError('later')\n")
    kill(first, signal.SIGKILL)
    if preload:
        # The mold still has the old code: workers come from it as if nothing had happened.
        wait_for(lambda: len(server.workers()) == 2, 10, "the replacement")
        return
    server.wait_log("Failure number 2 in a row")
    assert answer(server)[1] == second
    assert server.log.count("ValueError: later") >= 1
    assert server.log.count("Traceback") <= 1
    Site(server).version("two")
    server.send_signal(signal.SIGHUP)
    server.wait_log("Reload complete")
    server.wait_workers(2)


def test_crashes_after_ready_are_backed_off(start: Start, preload: list[str]) -> None:
    """A worker that dies a moment after it is ready, again and again."""
    site = SITE + (
        "\nimport threading\n"
        "def die():\n    time.sleep(0.05)\n    os._exit(7)\n"
        "def app(environ, start_response, inner=app):\n    return inner(environ, start_response)\n"
    )
    config = (
        "def post_worker_init(worker):\n"
        "    import site_app, threading\n"
        "    if worker.age > 1:\n"
        "        threading.Thread(target=site_app.die, daemon=True).start()\n"
    )
    server = start(*preload, site=site, config=config)
    server.allow_log("SIGKILL|exited with code 7|Failure")
    kill(server.workers()[0], signal.SIGKILL)
    server.wait_log("Failure number 4 in a row")
    boots = server.log.count("Booting worker with pid")
    assert boots <= 7, "one, its replacement, and one for each failure"


def test_sigkill_of_the_master_ends_everybody(start: Start, preload: list[str]) -> None:
    server = start(*preload, workers=3)
    Concurrent(server.address, ["/sleep?30"])
    server.wait_event("sleeping")
    server.expect_exit(-9)
    began = time.monotonic()
    server.send_signal(signal.SIGKILL)
    server.wait_exit()
    wait_gone(server)
    assert time.monotonic() - began < 2


def test_sigkill_of_the_master_while_everybody_boots(start: Start, preload: list[str]) -> None:
    site = "from events import note\nnote('booting')\nimport time\ntime.sleep(60)\n"
    server = start(*preload, site=site, wait=False)
    server.wait_event("booting")
    server.expect_exit(-9)
    server.send_signal(signal.SIGKILL)
    server.wait_exit()
    wait_gone(server)


def test_strangers_are_reaped_in_silence(start: Start) -> None:
    """An orphan of the app's becomes the master's child under preload."""
    site = SITE + (
        "\ndef orphan():\n"
        "    if os.fork() == 0:\n"
        "        pid = os.fork()\n"
        "        if pid:\n            note('orphan', orphan=pid)\n            os._exit(0)\n"
        "        time.sleep(0.3)\n        os._exit(42)\n"
        "    os.wait()\n"
        "def app(environ, start, inner=app):\n"
        "    if environ['PATH_INFO'] == '/orphan':\n        orphan()\n"
        "    return inner(environ, start)\n"
    )
    server = start("--preload", site=site)
    server.get("/orphan")
    (event,) = server.wait_event("orphan")

    def gone() -> bool:
        try:
            os.kill(event["orphan"], 0)
        except ProcessLookupError:
            return True
        return False

    wait_for(gone, 10, "the orphan to be reaped")
    assert "42" not in "".join(record.text for record in server.records("ERROR", "WARNING"))
