"""What happens on one TLS connection: versions, ciphers, protocols, resumption, broken ends."""

import contextlib
import json
import signal
import socket
import ssl
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.client import (
    DELIVERIES,
    Connection,
    SecureAddress,
    connect,
    format_request,
)
from support.serving import Serve
from support.tls import HOST, Authority, Pair
from support.tools import need_tool
from support.waiting import wait_for

REQUEST = format_request("GET", "/")
STALLED = 500


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def pair(authority: Authority) -> Pair:
    return authority.pair("server")


def plain(address: object) -> tuple[str, int]:
    """The same address, without TLS."""
    host, port = address  # type: ignore[misc]
    return host, port


def context_for(authority: Authority, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = authority.context()
    context.minimum_version = context.maximum_version = version
    return context


def test_hooks_see_the_scheme(serve: Serve, authority: Authority, pair: Pair) -> None:
    hook = """
from events import note

def pre_request(worker, req):
    note("asked", scheme=req.scheme)
"""
    server = authority.serve(serve, "probes:app", pair, config=hook, probe=None)
    assert server.get().status == 200
    assert [event["scheme"] for event in server.events("asked")] == ["https"]


def test_versions_and_environ(serve: Serve, authority: Authority, pair: Pair) -> None:
    """TLS 1.3 and 1.2; the app sees https, and the log says it."""
    server = authority.serve(serve, "secure:app", pair)
    assert f"Listening at: https://127.0.0.1:{server.address[1]} (" in server.log
    for version, name in ((ssl.TLSVersion.TLSv1_3, "TLSv1.3"), (ssl.TLSVersion.TLSv1_2, "TLSv1.2")):
        address = SecureAddress.of(plain(server.address), context_for(authority, version), HOST)
        with Connection(address) as connection:
            assert isinstance(connection.sock, ssl.SSLSocket)
            assert connection.sock.version() == name
            seen = connection.request().body
            # Nobody asked for the client's certificate, so nothing is said of one.
            assert json.loads(seen) == {
                "wsgi.url_scheme": "https",
                "SERVER_PORT": str(address[1]),
            }
            peer = json.loads(connection.request(target="/peer").body)
            assert peer["version"] == name
            assert peer["certificate"] is None
            assert not peer["can send"]
            assert peer["address"] == list(connection.sock.getsockname())
            # Looking at gunicorn.socket has not cost the connection.
            assert connection.request().status == 200


def test_floor(serve: Serve, authority: Authority, pair: Pair) -> None:
    """`--ssl-version TLSv1_3` refuses TLS 1.2."""
    server = authority.serve(serve, "secure:app", pair, "--ssl-version", "TLSv1_3")
    context = context_for(authority, ssl.TLSVersion.TLSv1_2)
    with pytest.raises(ssl.SSLError, match=r"PROTOCOL_VERSION|version"):
        connect(SecureAddress.of(plain(server.address), context, HOST))
    assert server.get().status == 200


def test_old_versions_are_refused(serve: Serve, authority: Authority, pair: Pair) -> None:
    openssl = need_tool("openssl")
    server = authority.serve(serve, "secure:app", pair, "--ssl-version", "TLSv1")
    where = "{}:{}".format(*server.address)
    for version in ("-tls1", "-tls1_1"):
        result = subprocess.run(
            [openssl, "s_client", version, "-cipher", "ALL:@SECLEVEL=0", "-connect", where],
            input=b"",
            capture_output=True,
            timeout=20,
            check=False,
        )
        assert b"Cipher is (NONE)" in result.stdout


def test_ciphers(serve: Serve, authority: Authority, pair: Pair) -> None:
    """OpenSSL's names choose; what was not chosen is refused."""
    server = authority.serve(
        serve, "secure:app", pair, "--ciphers", "ECDHE+AES256:DHE-RSA-AES128-SHA:!aNULL"
    )
    context = context_for(authority, ssl.TLSVersion.TLSv1_2)
    with Connection(SecureAddress.of(plain(server.address), context, HOST)) as connection:
        assert isinstance(connection.sock, ssl.SSLSocket)
        assert "AES256-GCM" in connection.sock.cipher()[0]  # type: ignore[index]
        assert connection.request().status == 200
    context.set_ciphers("ECDHE+AES128")
    with pytest.raises(ssl.SSLError, match=r"HANDSHAKE_FAILURE|handshake failure"):
        connect(SecureAddress.of(plain(server.address), context, HOST))


def test_application_protocol(serve: Serve, authority: Authority, pair: Pair) -> None:
    """http/1.1 is chosen by ALPN; a client that offers only others is refused (RFC 7301, 3.2)."""
    server = authority.serve(serve, "secure:app", pair)
    context = authority.context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    address = SecureAddress.of(plain(server.address), context, HOST)
    with Connection(address) as connection:
        assert isinstance(connection.sock, ssl.SSLSocket)
        assert connection.sock.selected_alpn_protocol() == "http/1.1"
        assert json.loads(connection.request(target="/peer").body)["protocol"] == "http/1.1"
    context.set_alpn_protocols(["h2"])
    with pytest.raises(ssl.SSLError, match=r"NO_APPLICATION_PROTOCOL|no application protocol"):
        connect(address)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_resumption_across_workers(
    serve: Serve, authority: Authority, pair: Pair, version: ssl.TLSVersion
) -> None:
    """A session that one worker has begun is resumed by every other, also after a reload."""
    server = authority.serve(serve, "probes:app", pair, workers=3)
    context = context_for(authority, version)

    def visit(session: ssl.SSLSession | None) -> tuple[bool, str, ssl.SSLSession | None]:
        with socket.create_connection(plain(server.address), 10.0) as raw:
            sock = context.wrap_socket(raw, server_hostname=HOST, session=session)
            sock.sendall(format_request("GET", "/pid", [("Connection", "close")]))
            received = b""
            while data := sock.recv(65536):
                received += data
            return bool(sock.session_reused), received.rpartition(b"\r\n")[2].decode(), sock.session

    _, _, session = visit(None)
    assert session is not None

    def all_resume(count: int) -> set[str]:
        pids = set()
        for _ in range(100):
            reused, pid, _ = visit(session)
            assert reused
            pids.add(pid)
            if len(pids) == count:
                break
        return pids

    before = all_resume(3)
    assert len(before) == 3
    server.send_signal(signal.SIGHUP)
    server.wait_log("Reload complete", 20.0)
    assert not all_resume(3) & before


def test_plain_http_on_a_tls_port(serve: Serve, authority: Authority, pair: Pair) -> None:
    """400 that the client can read; nothing above DEBUG in the log."""
    server = authority.serve(serve, "secure:app", pair, "--log-level", "debug")
    with Connection(plain(server.address)) as connection:
        response = connection.request()
        assert response.status == 400
        assert response.closes
    server.wait_log("speaks HTTP without TLS to a TLS listener")
    # The gate finds fault with any warning.
    for noise in (b"\0" * 100, b"\x16\x03\x01\x00\x05hello", bytes(range(256)) * 300, b"\x16"):
        with contextlib.suppress(OSError), Connection(plain(server.address)) as connection:
            connection.send(noise)
            connection.finish_sending()
            connection.read_to_close()
    assert server.get().status == 200


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_deliveries(serve: Serve, authority: Authority, pair: Pair, delivery: str) -> None:
    """Requests cut into records anywhere, pipelined; the stream of records cut anywhere, too."""
    server = authority.serve(serve, "mirror:app", pair)
    many = b"".join(
        format_request("POST", f"/{number}", body=b"x" * number) for number in range(20)
    )
    with server.connect() as connection:
        DELIVERIES[delivery](connection, many)
        for number in range(20):
            seen = json.loads(connection.read_response().body)
            assert (seen["path"], len(seen["body"])) == (f"/{number}", number)


def pumped(authority: Authority, address: tuple[str, int], act: Callable[["Memory"], None]) -> None:
    with socket.create_connection(address, 10.0) as raw:
        act(Memory(authority.context(), raw))


class Memory:
    """A TLS client that leaves it to the test how records are cut on the wire."""

    def __init__(self, context: ssl.SSLContext, raw: socket.socket) -> None:
        self.raw = raw
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=HOST)

    def send_sealed(self, piece: int) -> None:
        data = self.outgoing.read()
        for start in range(0, len(data), piece):
            self.raw.sendall(data[start : start + piece])

    def run(self, action: Callable[[], bytes | int | None], piece: int) -> bytes:
        while True:
            try:
                result = action()
            except ssl.SSLWantReadError:
                self.send_sealed(piece)
                data = self.raw.recv(65536)
                if data:
                    self.incoming.write(data)
                else:
                    self.incoming.write_eof()
                continue
            self.send_sealed(piece)
            return result if isinstance(result, bytes) else b""

    def write(self, data: bytes, piece: int) -> None:
        self.run(lambda: self.tls.write(data), piece)


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_records_in_pieces(serve: Serve, authority: Authority, pair: Pair, piece: int) -> None:
    """Handshake and requests arrive byte by byte."""
    server = authority.serve(serve, "secure:app", pair)

    def act(client: Memory) -> None:
        client.raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.run(client.tls.do_handshake, piece)
        for size in (0, 10, 3000):
            body = b"y" * size
            client.write(format_request("POST", "/digest", body=body), piece)
            received = b""
            while f"\r\n\r\n{size} ".encode() not in received:
                data = client.run(lambda: client.tls.read(65536), piece)
                assert data, received
                received += data

    pumped(authority, plain(server.address), act)


