"""Logger classes as people write them: what they override is what happens, in each worker class."""

import json
import re
import signal

import pytest

from support.serving import Serve
from support.waiting import wait_for

#: Nothing here is measured: a bound that a busy machine keeps.
BOUND = 20.0

WORKERS = pytest.mark.parametrize("threads", ["1", "3"], ids=["sync", "gthread"])

#: Everything that can be overridden says that it was called, in a file of its own.
EVERY_METHOD = """
import logging
import os

from events import note
from monoceros.logging import CONFIG_DEFAULTS, Logger, SafeAtoms


class OwnAtoms(SafeAtoms):
    def __getitem__(self, key):
        return "wrapped" if key == "wrapped" else super().__getitem__(key)


class Own(Logger):
    error_fmt = "OWN " + Logger.error_fmt
    atoms_wrapper_class = OwnAtoms

    def setup(self, cfg):
        super().setup(cfg)
        assert self.cfg is cfg
        assert self.loglevel == logging.DEBUG
        assert self.error_log.name == "gunicorn.error"
        assert self.access_log.name == "gunicorn.access"
        assert CONFIG_DEFAULTS["loggers"]["gunicorn.error"]
        self.error_log.addFilter(lambda record: "unwanted" not in record.getMessage())
        note("setup", handlers=len(self.error_log.handlers))

    def access(self, resp, req, environ, request_time):
        status = resp.status if isinstance(resp.status, int) else int(resp.status.split()[0])
        note("access", status=status, path=environ["PATH_INFO"], sent=resp.sent,
             took=request_time.total_seconds(), headers=dict(resp.headers),
             agent=dict(req.headers).get("USER-AGENT"))
        super().access(resp, req, environ, request_time)

    def atoms(self, resp, req, environ, request_time):
        return {**super().atoms(resp, req, environ, request_time), "own": "added"}

    def now(self):
        return "some time"

    def reopen_files(self):
        super().reopen_files()
        note("reopened")

    def _get_user(self, environ):
        return "somebody"

    def _set_handler(self, log, output, fmt, stream=None):
        note("handler", log=log.name, output=output)
        super()._set_handler(log, output, fmt, stream)

    def critical(self, msg, *args, **kwargs):
        super().critical("CRITICAL " + msg, *args, **kwargs)


def post_worker_init(worker):
    worker.log.info("an unwanted line")
    worker.log.critical("said by a %s", "hook")


logger_class = Own
loglevel = "debug"
accesslog = "access.log"
access_log_format = "%(own)s %(wrapped)s %(t)s %(u)s %(U)s %({x-kind}o)s %(absent)s"
"""


@WORKERS
def test_every_override_is_used(serve: Serve, threads: str) -> None:
    server = serve("probes:app", "--threads", threads, config=EVERY_METHOD, probe=None)
    server.allow_log("CRITICAL said by a hook|OWN ")
    server.exchange("GET", "/pid", [("User-Agent", "tester")])
    server.get("/nowhere")
    access = server.directory / "access.log"
    wait_for(lambda: access.exists() and access.read_text().count("\n") == 2, BOUND, "two lines")
    assert access.read_text().splitlines() == [
        "added wrapped some time somebody /pid - -",
        "added wrapped some time somebody /nowhere - -",
    ]
    first, second = server.wait_event("access", count=2)
    assert (first["status"], first["path"], first["agent"]) == (200, "/pid", "tester")
    assert first["sent"] == int(first["headers"]["Content-Length"]) > 0
    assert first["took"] >= 0
    assert (second["status"], second["path"]) == (404, "/nowhere")
    assert {(event["log"], event["output"]) for event in server.events("handler")} == {
        ("gunicorn.error", "-"),
        ("gunicorn.access", "access.log"),
    }
    server.send_signal(signal.SIGUSR1)
    server.wait_event("reopened", count=2)  # master and worker
    server.stop()
    assert re.search(r"^OWN \[[^]]+\] \[\d+\] \[INFO\] Starting monoceros", server.stderr, re.M)
    assert re.search(r"^OWN .*\[CRITICAL\] CRITICAL said by a hook$", server.stderr, re.M)
    assert "unwanted" not in server.stderr


