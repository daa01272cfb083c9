"""Large things over TLS, in both directions, and clients that are slow."""

import hashlib
import random
import socket
from pathlib import Path

import pytest

from support.client import Closed, Connection, Truncated, chunked, format_request
from support.processes import memory
from support.serving import Serve
from support.tls import HOST, Authority
from support.waiting import holds_for

MIB = 1024 * 1024
MODES = pytest.mark.parametrize("options", [[], ["--threads", "4"]], ids=["sync", "threads"])

IDLE = 1000


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@MODES
def test_uploads(serve: Serve, authority: Authority, options: list[str]) -> None:
    """Bodies of all sizes around records and buffers, with a length and in chunks."""
    server = authority.serve(serve, "secure:app", authority.pair("server"), *options)
    dice = random.Random(1)
    with server.connect(30.0) as connection:
        for size in (0, 1, 16_383, 16_384, 16_385, 65_536, 262_145, 5 * MIB + 3, 40 * MIB):
            body = dice.randbytes(size)
            expected = f"{size} {hashlib.sha256(body).hexdigest()}"
            assert connection.request("POST", "/digest", body=body).text == expected
            if size > 16 * MIB:
                continue
            pieces = [body[start : start + 30_000] for start in range(0, size, 30_000)]
            head = format_request("POST", "/digest", [("Transfer-Encoding", "chunked")])
            connection.send(head + chunked(pieces))
            assert connection.read_response().text == expected


@MODES
def test_downloads(serve: Serve, authority: Authority, options: list[str], tmp_path: Path) -> None:
    """A file, a list of many chunks, a generator: whole, and the connection goes on."""
    content = random.Random(2).randbytes(20 * MIB + 11)
    (tmp_path / "large.bin").write_bytes(content)
    server = authority.serve(serve, "secure:app", authority.pair("server"), *options)
    with server.connect(30.0) as connection:
        for _ in range(2):
            assert connection.request(target=f"/file?{tmp_path}/large.bin").body == content
            expected = b"".join(bytes([65 + n % 26]) * 50_000 for n in range(100))
            assert connection.request(target="/list").body == expected
            expected = b"".join(bytes([65 + n % 26]) * 10_000 for n in range(500))
            assert connection.request(target="/stream").body == expected


@pytest.mark.parametrize("kind", ["file", "list", "stream"])
def test_slow_readers(serve: Serve, authority: Authority, tmp_path: Path, kind: str) -> None:
    """A client that takes its time gets all of it, and keeps nobody waiting."""
    content = random.Random(3).randbytes(5_000_000)
    (tmp_path / "large.bin").write_bytes(content)
    target = f"/file?{tmp_path}/large.bin" if kind == "file" else f"/{kind}"
    server = authority.serve(serve, "secure:app", authority.pair("server"))
    with server.connect(30.0, receive_buffer=4096) as connection:
        connection.send(format_request("GET", target))
        for _ in range(20):
            connection.receive()
            assert server.get().status == 200
        body = connection.read_response().body
        assert len(body) == 5_000_000
        assert kind != "file" or body == content
        assert connection.request().status == 200


def test_a_reader_that_stops_is_cut(serve: Serve, authority: Authority) -> None:
    """Nothing is read for `write_timeout`: a reset, so that the part is not taken for the whole."""
    server = authority.serve(serve, "secure:app", authority.pair("server"), "--write-timeout", "1")
    with server.connect(30.0, receive_buffer=4096) as connection:
        connection.send(format_request("GET", "/list"))
        server.wait_log("has stopped reading its response")
        with pytest.raises((Closed, Truncated)):
            connection.read_response()


def test_readers_that_stop_cost_no_memory(serve: Serve, authority: Authority) -> None:
    """Many clients that do not read hold a batch of records each, not their responses."""
    server = authority.serve(serve, "secure:app", authority.pair("server"))
    (worker,) = server.workers()
    before = memory(worker)
    connections = [server.connect(30.0, receive_buffer=4096) for _ in range(50)]
    try:
        for connection in connections:
            connection.send(format_request("GET", "/list"))
        assert server.get().status == 200
        holds_for(lambda: memory(worker) - before < 60 * MIB, 1.0, "memory to stay low")
    finally:
        for connection in connections:
            connection.close()


@pytest.mark.alone
def test_idle_connections_are_cheap(serve: Serve, authority: Authority) -> None:
    """A thousand kept TLS connections on one worker, and what each costs."""
    server = authority.serve(
        serve, "secure:app", authority.pair("server"), "--worker-connections", "2000"
    )
    (worker,) = server.workers()
    before = memory(worker)
    connections: list[Connection] = []
    try:
        for _ in range(IDLE):
            connections.append(server.connect(30.0))
            assert connections[-1].request().status == 200
        each = (memory(worker) - before) / IDLE
        print(f"an idle TLS connection costs {each / 1024:.1f} KiB")
        assert each < 24 * 1024
        for connection in connections[:50]:
            assert connection.request().status == 200
    finally:
        for connection in connections:
            connection.close()


def test_what_follows_a_body_at_once_is_not_lost(serve: Serve, authority: Authority) -> None:
    """Requests that share records and reads with the end of a large body."""
    server = authority.serve(serve, "secure:app", authority.pair("server"))
    with server.connect(30.0) as connection:
        for _ in range(5):
            body = b"z" * 100_000
            request = format_request("POST", "/digest", body=body)
            connection.send(request * 3 + format_request("GET", "/peer"))
            for _ in range(3):
                assert connection.read_response().text.startswith("100000 ")
            assert connection.read_response().status == 200


def test_a_half_closed_client_gets_its_answers(serve: Serve, authority: Authority) -> None:
    """All requests are there, and the client has said its last: it is answered in order."""
    server = authority.serve(serve, "mirror:app", authority.pair("server"))
    host, port = server.address
    with socket.create_connection((host, port), 10.0) as raw:
        sock = authority.context().wrap_socket(raw, server_hostname=HOST)
        sock.sendall(b"".join(format_request("GET", f"/{n}") for n in range(5)))
        raw_socket = socket.socket(fileno=socket.dup(sock.fileno()))
        with raw_socket:
            raw_socket.shutdown(socket.SHUT_WR)
        received = b""
        while data := sock.recv(65536):
            received += data
        assert received.count(b"HTTP/1.1 200 OK") == 5
