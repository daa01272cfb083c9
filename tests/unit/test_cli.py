"""The command: what it prints, its exit status, and that no error is a traceback of ours."""

import os
import shlex
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from monoceros import __version__
from monoceros.config.not_yet import NOT_YET

APP = """
import os
def application(environ, start_response): ...
"""

#: The engine is not needed for these tests: a worker class that is only looked up.
WORKER = "class Worker: ...\n"


class Outcome(NamedTuple):
    status: int
    stdout: str
    stderr: str


Command = Callable[..., Outcome]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "plain.py").write_text(WORKER)
    return tmp_path


@pytest.fixture
def monoceros(project: Path) -> Command:
    """Run the command in the project's folder."""

    def run(line: str, **environ: str) -> Outcome:
        clean = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **environ}
        done = subprocess.run(
            [sys.executable, "-m", "monoceros", *shlex.split(line)],
            cwd=project,
            env=clean,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


def write(path: Path, source: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(source))


CHECK = "-k plain.Worker --check-config"


def test_version(monoceros: Command) -> None:
    for flag in ("-v", "--version", "--vers"):
        assert monoceros(flag) == (0, f"monoceros (version {__version__})\n", "")


def test_help_is_grouped(monoceros: Command) -> None:
    status, text, _ = monoceros("--help")
    assert status == 0
    assert text.startswith("usage: monoceros [OPTIONS] [APP_MODULE]\n")
    for section in ("Server Socket:", "Worker Processes:", "Logging:", "Slow Clients:"):
        assert f"\n{section}\n" in text
    assert "--access-logformat STRING" in text
    assert "%(h)s" in text


@pytest.mark.parametrize(
    "line",
    ["--nope app", "-w x app", "--workers", "--work 3 app", "-t 1.5 app"],
)
def test_a_bad_command_line_is_status_2(monoceros: Command, line: str) -> None:
    status, stdout, stderr = monoceros(line)
    assert status == 2
    assert stdout == ""
    usage, error = stderr.splitlines()
    assert usage == "usage: monoceros [OPTIONS] [APP_MODULE]"
    assert error.startswith("monoceros: error: ")


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("--worker-clas sync app", ""),  # short for --worker-class
        ("--worker-klass sync app", "; did you mean --worker-class?"),
        ("--keepalive=5 app", "; did you mean --keep-alive?"),
        ("--limit-request-field-size=5 app", "; did you mean --limit-request-field_size?"),
        ("--access-log-format x app", "; did you mean --access-logformat?"),
        ("--zzz app", ""),
        ("-z app", ""),
    ],
)
def test_a_flag_that_nobody_knows_is_put_right(monoceros: Command, line: str, hint: str) -> None:
    status, _, stderr = monoceros(f"{line} --check-config")
    if hint:
        assert status == 2
        assert stderr.splitlines()[-1].endswith(hint)
    assert "did you mean" in stderr if hint else "did you mean" not in stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "No application module specified."),
        ("--workers -3 app", "workers: must be 0 or more, not -3"),
        ("--workers=-3 app", "workers: must be 0 or more, not -3"),
        ("-k nope app", "class uri 'nope' invalid or not found: "),
        ("-k eventlet app", "this release has no worker class 'eventlet'; use 'gevent'"),
        (
            "-k sync --interface asgi app",
            "interface is 'asgi', and worker_class 'sync' serves WSGI apps: set one of them only",
        ),
        ("-k no_such.Worker app", "class uri 'no_such.Worker' invalid or not found: "),
        ("-k plain.Worker --logger-class os.nope app", "class uri 'os.nope' invalid or not found"),
        ("-b 127.0.0.1:99999 app", "invalid address '127.0.0.1:99999' to bind: the port"),
        ("-b ::1 app", "invalid address '::1' to bind: "),
        ("--chdir nowhere app", "can't chdir to "),
        ("--log-level loud app", "loglevel: must be one of debug, info,"),
        ("-e FOO app", "raw_env: must be NAME=VALUE, not 'FOO'"),
        ("-c nope.py app", "config file 'nope.py' doesn't exist"),
        ("-c . app", "config file '.' can't be read: Is a directory"),
        ("-c python:nope app", "config module 'nope' not found"),
        ("--spool-dir nowhere app", "can't use "),
        ("--body-timeout -1 app", "body_timeout: must be 0 or more seconds, not -1"),
    ],
)
def test_a_bad_configuration_is_status_1_and_one_line(
    monoceros: Command, line: str, message: str
) -> None:
    status, stdout, stderr = monoceros(line)
    assert (status, stdout) == (1, "")
    blank, error = stderr.splitlines()
    assert blank == ""
    assert error.startswith(f"Error: {message}")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"WEB_CONCURRENCY": "many"}, "the environment variable WEB_CONCURRENCY is 'many'"),
        ({"PORT": "http"}, "invalid address '0.0.0.0:http' to bind: 'http' is no port number (fr"),
        ({"MONOCEROS_CMD_ARGS": "-b 'x"}, "the environment variable MONOCEROS_CMD_ARGS can't be"),
    ],
)
def test_so_is_a_bad_environment(
    monoceros: Command, variables: dict[str, str], message: str
) -> None:
    status, stdout, stderr = monoceros("app", **variables)
    assert (status, stdout) == (1, "")
    blank, error = stderr.splitlines()
    assert blank == ""
    assert error.startswith(f"Error: {message}")