def test_a_request_that_is_cut_never_reaches_the_app(
    serve: Serve, authority: Authority, pair: Pair
) -> None:
    """The stream ends inside a body, without a word of TLS and with one."""
    server = authority.serve(serve, "probes:app", pair, "--log-level", "debug")
    head = b"POST /received HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
    for count, word in enumerate((False, True), 1):
        with socket.create_connection(plain(server.address), 10.0) as raw:
            sock = authority.context().wrap_socket(raw, server_hostname=HOST)
            sock.sendall(head + b"x" * 50)
            if word:
                with contextlib.suppress(OSError):
                    sock.unwrap()
            else:
                sock.shutdown(socket.SHUT_WR)
            # Before the socket is closed: with tickets unread in it, that would be a reset.
            server.wait_log("before the request body was complete", count=count)
    assert server.get().status == 200
    assert not server.events("called")


def test_the_end_is_said(serve: Serve, authority: Authority, pair: Pair) -> None:
    """close_notify precedes every end that is meant, and no cut answer."""
    server = authority.serve(serve, "probes:app", pair)
    server.expect_log("Error handling request /fail-late")
    server.expect_log("Invalid request")

    def ends_well(target: str, *fields: tuple[str, str], version: str = "HTTP/1.1") -> bool:
        with socket.create_connection(plain(server.address), 10.0) as raw:
            sock = authority.context().wrap_socket(
                raw, server_hostname=HOST, suppress_ragged_eofs=False
            )
            sock.sendall(format_request("GET", target, fields, version=version))
            try:
                while sock.recv(65536):
                    pass
            except (ssl.SSLEOFError, ConnectionResetError):
                return False
            return True

    assert ends_well("/", ("Connection", "close"))
    assert ends_well("/large?bytes=3000000", ("Connection", "close"))
    assert ends_well("/", version="HTTP/1.0")
    assert ends_well("/", ("Bad Field", "x"))
    assert not ends_well("/fail-late")


