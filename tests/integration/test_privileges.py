"""Workers that run as another user than their master."""

import grp
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import psutil
import pytest

import monoceros
from support.processes import in_session
from support.server import APPS, Server
from support.serving import Serve
from support.waiting import wait_for

NOBODY = pwd.getpwnam("nobody")
NOBODYS_GROUP = grp.getgrgid(NOBODY.pw_gid).gr_name

APP = """
import json, os

IMPORTED_AS = [os.getuid(), os.getgid()]

def app(environ, start_response):
    try:
        os.setuid(0)
        regained = True
    except PermissionError:
        regained = False
    facts = {
        "user": os.getresuid(), "group": os.getresgid(), "groups": os.getgroups(),
        "imported": IMPORTED_AS, "regained": regained,
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(facts).encode()]
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def nobodys_python() -> str:
    """An interpreter of this version that every user may run: ours may lie in somebody's home."""
    version = ".".join(map(str, sys.version_info[:2]))
    for candidate in (
        os.path.realpath(sys.executable),
        shutil.which(f"python{version}", path="/usr/bin"),
    ):
        if candidate and may_run(candidate):
            return candidate
    pytest.skip(f"no python{version} that every user may run")


def may_run(interpreter: str) -> bool:
    try:
        command = [interpreter, "-c", "import json, logging"]
        return subprocess.run(command, user=NOBODY.pw_uid, capture_output=True).returncode == 0
    except PermissionError:
        return False


def serve_as_nobody(serve: Serve, folder: Path, *options: str, bind: str | None = None) -> Server:
    (folder / "own.py").write_text(APP)
    # A folder of pytest's is its owner's alone.
    for each in (folder, *folder.parents):
        if each.is_relative_to(Path(os.environ.get("TMPDIR", "/tmp"))) and each != Path("/tmp"):
            each.chmod(each.stat().st_mode | 0o055)
    package = Path(monoceros.__file__).parent.parent
    return serve(
        "own:app",
        "--user",
        "nobody",
        *options,
        bind=bind,
        workers=2,
        program=[nobodys_python(), "-m", "monoceros"],
        env={
            "PYTHONPATH": os.pathsep.join(
                [str(folder), str(package), sysconfig.get_path("purelib"), str(APPS)]
            )
        },
    )


@pytest.mark.parametrize("preload", [False, True], ids=["plain", "preload"])
def test_the_app_has_the_users_rights_and_no_others(
    serve: Serve, tmp_path: Path, preload: bool
) -> None:
    server = serve_as_nobody(serve, tmp_path, *(["--preload"] if preload else []))
    facts = json.loads(server.get().body)
    uid, gid = NOBODY.pw_uid, NOBODY.pw_gid
    assert facts == {
        "user": [uid] * 3,
        "group": [gid] * 3,
        "groups": [gid],
        "imported": [uid, gid],
        "regained": False,
    }

    def others() -> set[int]:
        return {each.uids().real for each in in_session(server.pid) if each.pid != server.pid}

    wait_for(lambda: others() == {uid}, 10, "all but the master to be the user")
    assert psutil.Process(server.pid).uids().real == 0
    # Signals of the master reach them.
    before = set(server.workers())
    server.send_signal(signal.SIGHUP)
    wait_for(lambda: len(server.workers()) == 2 and not before & set(server.workers()), 15, "HUP")
    assert json.loads(server.get().body)["user"] == [uid] * 3


@pytest.mark.parametrize("preload", [False, True], ids=["plain", "preload"])
def test_they_end_with_their_master(serve: Serve, tmp_path: Path, preload: bool) -> None:
    """The kernel forgets that order when a process changes its user."""
    options = ["--preload"] if preload else []
    server = serve_as_nobody(serve, tmp_path, "--worker-class", "sync", *options)
    server.expect_exit(-9)
    server.send_signal(signal.SIGKILL)
    server.wait_exit()
    wait_for(lambda: not server.family(), 2, "everybody to be gone")


def test_what_they_have_to_reach_is_theirs(serve: Serve, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    server = serve_as_nobody(
        serve, tmp_path, "--access-logfile", str(log), bind=f"unix:{tmp_path}/socket"
    )
    for path in (log, tmp_path / "socket"):
        status = path.stat()
        assert (status.st_uid, status.st_gid) == (NOBODY.pw_uid, NOBODY.pw_gid), path
    log.rename(tmp_path / "access.log.1")
    server.send_signal(signal.SIGUSR1)
    wait_for(log.exists, 5, "the new log")

    def told() -> bool:
        # The worker hears of it after its master.
        server.get()
        return "GET / " in log.read_text()

    wait_for(told, 10, "a line in the new log")


def test_an_unknown_user_is_one_line(serve: Serve) -> None:
    server = serve("probes:app", "--user", "no-such-user", wait=False)
    server.expect_exit(1)
    server.expect_log("No such user")
    assert server.wait_exit() == 1
    assert "No such user: 'no-such-user'" in server.stderr
    assert "Traceback" not in server.stderr