def test_bad_options_in_the_environment_are_status_2(monoceros: Command) -> None:
    status, _, stderr = monoceros("app", GUNICORN_CMD_ARGS="--nope")
    assert status == 2
    assert "unrecognized arguments: --nope" in stderr


def test_a_failing_config_file_shows_its_own_traceback(monoceros: Command, project: Path) -> None:
    write(project / "conf.py", "def connect():\n    raise OSError('no database')\nconnect()\n")
    status, stdout, stderr = monoceros("-c conf.py app")
    assert (status, stdout) == (1, "")
    lines = stderr.splitlines()
    assert lines[0] == "Failed to read config file: conf.py"
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == "OSError: no database"
    assert "monoceros/" not in stderr
    assert "connect()" in stderr


def test_a_config_file_that_exits_is_obeyed(monoceros: Command, project: Path) -> None:
    write(project / "conf.py", "raise SystemExit('set DATABASE_URL')")
    assert monoceros("-c conf.py app") == (1, "", "set DATABASE_URL\n")


def test_warnings_of_the_configuration_are_lines_on_standard_error(
    monoceros: Command, project: Path
) -> None:
    write(project / "gunicorn.conf.py", "wrokers = 3\nhttp2_cleartext = True\n")
    assert monoceros(f"{CHECK} app") == (
        0,
        "",
        f"{NOT_YET['http2_cleartext'].message()}\n"
        "config file ./gunicorn.conf.py: no setting is called 'wrokers'; "
        "did you mean 'workers'?\n",
    )


