"""The control socket: where it is, whose it is, and who may hold it up (nobody)."""

import contextlib
import fcntl
import json
import os
import signal
import socket
import stat
import struct
from pathlib import Path

import pytest

from monoceros.arbiter.control import CLIENTS_MOST
from monoceros.control.client import ControlClient, ControlClientError
from monoceros.control.frames import ANSWER_LIMIT, REQUEST_LIMIT, encode
from support import processes
from support.control import ask, command, query, run, socket_of
from support.server import START_BOUND, Server
from support.serving import Serve
from support.waiting import wait_for


def pid_at(path: Path) -> int:
    """The pid of the master that answers there."""
    with ControlClient(str(path)) as client:
        pid = client.send_command("show stats")["pid"]
    assert isinstance(pid, int)
    return pid


def wait_master(path: Path, pid: int) -> None:
    """Until this master answers there; nobody may in between."""

    def answers() -> bool:
        try:
            return pid_at(path) == pid
        except ControlClientError:
            return False

    wait_for(answers, START_BOUND, f"the master {pid} to answer at {path}")


def connect(server: Server) -> socket.socket:
    """Waits for room in the queue, which a socket with a time-out would not."""
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(socket_of(server)))
    sock.settimeout(START_BOUND)
    return sock


def receive(sock: socket.socket) -> dict[str, object]:
    """One answer."""
    (length,) = struct.unpack(">I", exactly(sock, 4))
    answer: dict[str, object] = json.loads(exactly(sock, length))
    return answer


def exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        assert more, "the server has hung up"
        data += more
    return data


def assert_hung_up(sock: socket.socket) -> None:
    with contextlib.suppress(ConnectionResetError):
        while sock.recv(4096):
            pass


# Where and whose.


@pytest.mark.parametrize(("given", "mode"), [(None, 0o600), ("0660", 0o660)])
def test_whose_it_is(serve: Serve, given: str | None, mode: int) -> None:
    """Permissions as the configuration says; a missing folder is made for its owner alone."""
    options = ["--control-socket-mode", given] if given else []
    server = serve("probes:app", "--control-socket", "made/for/it/site.ctl", *options)
    path = socket_of(server, "made/for/it/site.ctl")
    server.wait_log(f"[INFO] Control socket listening at {path}\n")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.stat().st_uid == os.geteuid()
    for folder in list(path.parents)[:3]:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert pid_at(path) == server.pid
    assert not (server.directory / "gunicorn.ctl").exists()


def test_without_a_runtime_folder_it_is_in_the_home(serve: Serve, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    server = serve(env={"HOME": str(home), "XDG_RUNTIME_DIR": str(tmp_path / "none")})
    path = home / ".gunicorn" / "gunicorn.ctl"
    wait_master(path, server.pid)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    done = run("-c", "show stats", "-j", "-s", str(path), home=tmp_path)
    assert json.loads(done.output)["pid"] == server.pid
    assert server.stop() == 0
    assert list(path.parent.iterdir()) == []


def test_none_is_wanted(serve: Serve) -> None:
    server = serve("probes:app", "--no-control-socket")
    assert "Control socket" not in server.log
    assert not list(server.directory.glob("*.ctl"))


def test_a_check_makes_none(serve: Serve) -> None:
    server = serve("probes:app", "--check-config", wait=False)
    assert server.wait_exit() == 0
    assert not list(server.directory.glob("*.ctl"))


def test_a_long_path(serve: Serve) -> None:
    """Longer than the kernel takes: 107 bytes."""
    name = "/".join(["folder" * 10] * 3) + "/site.ctl"
    server = serve("probes:app", "--control-socket", name)
    path = socket_of(server, name)
    assert len(str(path)) > 180
    done = run("-s", name, "-c", "show stats", "-j", home=server.directory)
    assert json.loads(done.output)["pid"] == server.pid
    assert server.stop() == 0
    assert not path.exists()


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("file", "a file that is no socket is there"),
        ("file/below.ctl", "Not a directory"),
        ("n" * 200, "AF_UNIX path too long|File name too long"),
        ("/proc/nowhere/site.ctl", "No such file or directory"),
        ("/proc/self/\udcff", "No such file or directory|Operation not permitted"),
    ],
)
def test_where_none_can_be_had_the_server_runs_without(
    serve: Serve, place: str, reason: str
) -> None:
    server = serve("probes:app", "--control-socket", place, files={"file": "precious"})
    server.expect_log(f"Cannot have a control socket at .*({reason}).*This server runs without one")
    server.wait_log("Cannot have a control socket")
    assert server.get().status == 200
    assert (server.directory / "file").read_text() == "precious"
    # It is told once, and not in every turn of the loop.
    server.send_signal(signal.SIGUSR1)
    server.wait_log("Handling signal: usr1")
    assert server.log.count("Cannot have a control socket") == 1


