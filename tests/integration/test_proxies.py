"""nginx and HAProxy in front, as sites run it."""

import hashlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from support.load import Load
from support.ports import free_port
from support.programs import Programs, Proxy, nginx_http, serves, upstream_of
from support.serving import Serve
from support.tools import need_tool
from support.waiting import wait_for

LARGE = b"0123456789abcdef" * 300_000

#: The inside of nginx's server block.
NGINX = """
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://app;
            proxy_http_version {version};
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_request_buffering {buffering};
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
    option httpchk GET /
    server one {upstream} check inter 200
"""


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    folder = tmp_path / "proxy"
    folder.mkdir()
    running = Programs(folder)
    yield running
    running.end()


def nginx(programs: Programs, upstream: str, version: str = "1.1", buffering: str = "on") -> Proxy:
    port = free_port()
    site = NGINX.format(port=port, version=version, buffering=buffering)
    upstreams = f"server {upstream}; keepalive 16;"
    return programs.nginx(port, nginx_http(programs.folder, site, upstreams))


def haproxy(programs: Programs, upstream: str) -> Proxy:
    program = need_tool("haproxy")
    address = ("127.0.0.1", free_port())
    path = programs.folder / "haproxy.cfg"
    path.write_text(HAPROXY.format(port=address[1], upstream=upstream))
    return programs.start([program, "-db", "-f", str(path)], address, serves(address))


def exercise(address: Proxy) -> None:
    """What visitors do, through a proxy."""
    expected = f"{len(LARGE)} {hashlib.sha256(LARGE).hexdigest()}"
    with httpx.Client(base_url=f"http://127.0.0.1:{address[1]}", timeout=20) as client:
        for _ in range(20):
            assert client.get("/").text == "hello, world\n"
        assert client.post("/digest", content=LARGE).text == expected
        pieces = (LARGE[at : at + 100_000] for at in range(0, len(LARGE), 100_000))
        assert client.put("/digest", content=pieces).text == expected
        assert len(client.get("/large?bytes=5000000").content) == 5_000_000
        assert len(client.get("/stream?pieces=50").content) == 50 * 65_536
        assert client.head("/large?bytes=1000").headers["content-length"] == "1000"
        assert client.get("/nowhere").status_code == 404
        cut = client.get("/fail")
        assert cut.status_code == 500
        with pytest.raises(httpx.HTTPError):
            client.get("/fail-late?length=1000")


@pytest.mark.parametrize(("version", "buffering"), [("1.1", "on"), ("1.1", "off"), ("1.0", "on")])
@pytest.mark.parametrize("bind", [None, "unix:app.sock"], ids=["tcp", "unix"])
def test_nginx(
    serve: Serve, programs: Programs, bind: str | None, version: str, buffering: str
) -> None:
    server = serve("probes:app", "--threads", "2", bind=bind)
    server.expect_log("Error handling request /fail")
    with server.assert_no_descriptor_growth(timeout=20.0):
        address = nginx(programs, upstream_of(server), version, buffering)
        exercise(address)
        programs.end()


@pytest.mark.parametrize("bind", [None, "unix:app.sock"], ids=["tcp", "unix"])
def test_haproxy(serve: Serve, programs: Programs, bind: str | None) -> None:
    server = serve("probes:app", "--threads", "2", bind=bind)
    server.expect_log("Error handling request /fail")
    address = haproxy(programs, upstream_of(server).replace("unix:", "unix@"))
    exercise(address)


@pytest.mark.parametrize("proxy", [nginx, haproxy], ids=["nginx", "haproxy"])
def test_reload_behind_a_proxy(
    serve: Serve, programs: Programs, proxy: Callable[[Programs, str], Proxy]
) -> None:
    """Kept upstream connections and HUPs: no visitor sees a 502."""
    server = serve("probes:app", "--threads", "2", workers=2)
    address = proxy(programs, upstream_of(server))
    with Load(address, clients=4, keep_alive=True) as load:
        for _ in range(3):
            before = set(server.workers())
            server.send_signal(signal.SIGHUP)
            wait_for(lambda old=before: len(set(server.workers()) - old) == 2, 15.0, "new workers")
            count = load.answered
            wait_for(lambda n=count: load.answered > n + 50, 10.0, "more answers")
    load.assert_no_loss(at_least=150)
