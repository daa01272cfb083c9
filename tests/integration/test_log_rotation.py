"""Log files that are rotated under load: every line is there, once and whole."""

import re
import signal
from pathlib import Path

import pytest

from support.load import Load
from support.serving import Serve
from support.waiting import wait_for

#: Nothing here is measured: a bound that a busy machine keeps.
BOUND = 30.0

ROTATIONS = 3

LINE = re.compile(
    r"127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "
    r'"GET / HTTP/1\.1" 200 13 "-" "-"'
)

PLAIN = "accesslog = 'access.log'\n"

OWN_LOGGER = """
accesslog = "access.log"
from monoceros.logging import Logger

class logger_class(Logger):
    def access(self, resp, req, environ, request_time):
        super().access(resp, req, environ, request_time)
"""

LOG_CONFIG = """
logconfig_dict = {{
    "root": {{"level": "INFO", "handlers": []}},
    "formatters": {{"bare": {{"format": "%(message)s"}}}},
    "handlers": {{
        "file": {{"class": "{}", "filename": "access.log", "formatter": "bare", "mode": "{}"}},
    }},
    "loggers": {{"gunicorn.access": {{"level": "INFO", "handlers": ["file"], "propagate": False}}}},
}}
"""

CONFIGURATIONS = {
    "engine": PLAIN,
    "threads": PLAIN + "threads = 2\n",
    "preload": PLAIN + "preload_app = True\n",
    "python": OWN_LOGGER,
    "python-threads": OWN_LOGGER + "threads = 2\n",
    "logconfig": LOG_CONFIG.format("logging.FileHandler", "a"),
    "watched": LOG_CONFIG.format("logging.handlers.WatchedFileHandler", "a"),
}


def rotated(path: Path) -> list[str]:
    """The lines of a log, the oldest first; the last one must have its end."""
    files = [path.with_suffix(f".{number}") for number in range(ROTATIONS)] + [path]
    text = "".join(each.read_text() for each in files if each.exists())
    lines = text.split("\n")
    assert lines.pop() == ""
    return lines


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_no_line_is_lost_or_torn(serve: Serve, name: str) -> None:
    """As many whole lines as answers, over several rotations, two workers and a graceful stop."""
    server = serve("probes:app", config=CONFIGURATIONS[name], workers=2, probe=None)
    path = server.directory / "access.log"
    with Load(server.address, clients=4, pause=0.002) as load:
        for number in range(ROTATIONS):
            before = load.answered
            wait_for(lambda least=before + 40: load.answered >= least, BOUND, "40 answers")
            path.rename(path.with_suffix(f".{number}"))
            server.send_signal(signal.SIGUSR1)
            wait_for(lambda: path.exists() and path.stat().st_size > 0, BOUND, "the new file")
    load.assert_no_loss()
    server.stop()
    lines = rotated(path)
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    assert len(lines) == load.answered


def test_every_process_leaves_the_old_file(serve: Serve) -> None:
    """Master and workers, the error log too: what has been rotated away grows no more."""
    server = serve(
        "probes:app", "--access-logfile", "access.log", "--log-file", "error.log", workers=2
    )
    server.error_log = error = server.directory / "error.log"
    access = server.directory / "access.log"
    names = {str(access), str(error)}

    def open_files() -> set[str]:
        pids = [server.pid, *server.workers()]
        links = [link for pid in pids for link in Path(f"/proc/{pid}/fd").iterdir()]
        return {str(link.readlink()) for link in links if link.exists() or link.is_symlink()}

    assert names <= open_files()
    for path in (access, error):
        path.rename(path.with_suffix(".0"))
    server.send_signal(signal.SIGUSR1)
    old = {str(path.with_suffix(".0")) for path in (access, error)}
    wait_for(lambda: not old & open_files(), BOUND, "nobody to have the old files open")
    assert names <= open_files()
    server.stop()
    assert "Shutting down: Master" in error.read_text()


PRINTING = """
import os

def app(environ, start_response):
    print("printed with", environ["PATH_INFO"])
    os.write(2, b"written to descriptor 2\\n")
    start_response("200 OK", [("Content-Length", "13")])
    return [b"hello, world\\n"]
"""


def test_captured_output_follows_the_rotation(serve: Serve) -> None:
    """`capture_output`: what the app prints is in the files, a whole line each time."""
    server = serve(
        "printing:app",
        "--capture-output",
        "--log-file",
        "error.log",
        files={"printing.py": PRINTING},
        workers=2,
        probe=None,
    )
    server.error_log = path = server.directory / "error.log"
    server.allow_log("printed with|written to")
    with Load(server.address, clients=2, pause=0.002) as load:
        for number in range(ROTATIONS):
            before = load.answered
            wait_for(lambda least=before + 20: load.answered >= least, BOUND, "20 answers")
            path.rename(path.with_suffix(f".{number}"))
            server.send_signal(signal.SIGUSR1)
            wait_for(lambda: path.exists() and path.stat().st_size > 0, BOUND, "the new file")
    load.assert_no_loss()
    server.stop()
    lines = rotated(path)
    assert lines.count("printed with /") == load.answered
    assert lines.count("written to descriptor 2") == load.answered
    others = [line for line in lines if not line.startswith(("printed with ", "written to "))]
    assert all(re.match(r"\[\d{4}-\d\d-\d\d .*\] \[\d+\] \[INFO\] ", line) for line in others)


@pytest.mark.parametrize("name", ["engine", "threads", "python"])
def test_nothing_is_lost_when_the_server_stops_under_load(serve: Serve, name: str) -> None:
    """Every answer that a client has had until the end has its line."""
    server = serve("probes:app", config=CONFIGURATIONS[name], workers=2, probe=None)
    with Load(server.address, clients=4, pause=0.0) as load:
        wait_for(lambda: load.answered >= 100, BOUND, "100 answers")
        server.send_signal(signal.SIGTERM)
        assert server.wait_exit() == 0
    lines = (server.directory / "access.log").read_text().splitlines()
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    assert len(lines) == load.answered


@pytest.mark.parametrize("name", ["engine", "python"])
def test_a_log_that_takes_no_lines_is_said_once(serve: Serve, name: str) -> None:
    """A full disk under the access log: every request is answered, and one line says it."""
    config = CONFIGURATIONS[name].replace("access.log", "/dev/full")
    server = serve("probes:app", config=config, probe=None)
    server.allow_log("access log lines are lost: |monoceros: log /dev/full")
    for _ in range(30):
        assert server.get("/pid").status == 200
    server.stop()
    told = "access log lines are lost: " if name == "engine" else "log /dev/full cannot be written"
    assert server.stderr.count(told) == 1
