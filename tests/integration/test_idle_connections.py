"""Ten thousand idle keep-alive connections on one worker."""

import contextlib
import resource

import pytest

from support.client import Connection
from support.load import Load
from support.server import Concurrent, Server
from support.serving import Serve
from support.waiting import wait_for

MIB = 1024 * 1024
IDLE = 10_000

#: Descriptors that a process needs besides one for each connection.
OTHERS = 500

#: More than without the idle connections.
MEMORY_BOUND = 32 * MIB


@pytest.fixture
def many_descriptors() -> None:
    """This process (and so the server) may open one for each connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = IDLE + OTHERS
    if soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            pytest.skip(f"the hard limit of open files is {hard}, below {wanted}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def sample(server: Server) -> Load:
    """Latencies of 500 requests of one client."""
    with Load(server.address, clients=1, pause=0.001) as load:
        wait_for(lambda: len(load.outcomes) >= 500, 20.0, "500 requests")
    load.assert_no_loss(at_least=500)
    return load


@pytest.mark.alone
@pytest.mark.usefixtures("many_descriptors")
@pytest.mark.parametrize("threads", [1, 2])
def test_ten_thousand_idle_connections(serve: Serve, threads: int) -> None:
    """They cost under 32 MiB, slow nobody down, hold no thread, and still work at the end."""
    server = serve(
        "probes:app", "--threads", str(threads), "--worker-connections", str(IDLE + OTHERS)
    )
    before_load = sample(server)
    before = server.memory()
    with contextlib.ExitStack() as stack:
        idle: list[Connection] = []
        for _ in range(IDLE):
            connection = stack.enter_context(server.connect())
            assert connection.request().status == 200
            idle.append(connection)
        grown = server.memory() - before
        assert grown < MEMORY_BOUND, f"grown by {grown / MIB:.1f} MiB"
        after_load = sample(server)
        p99 = after_load.latency(0.99)
        assert p99 < max(2 * before_load.latency(0.99), 0.005), f"p99 is {p99 * 1000:.1f} ms"
        if threads == 2:
            assert Concurrent(server.address, ["/meet", "/meet"]).statuses() == [200, 200]
        for connection in idle[:: IDLE // 100]:
            assert connection.request().status == 200
        assert all(connection.is_open() for connection in idle[:: IDLE // 1000])


@pytest.mark.usefixtures("many_descriptors")
@pytest.mark.parametrize("app", ["probes:app", "asgi_life:app"])
def test_connections_beyond_worker_connections_wait(serve: Serve, app: str) -> None:
    """A full worker accepts no more; who waits is served when there is room."""
    server = serve(app, "--worker-connections", "10", "--keep-alive", "30")
    with contextlib.ExitStack() as stack:
        full = [stack.enter_context(server.connect()) for _ in range(10)]
        for connection in full:
            assert connection.request().status == 200
        waiting = Concurrent(server.address, ["/"] * 5)
        for connection in full[:5]:
            connection.close()
        assert waiting.statuses() == [200] * 5
        for connection in full[5:]:
            assert connection.request().status == 200
