"""nginx and HAProxy in front, as sites run it."""

import hashlib
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from support.client import get
from support.load import Load
from support.ports import free_port
from support.server import Server
from support.serving import Serve
from support.tools import need_tool
from support.waiting import wait_for

LARGE = b"0123456789abcdef" * 300_000

NGINX = """
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 100m;
    upstream app {{ server {upstream}; keepalive 16; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://app;
            proxy_http_version {version};
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_request_buffering {buffering};
            proxy_next_upstream off;
        }}
    }}
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

Proxy = tuple[str, int]


class Programs:
    """Programs started for a test, ended by their own pid."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, arguments: list[str], address: Proxy, ready: Callable[[], bool]) -> Proxy:
        log = (self.folder / "proxy.out").open("wb")
        with log:
            process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
            )
        self._running.append(process)

        def up() -> bool:
            text = (self.folder / "proxy.out").read_text(errors="replace")
            assert process.poll() is None, f"{arguments[0]} ended: {text}"
            return ready()

        wait_for(up, 10.0, f"{arguments[0]} to serve")
        return address

    def end(self) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            try:
                process.wait(10.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10.0)


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    folder = tmp_path / "proxy"
    folder.mkdir()
    running = Programs(folder)
    yield running
    running.end()


def serves(address: Proxy) -> Callable[[], bool]:
    def ready() -> bool:
        try:
            return get(address).status == 200
        except OSError:
            return False

    return ready


def nginx(programs: Programs, upstream: str, version: str = "1.1", buffering: str = "on") -> Proxy:
    program = need_tool("nginx")
    address = ("127.0.0.1", free_port())
    text = NGINX.format(
        folder=programs.folder,
        upstream=upstream,
        port=address[1],
        version=version,
        buffering=buffering,
    )
    path = programs.folder / "nginx.conf"
    path.write_text(text)
    arguments = [program, "-e", str(programs.folder / "start.log"), "-c", str(path)]
    return programs.start(arguments, address, serves(address))


def haproxy(programs: Programs, upstream: str) -> Proxy:
    program = need_tool("haproxy")
    address = ("127.0.0.1", free_port())
    path = programs.folder / "haproxy.cfg"
    path.write_text(HAPROXY.format(port=address[1], upstream=upstream))
    return programs.start([program, "-db", "-f", str(path)], address, serves(address))


def upstream_of(server: Server) -> str:
    if isinstance(server.address, str):
        return f"unix:{server.address}"
    return f"{server.address[0]}:{server.address[1]}"


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
