"""Access log lines and log files of a running server."""

import base64
import json
import re
import signal
from pathlib import Path

import pytest

from support.client import format_request
from support.load import Load
from support.server import Server
from support.serving import Serve
from support.waiting import wait_for

TIME = r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]"


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def wait_lines(path: Path, count: int) -> list[str]:
    wait_for(lambda: len(lines(path)) >= count, 5.0, f"{count} lines in {path.name}")
    found = lines(path)
    assert len(found) == count, found
    return found


def start(serve: Serve, *options: str) -> tuple[Server, Path]:
    server = serve("probes:app", "--access-logfile", "access.log", *options, probe=None)
    return server, server.directory / "access.log"


@pytest.mark.parametrize("options", [[], ["--threads", "2"]], ids=["sync", "threads"])
def test_default_format(serve: Serve, options: list[str]) -> None:
    """Combined log format, one line a request, in the order of the answers."""
    server, path = start(serve, *options)
    user = base64.b64encode(b"joe:secret").decode()
    fields = [("Authorization", f"Basic {user}"), ("Referer", "r"), ("User-Agent", 'u"a')]
    with server.connect() as connection:
        connection.request("GET", "/?x=%20y", fields)
        connection.request("POST", "/echo", body=b"12345")
        connection.request("HEAD", "/")
        connection.request("GET", "/nowhere")
        connection.request("GET", "/stream?pieces=3&size=10")
        connection.request("GET", "/", version="HTTP/1.0")
    found = wait_lines(path, 6)
    expected = [
        rf'127\.0\.0\.1 - joe {TIME} "GET /\?x=%20y HTTP/1\.1" 200 13 "r" "u\\"a"',
        rf'127\.0\.0\.1 - - {TIME} "POST /echo HTTP/1\.1" 200 5 "-" "-"',
        rf'127\.0\.0\.1 - - {TIME} "HEAD / HTTP/1\.1" 200 (0|-) "-" "-"',
        rf'127\.0\.0\.1 - - {TIME} "GET /nowhere HTTP/1\.1" 404 10 "-" "-"',
        rf'127\.0\.0\.1 - - {TIME} "GET /stream\?pieces=3&size=10 HTTP/1\.1" 200 30 "-" "-"',
        rf'127\.0\.0\.1 - - {TIME} "GET / HTTP/1\.0" 200 13 "-" "-"',
    ]
    for line, pattern in zip(found, expected, strict=True):
        assert re.fullmatch(pattern, line), line


def test_atoms(serve: Serve) -> None:
    """Every atom of the format, with request and response fields and environ keys."""
    form = (
        "%(h)s|%(m)s|%(U)s|%(q)s|%(H)s|%(s)s|%(B)s|%(b)s|%(p)s|%(M)s|%(D)s|%(L)s|%(T)s"
        "|%({x-tag}i)s|%({content-length}o)s|%({request_method}e)s|%({none}i)s"
    )
    server, path = start(serve, "--access-logformat", form)
    server.exchange("GET", "/sleep?seconds=0.05", [("X-Tag", "tagged")])
    [line] = wait_lines(path, 1)
    parts = line.split("|")
    expected = ["127.0.0.1", "GET", "/sleep", "seconds=0.05", "HTTP/1.1", "200", "6", "6"]
    assert parts[:8] == expected
    assert parts[8] == f"<{server.workers()[0]}>"
    assert 50 <= int(parts[9]) < 5000
    assert 50_000 <= int(parts[10]) < 5_000_000
    assert 0.05 <= float(parts[11]) < 5
    assert parts[12] == "0"
    assert parts[13:] == ["tagged", "6", "GET", "-"]


def test_nothing_can_be_injected(serve: Serve) -> None:
    """What a client sends cannot begin a line of its own in the log."""
    server, path = start(serve)
    with server.connect() as connection:
        connection.send(
            format_request("GET", "/%0a127.0.0.1%20-%20-", [("User-Agent", 'a" 200 "\tb\xe9')])
        )
        assert connection.read_response().status == 404
    [line] = wait_lines(path, 1)
    assert line.startswith("127.0.0.1 - - [")
    assert r"a\" 200 \"" in line


def test_failures_are_logged(serve: Serve) -> None:
    """500, and an answer that was cut."""
    server, path = start(serve)
    server.expect_log("Error handling request /fail")
    assert server.get("/fail").status == 500
    wait_for(lambda: any('"GET /fail HTTP/1.1" 500 ' in x for x in lines(path)), 5.0, "the line")


def test_off_by_default_and_standard_output(serve: Serve) -> None:
    server = serve("probes:app", "--access-logfile", "-", probe=None)
    server.get("/pid")
    wait_for(lambda: '"GET /pid HTTP/1.1" 200' in server.stdout, 5.0, "the line on stdout")
    silent = serve("probes:app", probe=None)
    silent.get("/pid")
    silent.stop()
    assert "GET /pid" not in silent.stdout + silent.stderr


@pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["plain", "preload"])
def test_logs_are_reopened(serve: Serve, preload: list[str]) -> None:
    """USR1 after a rename: the new files get everything from then on; nothing is torn or lost."""
    server = serve(
        "probes:app",
        "--access-logfile",
        "access.log",
        "--error-logfile",
        "error.log",
        *preload,
        workers=2,
        probe=None,
    )
    access, error = server.directory / "access.log", server.directory / "error.log"
    server.error_log = error
    server.wait_answer("/pid")
    with Load(server.address, clients=4, keep_alive=False) as load:
        wait_for(lambda: load.answered >= 50, 10.0, "50 answers")
        access.rename(access.with_suffix(".1"))
        error.rename(error.with_suffix(".1"))
        server.send_signal(signal.SIGUSR1)
        wait_for(lambda: access.exists() and error.exists(), 5.0, "the new files")
        first = len(lines(access))
        wait_for(lambda: len(lines(access)) >= first + 50, 10.0, "lines in the new file")
    load.assert_no_loss()
    server.stop()
    logged = lines(access.with_suffix(".1")) + lines(access)
    assert all(re.match(rf"127\.0\.0\.1 - - {TIME} ", line) for line in logged)
    assert len(logged) == load.answered + 1
    assert "Shutting down: Master" in error.read_text()


def test_json_lines_by_a_log_config(serve: Serve) -> None:
    """An ini file with a formatter of another package: every line is one JSON object."""
    config = """
[loggers]
keys = root, gunicorn.error, gunicorn.access
[handlers]
keys = console
[formatters]
keys = json
[logger_root]
level = INFO
handlers = console
[logger_gunicorn.error]
level = INFO
handlers = console
propagate = 0
qualname = gunicorn.error
[logger_gunicorn.access]
level = INFO
handlers = console
propagate = 0
qualname = gunicorn.access
[handler_console]
class = StreamHandler
formatter = json
args = (sys.stderr,)
[formatter_json]
class = pythonjsonlogger.json.JsonFormatter
format = %(levelname)s %(name)s %(message)s
"""
    server = serve("probes:app", "--log-config", "log.ini", files={"log.ini": config}, probe=None)
    server.allow_log(r"^\{")  # RAW lines, as this test wants them
    assert server.get("/fail").status == 500
    assert server.get("/pid").status == 200
    server.stop()
    records = [json.loads(line) for line in server.stderr.splitlines()]
    access = [r["message"] for r in records if r["name"] == "gunicorn.access"]
    assert any('"GET /pid HTTP/1.1" 200' in message for message in access)
    [failure] = [r for r in records if r["levelname"] == "ERROR"]
    assert "failing on purpose before the head" in failure["exc_info"]


def test_custom_logger_class(serve: Serve) -> None:
    """A subclass of the logger, found by its dotted path, filters and adds an atom."""
    module = """
from monoceros.logging import Logger

class OwnLogger(Logger):
    def access(self, resp, req, environ, request_time):
        if environ["PATH_INFO"] != "/quiet":
            super().access(resp, req, environ, request_time)

    def atoms(self, resp, req, environ, request_time):
        found = super().atoms(resp, req, environ, request_time)
        found["own"] = "own atom"
        return found
"""
    server = serve(
        "probes:app",
        "--access-logfile",
        "access.log",
        "--access-logformat",
        "%(own)s %(U)s",
        "--logger-class",
        "own_logger.OwnLogger",
        files={"own_logger.py": module},
        probe=None,
    )
    server.get("/quiet")
    server.get("/pid")
    assert wait_lines(server.directory / "access.log", 1) == ["own atom /pid"]


def test_captured_output(serve: Serve) -> None:
    """`capture_output` sends what the app prints to the error log's file."""
    app = """
import sys
print("printed at import")
sys.stderr.write("said on standard error\\n")
from probes import app
"""
    server = serve("own:app", "--capture-output", "--log-file", "error.log", files={"own.py": app})
    server.error_log = server.directory / "error.log"
    server.expect_log("printed at import")
    server.allow_log("said on standard error")
    wait_for(lambda: "printed at import" in server.error_log.read_text(), 5.0, "what was printed")
    assert "printed at import" not in server.stdout


def test_log_config_by_dictionary(serve: Serve) -> None:
    """`logconfig_dict` in the config file: handlers and formats of the operator's own."""
    config = """
logconfig_dict = {
    "version": 1,
    "formatters": {"own": {"format": "OWN %(levelname)s %(message)s"}},
    "handlers": {
        "file": {"class": "logging.FileHandler", "filename": "own.log", "formatter": "own"},
    },
    "root": {"level": "INFO", "handlers": ["file"]},
    "loggers": {
        "gunicorn.error": {"level": "INFO", "handlers": ["file"], "propagate": False},
        "gunicorn.access": {"level": "INFO", "handlers": ["file"], "propagate": False},
    },
}
"""
    server = serve("probes:app", config=config, probe=None)
    assert server.get("/pid").status == 200
    server.stop()
    text = (server.directory / "own.log").read_text()
    assert "OWN INFO Starting" in text
    assert re.search(r'^OWN INFO 127\.0\.0\.1 .*"GET /pid HTTP/1\.1" 200', text, re.MULTILINE)
    assert server.stderr == ""
