"""Ways to stop, and what becomes of requests and connections."""

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from support.client import Closed, format_request
from support.server import Concurrent, Server
from support.serving import Serve
from support.waiting import wait_for

QUEUED = 6

KINDS = pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["plain", "preload"])


@pytest.mark.parametrize("options", [[], ["--threads", "2"]], ids=["sync", "threads"])
def test_queued_requests_are_answered(serve: Serve, options: list[str]) -> None:
    """Six 1 s requests on one worker: one runs, the others wait in the kernel; all are answered."""
    server = serve("probes:app", *options)
    requests = Concurrent(server.address, ["/sleep?seconds=1"] * QUEUED)
    server.wait_event("sleeping")
    wait_for(lambda: _connections_to(server) >= QUEUED, 5.0, "all to be connected")
    server.send_signal(signal.SIGTERM)
    assert requests.statuses() == [200] * QUEUED
    assert server.wait_exit() == 0


def _connections_to(server: Server) -> int:
    """Established TCP connections on the server's port, accepted or not."""
    port = f":{server.address[1]:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    return sum(row[1].endswith(port) and row[3] == "01" for row in rows)


@KINDS
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_idle_server_stops_quickly(
    serve: Serve, number: signal.Signals, preload: list[str]
) -> None:
    """With nothing to do it is gone in no time, and says that it goes."""
    server = serve("probes:app", *preload, workers=2)
    started = time.monotonic()
    assert server.stop(number) == 0
    assert time.monotonic() - started < 2.0
    assert "Shutting down: Master" in server.log
    assert server.log.count("Worker exiting (pid: ") == 2


@pytest.mark.parametrize("options", [[], ["--threads", "2"]], ids=["sync", "threads"])
def test_idle_connections_do_not_hold_a_stop(serve: Serve, options: list[str]) -> None:
    """Kept connections and half-sent heads of nobody in particular end with the server."""
    server = serve("probes:app", *options)
    connections = [server.connect() for _ in range(10)]
    for connection in connections[:5]:
        connection.request()
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < 5.0
    for connection in connections:
        connection.wait_closed(1.0)
        connection.close()


def test_kept_connections_hear_of_a_stop(serve: Serve) -> None:
    """A request that arrives while the server drains is answered with `Connection: close`."""
    server = serve("probes:app", "--threads", "2")
    with server.connect() as kept, server.connect() as running:
        kept.request()
        running.send(format_request(target="/sleep?seconds=1.5"))
        server.wait_event("sleeping")
        server.send_signal(signal.SIGTERM)
        server.wait_log("Handling signal: term")

        def is_told() -> bool:
            """The worker hears of the stop a moment after the master."""
            response = kept.request()
            assert response.status == 200
            return response.get("Connection") == "close"

        # Closed while idle, before our request: allowed, as long as it was not reset.
        with contextlib.suppress(Closed):
            wait_for(is_told, 1.0, "an answer with Connection: close")
        assert running.read_response().body == b"slept\n"
    assert server.wait_exit() == 0


def test_new_connections_are_refused_after_the_stop(serve: Serve) -> None:
    """Once it drains and the backlog is empty, a new connection is refused, not left waiting."""
    server = serve("probes:app", "--threads", "2")
    running = Concurrent(server.address, ["/sleep?seconds=1.5"])
    server.wait_event("sleeping")
    server.send_signal(signal.SIGTERM)

    def refused() -> bool:
        try:
            server.connect().close()
        except ConnectionRefusedError:
            return True
        return False

    wait_for(refused, 1.2, "new connections to be refused while the last request runs")
    assert running.statuses() == [200]
    assert server.wait_exit() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("options", [[], ["--threads", "2"]], ids=["sync", "threads"])
def test_quick_stop_does_not_wait_for_requests(
    serve: Serve, options: list[str], number: signal.Signals
) -> None:
    """A running request is cut: its client sees that it got no (whole) answer."""
    server = serve("probes:app", *options)
    server.allow_log(r".")
    running = Concurrent(server.address, ["/sleep?seconds=20"])
    server.wait_event("sleeping")
    started = time.monotonic()
    assert server.stop(number) == 0
    assert time.monotonic() - started < 5.0
    [result] = running.statuses()
    assert result != 200


def test_graceful_timeout_cuts_and_tells(serve: Serve) -> None:
    """What still runs after `graceful_timeout` is cut, and the log names it."""
    server = serve("probes:app", "--graceful-timeout", "1")
    server.expect_log("/sleep")
    server.allow_log(r".")
    running = Concurrent(server.address, ["/sleep?seconds=20"])
    server.wait_event("sleeping")
    started = time.monotonic()
    assert server.stop() == 0
    assert 0.8 < time.monotonic() - started < 6.0
    assert running.statuses() != [200]


def test_second_term_makes_it_quick(serve: Serve) -> None:
    server = serve("probes:app", "--graceful-timeout", "30")
    server.allow_log(r".")
    running = Concurrent(server.address, ["/sleep?seconds=20"])
    server.wait_event("sleeping")
    server.send_signal(signal.SIGTERM)
    server.wait_log("Handling signal: term")
    started = time.monotonic()
    server.send_signal(signal.SIGINT)
    assert server.wait_exit() == 0
    assert time.monotonic() - started < 5.0
    running.wait()


@KINDS
@pytest.mark.parametrize("busy", [None, "/sleep?seconds=30", "/stuck"], ids=str)
def test_master_killed(serve: Serve, preload: list[str], busy: str | None) -> None:
    """SIGKILL of the master: workers and mold are gone within 2 s, whatever they do."""
    app = """
import ctypes
import probes
from events import note

def app(environ, start_response):
    if environ["PATH_INFO"] == "/stuck":
        note("sleeping")
        mutex = ctypes.create_string_buffer(128)
        holding = ctypes.PyDLL(None)
        holding.pthread_mutex_lock(mutex)
        holding.pthread_mutex_lock(mutex)
    return probes.app(environ, start_response)
"""
    server = serve("own:app", *preload, "--timeout", "0", workers=2, files={"own.py": app})
    server.expect_exit(-signal.SIGKILL)
    assert len(server.molds()) == len(preload)
    requests = Concurrent(server.address, [busy]) if busy else None
    if busy:
        server.wait_event("sleeping")
    os.kill(server.pid, signal.SIGKILL)
    wait_for(lambda: not server.family(), 2.0, "the family to be gone")
    if requests:
        requests.wait()


def test_signals_in_one_go(serve: Serve) -> None:
    """USR1, HUP and TERM in one go do not confuse the master."""
    server = serve("probes:app", workers=2)
    for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGTTIN, signal.SIGTERM):
        server.send_signal(number)
    assert server.wait_exit() == 0
