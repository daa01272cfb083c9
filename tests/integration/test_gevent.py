"""The worker class `gevent`: greenlets beside each other, and a hub that nobody else waits for."""

import contextlib
import signal

import pytest

from support.client import Connection, format_request
from support.load import Load
from support.server import Concurrent, Server
from support.serving import Serve
from support.waiting import wait_for

GEVENT = ("--worker-class", "gevent")


def ask_together(server: Server, target: str, count: int) -> list[Connection]:
    """That many connections, each with a request."""
    connections = [server.connect(timeout=30.0) for _ in range(count)]
    for connection in connections:
        connection.send(format_request(target=target))
    return connections


def statuses(connections: list[Connection]) -> set[int]:
    """Read and close."""
    found = set()
    for connection in connections:
        found.add(connection.read_response().status)
        connection.close()
    return found


def test_500_requests_sleep_side_by_side(serve: Serve) -> None:
    """One after the other they would take 250 s; so all of them are inside at once."""
    server = serve("greenlets:app", *GEVENT)
    connections = ask_together(server, "/sleep?0.5", 500)
    assert statuses(connections) == {200}
    assert int(server.get("/most").text) > 250


def test_worker_connections_bounds_the_requests_at_a_time(serve: Serve) -> None:
    server = serve("greenlets:app", *GEVENT, "--worker-connections", "3")
    connections = ask_together(server, "/sleep?0.2", 12)
    for connection in connections:
        assert connection.read_response().status == 200
        # One that is kept counts.
        connection.close()
    assert int(server.get("/most").text) <= 3


@pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["worker", "mold"])
def test_the_process_is_patched_before_the_app_is_imported(
    serve: Serve, preload: list[str]
) -> None:
    server = serve("greenlets:app", *GEVENT, *preload)
    assert server.get("/patched").text == "True"
    assert statuses(ask_together(server, "/sleep?0.3", 20)) == {200}


@pytest.mark.parametrize("worker_class", ["gevent", "sync"])
def test_a_config_file_may_patch_the_master(serve: Serve, worker_class: str) -> None:
    """As many Gunicorn deployments do."""
    config = "import gevent.monkey\ngevent.monkey.patch_all()\n"
    server = serve("greenlets:app", "--worker-class", worker_class, config=config, workers=2)
    first = set(server.workers())
    server.send_signal(signal.SIGHUP)
    wait_for(lambda: len(now := set(server.workers())) == 2 and not now & first, 20.0, "a reload")
    server.wait_ready()
    assert server.get("/").status == 200


def test_a_generator_stays_in_its_greenlet(serve: Serve) -> None:
    """Also when the client is slow to read: what is local to a greenlet stays."""
    server = serve("greenlets:app", *GEVENT)
    with server.connect(receive_buffer=65536) as slow:
        slow.send(format_request(target="/large?60"))
        slow.read_until(b"\r\n\r\n")
        assert server.get("/").status == 200
        assert server.get("/pieces?0.01").text == "".join(f"{n} mine\n" for n in range(5))
        body = slow.read_until(b"0\r\n\r\n")
        assert body.count(b"x") == 6_000_000


def test_write_holds_nobody(serve: Serve) -> None:
    """A client that does not read what the app pushes makes its own greenlet wait."""
    server = serve("greenlets:app", *GEVENT)
    with server.connect(receive_buffer=65536) as slow:
        slow.send(format_request(target="/write?60"))
        slow.read_until(b"\r\n\r\n")
        for _ in range(5):
            assert server.get("/").status == 200
        assert slow.read_until(b"0\r\n\r\n").count(b"x") == 6_000_000


@pytest.mark.parametrize(
    ("target", "event"), [("/large", "large-closed"), ("/write", "write-refused")]
)
def test_a_client_that_stops_reading_is_let_go(serve: Serve, target: str, event: str) -> None:
    """Nobody has taken anything for `write_timeout`: its greenlet ends, and so does its answer."""
    server = serve("greenlets:app", *GEVENT, "--write-timeout", "1")
    with server.connect(receive_buffer=8192) as deaf:
        deaf.send(format_request(target=target))
        deaf.read_until(b"\r\n\r\n")
        server.wait_event(event, timeout=30.0)


def test_answers_keep_the_order_of_pipelined_requests(serve: Serve) -> None:
    server = serve("greenlets:app", *GEVENT)
    with server.connect() as connection:
        connection.send(
            format_request(target="/sleep?0.2")
            + format_request(target="/pid")
            + format_request(target="/patched")
        )
        texts = [connection.read_response().text for _ in range(3)]
    assert texts == ["ok", str(server.workers()[0]), "True"]


