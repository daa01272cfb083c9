"""The real command, started for a test, and the gate behind it.

Whatever a test does, when it ends its servers are stopped by their own pid and looked at: exit
status, log, surviving processes, ports, unix sockets and temporary files must all be as they
should, or the test fails.
"""

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from support import processes
from support.client import (
    Address,
    Closed,
    Connection,
    Response,
    SecureAddress,
    Truncated,
    connect,
)
from support.client import exchange as exchange_once
from support.client import get as get_once
from support.log import Expectations, Record, parse
from support.ports import is_free
from support.waiting import wait_for

TESTS = Path(__file__).resolve().parent.parent
APPS = TESTS / "apps"

#: Bounds, in seconds: generous, because the machine may be busy; no test waits for them in vain.
START_BOUND = 20.0
STOP_BOUND = 20.0

#: Seconds after which something that did not change counts as settled.
SETTLED = 0.1

#: Replaces `python -m monoceros`, to try the tests themselves against another server.
COMMAND = "MONOCEROS_TEST_COMMAND"

#: A folder with the package that servers import instead of the installed one.
PACKAGE = "MONOCEROS_TEST_PACKAGE"

#: Variables that change what a server does; a test that wants one sets it.
_CLEARED = (
    "PORT",
    "WEB_CONCURRENCY",
    "MONOCEROS_CMD_ARGS",
    "GUNICORN_CMD_ARGS",
    "FORWARDED_ALLOW_IPS",
    "SENDFILE",
    "SCRIPT_NAME",
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_PID",
    "SERVER_SOFTWARE",
)


def command() -> list[str]:
    """How the server is called."""
    given = os.environ.get(COMMAND)
    return shlex.split(given) if given else [sys.executable, "-m", "monoceros"]


def is_substitute() -> bool:
    """Whether another server stands in for ours."""
    return COMMAND in os.environ


