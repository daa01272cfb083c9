"""A running server: started on its own processor, ready when it answers, ended by its pid."""

import contextlib
import errno
import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import accounting
import client
from programs import Launch, Peer

APPS = Path(__file__).resolve().parent / "apps"

#: Seconds until the first answer; an import on a busy machine takes one or two.
BOOT = 20.0
#: Seconds from TERM to the end. Gunicorn's own grace is 30, but nothing runs any more by then.
STOP = 10.0
#: Seconds between two looks at a condition.
GLANCE = 0.0005


class ServerFailed(Exception):
    """The server did not start, or died. Its text ends with what it last wrote."""


@dataclass
class Server:
    """A server and its processes, which are the session of `process`."""

    peer: Peer
    process: subprocess.Popen[bytes]
    port: int
    log: Path
    started: float
    first_answer: float = 0.0
    secure: bool = False

    @property
    def session(self) -> int:
        return self.process.pid

    def check(self) -> None:
        """Raise ServerFailed when it has died."""
        status = self.process.poll()
        if status is not None:
            raise ServerFailed(f"{self.peer.name} ended with status {status}: {self.tail()}")

    def tail(self) -> str:
        """The last lines of what it has written."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-5:]) or "it wrote nothing"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], bool], bound: float, what: str) -> None:
    """Look at a condition until it holds. Raises ServerFailed after `bound` seconds."""
    end = time.monotonic() + bound
    while not condition():
        if time.monotonic() > end:
            raise ServerFailed(f"{what}: not within {bound:g} s")
        time.sleep(GLANCE)


@contextlib.contextmanager
def running(
    peer: Peer,
    app: str,
    cpu: int,
    *,
    threads: int = 4,
    connections: int = 1000,
    secure: bool = False,
) -> Iterator[Server]:
    """Start a server with an app of apps/ ("plain" of subjects.py, or "module:name") and wait
    for its first answer.

    Raises ServerFailed when it does not start, or has died by the end.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"bench-{peer.name}-"))
    log = folder / "output.log"
    port = free_port()
    launch = Launch(
        app if ":" in app else f"subjects:{app}",
        port,
        folder,
        threads,
        connections,
        certificate(folder) if secure else None,
    )
    command = peer.command(launch)

    def settle() -> None:
        """In the child, before exec."""
        os.sched_setaffinity(0, {cpu})
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    try:
        with log.open("wb") as output:
            started = time.monotonic()
            process = subprocess.Popen(
                command,
                cwd=APPS,
                env=os.environ | {"PYTHONPATH": str(APPS), "PYTHONDONTWRITEBYTECODE": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=settle,
            )
        server = Server(peer, process, port, log, started, secure=secure)
        try:
            wait_for_answer(server)
            yield server
            server.check()
        finally:
            stop(server)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def certificate(folder: Path) -> Path:
    """A certificate and its key (ECDSA on P-256, as most sites have it) in one file."""
    path, key = folder / "server.pem", folder / "server.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", str(key)]
    made = subprocess.run([*command, "-out", str(path)], capture_output=True, timeout=30)
    if made.returncode != 0:
        raise ServerFailed(f"openssl made no certificate: {made.stderr.decode().strip()}")
    path.write_bytes(path.read_bytes() + key.read_bytes())
    return path


def wait_for_answer(server: Server) -> None:
    """Until the server answers 200; notes when that was."""

    def answers() -> bool:
        server.check()
        try:
            client.fetch(server.port, secure=server.secure)
        except OSError as error:
            if error.errno not in (errno.ECONNREFUSED, errno.ECONNRESET):
                raise
            return False
        except client.BadAnswer as error:
            raise ServerFailed(f"{server.peer.name}: {error}: {server.tail()}") from error
        return True

    wait_until(answers, BOOT, f"{server.peer.name}: first answer")
    server.first_answer = time.monotonic() - server.started


def stop(server: Server) -> None:
    """TERM, and after STOP seconds KILL for what is left of its session."""
    if server.process.poll() is None:
        server.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.process.wait(STOP)
    for pid in accounting.processes(server.session):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    server.process.wait()
