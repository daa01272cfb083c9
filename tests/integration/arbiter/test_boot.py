"""Apps that do not boot: few tries, one reason, one traceback, a status that says so."""

import re
import time
from collections.abc import Callable

import pytest

from integration.arbiter.helpers import SITE, answer
from support.server import Server

Start = Callable[..., Server]

FAILING = "def broken_function():\n    raise ValueError('as intended')\nbroken_function()\n"


def boots(server: Server) -> int:
    return len(re.findall(r"Booting (worker|mold) with pid", server.log))


def test_an_exception_at_import_ends_the_server_with_status_3(
    start: Start, preload: list[str]
) -> None:
    server = start(*preload, site=FAILING, workers=3, wait=False)
    server.expect_exit(3)
    server.allow_log("")
    assert server.wait_exit() == 3
    assert server.log.count("in broken_function") == 1
    assert "Reason: Worker failed to boot." in server.log
    assert boots(server) <= 3


@pytest.mark.parametrize(
    ("module", "status", "line"),
    [
        ("no_such_module:app", 3, "No module named 'no_such_module'"),
        ("site_app:no_such_name", 4, "no_such_name"),
    ],
)
def test_an_app_that_is_not_there_is_told_without_a_traceback(
    start: Start, preload: list[str], module: str, status: int, line: str
) -> None:
    server = start(*preload, app=module, workers=2, wait=False)
    server.expect_exit(status)
    server.expect_log(line)
    server.allow_log("")
    assert server.wait_exit() == status
    assert "Traceback" not in server.log
    assert len(server.records("ERROR", "RAW")) <= 6


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("import os; os._exit(9)", "exit status 9"),
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
        ("import sys; sys.exit(0)", "exit status 0"),
        ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
    ],
)
def test_a_crash_at_import_is_tried_a_few_times(
    start: Start, preload: list[str], how: str, reason: str
) -> None:
    server = start(*preload, site=how + "\n", workers=2, wait=False)
    server.expect_exit(1)
    server.allow_log("")
    began = time.monotonic()
    assert server.wait_exit() == 1
    assert time.monotonic() - began < 10
    assert boots(server) <= 8
    lines = server.log.splitlines()
    assert len(lines) < 100
    reasons = [text for text in lines if "Reason: " in text]
    assert len(reasons) == 1
    assert reason in reasons[0]


def test_one_that_boots_at_the_second_try_is_served(start: Start, preload: list[str]) -> None:
    site = (
        "import os\n"
        "if not os.path.exists('tried'):\n"
        "    open('tried', 'w').close()\n"
        "    os._exit(9)\n"
    ) + SITE
    server = start(*preload, site=site, workers=2, wait=False)
    server.allow_log("exited with code 9|Failure: ")
    server.wait_answer()
    server.wait_workers(2)


def test_a_boot_over_its_timeout_is_explained(start: Start, preload: list[str]) -> None:
    site = "import time\ndef slow_import():\n    time.sleep(60)\nslow_import()\n"
    server = start(*preload, "--boot-timeout", "1", site=site, wait=False)
    server.expect_exit(1)
    server.expect_log(r"within boot_timeout \(1 s\).*slow_import")
    server.allow_log("")
    assert server.wait_exit() == 1


def test_a_boot_may_take_longer_than_timeout(start: Start, preload: list[str]) -> None:
    site = "import time\ntime.sleep(2.5)\n" + SITE
    server = start(*preload, "--timeout", "1", site=site, wait=False)
    server.wait_answer()
    assert answer(server)[0] == "one"


def test_a_worker_class_that_cannot_be_made(start: Start, preload: list[str]) -> None:
    server = start(*preload, worker_class="python_worker.BrokenWorker", wait=False)
    server.expect_exit(1)
    server.expect_log("this class is broken")
    server.allow_log("")
    assert server.wait_exit() == 1
    assert "No worker has ever become ready" in server.log


def test_a_class_that_fails_after_import_is_not_ready_before(start: Start) -> None:
    site = SITE + (
        "\ndef app(environ, start, serve=app):\n"
        "    if environ['PATH_INFO'] == '/start-up':\n"
        "        raise RuntimeError('no start-up')\n"
    )
    server = start(site=site, worker_class="python_worker.LateWorker", wait=False)
    server.expect_exit(1)
    server.expect_log("no start-up")
    server.allow_log("")
    assert server.wait_exit() == 1
    assert "No worker has ever become ready" in server.log


def test_a_long_boot_without_a_limit_is_told_once(start: Start, preload: list[str]) -> None:
    site = "import time\ndef slow_import():\n    time.sleep(2.5)\nslow_import()\n" + SITE
    config = "import monoceros.arbiter.watchdog as _watchdog\n_watchdog.BOOT_WARNING = 0.5\n"
    server = start(*preload, site=site, config=config, wait=False)
    server.expect_log("(booting|importing the app) for .*as long as it wants.*slow_import")
    server.wait_answer()
    assert len(server.records("WARNING")) == 1