def test_a_path_that_is_none(serve: Serve) -> None:
    server = serve(config=r"control_socket = 'a\0b'")
    server.expect_log("Cannot have a control socket at .*: embedded null byte. This server runs")
    (server.directory / "conf.py").write_text("control_socket = ''")
    server.send_signal(signal.SIGHUP)
    server.expect_log("There is no place for a control socket")
    server.wait_log("Reload complete")
    assert server.get().status == 200


# Several servers.


def test_a_second_server_leaves_the_first_ones(serve: Serve, tmp_path: Path) -> None:
    """The same user, the same path: each server's end leaves the other's socket alone."""
    home = {"XDG_RUNTIME_DIR": str(tmp_path)}
    path = tmp_path / "gunicorn.ctl"
    first = serve(env=home)
    wait_master(path, first.pid)
    second = serve(env=home)
    second.wait_log(
        f"[INFO] Another server has the control socket {path}. This server runs without one: set "
        "--control-socket PATH to give it its own\n"
    )
    assert pid_at(path) == first.pid
    assert second.stop() == 0
    assert pid_at(path) == first.pid
    third = serve("probes:app", "--control-socket", "third.ctl", env=home)
    assert pid_at(socket_of(third, "third.ctl")) == third.pid
    assert first.stop() == 0
    assert not path.exists()


def test_the_socket_of_a_dead_master_is_replaced(serve: Serve, tmp_path: Path) -> None:
    home = {"XDG_RUNTIME_DIR": str(tmp_path)}
    path = tmp_path / "gunicorn.ctl"
    first = serve(env=home)
    wait_master(path, first.pid)
    first.expect_exit(-signal.SIGKILL)
    first.send_signal(signal.SIGKILL)
    first.wait_exit()
    assert path.is_socket()
    second = serve(env=home)
    second.wait_log(f"Control socket listening at {path}")
    assert pid_at(path) == second.pid


def test_servers_take_turns_at_a_folder(serve: Serve, tmp_path: Path) -> None:
    """While one looks at the folder another one waits; it goes on with its work meanwhile."""
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        server = serve(env={"XDG_RUNTIME_DIR": str(tmp_path)})
        server.allow_log("another process holds a lock")
        assert server.get().status == 200
        assert not (tmp_path / "gunicorn.ctl").exists()
    finally:
        os.close(descriptor)
    if "another process holds a lock" in server.log:
        server.send_signal(signal.SIGHUP)
    wait_for((tmp_path / "gunicorn.ctl").exists, START_BOUND, "its turn")


