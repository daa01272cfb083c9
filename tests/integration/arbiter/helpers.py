"""What the arbiter's tests share: a small app, and how to talk to who serves it."""

import os
import signal
from pathlib import Path

from support.ports import is_free
from support.server import Server
from support.waiting import wait_for

OWN_APPS = Path(__file__).resolve().parent / "apps"

#: Answers with its version and the worker's pid. Paths do what a test asks for.
SITE = """
import ctypes, os, threading, time
from urllib.parse import parse_qs
from events import note

note("imported")
VERSION = "one"

def stuck_in_c():
    ctypes.PyDLL(None).sleep(60)

def stuck_in_python():
    time.sleep(60)

def app(environ, start):
    start("200 OK", [])
    path = environ["PATH_INFO"]
    if path == "/sleep":
        note("sleeping")
        time.sleep(float(environ["QUERY_STRING"]))
    elif path == "/stuck-in-c":
        stuck_in_c()
    elif path == "/stuck-in-python":
        stuck_in_python()
    elif path == "/exit":
        os._exit(int(environ["QUERY_STRING"]))
    elif path == "/crash":
        ctypes.string_at(0)
    return [f"{VERSION} {os.getpid()} {environ.get('PATH_INFO')}".encode()]
"""


class Site:
    """The app of one server, on disk."""

    def __init__(self, server: Server) -> None:
        self._path = server.directory / "site_app.py"

    def write(self, text: str) -> None:
        self._path.write_text(text)

    def version(self, name: str, before: str = "") -> None:
        """New code that answers with `name`; `before` runs first at import."""
        self.write(before + "\n" + SITE.replace('"one"', f'"{name}"'))


def answer(server: Server, target: str = "/") -> tuple[str, int]:
    """Version and pid of whoever answers."""
    words = server.get(target).body.decode().split()
    return words[0], int(words[1])


def wait_version(server: Server, version: str, timeout: float = 15.0) -> None:
    """Until every worker that there is answers with `version`: the reload is complete."""
    server.wait_log("Reload complete", timeout)
    wait_for(lambda: answer(server)[0] == version, timeout, f"version {version!r}")


def wait_all_serve(server: Server, count: int, timeout: float = 15.0) -> None:
    """Until that many workers, and no others, have answered a request."""
    served: set[int] = set()

    def all_serve() -> bool:
        served.add(answer(server)[1])
        workers = set(server.workers())
        return len(workers) == count and workers <= served

    wait_for(all_serve, timeout, f"{count} workers that serve")


def wait_gone(server: Server) -> None:
    """Within two seconds nobody of a server whose master was killed lives or listens."""
    assert isinstance(server.address, tuple)
    host, port = server.address
    wait_for(
        lambda: not server.family() and is_free(port, host), 2, "everybody to be gone for good"
    )


def kill(pid: int, number: signal.Signals) -> None:
    """Signal one process of a server that we started."""
    os.kill(pid, number)