class TestCheckConfig:
    def test_what_is_in_order_is_silent(self, monoceros: Command) -> None:
        assert monoceros(f"{CHECK} app") == (0, "", "")
        assert monoceros("--check-config -k plain.Worker app:application") == (0, "", "")

    def test_a_uri_that_leads_nowhere_is_no_traceback(self, monoceros: Command) -> None:
        status, stdout, stderr = monoceros(f"{CHECK} app:nope")
        assert (status, stdout) == (1, "")
        assert stderr == (
            "\nError while loading the application:\n\nFailed to find attribute 'nope' in 'app'.\n"
        )

    def test_a_missing_module_is_no_traceback_of_ours(self, monoceros: Command) -> None:
        status, _, stderr = monoceros(f"{CHECK} nope")
        assert status == 1
        assert stderr == (
            "\nError while loading the application:\n\n"
            "ModuleNotFoundError: No module named 'nope'\n"
        )

    def test_the_name_of_a_file_is_put_right(self, monoceros: Command) -> None:
        status, _, stderr = monoceros(f"{CHECK} app.py")
        assert status == 1
        assert "did you mean 'app:application'?" in stderr
        assert "Traceback" not in stderr

    def test_an_app_that_fails_shows_its_own_traceback(
        self, monoceros: Command, project: Path
    ) -> None:
        write(project / "failing.py", "def start():\n    1 / 0\nstart()\n")
        status, stdout, stderr = monoceros(f"{CHECK} failing")
        assert (status, stdout) == (1, "")
        assert stderr.startswith("\nError while loading the application:\n\nTraceback (most")
        assert stderr.endswith("ZeroDivisionError: division by zero\n")
        assert "in start" in stderr
        assert "monoceros/" not in stderr
        assert "importlib" not in stderr

    def test_python_path_folder_and_environment_are_applied(
        self, monoceros: Command, project: Path
    ) -> None:
        write(project / "site/lib/helper.py", "import os\nassert os.environ['SHOP'] == 'a b'\n")
        write(project / "site/other/nothing.py", "")
        write(project / "site/shop.py", "from helper import os as application\n")
        write(project / "site/shop.py", "import helper\ndef application(e, s): ...\n")
        write(project / "site/plain.py", WORKER)
        line = f"{CHECK} shop --chdir site --pythonpath other,lib -e 'SHOP=a b'"
        assert monoceros(line) == (0, "", "")
        assert monoceros(line.replace("other,lib", "other"))[0] == 1
        assert monoceros(line.replace("a b", "ab"))[0] == 1

    @pytest.mark.parametrize(
        ("line", "named"),
        [
            ("--log-config nope.ini", "nope.ini"),
            ("--log-config-json nope.json", "nope.json"),
            ("--error-logfile nowhere/error.log", "nowhere/error.log"),
            ("--access-logfile nowhere/access.log", "nowhere/access.log"),
        ],
    )
    def test_logs_are_checked(self, monoceros: Command, line: str, named: str) -> None:
        status, stdout, stderr = monoceros(f"{CHECK} app {line}")
        assert (status, stdout) == (1, "")
        blank, error = stderr.splitlines()
        assert blank == ""
        assert error.startswith("Error: ")
        assert named in error

    @pytest.mark.parametrize(
        ("bind", "reason"),
        [
            ("192.0.2.1:8000", "192.0.2.1:8000: Cannot assign requested address"),
            ("[2001:db8::1]:8000", "[2001:db8::1]:8000: "),
            ("no-such-host.invalid:80", "no-such-host.invalid:80: "),
            ("unix:nowhere/s.sock", "unix:nowhere/s.sock: there is no folder 'nowhere'"),
            ("unix:app.py", "unix:app.py: a file that is no socket is there"),
            ("fd://987", "fd://987: Bad file descriptor"),
            ("fd://1", "fd://1: it is no socket"),
        ],
    )
    def test_addresses_are_checked(self, monoceros: Command, bind: str, reason: str) -> None:
        status, stdout, stderr = monoceros(f"{CHECK} app -b 127.0.0.1:8000 -b {bind}")
        assert (status, stdout) == (1, "")
        blank, error = stderr.splitlines()
        assert blank == ""
        assert error.startswith(f"Error: Can't listen on {reason}")

    def test_addresses_are_not_taken(self, monoceros: Command, project: Path) -> None:
        # As beside the server that is to be replaced.
        with socket.socket() as other, socket.socket(socket.AF_UNIX) as local:
            other.bind(("127.0.0.1", 0))
            other.listen()
            local.bind(str(project / "s.sock"))
            local.listen()
            line = f"{CHECK} app -b 127.0.0.1:{other.getsockname()[1]} -b unix:s.sock"
            assert monoceros(line + " -b unix:new.sock") == (0, "", "")
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(project / "s.sock"))
        assert not (project / "new.sock").exists()

    def test_the_worker_class_is_asked(self, monoceros: Command, project: Path) -> None:
        write(
            project / "strict.py",
            """
            class Worker:
                @classmethod
                def check_config(cls, cfg, log):
                    raise RuntimeError(f"{cfg.threads} threads are not for me")
            """,
        )
        status, _, stderr = monoceros("--check-config -k strict.Worker --threads 3 app")
        assert status == 1
        assert stderr == "\nError: 3 threads are not for me\n"

    def test_what_is_found_out_is_shown_where_it_was_asked_for(
        self, monoceros: Command, project: Path
    ) -> None:
        status, _, stderr = monoceros(f"{CHECK} app:nope --capture-output --log-file error.log")
        assert status == 1
        assert "Failed to find attribute 'nope'" in stderr


class TestPrintConfig:
    def test_values_are_printed_and_the_app_is_loaded(self, monoceros: Command) -> None:
        status, stdout, stderr = monoceros("-k plain.Worker --print-config app -w 3 -m 0022")
        assert (status, stderr) == (0, "")
        values = dict(line.split(" = ") for line in stdout.splitlines())
        values = {name.rstrip(): value for name, value in values.items()}
        assert values["workers"] == "3"
        assert values["umask"] == "18"
        assert values["default_proc_name"] == "app"
        assert values["print_config"] == "True"
        assert values["bind"] == "['127.0.0.1:8000']"

    def test_they_are_printed_also_when_the_app_fails(self, monoceros: Command) -> None:
        status, stdout, stderr = monoceros("-k plain.Worker --print-config nope")
        assert status == 1
        assert "workers " in stdout
        assert "No module named 'nope'" in stderr


def test_a_folder_that_has_gone_is_one_line(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    code = (
        f"import os, monoceros.cli; os.mkdir({str(gone)!r}); os.chdir({str(gone)!r}); "
        f"os.rmdir({str(gone)!r}); monoceros.cli.main(['app'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == "\nError: the current folder can't be used: No such file or directory\n"
