"""Under a service manager: sockets that it has opened, and what it hears of the server."""

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.ports import free_port
from support.server import command
from support.serving import Serve
from support.waiting import holds_for, wait_for

SLOW_SITE = """
import time
from events import note
note("importing")
while not open("go").read():
    time.sleep(0.01)

def app(environ, start_response):
    start_response("200 OK", [])
    return [b"served"]
"""

#: Does what systemd does between fork and exec: descriptor 3 and on, and the variables.
ACTIVATE = """
import fcntl, os, sys
given = [int(number) for number in sys.argv[1].split(",")]
spare = [fcntl.fcntl(number, fcntl.F_DUPFD, 100) for number in given]
for place, number in enumerate(spare, start=3):
    os.dup2(number, place)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(given))}
os.execv(sys.argv[2], sys.argv[2:])
"""


class Manager:
    """A service manager's end of the notification socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self._heard: list[str] = []

    def heard(self) -> list[str]:
        """Every assignment so far."""
        while True:
            try:
                self._heard += self._socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return self._heard

    def states(self) -> list[str]:
        """The assignments that tell a state."""
        told = ("READY", "RELOADING", "STOPPING")
        return [line.partition("=")[0] for line in self.heard() if line.startswith(told)]

    def wait(self, states: list[str]) -> None:
        wait_for(lambda: self.states() == states, 15, f"{states}, not {self.states()}")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


def test_ready_when_a_worker_is(manager: Manager, serve: Serve) -> None:
    """Sockets listen long before; a request would wait for the import."""
    server = serve(
        "slow:app",
        files={"slow.py": SLOW_SITE, "go": ""},
        env={"NOTIFY_SOCKET": str(manager.path)},
        workers=2,
        wait=False,
    )
    server.wait_event("importing", count=2)
    holds_for(lambda: not manager.states(), 0.3, "nothing is told while workers boot")
    assert "STATUS=0 of 2 workers ready" in manager.heard()
    (server.directory / "go").write_text("go")
    manager.wait(["READY"])
    assert f"MAINPID={server.pid}" in manager.heard()
    wait_for(lambda: "STATUS=2 of 2 workers ready" in manager.heard(), 10, "both to be ready")
    assert server.stop() == 0
    assert manager.states() == ["READY", "STOPPING"]


@pytest.mark.parametrize("preload", [False, True], ids=["plain", "preload"])
def test_reloads_are_told_however_they_end(manager: Manager, serve: Serve, preload: bool) -> None:
    site = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return []\n"
    server = serve(
        "site_app:app",
        *(["--preload"] if preload else []),
        files={"site_app.py": site},
        config="workers = 1\n",
        env={"NOTIFY_SOCKET": str(manager.path)},
    )
    server.allow_log("Reload failed|does not boot|failed to boot|exited with code|Invalid value")
    manager.wait(["READY"])
    server.send_signal(signal.SIGHUP)
    manager.wait(["READY", "RELOADING", "READY"])
    began = next(line for line in manager.heard() if line.startswith("MONOTONIC_USEC="))
    assert abs(int(began.partition("=")[2]) / 1e6 - time.monotonic()) < 60
    # Code that does not boot.
    (server.directory / "site_app.py").write_text("raise ValueError('broken')\n")
    server.send_signal(signal.SIGHUP)
    manager.wait(["READY", *["RELOADING", "READY"] * 2])
    server.wait_log("Reload failed")
    # A configuration that cannot be read.
    (server.directory / "conf.py").write_text("workers = 'many'\n")
    server.send_signal(signal.SIGHUP)
    manager.wait(["READY", *["RELOADING", "READY"] * 3])


def test_the_watchdog_hears_from_the_loop(manager: Manager, serve: Serve) -> None:
    server = serve(env={"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "400000"})

    def beats() -> int:
        return manager.heard().count("WATCHDOG=1")

    before = beats()
    wait_for(lambda: beats() >= before + 3, 5, "three beats")
    os.kill(server.pid, signal.SIGSTOP)
    stopped = beats()
    holds_for(lambda: beats() == stopped, 1.0, "a stopped master does not beat")
    os.kill(server.pid, signal.SIGCONT)
    wait_for(lambda: beats() > stopped, 5, "beats again")


def test_a_manager_that_is_gone_is_told_once(serve: Serve, tmp_path: Path) -> None:
    server = serve(env={"NOTIFY_SOCKET": str(tmp_path / "nobody"), "WATCHDOG_USEC": "100000"})
    server.expect_log("Cannot notify the service manager at NOTIFY_SOCKET: No such file")
    holds_for(lambda: server.log.count("Cannot notify") == 1, 0.5, "one line")
    assert server.get().status == 200


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_handed_over_sockets_take_the_place_of_bind(
    serve: Serve, tmp_path: Path, kind: str
) -> None:
    """They are served, `bind` is not, and a unix socket's file stays: it is the manager's."""
    unused = free_port()
    if kind == "tcp":
        listener = socket.create_server(("127.0.0.1", 0))
        address = listener.getsockname()
    else:
        listener = socket.socket(socket.AF_UNIX)
        address = str(tmp_path / "socket")
        listener.bind(address)
        listener.listen()
    with listener:
        listener.set_inheritable(True)
        server = serve(
            "probes:app",
            "--bind",
            f"127.0.0.1:{unused}",
            bind="",
            address=address,
            workers=2,
            pass_fds=[listener.fileno()],
            program=[sys.executable, "-c", ACTIVATE, str(listener.fileno()), *command()],
        )
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", unused)).close()
        assert server.get().status == 200
        before = server.workers()
        server.send_signal(signal.SIGHUP)
        server.wait_log("Reload complete")
        wait_for(lambda: not set(before) & set(server.workers()), 10, "the old workers to end")
        assert server.get().status == 200
        assert server.stop() == 0
        server.address = ("127.0.0.1", unused)  # the gate looks at what must be free
        if kind == "unix":
            assert Path(address).exists()
        # The manager's socket lives on: who comes now waits for the next start.
        client = socket.socket(listener.family)
        with client:
            client.connect(address)


def test_nonsense_from_the_manager_is_one_line(serve: Serve) -> None:
    server = serve(env={"WATCHDOG_USEC": "soon"}, wait=False)
    server.expect_exit(1)
    server.expect_log("WATCHDOG_USEC is no number")
    assert server.wait_exit() == 1
    assert "WATCHDOG_USEC" in server.stderr
    assert "Traceback" not in server.stderr
