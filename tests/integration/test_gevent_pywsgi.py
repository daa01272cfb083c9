"""The worker class `gevent_pywsgi`: gevent's own server under our master."""

import signal

import pytest

from support.load import Load
from support.server import Concurrent, Server
from support.serving import Serve
from support.waiting import wait_for

#: Such a worker has no engine by which it could be seen from outside that it is ready.
NOTING = """
import events

def post_worker_init(worker):
    events.note("serving")
"""


def start(serve: Serve, *options: str, name: str = "gevent_pywsgi", workers: int = 1) -> Server:
    return serve("greenlets:app", "--worker-class", name, *options, config=NOTING, workers=workers)


def test_requests_run_side_by_side(serve: Serve) -> None:
    server = start(serve)
    assert Concurrent(server.address, ["/sleep?1"] * 40).statuses() == [200] * 40
    assert int(server.get("/most").text) > 20
    assert server.get("/patched").text == "True"
    assert server.get("/pieces?0.01").text == "".join(f"{n} mine\n" for n in range(5))
    body = b"x" * 500_000
    assert server.exchange("POST", "/echo", body=body).body == body


def test_access_lines_are_the_workers(serve: Serve) -> None:
    server = start(serve, "--access-logfile", "-", "--access-logformat", "%(m)s %(U)s %(s)s %(B)s")
    assert server.get("/pid").status == 200
    wait_for(lambda: "GET /pid 200" in server.stdout, 10.0, "an access line")


def test_draining_answers_what_runs(serve: Serve) -> None:
    server = start(serve)
    slow = Concurrent(server.address, ["/sleep?1", "/pieces?0.2"])
    server.wait_event("sleeping")
    server.send_signal(signal.SIGTERM)
    assert slow.statuses() == [200, 200]
    assert server.wait_exit() == 0


def test_the_end_of_the_grace_cuts_what_runs(serve: Serve) -> None:
    server = start(serve, "--graceful-timeout", "1")
    server.expect_log("ended before 1 requests could be finished")
    stuck = Concurrent(server.address, ["/cleanup?60"])
    server.wait_event("sleeping")
    assert server.stop() == 0
    assert server.events("cleaned")
    stuck.wait()


def test_quick_end(serve: Serve) -> None:
    server = start(serve)
    stuck = Concurrent(server.address, ["/cleanup?60"])
    server.wait_event("sleeping")
    assert server.stop(signal.SIGQUIT) == 0
    stuck.wait()


def test_a_hub_that_is_held_is_explained(serve: Serve) -> None:
    server = start(serve, "--timeout", "2")
    server.expect_log("WORKER TIMEOUT")
    server.allow_log("")
    before = server.workers()
    stuck = Concurrent(server.address, ["/hold?60"])
    server.wait_event("holding")
    server.wait_log("in hold_the_hub", 20.0)
    wait_for(lambda: (now := server.workers()) and not set(now) & set(before), 20.0, "another")
    server.wait_answer()
    stuck.wait()


def test_max_requests_and_reloads_lose_nothing(serve: Serve) -> None:
    server = start(serve, "--max-requests", "100", workers=2)
    with Load(server.address, clients=4, target="/pid", timeout=30.0, keep_alive=False) as load:
        wait_for(lambda: len(load.bodies()) >= 4, 60.0, "a worker to be replaced")
        seen = len(load.bodies())
        server.send_signal(signal.SIGHUP)
        wait_for(lambda: len(load.bodies()) > seen, 60.0, "new workers")
    load.assert_no_loss()


def test_a_handler_of_ones_own(serve: Serve) -> None:
    """As WebSocket packages bring one."""
    text = """
from monoceros.workers.ggevent import GeventPyWSGIWorker, PyWSGIHandler

class Handler(PyWSGIHandler):
    def get_environ(self):
        return {**super().get_environ(), "wsgi.websocket": "here"}

class OwnWorker(GeventPyWSGIWorker):
    wsgi_handler = Handler
"""
    app = """
def app(environ, start_response):
    start_response("200 OK", [])
    return [environ["wsgi.websocket"].encode(), b" ", environ["RAW_URI"].encode()]
"""
    server = serve(
        "own:app",
        "--worker-class",
        "own_worker.OwnWorker",
        config=NOTING,
        files={"own_worker.py": text, "own.py": app},
    )
    assert server.get("/a%20b").text == "here /a%20b"


@pytest.mark.parametrize("name", ["gevent_wsgi", "gunicorn.workers.ggevent.GeventPyWSGIWorker"])
def test_its_other_names(serve: Serve, name: str) -> None:
    assert start(serve, name=name).get("/").status == 200
