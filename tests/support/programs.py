"""Programs that serve beside the server, such as nginx and HAProxy in front of it."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from support.client import Closed, Truncated, get
from support.server import Server
from support.tools import need_tool
from support.waiting import wait_for

Proxy = tuple[str, int]

#: Seconds until a program must serve, or have ended: generous, because the machine may be busy.
BOUND = 20.0


class Programs:
    """Programs started for a test, ended by their own pid."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, arguments: list[str], address: Proxy, ready: Callable[[], bool]) -> Proxy:
        """Start one, and wait until it is ready; it serves at `address`."""
        output = self.folder / "proxy.out"
        with output.open("ab") as log:
            process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
            )
        self._running.append(process)

        def up() -> bool:
            text = output.read_text(errors="replace")
            assert process.poll() is None, f"{arguments[0]} ended: {text}"
            return ready()

        wait_for(up, BOUND, f"{arguments[0]} to serve")
        return address

    def nginx(self, port: int, settings: str, *, load: str = "") -> Proxy:
        """nginx with `settings` (an http or a stream block), ready when it serves `/` at `port`.

        `load` is what has to stand before its events block.
        """
        program = need_tool("nginx")
        path = self.folder / "nginx.conf"
        path.write_text(_NGINX.format(folder=self.folder, load=load) + settings)
        address = ("127.0.0.1", port)
        arguments = [program, "-e", str(self.folder / "start.log"), "-c", str(path)]
        return self.start(arguments, address, serves(address))

    def end(self) -> None:
        """End them all, and wait until they have."""
        for process in self._running:
            process.terminate()
        for process in self._running:
            try:
                process.wait(BOUND)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(BOUND)


_NGINX = """
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
{load}
events {{ worker_connections 256; }}
"""


def nginx_http(folder: Path, site: str, upstream: str, settings: str = "") -> str:
    """An http block whose folders are below `folder`.

    `site` is the inside of its server block, `settings` stand before it; `upstream` is what its
    upstream `app` consists of.
    """
    folders = "\n".join(
        f"    {name}_temp_path {folder}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""
http {{
    access_log off;
{folders}
    client_max_body_size 100m;
    {settings}
    upstream app {{ {upstream} }}
    server {{
{site}
    }}
}}
"""


def serves(address: Proxy) -> Callable[[], bool]:
    """Whether `/` at this address is answered with 200."""

    def ready() -> bool:
        try:
            return get(address).status == 200
        except (OSError, Closed, Truncated):
            return False

    return ready


def upstream_of(server: Server) -> str:
    """The server's address as nginx writes it."""
    if isinstance(server.address, str):
        return f"unix:{server.address}"
    return f"{server.address[0]}:{server.address[1]}"