def environment(directory: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """What a server sees: ours without what would steer it, its own temporary directory."""
    spool = directory / "tmp"
    spool.mkdir(exist_ok=True)
    base = {key: value for key, value in os.environ.items() if key not in _CLEARED}
    base |= {
        "PYTHONPATH": os.pathsep.join([*filter(None, [os.environ.get(PACKAGE)]), str(APPS)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(spool),
        "EVENTS": str(directory / "events.jsonl"),
        # Where a control socket goes by default: not into the home of who runs the tests.
        "XDG_RUNTIME_DIR": str(directory),
    }
    return base | extra


class Server:
    """One server process with its family."""

    def __init__(
        self,
        directory: Path,
        arguments: Sequence[str],
        *,
        address: Address,
        workers: int = 1,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        pass_fds: Sequence[int] = (),
        program: Sequence[str] | None = None,
    ) -> None:
        self.directory = directory
        self.arguments = [*(program or command()), *arguments]
        self.address = address
        self.expected_workers = workers
        #: Other addresses that must be free again after the end.
        self.other_addresses: list[Address] = []
        #: Where the error log goes besides standard error.
        self.error_log: Path | None = None
        self.spool = directory / "tmp"
        self._env = environment(directory, env or {})
        self._cwd = cwd or directory
        self._pass_fds = pass_fds
        self._expected_log = Expectations()
        self._expected_exit: tuple[int, ...] = (0,)
        self._finished = False
        self.process: subprocess.Popen[bytes] | None = None
        self._successor: psutil.Process | None = None
        self._session: int | None = None
        self.started_at = 0.0

    # Life.

    def start(self) -> None:
        """Run the command; does not wait."""
        self.started_at = time.monotonic()
        with self._stderr_path.open("ab") as err, self._stdout_path.open("ab") as out:
            self.process = subprocess.Popen(
                self.arguments,
                cwd=self._cwd,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                pass_fds=self._pass_fds,
            )

    def wait_listening(self) -> None:
        """Until a connection is taken, by the kernel at least."""

        def accepts() -> bool:
            self._assert_alive()
            try:
                connect(self.address, 1.0).close()
            except OSError:
                return False
            return True

        wait_for(accepts, START_BOUND, f"a listener at {self.address}")

    def wait_workers(self, count: int | None = None, timeout: float = START_BOUND) -> list[int]:
        """Until exactly that many workers run; their pids."""
        expected = self.expected_workers if count is None else count

        def enough() -> list[int]:
            pids = self.workers()
            return pids if len(pids) == expected else []

        return wait_for(enough, timeout, f"{expected} workers")

    def wait_ready(self, count: int | None = None, timeout: float = START_BOUND) -> list[int]:
        """Until exactly that many workers run and each serves; their pids.

        A worker counts as ready for its master just before it makes its engine, whose thread is
        what is seen from outside. One without an engine has to note that it is `serving`.
        """
        expected = self.expected_workers if count is None else count

        def ready() -> list[int]:
            pids = self.workers()
            if len(pids) != expected:
                return []
            noted = {event["pid"] for event in self.events("serving")}
            return pids if all(pid in noted or processes.has_engine(pid) for pid in pids) else []

        return wait_for(ready, timeout, f"{expected} workers to be ready")

    def wait_answer(self, target: str = "/", timeout: float = START_BOUND) -> Response:
        """Until a request gets an answer: a worker has imported its app."""

        def answer() -> Response | None:
            self._assert_alive()
            try:
                return get_once(self.address, target, timeout)
            except (ConnectionRefusedError, FileNotFoundError, Closed, Truncated):
                return None

        result = wait_for(answer, timeout, f"an answer to GET {target}")
        assert result is not None
        return result

    def _assert_alive(self) -> None:
        assert self.process is not None
        status = self.process.poll()
        assert status is None, f"the server ended with status {status}:\n{self.log[-4000:]}"

    @property
    def session(self) -> int:
        """The session in which everybody of this server lives."""
        if self._session is not None:
            return self._session
        assert self.process is not None, "the server was not started"
        return self.process.pid

    @property
    def pid(self) -> int:
        """The master's."""
        if self._successor is not None:
            return self._successor.pid
        assert self.process is not None, "the server was not started"
        return self.process.pid

    def succeeded_by(self, pid: int) -> None:
        """The master ends, or is about to, with status 0; from now on `pid` is the master."""
        assert self.wait_exit() == 0
        self._successor = psutil.Process(pid)
        self._session = os.getsid(pid)

    def send_signal(self, number: signal.Signals) -> None:
        """A signal to the master."""
        os.kill(self.pid, number)

    def wait_exit(self, timeout: float = STOP_BOUND) -> int:
        """Until the master has ended; its exit status (negative: the signal). The status of one
        that has succeeded another is not known to us, and taken to be 0."""
        assert self.process is not None
        if self._successor is not None:
            gone = "the new master to end"
            wait_for(lambda: not self._successor_lives(), timeout, gone)
            return 0
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the server runs still after {timeout:g} s") from None

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout: float = STOP_BOUND) -> int:
        """Signal the master and wait for its end."""
        self.send_signal(number)
        return self.wait_exit(timeout)

    def _alive(self) -> bool:
        assert self.process is not None
        return self.process.poll() is None if self._successor is None else self._successor_lives()

    def _successor_lives(self) -> bool:
        # An orphan of ours may be nobody's to wait for: a zombie has ended, too.
        assert self._successor is not None
        try:
            return self._successor.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    # Family.

    def family(self) -> list[psutil.Process]:
        """All living processes of this server, master included."""
        return processes.in_session(self.session)

    def workers(self) -> list[int]:
        """The pids of the workers, oldest first."""
        found = [each for each in self.family() if processes.role(each) == "worker"]
        return sorted(each.pid for each in found)

    def molds(self) -> list[int]:
        """The pids of molds."""
        return [each.pid for each in self.family() if processes.role(each) == "mold"]

    @contextlib.contextmanager
    def assert_no_descriptor_growth(self, timeout: float = 5.0) -> Iterator[None]:
        """What happens inside leaves no descriptor open in any worker, soon after."""
        if not is_substitute():
            # A worker that still boots would open more, rightly.
            self.wait_ready()
        before = self._settled_descriptors()
        yield
        self._wait_descriptors(before, timeout)

    def _settled_descriptors(self) -> dict[int, int]:
        """The counts once they stay the same: what was closed before is no part of them."""
        counts, since = self.descriptor_counts(), time.monotonic()

        def settled() -> bool:
            nonlocal counts, since
            now = self.descriptor_counts()
            if now != counts:
                counts, since = now, time.monotonic()
            return time.monotonic() - since >= SETTLED

        wait_for(settled, START_BOUND, "the number of descriptors to settle")
        return counts

    def _wait_descriptors(self, before: dict[int, int], timeout: float) -> None:
        def grown() -> dict[int, dict[str, str]]:
            now = {pid: processes.descriptors(pid) for pid in before}
            return {pid: now[pid] for pid in before if len(now[pid]) > before[pid]}

        wait_for(lambda: not grown(), timeout, f"descriptors to be closed: {before} -> {grown()}")

    def descriptor_counts(self) -> dict[int, int]:
        """Open descriptors of each worker."""
        return {pid: len(processes.descriptors(pid)) for pid in self.workers()}

    def memory(self) -> int:
        """Bytes of memory of all workers."""
        return sum(processes.memory(pid) for pid in self.workers())

    # Output.

    @property
    def _stderr_path(self) -> Path:
        return self.directory / "stderr.log"

    @property
    def _stdout_path(self) -> Path:
        return self.directory / "stdout.log"

    @property
    def stderr(self) -> str:
        return _text(self._stderr_path)

    @property
    def stdout(self) -> str:
        return _text(self._stdout_path)

    @property
    def log(self) -> str:
        """The error log, wherever it goes, and what was written to standard error."""
        return self.stderr + (_text(self.error_log) if self.error_log else "")

    def records(self, *levels: str) -> list[Record]:
        """Log records, of the given levels when there are any."""
        return [each for each in parse(self.log) if not levels or each.level in levels]

    def wait_log(self, text: str, timeout: float = 10.0, count: int = 1) -> None:
        """Until `text` stands in the log that many times."""
        wait_for(
            lambda: self.log.count(text) >= count, timeout, f"{text!r} in the log ({count} times)"
        )

    def expect_log(self, pattern: str) -> None:
        """Records of WARNING and above that match are all right; at least one must come."""
        self._expected_log.declare(pattern, required=True)

    def allow_log(self, pattern: str) -> None:
        """Records of WARNING and above that match are all right."""
        self._expected_log.declare(pattern, required=False)

    def expect_exit(self, *statuses: int) -> None:
        """The exit status with which the master must end, if not 0."""
        self._expected_exit = statuses

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        """What the app and hooks have noted (see tests/apps/events.py), in order."""
        text = _text(self.directory / "events.jsonl")
        lines = [json.loads(line) for line in text.split("\n")[:-1]]
        return [line for line in lines if kind is None or line["event"] == kind]

    def wait_event(self, kind: str, timeout: float = 10.0, count: int = 1) -> list[dict[str, Any]]:
        """Until that many events of a kind were noted."""

        def enough() -> list[dict[str, Any]]:
            found = self.events(kind)
            return found if len(found) >= count else []

        return wait_for(enough, timeout, f"{count} events {kind!r}")

    # Requests.

    def connect(self, timeout: float = 10.0, receive_buffer: int = 0) -> Connection:
        return Connection(self.address, timeout, receive_buffer)

    def get(self, target: str = "/", timeout: float = 10.0) -> Response:
        """GET on a connection of its own."""
        return get_once(self.address, target, timeout)

    def exchange(
        self,
        method: str,
        target: str,
        fields: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
    ) -> Response:
        """A request on a connection of its own."""
        return exchange_once(self.address, method, target, fields, body)

    def url(self, target: str = "/") -> str:
        assert not isinstance(self.address, str), "a unix socket has no URL"
        host, port = self.address
        scheme = "https" if isinstance(self.address, SecureAddress) else "http"
        return f"{scheme}://{host}:{port}{target}"

    # The gate.

    def finish(self) -> None:
        """Stop if it still runs, then look at everything that must be in order.

        Raises AssertionError that lists all that is not.
        """
        if self._finished or self.process is None:
            return
        self._finished = True
        complaints: list[str] = []
        try:
            complaints += self._stop_for_good()
            complaints += self._survivors()
            complaints += self._expected_log.complaints(self.log)
            complaints += self._addresses_in_use()
            complaints += [f"left in the temporary directory: {each}" for each in self._spooled()]
            complaints += self._control_sockets()
        finally:
            processes.kill_session(self.session)
        assert not complaints, "after the test:\n- " + "\n- ".join(complaints)

    def _stop_for_good(self) -> list[str]:
        assert self.process is not None
        complaints = []
        if self._alive():
            try:
                self.stop()
            except AssertionError as error:
                stacks = [f"{each.pid} {processes.title(each)}" for each in self.family()]
                complaints.append(f"{error} after SIGTERM; processes: {stacks}")
                processes.kill_session(self.session)
                self.process.wait(STOP_BOUND)
                return complaints
        if self.process.returncode not in self._expected_exit:
            complaints.append(
                f"exit status {self.process.returncode}, expected {self._expected_exit}"
            )
        return complaints

    def _survivors(self) -> list[str]:
        # The kernel ends what dies with the master a moment after it.
        with contextlib.suppress(AssertionError):
            wait_for(lambda: not self.family(), 2.0, "the family to be gone")
        return [f"process {each.pid} survived: {processes.title(each)}" for each in self.family()]

    def _addresses_in_use(self) -> list[str]:
        complaints = []
        for address in [self.address, *self.other_addresses]:
            if isinstance(address, str):
                if Path(address).exists():
                    complaints.append(f"the unix socket {address} is still there")
                continue
            host, port = address
            # A thread of a killed process may hold its sockets a moment longer than the process.
            with contextlib.suppress(AssertionError):
                wait_for(lambda h=host, p=port: is_free(p, h), 2.0, "the port to be free")
            if not is_free(port, host):
                complaints.append(f"port {port} is still taken")
        return complaints

    def _control_sockets(self) -> list[str]:
        assert self.process is not None
        # A master that was killed cannot clean up; the next one replaces what it leaves.
        if self.process.returncode is None or self.process.returncode < 0 or is_substitute():
            return []
        left = [path for path in self.directory.glob("gunicorn.ctl*") if path.is_socket()]
        return [f"the control socket {path} is still there" for path in left]

    def _spooled(self) -> list[Path]:
        return list(self.spool.rglob("*"))


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""


def listen_on(address: tuple[str, int]) -> socket.socket:
    """Take a port, so that a server cannot."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(address)
    sock.listen(1)
    return sock


class Concurrent:
    """Requests that run at the same time, each on a connection of its own."""

    def __init__(self, address: Address, targets: Sequence[str], timeout: float = 30.0) -> None:
        self.results: list[Response | Exception | None] = [None] * len(targets)
        self.seconds: list[float] = [0.0] * len(targets)
        self._threads = [
            threading.Thread(target=self._one, args=(address, index, target, timeout), daemon=True)
            for index, target in enumerate(targets)
        ]
        self._bound = timeout + 5.0
        for thread in self._threads:
            thread.start()

    def _one(self, address: Address, index: int, target: str, timeout: float) -> None:
        started = time.monotonic()
        try:
            self.results[index] = get_once(address, target, timeout)
        except Exception as error:
            self.results[index] = error
        self.seconds[index] = time.monotonic() - started

    def wait(self) -> list[Response | Exception | None]:
        """All results; what went wrong stands there as the exception."""
        for thread in self._threads:
            thread.join(self._bound)
            assert not thread.is_alive(), "a request hangs"
        return self.results

    def statuses(self) -> list[int | str]:
        """The status of each answer, or what went wrong."""
        return [r.status if isinstance(r, Response) else repr(r) for r in self.wait()]
