"""Apps that die while they are imported: a few tries, then an end with a reason."""

import time

import pytest

from support.serving import Serve

#: The most starts of a worker (or mold) within the first ten seconds.
MOST_BOOTS = 8

#: Lines of log, traces included.
LONGEST_LOG = 100

DYING = {
    "exit": "import os\nos._exit(9)\n",
    "segmentation-fault": "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n",
    "null-pointer": "import ctypes\nctypes.string_at(0)\n",
    "kill": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n",
}

REASONS = {
    "exit": r"\b9\b",
    "segmentation-fault": "SIGSEGV",
    "null-pointer": "SIGSEGV",
    "kill": "SIGKILL",
}


@pytest.mark.parametrize("preload", [False, True], ids=["plain", "preload"])
@pytest.mark.parametrize("way", DYING)
def test_app_that_dies_at_import(serve: Serve, way: str, preload: bool) -> None:
    server = serve(
        "own:app",
        *(["--preload"] if preload else []),
        workers=2,
        files={"own.py": "from events import note\nnote('boot')\n" + DYING[way]},
        wait=False,
    )
    server.expect_log(REASONS[way])
    server.allow_log(r".")
    server.expect_exit(1, 3)
    status = server.wait_exit(30.0)
    assert status != 0
    boots = [event["at"] - server.started_at for event in server.events("boot")]
    assert 1 <= len([at for at in boots if at < 10.0]) <= MOST_BOOTS
    lines = server.log.splitlines()
    assert len(lines) < LONGEST_LOG
    reasons = [record for record in server.records() if "Reason:" in record.text]
    assert len(reasons) == 1, f"reasons: {[each.text for each in reasons]}"


def test_one_crash_does_not_end_a_start(serve: Serve) -> None:
    """An app whose first import dies and whose second works is served."""
    app = """
import os
from pathlib import Path
try:
    Path("tried").touch(exist_ok=False)
except FileExistsError:
    from probes import app
else:
    os._exit(9)
"""
    server = serve("own:app", files={"own.py": app}, wait=False)
    server.expect_log(r"\b9\b")
    assert server.wait_answer().status == 200


def test_worker_that_dies_in_service_is_replaced(serve: Serve) -> None:
    """Another worker serves meanwhile, and the dead one's successor comes at once."""
    app = """
import os
import probes

def app(environ, start_response):
    if environ["PATH_INFO"] == "/die":
        os._exit(9)
    return probes.app(environ, start_response)
"""
    server = serve("own:app", workers=2, files={"own.py": app})
    server.expect_log(r"exited.*\b9\b")
    server.wait_ready()
    with server.connect() as connection, pytest.raises(Exception, match="closed"):
        connection.request("GET", "/die")
    died = time.monotonic()
    for _ in range(10):
        assert server.get(timeout=1.0).status == 200
    server.wait_log("Booting worker", count=3)
    server.wait_workers(2)
    assert time.monotonic() - died < 3.0


@pytest.mark.parametrize("preload", [False, True], ids=["plain", "preload"])
def test_import_error_ends_the_start(serve: Serve, preload: bool) -> None:
    """Status 3, the app's traceback once, without ours around it."""
    server = serve(
        "own:app",
        *(["--preload"] if preload else []),
        workers=2,
        files={"own.py": "def connect():\n    raise OSError('no database')\nconnect()\n"},
        wait=False,
    )
    server.expect_log("OSError: no database")
    server.allow_log("Worker failed to boot|Shutting down|exited")
    server.expect_exit(3)
    assert server.wait_exit(10.0) == 3
    assert server.log.count("Traceback") == 1
    assert "Reason: Worker failed to boot." in server.log
    assert len(server.log.splitlines()) < 40
