"""--reload: edits are followed, and what cannot be loaded answers 500 until it is mended."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from support.client import Response
from support.server import Server
from support.serving import Serve
from support.waiting import holds_for, wait_for

APP = """
import helper

def app(environ, start_response):
    start_response("200 OK", [])
    return [("{version} " + helper.WORD).encode()]
"""

#: Every engine; what a busy machine needs until a change has been followed.
ENGINES = pytest.mark.parametrize("engine", ["poll", "inotify"])
PRELOAD = pytest.mark.parametrize("preload", [False, True], ids=["plain", "preload"])
BOUND = 30.0

Start = Callable[..., Server]


def write(server: Server, name: str, text: str) -> None:
    """As editors do: a file of another name takes the place of the old one."""
    draft = server.directory / f"{name}.new"
    draft.write_text(text)
    draft.rename(server.directory / name)


def wait_body(server: Server, body: bytes, times: int = 8) -> None:
    """Until that many answers in a row are this one: nobody says anything else any more."""

    def all_say_it() -> bool:
        return all(server.get().body == body for _ in range(times))

    wait_for(all_say_it, BOUND, f"the answer {body!r}")


@pytest.fixture
def start(serve: Serve) -> Start:
    def run(*options: str, engine: str = "inotify", **more: object) -> Server:
        files = {"site_app.py": APP.format(version="one"), "helper.py": "WORD = 'first'\n"}
        files |= more.pop("files", {})  # type: ignore[arg-type]
        return serve(
            "site_app:app",
            "--reload",
            "--reload-engine",
            engine,
            *options,
            files=files,
            **more,  # type: ignore[arg-type]
        )

    return run


@pytest.mark.parametrize(
    ("engine", "preload"),
    [("poll", False), ("inotify", False), ("inotify", True)],
    ids=["poll", "inotify", "preload"],
)
def test_an_edit_is_followed(start: Start, engine: str, preload: bool) -> None:
    """Of the app and of what it imports; two edits in a row, of the same length, too."""
    server = start(*["--preload"] * preload, engine=engine, workers=2)
    assert server.get().body == b"one first"
    write(server, "site_app.py", APP.format(version="two"))
    wait_body(server, b"two first")
    assert f"Worker reloading: {server.directory / 'site_app.py'} modified" in server.log
    write(server, "helper.py", "WORD = 'other'\n")
    write(server, "helper.py", "WORD = 'third'\n")
    wait_body(server, b"two third")
    # In place, as other editors do.
    (server.directory / "helper.py").write_text("WORD = 'fourth'\n")
    wait_body(server, b"two fourth")
    assert not list(server.directory.rglob("*.pyc"))


@pytest.mark.parametrize(
    ("broken", "told", "preload"),
    [
        ("def app(:\n", "SyntaxError", False),
        ("import no_such_module\n", "No module named 'no_such_module'", False),
        ("SECRET = undefined_name\n", "NameError", True),
        ("from helper import MISSING\n", "cannot import name 'MISSING'", False),
        ("application = None\n", "Failed to find attribute 'app'", True),
    ],
    ids=["syntax", "module", "name-preload", "import", "attribute-preload"],
)
def test_broken_code_answers_500_until_it_is_mended(
    start: Start, broken: str, told: str, preload: bool
) -> None:
    server = start(*["--preload"] * preload, workers=2)
    server.expect_log("The app cannot be loaded; until a file of it changes, requests get 500")
    write(server, "site_app.py", broken)

    def only_500() -> list[Response]:
        responses = [server.get() for _ in range(8)]
        return responses if all(each.status == 500 for each in responses) else []

    response = wait_for(only_500, BOUND, "nothing but 500")[0]
    assert response.get("Content-Type") == "text/plain; charset=utf-8"
    assert b"The error log of the server says why." in response.body
    for secret in (b"site_app", b"Error:", b"line", b"Traceback", b"undefined_name"):
        assert secret not in response.body
    assert told in server.log
    assert server.log.count("The app cannot be loaded") == 1, "once, and not by every worker"
    write(server, "site_app.py", APP.format(version="two"))
    wait_body(server, b"two first")


@PRELOAD
def test_code_that_is_broken_from_the_start(serve: Serve, preload: bool) -> None:
    """Gunicorn ends; we wait for the edit, even of a file that is not there yet."""
    server = serve(
        "site_app:app",
        "--reload",
        *["--preload"] * preload,
        files={"site_app.py": APP.format(version="one")},
        probe=None,
    )
    server.expect_log("No module named 'helper'")
    assert server.wait_answer().status == 500
    write(server, "helper.py", "WORD = 'found'\n")
    wait_body(server, b"one found")


def test_without_reload_such_code_ends_the_server(serve: Serve) -> None:
    server = serve("site_app:app", files={"site_app.py": "raise ValueError\n"}, wait=False)
    server.expect_exit(3)
    server.expect_log("failed to boot")
    server.allow_log("Shutting down|Reason|exited")
    assert server.wait_exit() == 3


@ENGINES
def test_extra_files_and_patterns(start: Start, engine: str) -> None:
    """Relative to where the server was started, not to `chdir`; new files count."""
    server = start(
        "--reload-extra-file",
        "words.txt",
        "--reload-extra-file",
        "templates/**/*.html",
        "--chdir",
        ".",
        engine=engine,
        files={"words.txt": "a\n"},
        config="import pathlib\npathlib.Path('templates/deep').mkdir(parents=True, exist_ok=True)\n"
        "pathlib.Path('templates/deep/page.html').touch()\n",
    )

    def followed(times: int) -> None:
        server.wait_log("Worker reloading: ", BOUND, count=times)
        server.wait_log("Reload complete", BOUND, count=times)

    write(server, "words.txt", "b\n")
    followed(1)
    page = server.directory / "templates" / "deep" / "page.html"
    assert page.exists()
    page.write_text("<p>changed")
    wait_for(lambda: f"{page} modified" in server.log, BOUND, "the page to be followed")


def test_an_extra_file_must_exist(serve: Serve) -> None:
    server = serve("probes:app", "--reload-extra-file", "nowhere.txt", wait=False)
    server.expect_exit(1)
    server.expect_log("'nowhere.txt' does not exist")
    server.allow_log("Error")
    assert server.wait_exit() == 1


def test_a_pattern_without_files_is_warned_of(start: Start) -> None:
    server = start("--reload-extra-file", "*.nothing")
    server.expect_log(r"reload_extra_files: nothing matches .*/\*\.nothing yet")
    server.wait_log("nothing matches")


def test_the_configuration_is_followed_and_a_broken_one_is_not(start: Start) -> None:
    server = start(config="workers = 1\n")
    server.expect_log("Reload failed, nothing has changed: Invalid value for workers: many")
    write(server, "conf.py", "workers = 'many'\n")
    server.wait_log("Reload failed", BOUND)
    assert server.get().body == b"one first"
    write(server, "conf.py", "workers = 2\n")
    server.wait_ready(2, BOUND)


def test_an_app_that_writes_its_own_files_is_not_followed_for_ever(start: Start) -> None:
    text = "import os\nopen(__file__.replace('helper', 'made'), 'a').write('#')\nimport made\n"
    server = start(files={"helper.py": text + "WORD = 'x'\n", "made.py": "#\n"})
    server.expect_log("made.py has changed whenever the app was loaded, 5 times in a row")
    server.wait_log("5 times in a row", BOUND)
    server.wait_log("Reload complete", BOUND, count=5)
    [before] = [server.wait_ready(1)]
    holds_for(lambda: server.workers() == before, 1.5, "nobody is replaced any more")


def test_nothing_is_watched_without_the_setting(serve: Serve) -> None:
    server = serve("site_app:app", files={"site_app.py": APP, "helper.py": "WORD = 'x'\n"})
    before = server.workers()
    for pid in before:
        names = {(task / "comm").read_text() for task in Path(f"/proc/{pid}/task").iterdir()}
        assert not any("reload" in name for name in names)
    os.utime(server.directory / "helper.py")
    holds_for(lambda: server.workers() == before, 1.2, "nobody is replaced")


def test_spew(serve: Serve) -> None:
    server = serve(
        "site_app:app",
        "--spew",
        "--threads",
        "2",
        files={"site_app.py": APP.format(version="one"), "helper.py": "WORD = 'x'\n"},
        probe=None,
    )
    assert server.get().status == 200
    wait_for(lambda: '    start_response("200 OK", [])' in server.stdout, 10, "the app's line")
    assert "helper:1: WORD = 'x'" in server.stdout
