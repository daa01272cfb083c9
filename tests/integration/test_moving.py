"""Reload with another `bind`: nobody who has been connected is left without an answer."""

import signal
import socket
import threading

import pytest

from support.client import Address, Closed, Connection, Truncated
from support.load import Load
from support.ports import free_port
from support.server import Server, listen_on
from support.serving import Serve
from support.waiting import wait_for

#: Slow enough that somebody always waits in the kernel's queue.
APP = """
import time

def app(environ, start_response):
    time.sleep(0.02)
    start_response("200 OK", [])
    return [b"served"]
"""

PRELOAD = pytest.mark.parametrize("preload", [False, True], ids=["plain", "preload"])


class Visitors:
    """Clients that come again and again until nobody listens there any more."""

    def __init__(self, address: Address, count: int) -> None:
        self._address = address
        self.answered = 0
        self.faults: list[str] = []
        self._threads = [threading.Thread(target=self._visit, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _visit(self) -> None:
        while True:
            try:
                connection = Connection(self._address, 30.0)
            except (ConnectionRefusedError, FileNotFoundError):
                return
            with connection:
                try:
                    fields = [("Connection", "close")]
                    assert connection.request("GET", "/", fields).body == b"served"
                    self.answered += 1
                except (OSError, Closed, Truncated, AssertionError) as error:
                    self.faults.append(f"{type(error).__name__}: {error}")

    def wait(self) -> None:
        """Until the last one has been refused."""
        for thread in self._threads:
            thread.join(40.0)
            assert not thread.is_alive(), "a visitor is refused never"


def rebind(server: Server, *binds: str) -> None:
    (server.directory / "conf.py").write_text(f"bind = {list(binds)!r}\n")
    server.send_signal(signal.SIGHUP)


@PRELOAD
def test_a_connection_that_waits_at_the_old_address_is_answered(
    serve: Serve, preload: bool
) -> None:
    kept, first, second = (("127.0.0.1", free_port()) for _ in range(3))
    names = [f"{host}:{port}" for host, port in (kept, first, second)]
    server = serve(
        "site_app:app",
        *["--preload"] * preload,
        config=f"bind = {names[:2]!r}\n",
        bind="",
        address=kept,
        workers=2,
        files={"site_app.py": APP},
    )
    server.other_addresses += [first, second]
    visitors = Visitors(first, 12)
    with Load(kept, clients=2, keep_alive=True) as load:
        wait_for(lambda: visitors.answered >= 20, 20, "visitors")
        rebind(server, names[0], names[2])
        server.wait_log("Reload complete", 20)
        visitors.wait()
        with Connection(second) as connection:
            assert connection.request().body == b"served"
    assert not visitors.faults, (visitors.answered, visitors.faults[:5])
    load.assert_no_loss(at_least=10)


def test_a_unix_socket_moves_too(serve: Serve) -> None:
    server = serve(
        "site_app:app",
        config="bind = ['unix:first.sock']\n",
        bind="",
        address="placeholder",
        files={"site_app.py": APP},
        wait=False,
    )
    first, second = (str(server.directory / name) for name in ("first.sock", "second.sock"))
    server.address = first
    server.wait_ready()
    server.wait_answer()
    visitors = Visitors(first, 6)
    wait_for(lambda: visitors.answered >= 10, 20, "visitors")
    rebind(server, "unix:second.sock")
    server.wait_log("Reload complete", 20)
    visitors.wait()
    assert not visitors.faults, (visitors.answered, visitors.faults[:5])
    server.address = second
    assert server.get().body == b"served"
    with socket.socket(socket.AF_UNIX) as client, pytest.raises(FileNotFoundError):
        client.connect(first)


def test_a_busy_address_leaves_everything_as_it_was(serve: Serve) -> None:
    """Also the one that the same reload gives up; Gunicorn ends."""
    first, free, busy = (("127.0.0.1", free_port()) for _ in range(3))
    names = [f"{host}:{port}" for host, port in (first, free, busy)]
    server = serve(config=f"bind = {names[:1]!r}\n", bind="", address=first, workers=2)
    server.other_addresses += [free]
    server.expect_log(f"Reload failed, nothing has changed: Can't listen on {names[2]}")
    before = server.workers()
    with listen_on(busy), Load(first, clients=2, keep_alive=False) as load:
        rebind(server, names[1], names[2])
        server.wait_log("Reload failed", 20)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(free)
    load.assert_no_loss()
    assert server.workers() == before


def test_a_config_module_is_read_anew(serve: Serve) -> None:
    """python:MODULE, which Gunicorn reads once only."""
    server = serve(
        "probes:app", "--config", "python:settings", files={"settings.py": "workers = 1\n"}
    )
    (server.directory / "settings.py").write_text("workers = 2\n")
    server.send_signal(signal.SIGHUP)
    server.wait_ready(2)
    (server.directory / "settings.py").write_text("workers = 3\n")
    server.send_signal(signal.SIGHUP)
    server.wait_ready(3)
