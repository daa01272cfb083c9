"""Connections move: from busy workers to idle ones, and from those that end to those that stay."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from support.client import Closed, Connection, Response, chunked, format_request
from support.load import Load
from support.ports import free_port
from support.server import Server
from support.serving import Serve
from support.waiting import wait_for

#: Seconds that a worker is busy: longer than anybody else may have to wait on a slow machine.
BUSY = 5.0

#: A request that has moved is answered within this, seconds: far less than BUSY.
PROMPT = 2.0

#: Connections of a test: enough for every worker to have several.
MANY = 16

#: Keys of an environ that name the connection's other end or the request itself.
SAME = ("REMOTE_ADDR", "REMOTE_PORT", "SERVER_NAME", "SERVER_PORT", "HTTP_HOST", "PATH_INFO")

#: An app that blocks its thread, which greenlets never should.
BLOCKING = """
import os, time

def app(environ, start, sleep=time.sleep):
    if environ["PATH_INFO"] == "/sleep":
        from events import note
        note("sleeping")
        sleep(float(environ["QUERY_STRING"].partition("=")[2].partition("&")[0]))
    body = str(os.getpid()).encode()
    start("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""

#: In a config file: notes the number that each request has on its connection.
NUMBERS = """
from events import note

def post_request(worker, req, environ, resp):
    note("answered", number=req.req_number, pid=worker.pid)
"""


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


Crowd = dict[int, list[Connection]]


def gather(
    stack: contextlib.ExitStack,
    server: Server,
    count: int = MANY,
    *,
    hello: bytes = b"",
    least: int = 4,
) -> Crowd:
    """Keep-alive connections, by the pid of the worker that has them, `least` or more each."""
    crowd: Crowd = {pid: [] for pid in server.wait_ready()}

    def enough() -> bool:
        for _ in range(count):
            connection = stack.enter_context(server.connect(30.0))
            connection.send(hello)
            crowd[pid_of(connection)].append(connection)
        return all(len(each) >= least for each in crowd.values())

    wait_for(enough, 20.0, "every worker to have connections")
    return crowd


def pid_of(connection: Connection) -> int:
    """Who answers; the connection stays open."""
    return int(kept(connection.request(target="/pid")).text)


def kept(response: Response) -> Response:
    assert response.status == 200, response
    assert not response.closes, response
    return response


def occupy(server: Server, connections: Iterable[Connection], seconds: float = BUSY) -> int:
    """Each connection's request keeps an app thread busy; how many there are."""
    before = len(server.events("sleeping"))
    count = 0
    for connection in connections:
        connection.send(format_request(target=f"/sleep?seconds={seconds}"))
        count += 1
    server.wait_event("sleeping", count=before + count)
    return count


def ask(connections: list[Connection], request: bytes) -> tuple[list[Response], float]:
    """The same request on all connections at once; the answers, and the seconds they took."""
    started = time.monotonic()
    for connection in connections:
        connection.send(request)
    answers = [connection.read_response() for connection in connections]
    return answers, time.monotonic() - started


KINDS = {"sync": (1, ["--worker-class", "sync"]), "gthread": (2, ["--threads", "2"])}


@pytest.mark.parametrize("kind", [*KINDS, "gevent"])
def test_nobody_waits_for_a_busy_worker(
    serve: Serve, stack: contextlib.ExitStack, figures: Callable[[str], None], kind: str
) -> None:
    """Its connections go to the sibling, and stay there; the busy request is answered as ever."""
    if kind == "gevent":
        threads, app, files = 1, "blocking:app", {"blocking.py": BLOCKING}
        options = ["--worker-class", "gevent"]
        # Bound when the app is imported: gevent has patched the module by then.
        files["blocking.py"] = BLOCKING.replace(
            "import os, time",
            "import os\nimport gevent.monkey\nclass time:\n"
            "    sleep = staticmethod(gevent.monkey.get_original('time', 'sleep'))",
        )
    else:
        threads, options = KINDS[kind]
        app, files = "probes:app", {}
    server = serve(app, *options, workers=2, files=files)
    crowd = gather(stack, server)
    (busy, theirs), (idle, _) = crowd.items()
    occupied, others = theirs[:threads], theirs[threads:]
    occupy(server, occupied)
    answers, took = ask(others, format_request(target="/pid"))
    assert {int(kept(answer).text) for answer in answers} == {idle}
    assert took < PROMPT
    figures(f"{kind}: {len(others)} requests of a busy worker answered after {took * 1000:.0f} ms")
    answers, took = ask(others, format_request(target="/pid"))
    assert {int(kept(answer).text) for answer in answers} == {idle}
    assert took < PROMPT
    assert [connection.read_response().status for connection in occupied] == [200] * threads
    assert {pid_of(connection) for connection in occupied} == {busy}


def test_connections_that_were_accepted_before_their_request(
    serve: Serve, stack: contextlib.ExitStack
) -> None:
    """Browsers open connections ahead of need: who has accepted one need not serve it."""
    server = serve(workers=2)
    silent = [stack.enter_context(server.connect(30.0)) for _ in range(MANY)]
    # Whoever is asked later has been accepted later.
    crowd = gather(stack, server)
    (busy, theirs), (idle, _) = crowd.items()
    occupy(server, theirs[:1])
    answers, took = ask(silent, format_request(target="/pid"))
    assert {int(kept(answer).text) for answer in answers} == {idle}
    assert took < PROMPT
    assert theirs[0].read_response().status == 200
    assert busy in server.workers()


def test_requests_of_all_kinds_move_whole(serve: Serve, stack: contextlib.ExitStack) -> None:
    """Bodies, pipelined requests in order, many fields; what is too large stays and is answered."""
    server = serve(workers=2)
    crowd = gather(stack, server, least=7)
    (_, theirs), _ = crowd.items()
    busy, plain, posted, pieces, piped, fields, large = theirs[:7]
    occupy(server, [busy])
    started = time.monotonic()
    plain.send(format_request(target="/pid"))
    posted.send(format_request("POST", "/echo", body=b"a body\r\n\0" * 100))
    head = format_request("POST", "/echo", [("Transfer-Encoding", "chunked")])
    pieces.send(head + chunked([b"one, ", b"two, ", b"three"]))
    piped.send(
        b"".join(format_request("POST", "/echo", body=f"number {n}".encode()) for n in range(20))
    )
    fields.send(format_request(target="/environ", fields=[("X-Long", "v" * 6000)]))
    large.send(format_request("POST", "/digest", body=b"x" * 60_000))
    assert kept(plain.read_response()).status == 200
    assert kept(posted.read_response()).body == b"a body\r\n\0" * 100
    assert kept(pieces.read_response()).body == b"one, two, three"
    for number in range(20):
        assert kept(piped.read_response()).text == f"number {number}"
    environ = json.loads(kept(fields.read_response()).body)["environ"]
    assert environ["HTTP_X_LONG"][1] == "v" * 6000
    assert time.monotonic() - started < PROMPT
    assert kept(large.read_response()).text.startswith("60000 ")
    assert time.monotonic() - started > BUSY / 2, "it does not go into a message"
    assert busy.read_response().status == 200


def environ_of(response: Response) -> dict[str, Any]:
    shown = json.loads(kept(response).body)["environ"]
    return {key: value for key, (_, value) in shown.items()}


@pytest.mark.parametrize("place", ["tcp", "second", "unix"])
def test_the_environ_is_the_same_elsewhere(
    serve: Serve, stack: contextlib.ExitStack, place: str
) -> None:
    """Who is connected, and where, is what it was where the connection was accepted."""
    port = free_port()
    options = ["--bind", f"127.0.0.1:{port}"]
    if place == "unix":
        server = serve("probes:app", workers=2, bind="unix:site.sock")
    else:
        server = serve("probes:app", *options, workers=2)
        server.other_addresses.append(("127.0.0.1", port))
    if place == "second":
        server.address, server.other_addresses = ("127.0.0.1", port), [server.address]
    crowd = gather(stack, server)
    (_, theirs), (idle, _) = crowd.items()
    request = format_request(target="/environ?a=b")
    [before], _ = ask(theirs[1:2], request)
    occupy(server, theirs[:1])
    [after], took = ask(theirs[1:2], request)
    assert took < PROMPT
    assert pid_of(theirs[1]) == idle
    first, second = environ_of(before), environ_of(after)
    assert set(first) == set(second)
    assert {key: first.get(key) for key in SAME} == {key: second.get(key) for key in SAME}
    if place != "unix":
        assert second["REMOTE_PORT"] == str(theirs[1].sock.getsockname()[1])
        assert second["SERVER_PORT"] == str(theirs[1].sock.getpeername()[1])
    assert theirs[0].read_response().status == 200


@pytest.mark.parametrize("when", ["after-requests", "before-the-header"])
def test_proxies_are_believed_elsewhere(
    serve: Serve, stack: contextlib.ExitStack, when: str
) -> None:
    """A PROXY protocol header names the client for good; where it has not come, it has to."""
    line = b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 443\r\n"
    options = ["--proxy-protocol", "--forwarded-allow-ips", "203.0.113.7"]
    server = serve("probes:app", *options, workers=2, probe=None)
    silent = [stack.enter_context(server.connect(30.0)) for _ in range(MANY)]
    crowd = gather(stack, server, hello=line)
    (_, theirs), _ = crowd.items()
    occupy(server, theirs[:1])
    request = format_request(target="/environ", fields=[("X-Forwarded-Proto", "https")])
    if when == "after-requests":
        answers, took = ask(theirs[1:], request)
    else:
        answers, took = ask(silent, line + request)
    assert took < PROMPT
    for answer in answers:
        environ = environ_of(answer)
        assert environ["REMOTE_ADDR"] == "203.0.113.7"
        assert environ["wsgi.url_scheme"] == "https", "its word counts"
    assert theirs[0].read_response().status == 200


def test_requests_are_counted_on_their_connection(
    serve: Serve, stack: contextlib.ExitStack
) -> None:
    """`req_number` goes on where it was."""
    server = serve("probes:app", workers=2, config=NUMBERS)
    crowd = gather(stack, server)
    (_, theirs), (idle, _) = crowd.items()
    for _ in range(4):
        pid_of(theirs[1])
    occupy(server, theirs[:1])
    assert pid_of(theirs[1]) == idle
    assert theirs[0].read_response().status == 200
    mine = [event for event in server.wait_event("answered") if event["number"] == 6]
    assert [event["pid"] for event in mine] == [idle]


# Workers that end.


def await_others(server: Server, former: set[int], count: int) -> list[int]:
    """Until none of the former workers is left and there are `count` others."""

    def others() -> list[int]:
        pids = server.workers()
        return pids if len(pids) == count and not former & set(pids) else []

    return wait_for(others, 20.0, f"{count} workers other than {former}")


@pytest.mark.parametrize("kind", ["sync", "gthread", "gevent", "preload"])
def test_a_reload_closes_nothing(serve: Serve, stack: contextlib.ExitStack, kind: str) -> None:
    """Idle connections are the new workers' afterwards, silent ones, too."""
    options = {
        "sync": [],
        "gthread": ["--threads", "2"],
        "gevent": ["--worker-class", "gevent"],
        "preload": ["--preload"],
    }
    server = serve("probes:app", *options[kind], workers=2)
    silent = [stack.enter_context(server.connect(30.0)) for _ in range(MANY)]
    crowd = gather(stack, server)
    server.send_signal(signal.SIGHUP)
    now = await_others(server, set(crowd), 2)
    for connection in [*silent, *(each for theirs in crowd.values() for each in theirs)]:
        assert pid_of(connection) in now


def test_connections_move_to_workers_of_another_class(
    serve: Serve, stack: contextlib.ExitStack
) -> None:
    """A reload may change the class: what connections are does not depend on it."""
    server = serve("probes:app", workers=2, config="worker_class = 'gthread'\nthreads = 2\n")
    crowd = gather(stack, server)
    (server.directory / "conf.py").write_text("worker_class = 'gevent'\n")
    server.send_signal(signal.SIGHUP)
    now = await_others(server, set(crowd), 2)
    for theirs in crowd.values():
        assert {pid_of(connection) for connection in theirs} <= set(now)


def test_scaling_down_closes_nothing(serve: Serve, stack: contextlib.ExitStack) -> None:
    server = serve("probes:app", workers=3)
    crowd = gather(stack, server)
    server.send_signal(signal.SIGTTOU)
    stay = server.wait_workers(2)
    for pid, theirs in crowd.items():
        for connection in theirs:
            answered_by = pid_of(connection)
            assert answered_by == pid or pid not in stay
            assert answered_by in stay


def test_recycling_closes_nothing(serve: Serve, stack: contextlib.ExitStack) -> None:
    """`max_requests`: one connection lives through several workers."""
    server = serve("probes:app", "--max-requests", "20", "--threads", "2", workers=2)
    connection = stack.enter_context(server.connect(30.0))
    idle = stack.enter_context(server.connect(30.0))
    first = pid_of(idle)
    pids: set[int] = set()

    def several() -> bool:
        pids.add(pid_of(connection))
        return len(pids) >= 4

    wait_for(several, 30.0, "the connection to have had several workers")
    wait_for(lambda: first not in server.workers(), 20.0, "its first worker to be gone")
    pid_of(idle)


def test_a_running_request_does_not_cost_its_connection(
    serve: Serve, stack: contextlib.ExitStack
) -> None:
    """What a worker answers while it drains says nothing of an end: a sibling takes over."""
    server = serve("probes:app", "--threads", "2", workers=2)
    crowd = gather(stack, server)
    first = {pid: theirs[0] for pid, theirs in crowd.items()}
    occupy(server, first.values(), 3.0)
    server.send_signal(signal.SIGHUP)
    for connection in first.values():
        assert kept(connection.read_response()).text == "slept\n"
    now = await_others(server, set(crowd), 2)
    assert {pid_of(connection) for connection in first.values()} <= set(now)


def test_many_idle_connections_move(
    serve: Serve, stack: contextlib.ExitStack, figures: Callable[[str], None]
) -> None:
    """More than the exchange holds at a time."""
    server = serve("probes:app", workers=2)
    server.wait_ready()
    connections = [stack.enter_context(server.connect(30.0)) for _ in range(400)]
    before = {pid_of(connection) for connection in connections}
    assert len(before) == 2
    started = time.monotonic()
    server.send_signal(signal.SIGHUP)
    now = await_others(server, before, 2)
    figures(f"reload with {len(connections)} idle: {time.monotonic() - started:.2f} s")
    assert {pid_of(connection) for connection in connections} <= set(now)


def test_a_full_sibling_is_not_overrun(serve: Serve, stack: contextlib.ExitStack) -> None:
    """`worker_connections` holds within what is under way; who is not taken is served by its own
    worker until that has to end."""
    options = ["--worker-connections", "4", "--graceful-timeout", "3"]
    server = serve("probes:app", *options, workers=2)
    crowd: Crowd = {pid: [] for pid in server.wait_ready()}

    def full() -> bool:
        connection = stack.enter_context(server.connect(30.0))
        crowd[pid_of(connection)].append(connection)
        return sum(len(theirs) for theirs in crowd.values()) == 8

    wait_for(full, 10.0, "both workers to be full")
    (busy, theirs), (other, _) = crowd.items()
    assert len(theirs) == 4
    occupy(server, theirs[:1], 2.0)
    answers, _ = ask(theirs[1:], format_request(target="/pid"))
    assert {int(kept(answer).text) for answer in answers} == {busy}
    assert theirs[0].read_response().status == 200
    assert other in server.workers()


# The worst.


@pytest.mark.parametrize("threads", [1, 2])
def test_a_stuck_worker_takes_nobody_along(
    serve: Serve, stack: contextlib.ExitStack, threads: int
) -> None:
    """It has to be killed. Before that its connections go to its sibling, but for those that are
    stuck in it."""
    server = serve("probes:app", "--request-timeout", "2", "--threads", str(threads), workers=2)
    server.expect_log(r"GET /sleep\b")
    server.allow_log(r"WORKER TIMEOUT|SIGABRT|SIGKILL|[Ww]orker \(?pid")
    crowd = gather(stack, server)
    (busy, theirs), _ = crowd.items()
    stuck, others = theirs[:threads], theirs[threads:]
    occupy(server, stuck, 60.0)
    assert [connection.read_response().status for connection in stuck] == [504] * threads
    wait_for(lambda: busy not in server.workers(), 20.0, "the stuck worker to be gone")
    for connection in others:
        assert pid_of(connection) != busy


def test_whoever_was_to_read_is_killed(serve: Serve, stack: contextlib.ExitStack) -> None:
    """What is under way is in no worker's hands: the next one takes it."""
    server = serve("probes:app", workers=2)
    crowd = gather(stack, server)
    (_, theirs), (idle, _) = crowd.items()
    server.expect_log(f"pid:{idle}")
    os.kill(idle, signal.SIGSTOP)
    occupy(server, theirs[:1], 8.0)
    for connection in theirs[1:]:
        connection.send(format_request(target="/pid"))
    # That they are under way shows itself only by who answers them.
    os.kill(idle, signal.SIGKILL)
    pids = {int(kept(connection.read_response()).text) for connection in theirs[1:]}
    assert len(pids) == 1
    assert not pids & set(crowd)
    assert theirs[0].read_response().status == 200


def test_nobody_reads(serve: Serve, stack: contextlib.ExitStack) -> None:
    """A sibling that is frozen takes nothing: who has sent serves it, when there is room."""
    server = serve("probes:app", workers=2)
    crowd = gather(stack, server, 40)
    (busy, theirs), (frozen, _) = crowd.items()
    os.kill(frozen, signal.SIGSTOP)
    try:
        occupy(server, theirs[:1], 1.0)
        answers, _ = ask(theirs[1:], format_request(target="/pid"))
        assert {int(kept(answer).text) for answer in answers} == {busy}
        assert theirs[0].read_response().status == 200
    finally:
        os.kill(frozen, signal.SIGCONT)


def test_nobody_is_left_to_read(serve: Serve, stack: contextlib.ExitStack) -> None:
    """The server stops while requests are under way to a worker that is killed: who drains leaves
    them to it, and then the master has to answer."""
    server = serve("probes:app", "--graceful-timeout", "2", workers=2)
    for line in ("has not ended within", "ended before these", "was killed by its master"):
        server.allow_log(line)
    server.expect_log("answered with 503")
    crowd = gather(stack, server)
    (busy, theirs), (frozen, _) = crowd.items()
    os.kill(frozen, signal.SIGSTOP)
    occupy(server, theirs[:1], 60.0)
    for connection in theirs[1:]:
        connection.send(format_request(target="/pid"))
    server.send_signal(signal.SIGTERM)
    answers = []
    for connection in theirs[1:]:
        # Those that had not been sent on are cut with their worker, which is busy for too long.
        with contextlib.suppress(Closed):
            answers.append(connection.read_response().status)
    server.wait_exit()
    assert answers
    assert set(answers) == {503}
    assert busy not in server.workers()


def test_the_last_worker_takes_what_is_left(serve: Serve, stack: contextlib.ExitStack) -> None:
    """The server stops while requests wait behind a busy worker: each is answered."""
    server = serve("probes:app", workers=2)
    crowd = gather(stack, server)
    (_, theirs), _ = crowd.items()
    occupy(server, theirs[:1], 1.0)
    for connection in theirs[1:]:
        connection.send(format_request(target="/pid"))
    server.send_signal(signal.SIGTERM)
    assert [connection.read_response().status for connection in theirs] == [200] * len(theirs)
    assert server.wait_exit() == 0


def test_nothing_leaks(serve: Serve, stack: contextlib.ExitStack) -> None:
    """Connections go to and fro, end, and leave no descriptor with anybody who had them."""
    server = serve("probes:app", "--threads", "2", workers=3)
    with server.assert_no_descriptor_growth(), contextlib.ExitStack() as inner:
        crowd = gather(inner, server, 30)
        connections = [each for theirs in crowd.values() for each in theirs]
        for _ in range(5):
            request = format_request(target="/sleep?seconds=0.03")
            answers, _ = ask(connections, request)
            assert [kept(answer).status for answer in answers] == [200] * len(connections)


def test_a_mixed_load_is_lossless(serve: Serve) -> None:
    """Slow requests among quick ones, reloads meanwhile: connections move all the time."""
    server = serve("probes:app", workers=3)
    with (
        Load(server.address, clients=6, target="/sleep?seconds=0.03") as slow,
        Load(server.address, clients=6, target="/pid") as quick,
    ):
        for _ in range(3):
            former = set(server.workers())
            server.send_signal(signal.SIGHUP)
            await_others(server, former, 3)
    for load in (slow, quick):
        assert [outcome.fault for outcome in load.outcomes if outcome.fault] == []
