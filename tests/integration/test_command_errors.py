"""What is wrong with a command line or a configuration: one clear line, soon, and a status."""

import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.ports import free_port
from support.server import command, environment, listen_on

#: Seconds; a taken port is tried for a while.
BOUND = 6.0


@dataclass
class Outcome:
    """How a command ended."""

    status: int
    seconds: float
    stderr: str


@dataclass
class Case:
    """A command that cannot work, and what must come of it."""

    arguments: Sequence[str]
    status: int
    #: Each must stand in one and the same line of standard error.
    named: Sequence[str]
    files: dict[str, str] = field(default_factory=dict)
    #: A traceback is the app's or the config file's own.
    traceback: bool = False


CASES = {
    "unknown-module": Case(["no_such_module:app"], 3, ["no_such_module"]),
    "unknown-module-default": Case(["no_such_module"], 3, ["no_such_module"]),
    "unknown-attribute": Case(["probes:nothing_here"], 4, ["nothing_here", "probes"]),
    "unknown-attribute-of-attribute": Case(["probes:app.nothing_here"], 4, ["nothing_here"]),
    "attribute-not-callable": Case(["probes:__doc__"], 4, ["__doc__"]),
    "attribute-syntax": Case(["probes:app["], 4, ["app["]),
    "file-instead-of-module": Case(["own.py"], 3, ["own:app"], {"own.py": "app = None\n"}),
    "factory-arguments": Case(
        ["own:make(1, 2)"], 4, ["make"], {"own.py": "def make():\n    return None\n"}
    ),
    "app-fails-at-import": Case(
        ["own:app"],
        3,
        ["ZeroDivisionError: division by zero"],
        {"own.py": "1 / 0\n"},
        traceback=True,
    ),
    "app-with-syntax-error": Case(
        ["own:app"], 3, ["SyntaxError"], {"own.py": "def app(:\n"}, traceback=True
    ),
    "app-imports-what-is-missing": Case(
        ["own:app"], 3, ["not_installed"], {"own.py": "import not_installed\n"}, traceback=True
    ),
    "no-app": Case([], 1, ["No application module specified"]),
    "unknown-flag": Case(["--no-such-flag", "probes:app"], 2, ["--no-such-flag"]),
    "flag-value-not-a-number": Case(["--workers", "many", "probes:app"], 2, ["workers", "many"]),
    "flag-value-negative": Case(["--workers=-1", "probes:app"], 1, ["-1"]),
    "flag-without-value": Case(["probes:app", "--workers"], 2, ["--workers"]),
    "bad-port": Case(["-b", "127.0.0.1:http", "probes:app"], 1, ["http"]),
    "port-out-of-range": Case(["-b", "127.0.0.1:70000", "probes:app"], 1, ["70000"]),
    "bad-descriptor": Case(["-b", "fd://x", "probes:app"], 1, ["fd://x"]),
    "unix-socket-without-folder": Case(
        ["-b", "unix:no/such/folder/s.sock", "probes:app"], 1, ["no/such/folder/s.sock"]
    ),
    "unknown-worker-class": Case(["-k", "no_such_class", "probes:app"], 1, ["no_such_class"]),
    "unknown-worker-path": Case(["-k", "no.such.Class", "probes:app"], 1, ["no.such.Class"]),
    "worker-class-of-later": Case(["-k", "eventlet", "probes:app"], 1, ["eventlet", "gevent"]),
    "unknown-log-level": Case(["--log-level", "loud", "probes:app"], 1, ["loud"]),
    "unwritable-log": Case(["--log-file", "/no/such/folder/log", "probes:app"], 1, ["/no/such"]),
    "missing-log-config": Case(["--log-config", "none.ini", "probes:app"], 1, ["none.ini"]),
    "missing-json-log-config": Case(
        ["--log-config-json", "none.json", "probes:app"], 1, ["none.json"]
    ),
    "missing-folder": Case(["--chdir", "/no/such/folder", "probes:app"], 1, ["/no/such/folder"]),
    "missing-pid-folder": Case(["-p", "/no/such/folder/pid", "probes:app"], 1, ["/no/such"]),
    "env-without-value": Case(["-e", "NAME", "probes:app"], 1, ["NAME"]),
    "missing-config": Case(["-c", "none.py", "probes:app"], 1, ["none.py"]),
    "missing-config-module": Case(["-c", "python:none_such", "probes:app"], 1, ["none_such"]),
    "folder-as-config": Case(["-c", ".", "probes:app"], 1, ["."]),
    "failing-config": Case(
        ["-c", "own.py", "probes:app"],
        1,
        ["Failed to read config file", "own.py"],
        {"own.py": "workers = 1 / 0\n"},
        traceback=True,
    ),
    "config-with-syntax-error": Case(
        ["-c", "own.py", "probes:app"],
        1,
        ["Failed to read config file", "own.py"],
        {"own.py": "workers = \n"},
        traceback=True,
    ),
    "config-value": Case(
        ["-c", "own.py", "probes:app"],
        1,
        ["workers"],
        {"own.py": "workers = 'many'\n"},
    ),
    "config-hook-arity": Case(
        ["-c", "own.py", "probes:app"],
        1,
        ["post_fork"],
        {"own.py": "def post_fork(server):\n    pass\n"},
    ),
    "config-not-utf-8": Case(
        ["-c", "own.py", "probes:app"], 1, ["own.py"], {"own.py": "x = '\udce9'\n"}, traceback=True
    ),
    "setting-that-does-not-exist-yet": Case(
        ["-c", "own.py", "probes:app"], 1, ["paste"], {"own.py": "paste = 'site.ini'\n"}
    ),
    "check-config-app": Case(
        ["--check-config", "own:app"],
        1,
        ["ValueError: nothing works"],
        {"own.py": "raise ValueError('nothing works')\n"},
        traceback=True,
    ),
    "check-config-worker-class": Case(["--check-config", "-k", "none", "probes:app"], 1, ["none"]),
}