@pytest.mark.parametrize("way", ["/timeout?0.05", "/kill"])
def test_what_ends_a_greenlet_ends_no_worker(serve: Serve, way: str) -> None:
    """gevent.Timeout and GreenletExit are no `Exception`."""
    server = serve("greenlets:app", *GEVENT)
    server.allow_log("Error handling request /timeout")
    before = server.workers()
    assert server.get(way).status == 500
    assert server.get("/").status == 200
    assert server.workers() == before


def test_an_app_that_exits_ends_its_worker_when_others_have_finished(serve: Serve) -> None:
    server = serve("greenlets:app", *GEVENT)
    server.expect_log("exited with code 7")
    server.allow_log("")
    before = server.workers()
    others = ask_together(server, "/sleep?1", 5)
    server.wait_event("sleeping", count=5)
    with server.connect() as exiting:
        exiting.send(format_request(target="/exit"))
        assert statuses(others) == {200}
    wait_for(lambda: (now := server.workers()) and now != before, 20.0, "another worker")


@pytest.mark.parametrize("way", ["hold", "spin"])
def test_a_greenlet_that_holds_the_hub_is_named(serve: Serve, way: str) -> None:
    server = serve("greenlets:app", *GEVENT, "--timeout", "2")
    server.expect_log("WORKER TIMEOUT")
    server.allow_log("was killed by its master")
    server.allow_log("Slow request")
    before = server.workers()
    with server.connect(timeout=30.0) as stuck:
        stuck.send(format_request(target=f"/{way}?60"))
        server.wait_event("holding")
        server.wait_log("WORKER TIMEOUT", 20.0)
        server.wait_log(f"it runs GET /{way}?60", 10.0)
        wait_for(lambda: (now := server.workers()) and now != before, 20.0, "another worker")
    line = next(each for each in server.records("CRITICAL"))
    assert "greenlets.py" in line.text, "the stack of the app"
    server.wait_answer()


def test_the_engine_serves_sockets_while_the_hub_is_held(serve: Serve) -> None:
    """Heads are read and refused, and a deadline brings its 504."""
    server = serve("greenlets:app", *GEVENT, "--request-timeout", "1", "--timeout", "30")
    server.expect_log("REQUEST TIMEOUT")
    server.allow_log("")
    with server.connect(timeout=30.0) as stuck:
        stuck.send(format_request(target="/hold?20"))
        server.wait_event("holding")
        with server.connect() as broken:
            broken.send(b"nonsense\r\n\r\n")
            assert broken.read_response().status == 400
        assert stuck.read_response().status == 504


def test_an_overdue_request_gets_504_and_is_explained(serve: Serve) -> None:
    """Its greenlet waits, so that no thread's stack would show where."""
    server = serve("greenlets:app", *GEVENT, "--request-timeout", "1")
    server.expect_log("REQUEST TIMEOUT")
    server.expect_log("waits in its greenlet")
    server.allow_log("only overdue requests left")
    before = server.workers()
    with server.connect(timeout=30.0) as stuck:
        stuck.send(format_request(target="/sleep?60"))
        server.wait_event("sleeping")
        assert server.get("/").status == 200
        assert stuck.read_response().status == 504
    server.wait_log("time.sleep(seconds)", 10.0)
    wait_for(lambda: (now := server.workers()) and not set(now) & set(before), 20.0, "another")
    server.wait_answer()


def test_connections_go_to_workers_whose_hub_is_free(serve: Serve) -> None:
    """The worker with the held hub takes few before that is noticed."""
    server = serve("greenlets:app", *GEVENT, workers=2)
    with contextlib.ExitStack() as kept:
        stuck = kept.enter_context(server.connect(timeout=60.0))
        stuck.send(format_request(target="/hold?6"))
        server.wait_event("holding")
        waiting = 0
        for _ in range(20):
            connection = kept.enter_context(server.connect(timeout=0.5))
            connection.send(format_request(target="/pid"))
            try:
                assert connection.read_response().status == 200
            except TimeoutError:
                waiting += 1
        assert waiting <= 4 or server.events("held")
        assert stuck.read_response().status == 200


