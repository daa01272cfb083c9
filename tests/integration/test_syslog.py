"""Logs that go to a syslog, one that takes them, and one that does not."""

import re
import socket
from pathlib import Path

import pytest

from monoceros.logging.syslog import LONGEST_PAUSE
from support.daemons import BOUND, Daemon
from support.ports import free_port
from support.serving import Serve
from support.waiting import wait_for

#: Facility local3 (19): informational records and errors.
INFO, ERROR = 19 * 8 + 6, 19 * 8 + 3

KINDS = ["udp", "udp6", "tcp", "unix", "unix#dgram", "unix#stream"]


def daemon_of(kind: str, directory: Path) -> tuple[Daemon, str]:
    """A syslog of this kind, and the setting that leads to it."""
    if kind.startswith("unix"):
        path = str(directory / "log.sock")
        stream = kind.endswith("#stream")
        daemon = Daemon(path, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
        return daemon, f"unix://{path}{kind.removeprefix('unix')}"
    if kind == "udp6":
        daemon = Daemon(("::1", free_port()), socket.SOCK_DGRAM)
        return daemon, f"udp://[::1]:{daemon.port}"
    daemon = Daemon(
        ("127.0.0.1", free_port()), socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM
    )
    return daemon, f"{kind}://127.0.0.1:{daemon.port}"


@pytest.mark.parametrize("kind", KINDS)
def test_both_logs_go_to_syslog(serve: Serve, tmp_path: Path, kind: str) -> None:
    """From master and workers, under the program's name, and besides where they go otherwise."""
    daemon, address = daemon_of(kind, tmp_path)
    with daemon:
        server = serve(
            "probes:app",
            "--log-syslog",
            "--log-syslog-to",
            address,
            "--log-syslog-prefix",
            "shop",
            "--log-syslog-facility",
            "local3",
            workers=2,
            probe=None,
        )
        server.expect_log("Error handling request /fail")
        # A unix socket's queue is short: let what has been said arrive before the next.
        daemon.wait_for("Booting worker with pid: ", 2)
        assert server.get("/fail").status == 500
        daemon.wait_for('"GET /fail HTTP/1.1" 500')
        assert server.get("/pid?to=syslog").status == 200
        daemon.wait_for('"GET /pid?to=syslog HTTP/1.1" 200')
        server.stop()
        daemon.wait_for("Shutting down: Master")
        end = "\n" if kind == "tcp" else "\0"
        records = daemon.text.split(end)
    assert records.pop() == ""
    program = r"<%d>gunicorn\.shop\.%s: \[\d+\] %s"
    master = rf"<{INFO}>gunicorn\.shop\.error: \[{server.pid}\] Starting monoceros "
    assert any(re.match(master, record) for record in records)
    access = program % (INFO, "access", r'127\.0\.0\.1 - - \[.*"GET /pid\?to=syslog HTTP/1\.1" 200')
    assert any(re.match(access, record) for record in records)
    # The traceback is part of its record; a stream over the network keeps it in one line.
    failure = program % (ERROR, "error", "Error handling request /fail")
    [found] = [record for record in records if re.match(failure, record)]
    assert ("#012Traceback" if kind == "tcp" else "\nTraceback") in found
    assert all(re.match(r"<\d+>gunicorn\.shop\.(error|access): \[\d+\] ", r) for r in records)
    assert "Starting monoceros" in server.stderr


def test_the_program_is_named_after_the_app(serve: Serve, tmp_path: Path) -> None:
    """And the access log can be kept out."""
    daemon, address = daemon_of("udp", tmp_path)
    with daemon:
        config = (
            f"syslog = True\nsyslog_addr = {address!r}\ndisable_redirect_access_to_syslog = True"
        )
        server = serve("probes:app", config=config, probe=None)
        server.get("/pid")
        server.stop()
        text = daemon.wait_for("Shutting down: Master")
    assert f"<14>gunicorn.probes.app.error: [{server.pid}] Handling signal: term\0" in text
    assert ".access: " not in text


@pytest.mark.parametrize("kind", ["udp", "tcp", "unix"])
def test_a_syslog_that_is_away_stops_nobody(serve: Serve, tmp_path: Path, kind: str) -> None:
    """The server starts, answers, and says it once; a syslog that comes back gets records."""
    daemon, address = daemon_of(kind, tmp_path)
    daemon.close()
    server = serve("probes:app", "--log-syslog", "--log-syslog-to", address, probe=None)
    server.expect_log(f"syslog at {re.escape(address)} does not take records")
    for _ in range(20):
        assert server.get("/pid").status == 200
    # Each process has one line for the error log at most, and one for the access log.
    assert server.log.count("does not take records") <= 4
    back = Daemon(daemon.address, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    with back:
        # It is looked for again, after a pause at most.
        def told() -> bool:
            assert server.get("/pid?back").status == 200
            return "/pid?back HTTP" in back.text

        wait_for(told, LONGEST_PAUSE + BOUND, "records at the syslog that is back")
        server.stop()


@pytest.mark.parametrize("kind", ["tcp", "unix#stream", "unix#dgram"])
def test_a_syslog_that_reads_nothing_stops_nobody(serve: Serve, tmp_path: Path, kind: str) -> None:
    """Beyond what the kernel and a bounded queue hold, records are dropped, whole, and counted."""
    path = str(tmp_path / "slow.sock")
    family = socket.AF_INET if kind == "tcp" else socket.AF_UNIX
    stream = socket.SOCK_DGRAM if kind.endswith("dgram") else socket.SOCK_STREAM
    with socket.socket(family, stream) as slow:
        if kind == "tcp":
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.bind(("127.0.0.1", 0))
            address = f"tcp://127.0.0.1:{slow.getsockname()[1]}"
        else:
            slow.bind(path)
            address = f"unix://{path}{kind.removeprefix('unix')}"
        if stream is socket.SOCK_STREAM:
            slow.listen(4)
        server = serve("probes:app", "--log-syslog", "--log-syslog-to", address, probe=None)
        server.expect_log("does not take records: ")
        with server.connect() as connection:
            # Some MiB of records: more than any buffer on the way holds.
            long = "/pid?" + "x" * 4000
            for _ in range(3000):
                assert connection.request("GET", long).status == 200
                if "does not take records: " in server.log:
                    break
        server.stop()


def test_records_are_whole_after_a_restart_of_syslog(serve: Serve, tmp_path: Path) -> None:
    """A connection that ends is made again; no record arrives in part."""
    daemon, address = daemon_of("tcp", tmp_path)
    server = serve("probes:app", "--log-syslog", "--log-syslog-to", address, probe=None)
    server.allow_log("does not take records")
    with server.connect() as connection:
        connection.request("GET", "/pid?first")
        daemon.wait_for("/pid?first ")
        daemon.close()
        with Daemon(daemon.address, socket.SOCK_STREAM) as fresh:

            def told() -> bool:
                assert connection.request("GET", "/pid?second").status == 200
                return "/pid?second " in fresh.text

            wait_for(told, LONGEST_PAUSE + BOUND, "records at the new syslog")
            connection.close()
            server.stop()
            fresh.wait_for("Shutting down: Master")
            lines = fresh.text.split("\n")
    assert lines.pop() == ""
    assert all(re.match(r"<14>gunicorn\.probes\.app\.(error|access): \[\d+\] ", x) for x in lines)
