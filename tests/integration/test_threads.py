"""Threads of a worker: all of them work, and a slow request holds only its own."""

import time

import pytest

from support.client import format_request
from support.load import Load
from support.server import Concurrent
from support.serving import Serve
from support.waiting import wait_for


@pytest.mark.parametrize("options", [["--threads", "8"], ["-k", "gthread", "--threads", "8"]])
def test_sleeping_requests_run_side_by_side(serve: Serve, options: list[str]) -> None:
    """64 requests of 20 ms on 8 threads: far faster than one after the other (1.3 s)."""
    server = serve("probes:app", *options)
    assert "gthread" in server.log or "threads" in server.log
    started = time.monotonic()
    statuses = Concurrent(server.address, ["/sleep?seconds=0.02"] * 64).statuses()
    assert statuses == [200] * 64
    assert time.monotonic() - started < 1.0


def test_keep_alive_clients_share_threads(serve: Serve) -> None:
    """More kept connections than threads, each with slow requests: all are answered."""
    server = serve("probes:app", "--threads", "4")
    target = "/sleep?seconds=0.02"
    with Load(server.address, clients=16, target=target, pause=0) as load:
        wait_for(lambda: load.answered >= 300, 20.0, "300 answers")
    load.assert_no_loss(at_least=300)
    # Each of 16 clients waits for 4 turns of 20 ms: with slack, no client is left behind.
    assert load.latency(1.0) < 2.0


@pytest.mark.parametrize("threads", [2, 8])
def test_every_thread_is_usable(serve: Serve, threads: int) -> None:
    """As many requests as threads are in the app at the same time."""
    server = serve(
        "own:app",
        "--threads",
        str(threads),
        files={
            "own.py": f"""
import threading
barrier = threading.Barrier({threads})

def app(environ, start_response):
    if environ["PATH_INFO"] == "/meet":
        barrier.wait(10)
    start_response("200 OK", [("Content-Length", "3")])
    return [b"met"]
"""
        },
    )
    for _ in range(3):
        targets = ["/meet"] * threads
        assert Concurrent(server.address, targets).statuses() == [200] * threads


def test_slow_requests_do_not_block_fast_ones(serve: Serve) -> None:
    """All threads but one are busy for a second; the last serves everybody else."""
    server = serve("probes:app", "--threads", "4")
    slow = Concurrent(server.address, ["/sleep?seconds=1.5"] * 3)
    server.wait_event("sleeping", count=3)
    with Load(server.address, clients=4, pause=0.002) as load:
        wait_for(lambda: load.answered >= 200, 5.0, "200 fast answers")
    load.assert_no_loss(at_least=200)
    assert load.outcomes[199].started < load.outcomes[0].started + 1.4
    assert slow.statuses() == [200] * 3


@pytest.mark.parametrize("threads", [1, 2])
def test_sockets_are_served_while_every_thread_is_busy(serve: Serve, threads: int) -> None:
    """No thread is free: heads are read, errors answered, large answers go on being written."""
    server = serve("probes:app", "--threads", str(threads))
    server.expect_log("Invalid request")
    with server.connect(receive_buffer=8192) as reader:
        reader.send(format_request(target="/large?bytes=5000000"))
        reader.read_until(b"\r\n\r\n")
        busy = Concurrent(server.address, ["/sleep?seconds=2"] * threads)
        server.wait_event("sleeping", count=threads)
        started = time.monotonic()
        assert len(reader.read_exactly(5_000_000)) == 5_000_000
        with server.connect() as broken:
            broken.send(b"nonsense\r\n\r\n")
            assert broken.read_response().status == 400
        with server.connect() as later:
            later.send(format_request())
            assert time.monotonic() - started < 1.5, "the sockets were not served meanwhile"
            assert later.read_response().status == 200
        assert busy.statuses() == [200] * threads


def test_app_state_is_shared_by_threads_only(serve: Serve) -> None:
    """Threads of a worker share the module, workers do not."""
    app = """
import os
import threading
count = 0
lock = threading.Lock()

def app(environ, start_response):
    global count
    with lock:
        count += 1
    body = f"{os.getpid()} {threading.get_ident()} {count}".encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
    server = serve("own:app", "--threads", "4", files={"own.py": app}, probe=None)
    answers = Concurrent(server.address, ["/"] * 40).wait()
    counts = sorted(int(answer.text.split()[2]) for answer in answers)
    assert counts == list(range(1, 41))
    assert len({answer.text.split()[0] for answer in answers}) == 1