def test_draining_waits_for_greenlets(serve: Serve) -> None:
    server = serve("greenlets:app", *GEVENT)
    slow = Concurrent(server.address, ["/sleep?1", "/pieces?0.2"])
    server.wait_event("sleeping")
    server.send_signal(signal.SIGTERM)
    assert slow.statuses() == [200, 200]
    assert server.wait_exit() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT], ids=["TERM", "QUIT"])
def test_what_is_cut_at_the_end_is_cleaned_up(serve: Serve, number: signal.Signals) -> None:
    """TERM: when the grace is over; QUIT: at once. `finally` runs either way."""
    server = serve("greenlets:app", *GEVENT, "--graceful-timeout", "1")
    server.allow_log("ended before these could be finished: GET /cleanup")
    stuck = Concurrent(server.address, ["/cleanup?60"])
    server.wait_event("sleeping")
    server.send_signal(number)
    assert server.wait_exit() == 0
    assert server.events("cleaned")
    stuck.wait()


def test_worker_int_may_wait(serve: Serve) -> None:
    """The hook runs in a greenlet, not where the signal came."""
    config = """
import events

def worker_int(worker):
    import time
    time.sleep(0.1)
    events.note("interrupted")
"""
    server = serve("greenlets:app", *GEVENT, config=config)
    server.send_signal(signal.SIGINT)
    assert server.wait_exit() == 0
    assert len(server.events("interrupted")) == 1


def test_max_requests_loses_nothing(serve: Serve) -> None:
    server = serve("greenlets:app", *GEVENT, "--max-requests", "50", workers=2)
    with Load(server.address, clients=4, target="/pid") as load:
        wait_for(lambda: len(load.bodies()) >= 5, 30.0, "workers to be replaced")
    load.assert_no_loss()


@pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["worker", "mold"])
def test_reloads_under_load_lose_nothing(serve: Serve, preload: list[str]) -> None:
    """Kept connections, short ones and slow requests."""
    server = serve("greenlets:app", *GEVENT, *preload, workers=2)
    with (
        Load(server.address, clients=3, target="/pid", timeout=30.0) as kept,
        Load(server.address, clients=3, keep_alive=False, target="/pid", timeout=30.0) as short,
        Load(server.address, clients=6, target="/sleep?0.2", timeout=30.0) as slow,
    ):
        for _ in range(3):
            seen = len(kept.bodies() | short.bodies())
            server.send_signal(signal.SIGHUP)

            def is_new(seen: int = seen) -> bool:
                return len(kept.bodies() | short.bodies()) > seen

            wait_for(is_new, 30.0, "new workers")
    for load in (kept, short, slow):
        load.assert_no_loss()


@pytest.mark.parametrize("engine", ["inotify", "poll"])
def test_watching_files_does_not_hold_the_hub(serve: Serve, engine: str) -> None:
    """Requests go on between edits, and an edit brings a new worker."""
    app = """
def app(environ, start_response):
    start_response("200 OK", [])
    return [b"old"]
"""
    options = ("--reload", "--reload-engine", engine)
    server = serve("own:app", *GEVENT, *options, files={"own.py": app}, env={"PYTHONPATH": ""})
    server.allow_log("")
    with Load(server.address, clients=2, pause=0.001, timeout=30.0) as load:
        wait_for(lambda: load.answered > 300, 30.0, "300 answers")
        source = server.directory / "own.py"
        source.write_text(source.read_text().replace("old", "new"))
        wait_for(lambda: b"new" in load.bodies(), 30.0, "the new code")
    load.assert_no_loss()
    # One that is held answers once a second.
    assert load.latency(0.5) < 0.5


def test_a_subclass_overrides_what_happens_once_per_request(serve: Serve) -> None:
    """What belongs to one request stays in its greenlet."""
    text = """
import time
import events
from monoceros.workers.ggevent import GeventWorker

class OwnWorker(GeventWorker):
    def handle_request(self, listener_name, req, sock, addr):
        time.sleep(0.1)
        events.note("handled", path=req.path)
        return super().handle_request(listener_name, req, sock, addr)
"""
    app = """
def app(environ, start_response):
    start_response("200 OK", [])
    return [environ["PATH_INFO"].encode()]
"""
    server = serve(
        "own:app",
        "--worker-class",
        "own_worker.OwnWorker",
        files={"own_worker.py": text, "own.py": app},
    )
    targets = [f"/{number}" for number in range(20)]
    answers = Concurrent(server.address, targets).wait()
    assert [getattr(answer, "text", answer) for answer in answers] == targets
    assert {event["path"] for event in server.events("handled")} >= set(targets)
