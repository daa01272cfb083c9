"""The family: who is there, with how many threads, and what they hold."""

from pathlib import Path

import pytest

from support import processes
from support.client import format_request
from support.serving import Serve
from support.waiting import wait_for


def threads(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line[:8] == "Threads:"))


@pytest.mark.parametrize("options", [["--threads", "3"], ["--preload", "--threads", "3"]])
def test_no_thread_where_a_fork_can_come(serve: Serve, options: list[str]) -> None:
    """Master and mold have one thread each, always; only workers have more."""
    server = serve("probes:app", *options, workers=2)
    server.wait_ready()
    assert threads(server.pid) == 1
    assert [threads(pid) for pid in server.molds()] == [1] * options.count("--preload")
    # The main thread, three app threads and the engine's helper.
    for pid in server.workers():
        wait_for(lambda pid=pid: threads(pid) == 5, 5.0, "five threads")


def test_master_does_not_import_the_app(serve: Serve) -> None:
    """Without and with --preload the app's code runs elsewhere."""
    app = "from events import note\nnote('imported')\nfrom probes import app\n"
    for options, times in (([], 2), (["--preload"], 1)):
        server = serve("own:app", *options, workers=2, files={"own.py": app})
        server.wait_ready()
        events = server.events("imported")
        assert len(events) == times
        assert server.pid not in [event["pid"] for event in events]


def test_upload_is_spooled_to_a_file_without_a_name(serve: Serve) -> None:
    """A large body goes to `spool_dir`, where nobody can see it and nothing can be left."""
    server = serve(
        "probes:app",
        "--body-buffer",
        "100000",
        "--spool-dir",
        "spool",
        config="import pathlib\npathlib.Path('spool').mkdir(exist_ok=True)\n",
    )
    folder = server.directory / "spool"
    [pid] = server.workers()
    body = b"z" * 1_000_000
    request = format_request("POST", "/digest", body=body)

    def spooled() -> list[str]:
        return [path for path in processes.descriptors(pid).values() if str(folder) in path]

    with server.assert_no_descriptor_growth(), server.connect() as connection:
        connection.send(request[:50_000])
        assert server.get().status == 200
        assert spooled() == []
        connection.send(request[50_000:-10])
        [path] = wait_for(spooled, 5.0, "a spool file")
        assert path.endswith("(deleted)")
        assert list(folder.iterdir()) == []
        connection.send(request[-10:])
        assert connection.read_response().text.startswith("1000000 ")
    assert spooled() == []


def test_children_of_the_app_are_its_own(serve: Serve) -> None:
    """An app may run programs and wait for them: the server does not take their status."""
    app = """
import subprocess

def app(environ, start_response):
    done = subprocess.run(["/bin/sh", "-c", "echo from the shell; exit 7"], capture_output=True)
    body = done.stdout + str(done.returncode).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
    for options in ([], ["--threads", "2"], ["--preload"]):
        server = serve("own:app", *options, files={"own.py": app})
        with server.connect() as connection:
            for _ in range(5):
                assert connection.request().body == b"from the shell\n7"


def test_children_of_the_app_hold_no_socket(serve: Serve) -> None:
    """A program that the app starts and leaves does not keep the port or a connection."""
    app = """
import subprocess
running = []

def app(environ, start_response):
    if environ["PATH_INFO"] == "/run":
        running.append(subprocess.Popen(["/bin/sleep", "60"], start_new_session=True))
        body = str(running[-1].pid).encode()
    elif environ["PATH_INFO"] == "/end":
        running[-1].kill()
        body = str(running[-1].wait()).encode()
    else:
        body = b"idle"
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
    server = serve("own:app", files={"own.py": app})
    child = int(server.get("/run").body)
    try:
        # What the program opens itself has a path.
        held = processes.descriptors(child).items()
        inherited = [name for number, name in held if int(number) > 2 and name[0] != "/"]
        assert not inherited
    finally:
        assert server.get("/end").body == b"-9"
