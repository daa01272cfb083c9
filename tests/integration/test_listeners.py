"""Where a server listens: TCP, IPv6, unix sockets, inherited descriptors, several at once."""

import signal
import socket
from pathlib import Path

import pytest

from support.client import Connection, get
from support.ports import free_port
from support.server import listen_on
from support.serving import Serve
from support.waiting import wait_for


def test_unix_socket(serve: Serve) -> None:
    server = serve(bind="unix:app.sock")
    with server.connect() as connection:
        for _ in range(5):
            assert connection.request().body == b"hello, world\n"
    assert "unix:" in server.log


def test_several_binds(serve: Serve) -> None:
    """TCP, another port and a unix socket at once, each served by every worker."""
    port = free_port()
    server = serve("probes:app", "-b", f"127.0.0.1:{port}", "-b", "unix:second.sock", workers=2)
    path = str(server.directory / "second.sock")
    server.other_addresses += [("127.0.0.1", port), path]
    for address in (server.address, ("127.0.0.1", port), path):
        for _ in range(5):
            assert get(address).body == b"hello, world\n"
    assert server.log.count("Listening at: ") >= 1


def test_ipv6(serve: Serve) -> None:
    if not Path("/proc/net/if_inet6").exists():
        pytest.skip("this kernel has no IPv6")
    port = free_port()
    server = serve(bind=f"[::1]:{port}", address=("::1", port))
    assert server.get().status == 200
    assert f"http://[::1]:{port}" in server.log


@pytest.mark.parametrize("extra", [False, True], ids=["alone", "beside-another"])
def test_inherited_descriptor(serve: Serve, extra: bool) -> None:
    """fd://N is served, and does not displace other binds."""
    address = ("127.0.0.1", free_port())
    sock = listen_on(address)
    try:
        options = []
        other = ("127.0.0.1", free_port())
        if extra:
            options = ["-b", f"127.0.0.1:{other[1]}"]
        server = serve(
            "probes:app",
            *options,
            bind=f"fd://{sock.fileno()}",
            address=address,
            pass_fds=[sock.fileno()],
        )
    finally:
        sock.close()
    assert server.get().body == b"hello, world\n"
    if extra:
        server.other_addresses.append(other)
        assert get(other).body == b"hello, world\n"


def test_stale_unix_socket_is_replaced(serve: Serve, tmp_path: Path) -> None:
    """What a server that was killed has left behind does not keep the next from starting."""
    path = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    assert path.exists()
    server = serve(bind=f"unix:{path}")
    assert server.get().status == 200


def test_living_unix_socket_is_not_stolen(serve: Serve, tmp_path: Path) -> None:
    """A second server on the same path does not start, and the first goes on."""
    path = tmp_path / "taken.sock"
    first = serve(bind=f"unix:{path}")
    second = serve(bind=f"unix:{path}", wait=False)
    second.expect_log(r"taken\.sock")
    second.expect_exit(1)
    # The path is the first server's: it is there while that one runs.
    second.address = ("127.0.0.1", free_port())
    assert second.wait_exit(10.0) == 1
    assert first.get().status == 200


def test_backlog_keeps_connections_while_workers_boot(serve: Serve) -> None:
    """The port is open at once; who comes before a worker is ready waits and is served."""
    app = "import time\ntime.sleep(1.5)\nfrom probes import app\n"
    server = serve("own:app", files={"own.py": app}, wait=False)
    server.wait_listening()
    connections = [Connection(server.address) for _ in range(20)]
    try:
        for connection in connections:
            connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        for connection in connections:
            assert connection.read_response().status == 200
    finally:
        for connection in connections:
            connection.close()


def test_connections_spread_over_workers(serve: Serve) -> None:
    """Idle workers take turns: of forty connections over four workers none gets half."""
    server = serve("probes:app", workers=4)
    server.wait_ready()

    def spread() -> dict[bytes, int]:
        counts: dict[bytes, int] = {}
        connections: list[Connection] = []
        try:
            for _ in range(40):
                connections.append(Connection(server.address))
                pid = connections[-1].request("GET", "/pid").body
                counts[pid] = counts.get(pid, 0) + 1
        finally:
            for connection in connections:
                connection.close()
        return counts

    # Workers know a moment after they are ready how many they are.
    wait_for(lambda: len(spread()) == 4, 5.0, "all four workers to take part")
    counts = spread()
    assert len(counts) == 4 and max(counts.values()) < 20, counts


def test_binds_change_on_reload(serve: Serve) -> None:
    """A changed bind is opened, the old one closed, without a restart."""
    first, second = free_port(), free_port()
    server = serve(config=f"bind = '127.0.0.1:{first}'\n", bind="", address=("127.0.0.1", first))
    (server.directory / "conf.py").write_text(f"bind = '127.0.0.1:{second}'\n")
    server.send_signal(signal.SIGHUP)
    server.other_addresses.append(("127.0.0.1", second))

    def moved() -> bool:
        try:
            get(("127.0.0.1", second))
        except OSError:
            return False
        try:
            get(("127.0.0.1", first))
        except OSError:
            return True
        return False

    wait_for(moved, 10.0, "the server to have moved")


def test_wildcard_and_name(serve: Serve) -> None:
    """:PORT is every address, localhost is a name."""
    for bind in (":{}", "localhost:{}", "0.0.0.0:{}"):
        port = free_port()
        server = serve(bind=bind.format(port), address=("127.0.0.1", port))
        assert server.get().status == 200
