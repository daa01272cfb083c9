"""-D: into the background, and what the terminal hears before; WINCH, which only daemons follow."""

import os
import signal
import socket
from pathlib import Path

import pytest

from support.load import Load
from support.ports import free_port
from support.server import Server, listen_on
from support.serving import Serve
from support.waiting import holds_for, wait_for


def pid_in(server: Server, name: str = "master.pid") -> int:
    try:
        return int((server.directory / name).read_text())
    except (FileNotFoundError, ValueError):
        return 0


def start(serve: Serve, *options: str, **more: object) -> Server:
    """A daemon; its command has ended with 0."""
    server = serve(
        "probes:app",
        "--daemon",
        "--pid",
        "master.pid",
        "--error-logfile",
        "error.log",
        *options,
        wait=False,
        **more,  # type: ignore[arg-type]
    )
    server.error_log = server.directory / "error.log"
    assert server.wait_exit() == 0
    # It listens when its command has ended.
    with socket.socket(socket.AF_INET) as probe:
        assert isinstance(server.address, tuple)
        probe.connect(server.address)
    server.succeeded_by(pid_in(server))
    server.wait_ready()
    return server


@pytest.mark.parametrize("preload", [False, True], ids=["plain", "preload"])
def test_the_command_ends_when_the_daemon_listens(serve: Serve, preload: bool) -> None:
    server = start(serve, *["--preload"] * preload, workers=2)
    assert server.get().status == 200
    assert server.stdout == "" and server.stderr == ""
    assert os.getsid(server.pid) not in (server.pid, os.getsid(0)), "a session without a leader"
    for pid in (server.pid, *server.workers()):
        for number in (0, 1, 2):
            assert str(Path(f"/proc/{pid}/fd/{number}").readlink()) == os.devnull
    status = Path(f"/proc/{server.pid}/status").read_text()
    assert "Umask:\t0022" in status
    server.send_signal(signal.SIGHUP)
    server.wait_log("Reload complete")
    assert server.stop() == 0
    assert pid_in(server) == 0


def test_streams_can_be_kept(serve: Serve) -> None:
    config = "def when_ready(server):\n    print('ready is said', flush=True)\n"
    server = start(serve, "--enable-stdio-inheritance", config=config)
    wait_for(lambda: "ready is said" in server.stdout, 10, "the line")
    for pid in (server.pid, *server.workers()):
        assert str(Path(f"/proc/{pid}/fd/0").readlink()) == os.devnull
        assert Path(f"/proc/{pid}/fd/1").readlink().name == "stdout.log"


def test_what_keeps_it_from_listening_reaches_the_terminal(serve: Serve) -> None:
    port = free_port()
    with listen_on(("127.0.0.1", port)):
        server = serve(
            "probes:app",
            "-D",
            "--bind",
            f"127.0.0.1:{port}",
            bind="",
            address=("127.0.0.1", port),
            wait=False,
        )
        server.expect_exit(1)
        server.expect_log(f"Can't listen on 127.0.0.1:{port}: Address already in use")
        assert server.wait_exit() == 1
    server.address = ("127.0.0.1", free_port())


def test_with_a_log_file_the_terminal_is_told_to_look_there(serve: Serve) -> None:
    hook = "def on_starting(server):\n    raise SystemExit(7)\n"
    server = serve("probes:app", "-D", "--error-logfile", "log", config=hook, wait=False)
    server.expect_exit(7)
    server.expect_log("The daemon ended with status 7 before it listened; see its log.")
    assert server.wait_exit() == 7


def test_errors_of_the_configuration_are_told_as_ever(serve: Serve) -> None:
    server = serve("probes:app", "-D", "--workers", "-3", wait=False)
    server.expect_exit(1)
    server.expect_log("workers: must be 0 or more")
    server.allow_log("Error")
    assert server.wait_exit() == 1


def test_a_service_manager_is_warned_of(serve: Serve, tmp_path: Path) -> None:
    server = start(serve, env={"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    assert server.stderr.startswith("Warning: NOTIFY_SOCKET is set and so is daemon")
    server.allow_log("NOTIFY_SOCKET")


def test_winch_sends_the_workers_home_and_hup_brings_them_back(serve: Serve) -> None:
    server = start(serve, workers=2)
    before = server.workers()
    server.send_signal(signal.SIGWINCH)
    wait_for(lambda: not server.workers(), 20, "the workers to go")
    holds_for(lambda: not server.workers(), 0.5, "nobody comes back by himself")
    with server.connect(30.0) as waiting:
        waiting.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        server.send_signal(signal.SIGHUP)
        server.wait_ready(2)
        assert waiting.read_response().status == 200, "the kernel has kept it"
    assert not set(before) & set(server.workers())


def test_an_upgrade_with_winch_first(serve: Serve) -> None:
    """The way of the documentation: USR2, WINCH to the old one, look, then QUIT it or go back."""
    server = start(serve, workers=2)
    with (
        Load(server.address, clients=3, keep_alive=True, timeout=30.0) as kept,
        Load(server.address, clients=3, keep_alive=False, timeout=30.0) as new_ones,
    ):
        server.send_signal(signal.SIGUSR2)
        server.wait_log("answers requests", 20)
        new = pid_in(server, "master.pid.2")
        server.send_signal(signal.SIGWINCH)
        server.wait_workers(2)
        # Back: the old one's workers return, the new one goes.
        server.send_signal(signal.SIGHUP)
        server.wait_log("Reload complete")
        os.kill(new, signal.SIGTERM)
        server.wait_log("goes on serving")
        # And once more, all the way.
        server.send_signal(signal.SIGUSR2)
        server.wait_log("answers requests", 20, count=2)
        new = pid_in(server, "master.pid.2")
        server.send_signal(signal.SIGWINCH)
        server.wait_workers(2)
        server.send_signal(signal.SIGQUIT)
        wait_for(lambda: pid_in(server) == new, 20, "the new master's pid in the pidfile")
        server.succeeded_by(new)
    for load in (kept, new_ones):
        load.assert_no_loss(at_least=20)
    assert server.stderr == ""


def test_a_new_master_that_does_not_start_is_told_in_the_log(serve: Serve) -> None:
    """Its own words go nowhere else."""
    server = start(serve, config="workers = 1\n")
    (server.directory / "conf.py").write_text("workers = 'many'\n")
    server.expect_log("The upgrade failed.*Invalid value for workers: many")
    server.send_signal(signal.SIGUSR2)
    server.wait_log("The upgrade failed", 20)
    assert server.get().status == 200
