"""The PROXY protocol before TLS, as load balancers send it that pass TLS on."""

import json
import socket
import ssl
from pathlib import Path

import pytest

from support.server import Server
from support.serving import Serve
from support.tls import HOST, Authority

HEADER = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n"
#: Allowed to send the header; whoever connects from elsewhere on this machine is not.
BALANCER = "127.0.0.2"
REQUEST = b"GET /environ HTTP/1.1\r\nHost: test.example\r\nConnection: close\r\n\r\n"


def speak_tls(sock: socket.socket, context: ssl.SSLContext, before: bytes, pieces: int) -> bytes:
    """Handshake and one request; `before` goes out in front of the first flight, all of it in
    `pieces` writes. The answer."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname=HOST)
    waiting = before
    answer = b""

    def exchange() -> bool:
        """Send what is there and take what comes; False at the end."""
        nonlocal waiting
        waiting += outgoing.read()
        size = max(1, -(-len(waiting) // pieces))
        for start in range(0, len(waiting), size):
            sock.sendall(waiting[start : start + size])
        waiting = b""
        data = sock.recv(65536)
        incoming.write(data) if data else incoming.write_eof()
        return bool(data)

    while True:
        try:
            session.do_handshake()
            break
        except ssl.SSLWantReadError:
            assert exchange(), "closed during the handshake"
    session.write(REQUEST)
    while True:
        try:
            data = session.read(65536)
        except ssl.SSLWantReadError:
            exchange()
            continue
        except ssl.SSLZeroReturnError:
            return answer
        if not data:
            return answer
        answer += data


def serve_balanced(serve: Serve, authority: Authority) -> Server:
    options = ["--proxy-protocol", "auto", "--proxy-allow-from", BALANCER]
    return authority.serve(serve, "probes:app", authority.pair("server"), *options)


@pytest.mark.parametrize("pieces", [1, 7], ids=["whole", "in-pieces"])
@pytest.mark.parametrize("balanced", [True, False], ids=["balancer", "client"])
def test_the_header_comes_before_the_handshake(
    serve: Serve, tmp_path: Path, balanced: bool, pieces: int
) -> None:
    authority = Authority(tmp_path)
    server = serve_balanced(serve, authority)
    host, port = server.address[:2]
    source = (BALANCER, 0) if balanced else None
    with socket.create_connection((host, port), 10, source) as sock:
        before = HEADER if balanced else b""
        answer = speak_tls(sock, authority.context(), before, pieces)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    environ = {key: value for key, (_, value) in json.loads(body)["environ"].items()}
    assert environ["wsgi.url_scheme"] == "https"
    assert environ["REMOTE_ADDR"] == ("192.0.2.7" if balanced else "127.0.0.1")
    assert environ.get("PROXY_ADDR") == ("192.0.2.1" if balanced else None)


def test_a_header_without_tls_behind_it_is_400(serve: Serve, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = serve_balanced(serve, authority)
    host, port = server.address[:2]
    with socket.create_connection((host, port), 10, (BALANCER, 0)) as sock:
        sock.sendall(HEADER + REQUEST)
        assert sock.recv(65536).startswith(b"HTTP/1.1 400 ")
