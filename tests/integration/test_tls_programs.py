"""Real clients and proxies that speak TLS to the server."""

import asyncio
import hashlib
import subprocess
from pathlib import Path

import aiohttp
import httpx
import pytest
import requests

from support.ports import free_port
from support.programs import Programs, nginx_http, serves, upstream_of
from support.server import Server
from support.serving import Serve
from support.tls import HOST, Authority
from support.tools import need_tool

BODY = b"0123456789abcdef" * 50_000
EXPECTED = f"{len(BODY)} {hashlib.sha256(BODY).hexdigest()}"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def server(serve: Serve, authority: Authority) -> Server:
    pair = authority.pair("server", HOST, "127.0.0.1", "localhost")
    return authority.serve(serve, "probes:app", pair, "--threads", "2", workers=2)


def run(*arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [need_tool(arguments[0]), *arguments[1:]],
        input=data,
        capture_output=True,
        timeout=30,
        check=False,
    )


def test_httpx(server: Server, authority: Authority) -> None:
    with httpx.Client(base_url=server.url(""), verify=authority.context()) as client:
        for _ in range(20):
            assert client.get("/").text == "hello, world\n"
        assert client.post("/digest", content=BODY).text == EXPECTED
        assert len(client.get("/large?bytes=3000000").content) == 3_000_000


def test_requests(server: Server, authority: Authority) -> None:
    with requests.Session() as session:
        # The machine's own authorities would come before the test's.
        session.trust_env = False
        session.verify = str(authority.file)
        for _ in range(20):
            assert session.get(server.url("/")).text == "hello, world\n"
        pieces = (BODY[start : start + 5000] for start in range(0, len(BODY), 5000))
        assert session.post(server.url("/digest"), data=pieces).text == EXPECTED
        assert len(session.get(server.url("/large?bytes=3000000")).content) == 3_000_000


def test_aiohttp(server: Server, authority: Authority) -> None:
    async def visit() -> None:
        connector = aiohttp.TCPConnector(ssl=authority.context(), limit=20)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def one(number: int) -> str:
                async with session.post(server.url("/echo"), data=str(number)) as response:
                    return await response.text()

            echoed = await asyncio.gather(*(one(number) for number in range(200)))
            assert echoed == [str(number) for number in range(200)]
            async with session.get(server.url("/large?bytes=3000000")) as response:
                assert len(await response.read()) == 3_000_000

    asyncio.run(visit())


def test_curl(server: Server, authority: Authority, tmp_path: Path) -> None:
    upload = tmp_path / "upload.bin"
    upload.write_bytes(BODY)
    common = ["curl", "-sS", "--max-time", "20", "--cacert", str(authority.file)]
    for extra in ([], ["--tls-max", "1.2"], ["-H", "Expect: 100-continue"], ["--http1.0"]):
        result = run(*common, *extra, "--data-binary", f"@{upload}", server.url("/digest"))
        assert (result.returncode, result.stdout.decode()) == (0, EXPECTED), result.stderr
    result = run(*common, "-v", server.url("/"), server.url("/pid"), server.url("/"))
    assert result.returncode == 0
    assert result.stderr.lower().count(b"re-using existing") == 2, "the connection was not kept"
    # An answer that was cut is an error to it.
    server.expect_log("Error handling request /fail-late")
    assert run(*common, server.url("/fail-late")).returncode != 0


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl(server: Server, authority: Authority, tmp_path: Path, version: str) -> None:
    """s_client verifies, asks, reads to the end, and resumes."""
    host, port = server.address
    session = tmp_path / "session.pem"
    request = f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()
    common = [
        "openssl",
        "s_client",
        version,
        "-connect",
        f"{host}:{port}",
        "-servername",
        HOST,
        "-CAfile",
        str(authority.file),
        "-verify_return_error",
        "-ign_eof",
    ]
    result = run(*common, "-sess_out", str(session), data=request)
    assert b"Verify return code: 0 (ok)" in result.stdout
    assert b"hello, world" in result.stdout
    result = run(*common, "-sess_in", str(session), data=request)
    assert b"\nReused, " in result.stdout
    assert b"hello, world" in result.stdout


def test_h2load(server: Server) -> None:
    result = run("h2load", "--h1", "-n", "2000", "-c", "16", "-t", "1", server.url("/"))
    assert b"2000 succeeded, 0 failed, 0 errored" in result.stdout, result.stdout


def test_wrk(server: Server) -> None:
    for headers in ([], ["-H", "Connection: close"]):
        result = run("wrk", "-t1", "-c8", "-d2s", *headers, server.url("/"))
        assert result.returncode == 0
        assert b"Socket errors" not in result.stdout, result.stdout
        assert b"Non-2xx" not in result.stdout, result.stdout


#: The inside of nginx's server block.
NGINX = """
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass https://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_ssl_verify on;
            proxy_ssl_trusted_certificate {authority};
            proxy_ssl_name test.example;
            proxy_ssl_server_name on;
            proxy_next_upstream off;
        }}
"""

HAPROXY = """
global
    maxconn 500
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    retries 0
    http-reuse always
frontend front
    bind 127.0.0.1:{port}
    default_backend app
backend app
    server one {upstream} ssl verify required ca-file {authority} sni str(test.example)
"""


@pytest.mark.parametrize("program", ["nginx", "haproxy"])
def test_proxies(server: Server, authority: Authority, tmp_path: Path, program: str) -> None:
    """A proxy that encrypts towards the server: uploads, downloads, many requests."""
    folder = tmp_path / "proxy"
    folder.mkdir()
    port = free_port()
    programs = Programs(folder)
    upstream = upstream_of(server)
    text = NGINX if program == "nginx" else HAPROXY
    text = text.format(port=port, upstream=upstream, authority=authority.file)
    try:
        if program == "nginx":
            upstreams = f"server {upstream}; keepalive 16;"
            programs.nginx(port, nginx_http(folder, text, upstreams))
        else:
            config = folder / "haproxy.cfg"
            config.write_text(text)
            address = ("127.0.0.1", port)
            arguments = [need_tool(program), "-db", "-f", str(config)]
            programs.start(arguments, address, serves(address))
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            for _ in range(50):
                assert client.get("/").text == "hello, world\n"
            assert client.post("/digest", content=BODY).text == EXPECTED
            assert len(client.get("/large?bytes=3000000").content) == 3_000_000
    finally:
        programs.end()
