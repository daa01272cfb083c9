"""The texts that alerts and scripts look for in Gunicorn's error log stand in ours.

Our name stands where Gunicorn's own did, and nothing else is different.
"""

import os
import re
import signal

from support.serving import Serve
from support.waiting import wait_for

#: Nothing here is measured: a bound that a busy machine keeps.
BOUND = 30.0

#: How every line begins.
PREFIX = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] \[\d+\] \[(INFO|WARNING|ERROR|CRITICAL)\] "


def test_a_life_in_the_log(serve: Serve) -> None:
    """Start, reload, recycling, a bad request, a failure, a kill, and the end."""
    server = serve("probes:app", "--max-requests", "50", probe=None)
    server.expect_log("Error handling request /fail")
    server.expect_log("Invalid request from ip=127.0.0.1: ")
    server.expect_log(r"was sent SIGKILL! Perhaps out of memory\?")
    server.send_signal(signal.SIGHUP)
    server.wait_log("Worker exiting (pid: ")
    server.wait_ready(timeout=BOUND)
    assert server.get("/fail").status == 500
    with server.connect() as connection:
        connection.send(b"GET / HTTP/1.1\r\n\r\n")
        assert connection.read_response().status == 400

    def recycled() -> bool:
        assert server.get("/pid").status == 200
        return "Autorestarting worker after current request." in server.log

    wait_for(recycled, BOUND, "the worker to be recycled")
    server.wait_log("Worker exiting (pid: ", timeout=BOUND, count=2)
    [worker] = server.wait_ready(timeout=BOUND)
    os.kill(worker, signal.SIGKILL)
    server.wait_log(f"(pid:{worker}) was sent SIGKILL! Perhaps out of memory?", BOUND)
    wait_for(lambda: server.workers() not in ([], [worker]), BOUND, "another worker")
    server.wait_ready(timeout=BOUND)
    server.stop()
    for text in (
        "Starting monoceros ",
        f"Listening at: http://127.0.0.1:{server.address[1]} ({server.pid})",
        "Using worker: sync",
        f"Booting worker with pid: {worker}",
        "Handling signal: hup",
        "Hang up: Master",
        "Autorestarting worker after current request.",
        "Worker exiting (pid: ",
        "Error handling request /fail",
        "Invalid request from ip=127.0.0.1: ",
        f"Worker (pid:{worker}) was sent SIGKILL! Perhaps out of memory?",
        "Handling signal: term",
        "Shutting down: Master",
    ):
        assert re.search(f"^{PREFIX}{re.escape(text)}", server.log, re.MULTILINE), text


def test_a_stuck_worker(serve: Serve) -> None:
    server = serve("stuck:app", "--timeout", "1", probe=None)
    server.expect_log(r"WORKER TIMEOUT \(pid:\d+\)")
    server.allow_log(".")
    assert server.get("/stuck/sleep", timeout=BOUND).status == 504
    server.wait_log("WORKER TIMEOUT (pid:", BOUND)
    assert re.search(rf"^{PREFIX}WORKER TIMEOUT \(pid:\d+\)", server.log, re.MULTILINE)


def test_a_worker_that_does_not_boot(serve: Serve) -> None:
    server = serve("broken:app", files={"broken.py": "raise RuntimeError('broken')"}, wait=False)
    server.expect_exit(3)
    server.allow_log(".")
    assert server.wait_exit(BOUND) == 3
    for text in ("Shutting down: Master", "Reason: Worker failed to boot."):
        assert re.search(f"^{PREFIX}{re.escape(text)}", server.log, re.MULTILINE), text
    assert "broken" in server.log


def test_an_app_that_is_not_there(serve: Serve) -> None:
    server = serve("probes:nothing", wait=False)
    server.expect_exit(4)
    server.allow_log(".")
    assert server.wait_exit(BOUND) == 4
    assert "Reason: App failed to load." in server.log