def test_an_idle_connection_ends_with_a_word(
    serve: Serve, authority: Authority, pair: Pair
) -> None:
    server = authority.serve(serve, "probes:app", pair, "--keep-alive", "1")
    with socket.create_connection(plain(server.address), 10.0) as raw:
        sock = authority.context().wrap_socket(
            raw, server_hostname=HOST, suppress_ragged_eofs=False
        )
        sock.sendall(REQUEST)
        assert b"200 OK" in sock.recv(65536)
        assert sock.recv(65536) == b""


@pytest.mark.parametrize("options", [[], ["--threads", "2"]], ids=["sync", "threads"])
def test_an_overdue_request_gets_its_504(
    serve: Serve, authority: Authority, pair: Pair, options: list[str]
) -> None:
    """The reactor answers in the place of an app that is stuck, through the same session."""
    server = authority.serve(serve, "stuck:app", pair, "--request-timeout", "1", *options)
    server.allow_log("GET /stuck/sleep|WORKER TIMEOUT|SIGABRT|SIGKILL|[Ww]orker \\(?pid")
    with socket.create_connection(plain(server.address), 15.0) as raw:
        sock = authority.context().wrap_socket(
            raw, server_hostname=HOST, suppress_ragged_eofs=False
        )
        sock.sendall(format_request("GET", "/stuck/sleep"))
        received = b""
        while data := sock.recv(65536):
            received += data
        assert received.startswith(b"HTTP/1.1 504 ")
    server.wait_answer("/")


