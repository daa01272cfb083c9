"""More than there is room for: connections, requests, descriptors, disk and processes."""

import contextlib
import resource
import time
from collections.abc import Iterator

import psutil
import pytest

from support.client import Closed, Connection, Truncated, format_request
from support.load import Load
from support.processes import descriptors, memory
from support.server import Concurrent, Server
from support.serving import Serve
from support.waiting import wait_for

MIB = 1024 * 1024

#: Seconds; short, and more than a busy machine takes for what is not slow.
QUEUE_TIMEOUT = 2

#: An answer that a refusal is comes this soon after its time, in seconds.
SLACK = 3.0


@pytest.mark.parametrize(
    ("workers", "threads"), [(1, 1), (1, 2), (2, 1)], ids=["sync", "threads", "two-workers"]
)
def test_requests_that_wait_too_long(serve: Serve, workers: int, threads: int) -> None:
    """503 with Retry-After at `queue_timeout`; the app is not called; afterwards all is well."""
    options = ["--queue-timeout", str(QUEUE_TIMEOUT), "--threads", str(threads)]
    server = serve("probes:app", *options, workers=workers)
    server.expect_log("overloaded: ")
    busy = Concurrent(server.address, ["/sleep?seconds=6&busy"] * (workers * threads))
    server.wait_event("sleeping", count=workers * threads)
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        late = [stack.enter_context(server.connect()) for _ in range(10)]
        for connection in late:
            connection.send(format_request(target="/received?late"))
        for connection in late:
            response = connection.read_response()
            assert (response.status, response.get("Retry-After")) == (503, "1")
            assert response.get("Connection") == "close"
            assert connection.read_to_close() == b""
        took = time.monotonic() - started
        assert QUEUE_TIMEOUT * 0.9 < took < QUEUE_TIMEOUT + SLACK
    assert busy.statuses() == [200] * (workers * threads)
    assert not server.events("called")
    for _ in range(10):
        assert server.get().status == 200


def test_without_queue_timeout_everybody_waits(serve: Serve) -> None:
    """The default, as Gunicorn has it."""
    server = serve()
    busy = Concurrent(server.address, ["/sleep?seconds=3"])
    server.wait_event("sleeping")
    late = Concurrent(server.address, ["/"] * 10)
    assert late.statuses() == [200] * 10
    assert busy.statuses() == [200]


def test_all_workers_full_of_connections(serve: Serve) -> None:
    """Connections beyond every worker's `worker_connections` are refused in the end; those that
    there are go on, and as soon as one has ended there is room for a new one."""
    options = ["--queue-timeout", str(QUEUE_TIMEOUT), "--worker-connections", "3"]
    server = serve("probes:app", *options, workers=2)
    server.expect_log("overloaded: ")
    with contextlib.ExitStack() as stack:
        full: list[Connection] = []

        def filled() -> bool:
            """One more connection that is served, until none is served at once."""
            connection = stack.enter_context(server.connect(1.0))
            try:
                assert connection.request().status == 200
            except TimeoutError:
                connection.close()
                return True
            full.append(connection)
            return False

        wait_for(filled, 10.0, "both workers to be full")
        assert len(full) == 6
        started = time.monotonic()
        for _ in range(20):
            with server.connect() as late:
                late.send(format_request())
                response = late.read_response()
                assert (response.status, response.get("Retry-After")) == (503, "1")
        assert time.monotonic() - started < QUEUE_TIMEOUT + SLACK
        for connection in full:
            connection.sock.settimeout(10.0)
            assert connection.request().status == 200
        full.pop().close()
        wait_for(lambda: server.get().status == 200, 5.0, "room")
        for connection in full:
            assert connection.request().status == 200


