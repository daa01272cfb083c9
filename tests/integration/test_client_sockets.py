"""Every client over TCP and over a unix socket: the same requests, the same answers.

wrk is missing over unix sockets: it knows none. nginx and HAProxy are in test_proxies.py.
"""

import asyncio
import hashlib
import json
import re
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import httpx
import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from support.server import Server
from support.serving import Serve
from support.tools import need_tool

LARGE = b"0123456789abcdef" * 100_000
DIGEST = f"{len(LARGE)} {hashlib.sha256(LARGE).hexdigest()}"

#: The authority in URLs; over a unix socket nobody looks it up.
HOST = "unix.example"


@pytest.fixture(params=[None, "unix:app.sock"], ids=["tcp", "unix"])
def server(request: pytest.FixtureRequest, serve: Serve) -> Server:
    return serve("probes:app", "--threads", "2", bind=request.param)


def unix_path(server: Server) -> str | None:
    return server.address if isinstance(server.address, str) else None


def base(server: Server) -> str:
    return f"http://{HOST}" if unix_path(server) else server.url("")


def pieces() -> Iterator[bytes]:
    for at in range(0, len(LARGE), 50_000):
        yield LARGE[at : at + 50_000]


def test_curl(server: Server, tmp_path: Path) -> None:
    program = need_tool("curl")
    upload = tmp_path / "upload.bin"
    upload.write_bytes(LARGE)
    path = unix_path(server)
    where = ["--unix-socket", path] if path else []

    def curl(target: str, *arguments: str) -> bytes:
        command = [program, "-sS", "--max-time", "20", *where, *arguments]
        result = subprocess.run([*command, base(server) + target], capture_output=True, check=True)
        return result.stdout

    assert curl("/") == b"hello, world\n"
    assert curl("/digest", "--data-binary", f"@{upload}").decode() == DIGEST
    chunks = ["-H", "Transfer-Encoding: chunked", "-H", "Expect: 100-continue"]
    assert curl("/digest", "--data-binary", f"@{upload}", *chunks).decode() == DIGEST
    assert len(curl("/stream?pieces=20")) == 20 * 65_536
    assert curl("/", "-I").startswith(b"HTTP/1.1 200 OK\r\n")
    assert curl("/", "--http1.0") == b"hello, world\n"


def test_httpx(server: Server) -> None:
    transport = httpx.HTTPTransport(uds=unix_path(server))
    with httpx.Client(transport=transport, base_url=base(server), timeout=20) as client:
        for _ in range(20):
            assert client.get("/").text == "hello, world\n"
        assert client.post("/digest", content=LARGE).text == DIGEST
        assert client.put("/digest", content=pieces()).text == DIGEST
        assert len(client.get("/stream?pieces=20").content) == 20 * 65_536
        assert client.head("/large?bytes=1000").headers["content-length"] == "1000"
        assert client.get("/nowhere").status_code == 404


class UnixConnection(HTTPConnection):
    """A connection of urllib3 to a unix socket."""

    path = ""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20.0)
        self.sock.connect(self.path)


class UnixAdapter(HTTPAdapter):
    """Sends what requests has to send through one unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__()
        kind = type("Connection", (UnixConnection,), {"path": path})
        self._pool = HTTPConnectionPool(HOST)
        self._pool.ConnectionCls = kind

    def get_connection_with_tls_context(self, *_: object, **__: object) -> HTTPConnectionPool:
        return self._pool


def test_requests(server: Server) -> None:
    with requests.Session() as session:
        path = unix_path(server)
        if path:
            session.mount(f"http://{HOST}", UnixAdapter(path))

        def ask(method: str, target: str, **more: object) -> requests.Response:
            return session.request(method, base(server) + target, timeout=20, **more)  # type: ignore[arg-type]

        for _ in range(20):
            assert ask("GET", "/").text == "hello, world\n"
        assert ask("POST", "/digest", data=LARGE).text == DIGEST
        assert ask("PUT", "/digest", data=pieces()).text == DIGEST
        assert len(ask("GET", "/stream?pieces=20").content) == 20 * 65_536
        assert ask("HEAD", "/large?bytes=1000").headers["content-length"] == "1000"
        assert ask("GET", "/nowhere").status_code == 404


def test_aiohttp(server: Server) -> None:
    """A pool of connections and many requests at the same time."""
    path = unix_path(server)

    async def exercise() -> None:
        connector = aiohttp.UnixConnector(path) if path else aiohttp.TCPConnector()
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(
            base(server), connector=connector, timeout=timeout
        ) as session:

            async def ask(method: str, target: str, data: object = None) -> tuple[int, bytes]:
                async with session.request(method, target, data=data) as response:
                    return response.status, await response.read()

            async def chunks() -> AsyncIterator[bytes]:
                for piece in pieces():
                    yield piece

            answers = await asyncio.gather(*(ask("GET", "/") for _ in range(200)))
            assert set(answers) == {(200, b"hello, world\n")}
            assert await ask("POST", "/digest", LARGE) == (200, DIGEST.encode())
            assert await ask("PUT", "/digest", chunks()) == (200, DIGEST.encode())
            status, body = await ask("GET", "/stream?pieces=20")
            assert (status, len(body)) == (200, 20 * 65_536)
            assert (await ask("HEAD", "/large?bytes=1000"))[1] == b""
            assert (await ask("GET", "/nowhere"))[0] == 404

    asyncio.run(exercise())


def test_h2load(server: Server) -> None:
    """Speaking HTTP/1.1, with pipelined requests: all of them succeed."""
    path = unix_path(server)
    where = ["-B", f"unix:{path}"] if path else []
    for streams in ("1", "8"):
        result = subprocess.run(
            [need_tool("h2load"), "--h1", "-n2000", "-c8", f"-m{streams}", *where, url(server)],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        counts = "2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed, 0 errored"
        assert re.search(rf"requests: {counts}, 0 timeout", result.stdout), result.stdout


def url(server: Server) -> str:
    return f"{base(server)}/"


def test_the_app_sees_which_socket_it_was(server: Server) -> None:
    response = server.get("/environ")
    environ = json.loads(response.body)["environ"]
    expected = "" if unix_path(server) else "127.0.0.1"
    assert environ["REMOTE_ADDR"] == ["str", expected]