def test_a_folder_that_stays_locked(serve: Serve, tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        server = serve(env={"XDG_RUNTIME_DIR": str(tmp_path)})
        server.expect_log(f"another process holds a lock on {tmp_path} for 5 s already")
        server.wait_log("another process holds a lock", START_BOUND)
    finally:
        os.close(descriptor)
    server.send_signal(signal.SIGHUP)
    server.wait_log(f"Control socket listening at {tmp_path}", START_BOUND)


def test_a_file_that_is_not_ours_stays(serve: Serve) -> None:
    server = serve()
    path = socket_of(server)
    path.unlink()
    path.write_text("somebody else's")
    assert server.stop() == 0
    assert path.read_text() == "somebody else's"


def test_an_upgrade(serve: Serve) -> None:
    """Both masters can be spoken to, and the one that stays has the name in the end."""
    server = serve()
    path = socket_of(server)
    old = server.pid
    server.send_signal(signal.SIGUSR2)
    server.wait_log("answers requests", 30)
    new = pid_at(socket_of(server, "gunicorn.ctl.2"))
    assert new != old
    assert pid_at(path) == old
    assert query(server, "shutdown") == {"status": "shutting_down", "mode": "graceful"}
    server.succeeded_by(new)
    wait_master(path, new)
    assert not (server.directory / "gunicorn.ctl.2").exists()
    assert ask(server, "show stats")["pid"] == new


def test_an_upgrade_that_is_taken_back(serve: Serve) -> None:
    server = serve()
    path = socket_of(server)
    server.send_signal(signal.SIGUSR2)
    server.wait_log("answers requests", 30)
    done = run("-s", "gunicorn.ctl.2", "-c", "shutdown", home=server.directory)
    assert done.status == 0
    server.wait_log("goes on serving")
    assert not (server.directory / "gunicorn.ctl.2").exists()
    assert pid_at(path) == server.pid


def test_a_reload_moves_it(serve: Serve) -> None:
    """Who is connected stays so; a place that cannot be had changes nothing; a reload brings back
    a file that was removed."""
    server = serve(config="control_socket = 'one.ctl'")
    one, two = socket_of(server, "one.ctl"), server.directory / "two.ctl"
    conf = server.directory / "conf.py"
    with ControlClient(str(one), START_BOUND) as client:
        conf.write_text("control_socket = 'two.ctl'\ncontrol_socket_mode = 0o640")
        client.send_command("reload")
        wait_for(two.exists, START_BOUND, "the new place")
        wait_for(lambda: not one.exists(), START_BOUND, "the old place to be left")
        assert client.send_command("show config")["control_socket"] == "two.ctl"
    assert stat.S_IMODE(two.stat().st_mode) == 0o640
    server.wait_log("Reload complete")
    conf.write_text("control_socket = '/proc/nowhere/site.ctl'")
    server.send_signal(signal.SIGHUP)
    server.expect_log(f"Cannot have a control socket .* This server keeps {two}")
    server.wait_log("Reload complete", count=2)
    assert pid_at(two) == server.pid
    conf.write_text("control_socket = 'two.ctl'")
    two.unlink()
    server.send_signal(signal.SIGHUP)
    server.wait_log("Reload complete", count=3)
    wait_master(two, server.pid)
    conf.write_text("control_socket_disable = True")
    server.send_signal(signal.SIGHUP)
    wait_for(lambda: not two.exists(), START_BOUND, "the socket's end")
    server.wait_log("Reload complete", count=4)


# Clients of all kinds.


def test_children_have_no_part_in_it(serve: Serve) -> None:
    """Neither the socket nor a client's connection is open in a worker or a mold."""
    server = serve("probes:app", "--preload", workers=2)
    with connect(server) as client:
        client.sendall(encode({"id": 1, "command": "worker add"}))
        assert receive(client)["status"] == "ok"
        server.wait_ready(3)
        names = ours(server)
        assert len(names) == 2
        for pid in [*server.workers(), *server.molds()]:
            assert not names & set(processes.descriptors(pid).values())


def ours(server: Server) -> set[str]:
    """The control socket and its clients, as the master's descriptors point at them."""
    lines = Path("/proc/net/unix").read_text().splitlines()
    inodes = {line.split()[6] for line in lines if line.endswith("gunicorn.ctl")}
    found = set(processes.descriptors(server.pid).values())
    return found & {f"socket:[{inode}]" for inode in inodes}


def test_silent_and_slow_clients_hold_nobody_up(serve: Serve) -> None:
    server = serve()
    with contextlib.ExitStack() as stack:
        for _ in range(CLIENTS_MOST * 2):
            stack.enter_context(connect(server))
        half = stack.enter_context(connect(server))
        half.sendall(encode({"id": 1, "command": "show all"})[:7])
        assert query(server, "show stats")["pid"] == server.pid
        server.send_signal(signal.SIGHUP)
        server.wait_log("Reload complete")
        assert ask(server, "show stats")["reloads"] == 1
        # Whoever has said the least goes first; one that is heard keeps its place.
        half.sendall(encode({"id": 1, "command": "show all"})[7:])
        assert receive(half)["status"] == "ok"


def test_a_client_that_does_not_read_is_not_read_from(serve: Serve) -> None:
    """What waits for it stays one answer, however much it asks."""
    server = serve()
    with connect(server) as deaf:
        deaf.setblocking(False)
        request = encode({"id": 1, "command": "show config"})
        asked = 0
        with contextlib.suppress(BlockingIOError):
            # Without a bound on what waits this would go on as long as there is memory.
            while asked < 100_000:
                assert deaf.send(request) == len(request)
                asked += 1
        assert asked < 100_000
        assert query(server, "show stats")["pid"] == server.pid
        server.send_signal(signal.SIGHUP)
        server.wait_log("Reload complete")
        deaf.settimeout(START_BOUND)
        for _ in range(asked):
            assert receive(deaf)["status"] == "ok"


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"nonsense", "the message is not JSON"),
        (b"\xff\xfe", "the message is not JSON"),
        (b"[" * 50_000, "the message is not JSON"),
        (b"[1]", "the message is no JSON object"),
        (b"{}", "Empty command"),
        (b'{"command": 7}', "`command` must be text and `args` a list"),
        (b'{"command": "help", "args": "x"}', "`command` must be text and `args` a list"),
        (b'{"id": [1], "command": "help"}', "`id` must be a number or text"),
    ],
    ids=str,
)
def test_garbage_in_a_frame(serve: Serve, payload: bytes, reason: str) -> None:
    """It is answered, and the connection goes on."""
    server = serve()
    with connect(server) as client:
        client.sendall(struct.pack(">I", len(payload)) + payload)
        assert receive(client) == {"id": None, "status": "error", "error": reason}
        client.sendall(encode({"id": "x", "command": "worker", "args": ["add", 1]}))
        answer = receive(client)
        assert (answer["id"], answer["status"]) == ("x", "ok")
    server.wait_ready(2)