WITHOUT_SUPER = """
import logging
from monoceros.logging import Logger

class Bridge(logging.Handler):
    def emit(self, record):
        with open("bridge.log", "a") as file:
            file.write(f"{record.name} {record.levelname} {record.getMessage()}\\n")

class logger_class(Logger):
    def setup(self, cfg):
        self.loglevel = logging.INFO
        for log in (self.error_log, self.access_log):
            log.setLevel(logging.INFO)
            log.handlers = [Bridge()]

accesslog = "-"
"""


@WORKERS
def test_a_setup_of_its_own(serve: Serve, threads: str) -> None:
    """Bridges to other logging packages replace everything, without calling the base class."""
    server = serve("probes:app", "--threads", threads, config=WITHOUT_SUPER, probe=None)
    server.get("/pid")
    server.get("/fail")
    server.stop()
    text = (server.directory / "bridge.log").read_text()
    assert "gunicorn.error INFO Starting monoceros" in text
    assert re.search(r'gunicorn\.access INFO 127\.0\.0\.1 .*"GET /pid HTTP/1\.1" 200', text)
    assert "gunicorn.error ERROR Error handling request /fail" in text
    assert server.stdout == ""


FORMATTERS = """
import json
import logging
from monoceros.logging import Logger

class Json(logging.Formatter):
    def format(self, record):
        # The arguments of an access record are its atoms.
        atoms = record.args if record.name == "gunicorn.access" else {}
        return json.dumps({"said": record.getMessage(), "status": atoms.get("s"),
                           "path": atoms.get("U"), "tag": atoms.get("{x-tag}i")})

class Quiet(logging.Filter):
    def filter(self, record):
        return record.args["U"] != "/"

class logger_class(Logger):
    def setup(self, cfg):
        super().setup(cfg)
        for handler in self.access_log.handlers:
            handler.setFormatter(Json())
        self.access_log.addFilter(Quiet())

accesslog = "access.log"
"""


@WORKERS
def test_formatters_and_filters_added_in_setup(serve: Serve, threads: str) -> None:
    """They see every atom of a record, and keep the health checks out."""
    server = serve("probes:app", "--threads", threads, config=FORMATTERS, probe=None)
    server.get("/")
    server.exchange("GET", "/pid", [("X-Tag", "tagged")])
    access = server.directory / "access.log"
    wait_for(lambda: access.exists() and access.read_text().endswith("\n"), BOUND, "a line")
    [line] = access.read_text().splitlines()
    found = json.loads(line)
    assert '"GET /pid HTTP/1.1" 200' in found.pop("said")
    assert found == {"status": "200", "path": "/pid", "tag": "tagged"}


NO_LOG = """
from events import note
from monoceros.logging import Logger

class logger_class(Logger):
    def access(self, resp, req, environ, request_time):
        note("access", path=environ["PATH_INFO"])
"""


@WORKERS
def test_access_is_called_without_an_access_log(serve: Serve, threads: str) -> None:
    """Classes count requests in it, or send them somewhere else."""
    server = serve("probes:app", "--threads", threads, config=NO_LOG, probe=None)
    server.get("/pid")
    assert [event["path"] for event in server.wait_event("access")] == ["/pid"]


def test_aliases(serve: Serve) -> None:
    for name in ("simple", "gunicorn.glogging.Logger"):
        server = serve("probes:app", "--logger-class", name, "--access-logfile", "-", probe=None)
        server.get("/pid")
        wait_for(lambda s=server: "GET /pid" in s.stdout, BOUND, "the line")


@WORKERS
def test_a_broken_access_stops_no_request(serve: Serve, threads: str) -> None:
    config = """
from monoceros.logging import Logger

class logger_class(Logger):
    def atoms(self, resp, req, environ, request_time):
        raise KeyError("a bug")

accesslog = "access.log"
"""
    server = serve("probes:app", "--threads", threads, config=config, probe=None)
    server.expect_log("The access line of GET /pid cannot be written")
    assert server.get("/pid").status == 200
    assert server.get("/pid").status == 200
