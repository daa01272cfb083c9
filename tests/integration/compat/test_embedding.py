"""Scripts that make a server themselves, as Gunicorn documents it."""

import signal
import sys
from pathlib import Path

import pytest

from support.ports import free_port
from support.server import Server
from support.serving import Serve
from support.waiting import wait_for


def run_script(serve: Serve, folder: Path, text: str, *arguments: str, **more: object) -> Server:
    """Run a script that is given an address to bind as its last argument."""
    script = folder / "script.py"
    script.write_text(text)
    port = free_port()
    return serve(
        None,
        *arguments,
        f"127.0.0.1:{port}",
        bind="",
        address=("127.0.0.1", port),
        program=[sys.executable, str(script)],
        **more,
    )  # type: ignore[arg-type]


CUSTOM = """
import os
import sys
from pathlib import Path

from events import note
from monoceros.app import BaseApplication


class Custom(BaseApplication):
    def load_config(self):
        workers = int(Path(os.environ["EVENTS"]).with_name("workers").read_text())
        for key, value in {"BIND": sys.argv[-1], "workers": workers}.items():
            self.cfg.set(key.lower(), value)
        self.cfg.set("post_fork", lambda server, worker: note("post_fork", worker=worker.pid))
        self.cfg.set("worker_class", "sync")

    def load(self):
        note("load")

        def app(environ, start_response):
            start_response("200 OK", [])
            return [str(self.cfg.workers).encode()]

        return app


if __name__ == "__main__":
    Custom().run()
"""


def test_a_custom_application_reloads(serve: Serve, tmp_path: Path) -> None:
    """`load_config` runs again on HUP, and `load` in each worker, never in the master."""
    server = run_script(serve, tmp_path, CUSTOM, files={"workers": "1"})
    assert server.get("/").text == "1"
    [first] = server.workers()
    (server.directory / "workers").write_text("2")
    server.send_signal(signal.SIGHUP)
    wait_for(
        lambda: len(server.workers()) == 2 and first not in server.workers(),
        20,
        "two workers of the new configuration",
    )
    assert server.get("/").text == "2"
    assert server.pid not in {each["pid"] for each in server.events("load")}
    assert len(server.events("post_fork")) == 3


WSGI = """
import sys

from monoceros.app import WSGIApplication


class Standalone(WSGIApplication):
    def __init__(self, app_uri, options):
        self.options = options
        self.app_uri = app_uri
        super().__init__()

    def load_config(self):
        for key, value in self.options.items():
            if key in self.cfg.settings and value is not None:
                self.cfg.set(key.lower(), value)


Standalone("probes:app", {"bind": sys.argv[-1], "threads": 2, "unknown": 1}).run()
"""

APPLICATION = """
import sys

from monoceros.app import Application
from monoceros.config import Setting, validate_string


class Greeting(Setting):
    name = "greeting"
    section = "Mine"
    cli = ["--greeting"]
    meta = "TEXT"
    validator = validate_string
    default = "hello"
    desc = "What is said."


class Mine(Application):
    def init(self, parser, opts, args):
        return {"bind": args[-1], "workers": 1}

    def load(self):
        def app(environ, start_response):
            start_response("200 OK", [])
            return [self.cfg.greeting.encode()]

        return app


Mine("%(prog)s [OPTIONS]", prog="mine").run()
"""


READING = """
import sys

from monoceros.app import Application


class Reading(Application):
    def load_config(self):
        self.load_config_from_file("extra.py")
        assert self.get_config_from_filename("extra.py")["greeting"] == "hi"
        self.cfg.set("bind", sys.argv[-1])

    def load_config_from_module_name_or_filename(self, location):
        self.names = super().load_config_from_module_name_or_filename(location)
        return self.names

    def load(self):
        def app(environ, start_response):
            start_response("200 OK", [])
            return [f"{self.names['greeting']} {self.cfg.threads}".encode()]

        return app


Reading().run()
"""


def test_an_application_reads_config_files(serve: Serve, tmp_path: Path) -> None:
    server = run_script(
        serve, tmp_path, READING, files={"extra.py": "threads = 3\ngreeting = 'hi'\n"}
    )
    server.allow_log("no setting is called 'greeting'")
    assert server.get("/").text == "hi 3"


def test_a_wsgi_application_with_options(serve: Serve, tmp_path: Path) -> None:
    server = run_script(serve, tmp_path, WSGI)
    assert server.get("/pid").status == 200
    assert "Using worker: gthread" in server.log


def test_an_application_with_a_setting_of_its_own(serve: Serve, tmp_path: Path) -> None:
    """It has a flag, and a place in the config file."""
    server = run_script(serve, tmp_path, APPLICATION, "--greeting", "good day")
    assert server.get("/").text == "good day"
    other = run_script(serve, tmp_path, APPLICATION, config="greeting = 'good night'\n")
    assert other.get("/").text == "good night"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("self.cfg.set('workers', 'many')", "workers: "),
        ("self.cfg.set('no_such', 1)", "no_such"),
        ("self.cfg.set('worker_class', 'no.such.Worker')", "no.such.Worker"),
    ],
)
def test_what_is_wrong_is_one_line_and_status_1(
    serve: Serve, tmp_path: Path, line: str, reason: str
) -> None:
    script = CUSTOM.replace('self.cfg.set("worker_class", "sync")', line)
    server = run_script(serve, tmp_path, script, files={"workers": "1"}, wait=False)
    server.expect_exit(1)
    assert server.wait_exit() == 1
    server.expect_log(f"Error: .*{reason}")
    assert "Traceback" not in server.log
