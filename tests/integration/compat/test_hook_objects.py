"""What hooks find on the objects that they are given, and what they may change."""

import signal

import pytest

from support.serving import Serve
from support.waiting import wait_for

_SERVER_NAMES = """
    app cfg log pid timeout proc_name address worker_class num_workers WORKERS LISTENERS pidfile
    systemd worker_age reexec_pid master_pid master_name START_CTX SIG_QUEUE dirty_arbiter_pid
    dirty_arbiter WORKER_BOOT_ERROR APP_LOAD_ERROR wakeup kill_worker kill_workers spawn_worker
    spawn_workers manage_workers murder_workers reap_workers reload reexec stop halt setup
"""

_WORKER_NAMES = """
    age pid ppid nr cfg app log tmp sockets booted alive aborted timeout max_requests reloader
"""

SERVER = _SERVER_NAMES.split()
WORKER = _WORKER_NAMES.split()

CONFIG = f"""
from events import note

_SERVER = {SERVER!r}
_WORKER = {WORKER!r}

def seen(thing, names):
    return [name for name in names if not hasattr(thing, name)]

def when_ready(server):
    note("when_ready", missing=seen(server, _SERVER), address=str(server.address),
         name=server.master_name, args=len(server.START_CTX["args"]))

def pre_fork(server, worker):
    note("pre_fork", missing=seen(worker, _WORKER), pid=str(worker.pid), booted=worker.booted)

def post_fork(server, worker):
    note("post_fork", missing=seen(worker, _WORKER) + seen(server, _SERVER))

def post_worker_init(worker):
    note("post_worker_init", missing=seen(worker, [*_WORKER, "wsgi", "wait_fds"]))

def pre_request(worker, req):
    note("pre_request", nr=worker.nr, cfg=req.cfg is worker.cfg)
    if req.path == "/changed":
        req.headers.append(("REQUEST_ID", "17"))
        req.headers[:] = [each for each in req.headers if each[0] != "X-DROPPED"]
        req.path = "/environ"
        req.query = "from=the+hook"
        req.scheme = "https"
    if req.path == "/refused":
        raise RuntimeError("refused by the hook")

def post_request(worker, req, environ, resp):
    note("post_request", nr=worker.nr, alive=worker.alive, body=req.body is not None,
         status=resp.status, code=resp.status_code, headers=[list(each) for each in resp.headers],
         sent=resp.sent, length=resp.response_length, version=list(resp.version),
         same=resp.req is req, cfg=resp.cfg is worker.cfg, close=resp.should_close(),
         logged=worker.log.access_log_enabled)

def child_exit(server, worker):
    note("child_exit", missing=seen(worker, _WORKER), known=worker.pid in server.WORKERS)
"""

APP = """
def app(environ, start_response):
    keys = ("PATH_INFO", "QUERY_STRING", "HTTP_REQUEST_ID", "HTTP_X_DROPPED", "wsgi.url_scheme",
            "HTTP_X_KEPT")
    body = repr([environ.get(key) for key in keys]).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"""


def run(serve: Serve, *options: str, config: str = CONFIG, **more: object):  # type: ignore[no-untyped-def]
    return serve("hooked:app", *options, config=config, files={"hooked.py": APP}, **more)  # type: ignore[arg-type]


def test_every_attribute_is_there(serve: Serve) -> None:
    server = run(serve, probe=None)
    assert server.get("/a").status == 200
    assert server.get("/b").status == 200
    server.wait_event("post_request", count=2)
    assert server.stop() == 0
    found = {event["event"]: event for event in server.events()}
    for hook in ("when_ready", "pre_fork", "post_fork", "post_worker_init", "child_exit"):
        assert found[hook]["missing"] == [], hook
    assert found["when_ready"]["name"] == "Master"
    assert found["pre_fork"]["pid"] == "[booting]"
    # Gunicorn counts a request between its two hooks.
    assert [each["nr"] for each in server.events("pre_request")] == [0, 1]
    after = server.events("post_request")
    assert [each["nr"] for each in after] == [1, 2]
    assert (after[0]["status"], after[0]["code"], after[0]["version"]) == ("200 OK", 200, [1, 1])
    assert ["Content-Type", "text/plain"] in after[0]["headers"]
    assert after[0]["length"] == after[0]["sent"] > 0
    assert after[0]["same"] and after[0]["cfg"] and after[0]["body"] and after[0]["alive"]
    assert all(each["cfg"] for each in server.events("pre_request"))


def test_attributes_under_preload(serve: Serve) -> None:
    """The arbiter's stand-in for a worker that the mold has made has them, too."""
    server = run(serve, "--preload", probe=None)
    assert server.get("/a").status == 200
    assert server.stop() == 0
    found = {event["event"]: event for event in server.events()}
    for hook in ("pre_fork", "post_fork", "post_worker_init", "child_exit"):
        assert found[hook]["missing"] == [], hook


def test_pre_request_changes_what_the_app_sees(serve: Serve) -> None:
    server = run(serve, probe=None)
    fields = [("X-Dropped", "1"), ("X-Kept", "2")]
    answer = server.exchange("GET", "/changed?a=b", fields).text
    assert answer == repr(["/environ", "from=the+hook", "17", None, "https", "2"])
    # The next one is not touched.
    answer = server.exchange("GET", "/plain?a=b", fields).text
    assert answer == repr(["/plain", "a=b", None, "1", "http", "2"])


