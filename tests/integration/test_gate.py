"""The gate behind every test does notice what it is there for."""

import os
import signal
from pathlib import Path

import pytest

from support.load import Load
from support.log import Expectations
from support.serving import Serve
from support.waiting import wait_for

APP = """
import os
import sys
import time
import probes

kept = []

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/print":
        print("past the log", file=sys.stderr, flush=True)
    elif path == "/orphan":
        if os.fork() == 0:
            for number in range(256):
                try:
                    os.close(number)
                except OSError:
                    pass
            time.sleep(30)
            os._exit(0)
    elif path == "/leave-file":
        open(os.path.join(os.environ["TMPDIR"], "left"), "w").close()
    elif path == "/leak":
        kept.append(open("/dev/null"))
    return probes.app({**environ, "PATH_INFO": "/"}, start_response)
"""


def complaint(serve: Serve, target: str) -> str:
    """What the gate says after a request."""
    server = serve("own:app", files={"own.py": APP})
    assert server.get(target).status == 200
    with pytest.raises(AssertionError) as found:
        server.finish()
    return str(found.value)


def test_output_past_the_log(serve: Serve) -> None:
    assert "unexpected log record [RAW] past the log" in complaint(serve, "/print")


def test_surviving_process(serve: Serve) -> None:
    assert "survived" in complaint(serve, "/orphan")


def test_file_left_behind(serve: Serve) -> None:
    assert "left in the temporary directory" in complaint(serve, "/leave-file")


def test_unexpected_error(serve: Serve) -> None:
    server = serve()
    assert server.get("/fail").status == 500
    with pytest.raises(AssertionError, match=r"unexpected log record .*Error handling request"):
        server.finish()


def test_exit_status(serve: Serve) -> None:
    server = serve()
    os.kill(server.pid, signal.SIGKILL)
    with pytest.raises(AssertionError, match="exit status -9"):
        server.finish()


def test_expected_log_that_does_not_come(serve: Serve) -> None:
    server = serve()
    server.expect_log("a thing that never happens")
    with pytest.raises(AssertionError, match="no log record matches 'a thing that never happens'"):
        server.finish()


def test_leaked_descriptor(serve: Serve) -> None:
    server = serve("own:app", files={"own.py": APP})
    with (
        pytest.raises(AssertionError, match="descriptors to be closed"),
        server.assert_no_descriptor_growth(timeout=0.5),
    ):
        server.get("/leak")


def test_load_counts_what_is_lost(serve: Serve) -> None:
    """A server that is killed under load loses requests, and the load says so."""
    server = serve()
    server.expect_exit(-signal.SIGKILL)
    with Load(server.address, clients=2) as load:
        wait_for(lambda: load.answered > 10, 5.0, "some answers")
        os.kill(server.pid, signal.SIGKILL)
        wait_for(lambda: load.faults, 5.0, "a lost request")
    with pytest.raises(AssertionError, match="lost"):
        load.assert_no_loss()


def test_records_and_their_tracebacks() -> None:
    """Lines without a prefix belong to the error before them, and to nothing else."""
    prefix = "[2026-11-23 10:00:00 +0000] [7]"
    text = "\n".join(
        [
            f"{prefix} [INFO] all is well",
            "a line of somebody else",
            f"{prefix} [ERROR] it failed",
            "Traceback (most recent call last):",
            "ValueError: no",
        ]
    )
    expectations = Expectations()
    expectations.declare("it failed.*ValueError: no", required=True)
    assert expectations.complaints(text) == ["unexpected log record [RAW] a line of somebody else"]


def test_temporary_directory_is_the_servers_own(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    assert server.spool.is_relative_to(tmp_path)
