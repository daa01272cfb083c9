"""How tests start servers."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from support.client import Address
from support.ports import free_port
from support.server import Server, is_substitute

#: How apps are called: a parameter for tests of what they may do, by the name of the test.
ON_THE_MAIN_THREAD: tuple[str, ...] = ()
ON_THREADS = ("--threads", "3")
IN_GREENLETS = ("--worker-class", "gevent")
WAYS = {"sync": ON_THE_MAIN_THREAD, "threads": ON_THREADS, "gevent": IN_GREENLETS}

#: Flags that only our server has, each with one value; a substitute is not given them.
OWN_FLAGS = frozenset(
    {
        "--boot-timeout",
        "--request-timeout",
        "--header-timeout",
        "--body-timeout",
        "--write-timeout",
        "--body-buffer",
        "--spool-dir",
        "--trusted-proxy-headers",
        "--limit-request-body",
        "--body-min-rate",
        "--queue-timeout",
        "--socket-mode",
        "--respawn-backoff",
        "--handshake-timeout",
        "--access-log-json",
        "--sni-cert",
        "--interface",
        "--websocket-max-queue",
        "--websocket-ping-interval",
        "--websocket-ping-timeout",
    }
)


class Serve:
    """Starts servers, each in a directory of its own, and puts all through the gate at the end."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.servers: list[Server] = []

    def __call__(
        self,
        app: str | None = "probes:app",
        *options: str,
        workers: int = 1,
        bind: str | None = None,
        address: Address | None = None,
        config: str | None = None,
        files: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        pass_fds: Sequence[int] = (),
        program: Sequence[str] | None = None,
        wait: bool = True,
        probe: str | None = "/",
        secure: Callable[[tuple[str, int]], Address] | None = None,
    ) -> Server:
        """Start a server and wait until it serves.

        `app` is the app module (None: none on the command line), `options` stand before it.
        `config` is the text of a config file, `files` are written into its directory. `bind` None
        means a free port; "" means that no --bind is given, and `address` says where it listens.
        `workers` is how many are asked for and waited for. `wait` False does not wait at all;
        `probe` None sends no first request. `secure` makes an address to which one speaks TLS.
        """
        directory = self._directory / f"server-{len(self.servers)}"
        directory.mkdir()
        for name, text in (files or {}).items():
            (directory / name).write_text(text)
        arguments: list[str] = []
        if config is not None:
            (directory / "conf.py").write_text(config)
            arguments += ["--config", "conf.py"]
        if bind is None:
            address = ("127.0.0.1", free_port())
            bind = f"127.0.0.1:{address[1]}"
            address = secure(address) if secure else address
        elif bind.startswith("unix:"):
            address = address or str(directory / bind.removeprefix("unix:"))
        if bind:
            arguments += ["--bind", bind]
        if workers != 1:
            arguments += ["--workers", str(workers)]
        arguments += _without_own(options) if is_substitute() else options
        if app is not None:
            arguments.append(app)
        assert address is not None, "say where it listens"
        server = Server(
            directory,
            arguments,
            address=address,
            workers=workers,
            env=env,
            cwd=cwd,
            pass_fds=pass_fds,
            program=program,
        )
        self.servers.append(server)
        server.start()
        if wait:
            server.wait_listening()
            if probe is None or program is not None or is_substitute():
                server.wait_workers()
            else:
                # A worker that still boots does not yet hear what a test tells it.
                server.wait_ready()
            if probe is not None:
                server.wait_answer(probe)
        return server

    def finish(self) -> list[str]:
        """The gate for every server; what is wrong."""
        complaints = []
        for server in self.servers:
            try:
                server.finish()
            except AssertionError as error:
                complaints.append(str(error))
        return complaints


def _without_own(options: Sequence[str]) -> list[str]:
    kept = []
    following = iter(options)
    for option in following:
        if option in OWN_FLAGS:
            next(following)
        else:
            kept.append(option)
    return kept