def test_pre_request_can_refuse(serve: Serve) -> None:
    server = run(serve, probe=None)
    server.expect_log("refused by the hook|Error handling request /refused")
    assert server.get("/refused").status == 500
    assert server.get("/").status == 200


FAILING = """
def fail(name):
    raise RuntimeError(f"{name} fails on purpose")

def nworkers_changed(server, new, old):
    if old is not None:
        fail("nworkers_changed")

def on_reload(server):
    fail("on_reload")

def child_exit(server, worker):
    fail("child_exit")

def worker_exit(server, worker):
    fail("worker_exit")

def on_exit(server):
    fail("on_exit")
"""


def test_hooks_of_the_master_that_fail_end_nothing(serve: Serve) -> None:
    """Each is logged with its name and its traceback; the server lives on."""
    server = run(serve, config=FAILING, probe="/")
    [first] = server.workers()
    server.send_signal(signal.SIGTTIN)
    server.wait_ready(2)
    server.send_signal(signal.SIGHUP)
    wait_for(lambda: first not in server.workers(), 20, "the old worker to go")
    server.wait_ready(2)
    assert server.get("/").status == 200
    assert server.stop() == 0
    for name in ("nworkers_changed", "on_reload", "child_exit", "worker_exit", "on_exit"):
        server.expect_log(f"{name} fails on purpose")
        assert f"Exception in {name} hook" in server.log


WATCHING = """
import os, signal
from events import note

def when_ready(server):
    note("when_ready", workers=len(server.WORKERS))

def child_exit(server, worker):
    note("child_exit", worker=worker.pid)

def on_reload(server):
    for pid, worker in list(server.WORKERS.items()):
        note("seen", worker=pid, age=worker.age, nr=worker.nr, booted=worker.booted,
             beat=worker.tmp.last_update() > 0)
"""


def test_the_master_sees_its_workers(serve: Serve) -> None:
    """`server.WORKERS` with ages, counts and beats, as scripts that watch workers read them."""
    for options in ([], ["--preload"]):
        server = run(serve, *options, config=WATCHING, probe=None)
        for _ in range(3):
            assert server.get("/").status == 200
        [pid] = server.workers()
        server.send_signal(signal.SIGHUP)
        [seen] = server.wait_event("seen")
        assert (seen["worker"], seen["nr"], seen["booted"], seen["beat"]) == (pid, 3, True, True)
        wait_for(lambda p=pid, s=server: p not in s.workers(), 20, "the old worker to go")
        server.finish()


SILENT = """
import gunicorn
gunicorn.SERVER = {server!r}
gunicorn.SERVER_SOFTWARE = "quiet/1"
"""


def test_a_config_file_renames_the_server(serve: Serve) -> None:
    """``gunicorn.SERVER`` is what clients are told, ``gunicorn.SERVER_SOFTWARE`` what apps are."""
    app = """
def app(environ, start_response):
    start_response("200 OK", [])
    return [environ["SERVER_SOFTWARE"].encode()]
"""
    for name in ("Apache", ""):
        server = serve(
            "renamed:app",
            config=SILENT.format(server=name),
            files={"renamed.py": app},
        )
        answer = server.get("/")
        assert answer.text == "quiet/1"
        assert answer.get("Server") == (name or None)


HIDING = """
from gunicorn.http import wsgi

class Response(wsgi.Response):
    def default_headers(self, *args, **kwargs):
        headers = super().default_headers(*args, **kwargs)
        return [h for h in headers if not h.startswith("Server:")]

wsgi.Response = Response
"""


def test_another_response_class_hides_the_server(serve: Serve) -> None:
    """What most of the answers on the web recommend for it."""
    assert serve("probes:app", config=HIDING).get("/").get("Server") is None
    renaming = """
from gunicorn import util
from gunicorn.http import wsgi

def default_headers(self):
    connection = "close" if self.should_close() else "keep-alive"
    return [
        "HTTP/%s.%s %s\\r\\n" % (self.req.version[0], self.req.version[1], self.status),
        "Server: Apache\\r\\n",
        "Date: %s\\r\\n" % util.http_date(),
        "Connection: %s\\r\\n" % connection,
    ]

wsgi.Response.default_headers = default_headers
"""
    assert serve("probes:app", config=renaming).get("/").get("Server") == "Apache"


@pytest.mark.parametrize(
    "method",
    [
        "def send_headers(self):\n        pass",
        "def default_headers(self):\n        return ['X-More: 1\\r\\n']",
    ],
)
def test_a_response_class_that_wants_more_is_refused(serve: Serve, method: str) -> None:
    """It could have no effect: the server does not start, and the log says what to do instead."""
    config = f"""
from gunicorn.http import wsgi

class Response(wsgi.Response):
    {method}

wsgi.Response = Response
"""
    server = serve("probes:app", config=config, wait=False, probe=None)
    server.expect_exit(1)
    assert server.wait_exit() == 1
    server.expect_log("gunicorn.http.wsgi.Response has another .*gunicorn.SERVER in the config")


def test_a_logger_class_by_gunicorns_name(serve: Serve) -> None:
    config = """
from gunicorn import glogging

class Marked(glogging.Logger):
    def setup(self, cfg):
        super().setup(cfg)
        self.info("set up by %s", type(self).__name__)

logger_class = Marked
"""
    server = serve("probes:app", config=config)
    assert "set up by Marked" in server.log