def run(directory: Path, arguments: Sequence[str], env: dict[str, str] | None = None) -> Outcome:
    """Run a command to its end, which must come soon."""
    started = time.monotonic()
    process = subprocess.run(
        [*command(), *arguments],
        cwd=directory,
        env=environment(directory, env or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=BOUND + 10,
        check=False,
    )
    seconds = time.monotonic() - started
    return Outcome(process.returncode, seconds, process.stderr.decode(errors="replace"))


def check(outcome: Outcome, case: Case) -> None:
    """Status, time and words."""
    assert outcome.status == case.status, outcome.stderr
    assert outcome.seconds < BOUND
    lines = [
        line for line in outcome.stderr.splitlines() if all(name in line for name in case.named)
    ]
    assert lines, f"no line names {case.named}:\n{outcome.stderr}"
    if case.traceback:
        assert outcome.stderr.count("Traceback") <= 1, outcome.stderr
        assert "monoceros/config" not in outcome.stderr, "frames of ours in their traceback"
    else:
        assert "Traceback" not in outcome.stderr, outcome.stderr
        others = [
            line
            for line in outcome.stderr.splitlines()
            if is_complaint(line) and line not in lines and not CONSEQUENCE.search(line)
        ]
        assert len(lines) == 1 and not others, f"more than one clear line: {lines + others}"
    assert len(outcome.stderr.splitlines()) < 40, outcome.stderr


#: What follows from a mistake that has been named, in Gunicorn's words.
CONSEQUENCE = re.compile(r"exited with code \d|Shutting down: Master|Reason: ")


def is_complaint(line: str) -> bool:
    return bool(re.search(r"\[(WARNING|ERROR|CRITICAL)\]|\b[Ee]rror:", line))


@pytest.mark.parametrize("name", CASES)
def test_mistake_is_named(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    for path, text in case.files.items():
        (tmp_path / path).write_bytes(text.encode("utf-8", "surrogateescape"))
    arguments = list(case.arguments)
    if "-b" not in arguments:
        arguments = ["-b", f"127.0.0.1:{free_port()}", *arguments]
    check(run(tmp_path, arguments), case)


@pytest.mark.alone
def test_taken_port(tmp_path: Path) -> None:
    address = ("127.0.0.1", free_port())
    with listen_on(address):
        outcome = run(tmp_path, ["-b", f"127.0.0.1:{address[1]}", "probes:app"])
    assert outcome.status == 1
    assert outcome.seconds < BOUND
    assert "Traceback" not in outcome.stderr
    [line] = [line for line in outcome.stderr.splitlines() if is_complaint(line)]
    assert str(address[1]) in line and "in use" in line


def test_two_workers_that_cannot_boot_are_told_once(tmp_path: Path) -> None:
    """The status of a failed boot, one traceback, however many workers met it."""
    (tmp_path / "own.py").write_text("raise ValueError('told once')\n")
    bind = f"127.0.0.1:{free_port()}"
    outcome = run(tmp_path, ["-b", bind, "-w", "4", "own:app"])
    assert outcome.status == 3
    assert outcome.stderr.count("Traceback") == 1
    assert "Worker failed to boot." in outcome.stderr


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("WEB_CONCURRENCY", "many", "WEB_CONCURRENCY"),
        ("MONOCEROS_CMD_ARGS", "--no-such-flag", "--no-such-flag"),
        ("GUNICORN_CMD_ARGS", "--workers many", "many"),
        ("PORT", "http", "http"),
    ],
)
def test_environment_with_nonsense(tmp_path: Path, variable: str, value: str, named: str) -> None:
    arguments = ["probes:app"]
    if variable != "PORT":
        arguments = ["-b", f"127.0.0.1:{free_port()}", *arguments]
    outcome = run(tmp_path, arguments, {variable: value})
    assert outcome.status in (1, 2)
    assert "Traceback" not in outcome.stderr
    assert any(named in line for line in outcome.stderr.splitlines()), outcome.stderr


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("wrokers = 3\n", ["wrokers", "workers"]),
        ("Timeout = 3\n", ["Timeout", "timeout"]),
        ("def post_frok(server, worker):\n    pass\n", ["post_frok", "post_fork"]),
    ],
)
def test_typing_error_in_a_config_file_is_warned_of(
    tmp_path: Path, text: str, named: list[str]
) -> None:
    """A name that is no setting is told with the nearest one; the server would start."""
    (tmp_path / "own.py").write_text(text)
    outcome = run(tmp_path, ["--check-config", "-c", "own.py", "probes:app"])
    assert outcome.status == 0, outcome.stderr
    assert any(all(name in line for name in named) for line in outcome.stderr.splitlines())


def test_check_config_is_silent_when_all_is_well(tmp_path: Path) -> None:
    """Status 0, no word, and nothing is bound."""
    address = ("127.0.0.1", free_port())
    with listen_on(address):
        bind = f"127.0.0.1:{address[1]}"
        outcome = run(tmp_path, ["--check-config", "-b", bind, "probes:app"])
    assert (outcome.status, outcome.stderr) == (0, "")