def limit_descriptors(pid: int, more: int) -> tuple[int, int]:
    """Let a process open `more` descriptors than the highest it has; what the limits were."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    most = max(int(number) for number in descriptors(pid)) + 1 + more
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, before[1]))
    return before


@pytest.mark.parametrize("threads", [1, 2])
def test_no_descriptor_left(serve: Serve, threads: int) -> None:
    """EMFILE: clients hear 503 instead of nothing, one line tells, and it passes."""
    server = serve("probes:app", "--threads", str(threads))
    server.expect_log("cannot accept a connection: .*ulimit -n")
    [pid] = server.workers()
    with contextlib.ExitStack() as stack, server.assert_no_descriptor_growth():
        before = limit_descriptors(pid, more=10)
        kept: list[Connection] = []

        def refused() -> bool:
            connection = stack.enter_context(server.connect())
            response = connection.request()
            if response.status == 200:
                kept.append(connection)
                return False
            assert (response.status, response.get("Retry-After")) == (503, "1")
            return True

        wait_for(refused, 10.0, "the worker to be out of descriptors")
        assert len(kept) >= 5
        for _ in range(200):
            assert server.get().status == 503
        for connection in kept:
            assert connection.request().status == 200
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        wait_for(lambda: server.get().status == 200, 5.0, "an answer")
        for connection in kept:
            assert connection.request().status == 200
            connection.close()
    assert len([r for r in server.records("ERROR") if "cannot accept" in r.text]) == 1


def test_a_sibling_has_descriptors(serve: Serve) -> None:
    """One worker without descriptors leaves connections to the other: nobody hears a 503."""
    server = serve(workers=2)
    server.allow_log("cannot accept a connection")
    poor, _ = server.wait_ready()
    before = limit_descriptors(poor, more=0)
    with Load(server.address, clients=4, keep_alive=False, target="/pid") as load:
        wait_for(lambda: load.answered > 300, 20.0, "300 answers")
    load.assert_no_loss(at_least=300)
    resource.prlimit(poor, resource.RLIMIT_NOFILE, before)


@contextlib.contextmanager
def full_disk(server: Server, size: int) -> Iterator[None]:
    """No file of a worker may become larger than `size`, as on a disk that is full."""
    before = {}
    for pid in server.workers():
        before[pid] = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, before[pid][1]))
    yield
    for pid, limits in before.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


def test_full_disk_for_uploads(serve: Serve) -> None:
    """507 for what has to be spooled, said once; everything else goes on."""
    server = serve()
    server.expect_log("cannot spool request bodies in .*507")
    pids = server.workers()
    large = b"z" * 2_000_000
    with server.assert_no_descriptor_growth():
        with full_disk(server, MIB):
            for _ in range(20):
                with server.connect() as connection:
                    connection.send(format_request("POST", "/received", body=large))
                    assert connection.read_response().status == 507
                assert server.exchange("POST", "/received", body=b"small").body == b"5"
        assert server.exchange("POST", "/received", body=large).body == b"2000000"
    assert server.workers() == pids
    assert len([r for r in server.records("ERROR") if "cannot spool" in r.text]) == 1


SPILLING = """
def app(environ, start_response):
    body = bytearray(16 * 1024 * 1024) if environ["PATH_INFO"] == "/own" else b"small"
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [bytes(body)]
"""


def test_full_disk_for_responses(serve: Serve) -> None:
    """Responses that clients do not read stay in memory up to a bound; then the slowest are cut,
    and see it."""
    server = serve("own:app", files={"own.py": SPILLING})
    server.expect_log("cannot spool responses")
    [pid] = server.workers()
    before = memory(pid)
    with contextlib.ExitStack() as stack, full_disk(server, MIB):
        readers = []
        for _ in range(30):
            connection = stack.enter_context(server.connect(receive_buffer=4096))
            connection.send(format_request(target="/own"))
            readers.append(connection)
            assert server.get().body == b"small"
        grown = memory(pid) - before
        # What is held, the response that is being made, and the interpreter's copy of it.
        assert grown < (64 + 3 * 16 + 16) * MIB, f"grown by {grown / MIB:.0f} MiB"
        whole = 0
        for connection in readers:
            with contextlib.suppress(Truncated, Closed):
                whole += len(connection.read_response().body) == 16 * MIB
        assert 3 <= whole <= 6, f"{whole} whole responses"
    assert len([r for r in server.records("ERROR") if "cannot spool" in r.text]) == 1
    assert server.get().body == b"small"


FAILING_FORK = """
import os
from pathlib import Path

workers = 2
_fork = os.fork

def _fail_or_fork():
    if Path("full").exists():
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return _fork()

os.fork = _fail_or_fork
"""


@pytest.mark.parametrize("preload", [False, True], ids=["fork", "mold"])
def test_no_process_left(serve: Serve, preload: bool) -> None:
    """A fork that fails ends nothing: the other worker serves, it is tried again, ever more
    slowly, and succeeds when there is room."""
    options = ["--preload"] if preload else []
    server = serve("probes:app", *options, config=FAILING_FORK, wait=False)
    server.expected_workers = 2
    server.wait_listening()
    server.wait_ready()
    server.expect_log("Resource temporarily unavailable")
    server.allow_log("SIGKILL|[Ww]orker \\(?pid|Failure|mold")
    (server.directory / "full").touch()
    victim, survivor = server.workers()
    psutil.Process(victim).kill()
    with Load(server.address, clients=2, keep_alive=False) as load:
        wait_for(
            lambda: any("Resource temporarily" in r.text for r in server.records("ERROR")),
            10.0,
            "the failed fork to be told",
        )
        wait_for(lambda: load.answered > 200, 20.0, "200 answers meanwhile")
    assert server.workers() == [survivor]
    (server.directory / "full").unlink()
    server.wait_ready(2, timeout=40.0)
    assert survivor in server.workers()
    said = [r for r in server.records("ERROR") if "Resource temporarily" in r.text]
    assert len(said) < 30, "a failed fork is told far too often"