@pytest.mark.parametrize("length", [REQUEST_LIMIT + 1, ANSWER_LIMIT, 2**32 - 1])
def test_an_oversized_frame(serve: Serve, length: int) -> None:
    """It is refused by its length, and the connection ends: nothing on it makes sense any more."""
    server = serve()
    with connect(server) as client:
        client.sendall(struct.pack(">I", length))
        answer = receive(client)
        assert answer["status"] == "error"
        assert f"a message of {length} bytes" in str(answer["error"])
        assert_hung_up(client)
    assert query(server, "show stats")["pid"] == server.pid


def test_the_largest_request_byte_by_byte(serve: Serve) -> None:
    server = serve()
    padding = "x" * (REQUEST_LIMIT - 60)
    request = encode({"id": 1, "command": "help", "padding": padding})
    with connect(server) as client:
        for byte in request[:20]:
            client.sendall(bytes([byte]))
        client.sendall(request[20:])
        assert receive(client)["status"] == "ok"


def test_many_requests_at_once(serve: Serve) -> None:
    server = serve()
    with connect(server) as client:
        client.sendall(b"".join(encode({"id": n, "command": "help"}) for n in range(50)))
        assert [receive(client)["id"] for _ in range(50)] == list(range(50))


def test_a_client_that_goes_in_between(serve: Serve) -> None:
    """The answer has nobody to go to; the server goes on."""
    server = serve()
    for _ in range(20):
        with connect(server) as client:
            client.sendall(encode({"id": 1, "command": "show config"}))
    assert command(server, "show stats").status == 0