def test_handshakes_have_a_deadline(serve: Serve, authority: Authority, pair: Pair) -> None:
    """Neither silence nor a byte now and then keeps a handshake longer than it may last."""
    server = authority.serve(serve, "secure:app", pair, "--handshake-timeout", "1")
    started = time.monotonic()
    with Connection(plain(server.address)) as silent, Connection(plain(server.address)) as slow:
        slow.send(b"\x16\x03\x01")
        with contextlib.suppress(OSError):
            while slow.is_open() and time.monotonic() - started < 8.0:
                slow.send(b"\1")
                silent.sock.settimeout(0.1)
                with contextlib.suppress(TimeoutError):
                    silent.sock.recv(1000)
        assert time.monotonic() - started < 5.0
        silent.sock.settimeout(5.0)
        silent.read_to_close()
    assert 0.9 < time.monotonic() - started < 5.0
    # One that was done in time is not concerned.
    with server.connect() as connection:
        ended = time.monotonic() + 1.5
        wait_for(lambda: time.monotonic() > ended, 5.0, "the deadline to have passed")
        assert connection.request().status == 200


@pytest.mark.alone
def test_stalled_handshakes_stop_nobody(serve: Serve, authority: Authority, pair: Pair) -> None:
    """500 clients that began a handshake and went silent; others are served at once."""
    server = authority.serve(serve, "probes:app", pair, "--worker-connections", "1000")
    with contextlib.ExitStack() as stack:
        for number in range(STALLED):
            connection = stack.enter_context(Connection(plain(server.address)))
            connection.send(b"\x16\x03\x01\x02\x00"[: 1 + number % 5])
        seconds = []
        for _ in range(30):
            started = time.monotonic()
            assert server.get().status == 200
            seconds.append(time.monotonic() - started)
        assert statistics.median(seconds) < 0.050


def test_handshakes_leave_room(serve: Serve, authority: Authority, pair: Pair) -> None:
    """Clients that began and went silent take half of a worker's connections at most."""
    server = authority.serve(
        serve, "probes:app", pair, "--worker-connections", "20", "--log-level", "debug"
    )
    with contextlib.ExitStack() as stack:
        stalled = []
        for _ in range(50):
            stalled.append(stack.enter_context(Connection(plain(server.address))))
            stalled[-1].send(b"\x16\x03\x01")
        kept = [stack.enter_context(server.connect()) for _ in range(10)]
        for connection in kept:
            assert connection.request().status == 200
        server.wait_log("was given up for that of another")
        # The oldest have made way; their end is said in the clear, for there are no keys yet.
        stalled[0].sock.settimeout(5.0)
        assert len(stalled[0].read_to_close()) < 10
        assert stalled[-1].is_open()


def test_a_client_that_leaves_after_its_handshake_is_forgotten(
    serve: Serve, authority: Authority, pair: Pair
) -> None:
    """A FIN that comes with the last bytes of a handshake, as from a health check, is seen."""
    server = authority.serve(serve, "probes:app", pair)
    with server.assert_no_descriptor_growth():
        for _ in range(20):
            with socket.create_connection(plain(server.address), 10.0) as raw:
                client = Memory(authority.context(), raw)
                with contextlib.suppress(ssl.SSLWantReadError):
                    client.tls.do_handshake()
                client.send_sealed(10_000)
                while True:
                    client.incoming.write(raw.recv(65536))
                    try:
                        client.tls.do_handshake()
                    except ssl.SSLWantReadError:
                        continue
                    break
                # In one segment with the end.
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
                raw.sendall(client.outgoing.read())


def test_a_drained_server_ends_handshakes(serve: Serve, authority: Authority, pair: Pair) -> None:
    """A client in its handshake when the server is told to stop gets its answer."""
    server = authority.serve(serve, "probes:app", pair)
    with socket.create_connection(plain(server.address), 10.0) as raw:
        client = Memory(authority.context(), raw)
        with contextlib.suppress(ssl.SSLWantReadError):
            client.tls.do_handshake()
        client.send_sealed(1000)
        client.incoming.write(raw.recv(65536))
        server.send_signal(signal.SIGTERM)
        server.wait_log("Handling signal: term")
        client.run(client.tls.do_handshake, 1000)
        client.run(lambda: client.tls.write(REQUEST), 1000)
        answer = client.run(lambda: client.tls.read(65536), 1000)
        assert answer.startswith(b"HTTP/1.1 200 OK")
    assert server.wait_exit() == 0
