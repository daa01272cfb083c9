"""Which worker class serves an app: the app decides where nobody has."""

import re
import signal
import subprocess
import sys

import pytest

from support.server import environment
from support.serving import Serve
from support.waiting import wait_for

PRELOAD = pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["plain", "preload"])

ASGI_2 = """
def app(scope):
    async def instance(receive, send): ...
    return instance
"""

CALLABLES = """
import functools
from asgi_life import app as inner

class Site:
    async def __call__(self, scope, receive, send):
        await inner(scope, receive, send)

def decorator(function):
    @functools.wraps(function)
    def wrapper(*arguments):
        return function(*arguments)
    return wrapper

def plain(scope, receive, send):
    return inner(scope, receive, send)

instance = Site()
partial = functools.partial(inner)
decorated = decorator(inner)

def factory():
    return Site()
"""


@PRELOAD
@pytest.mark.parametrize("options", [[], ["--threads", "3"], ["--interface", "asgi"]], ids=str)
def test_an_asgi_app_is_served_without_a_word(
    serve: Serve, options: list[str], preload: list[str]
) -> None:
    server = serve("asgi_life:app", *options, *preload, workers=2)
    assert server.get("/").status == 200
    assert server.log.count("Using worker: asgi") == 1
    assert len(server.events("startup")) == 2


@pytest.mark.parametrize("name", ["instance", "partial", "decorated", "plain", "factory()"])
def test_apps_of_all_kinds(serve: Serve, name: str) -> None:
    server = serve(f"own:{name}", files={"own.py": CALLABLES})
    assert server.get("/variable").text == "untouched"


@PRELOAD
@pytest.mark.parametrize("options", [[], ["--threads", "3"], ["--interface", "wsgi"]], ids=str)
def test_a_wsgi_app_is_served_as_ever(serve: Serve, options: list[str], preload: list[str]) -> None:
    server = serve("probes:app", *options, *preload)
    assert server.get("/").status == 200
    assert "Using worker: asgi" not in server.log


@PRELOAD
@pytest.mark.parametrize(
    ("app", "options", "text"),
    [
        (
            "asgi_life:app",
            ["-k", "sync"],
            "The app 'app' is an ASGI app, which worker_class 'sync' does not serve: use -k asgi",
        ),
        ("asgi_life:app", ["-k", "gthread"], "worker_class 'gthread' does not serve: use -k asgi"),
        ("asgi_life:app", ["-k", "gevent"], "worker_class 'gevent' does not serve: use -k asgi"),
        ("asgi_life:app", ["--interface", "wsgi"], "interface = 'wsgi' does not serve: set it to"),
        (
            "probes:app",
            ["-k", "asgi"],
            "is a WSGI app, which worker_class 'asgi' does not serve: use -k sync or gthread",
        ),
        ("probes:app", ["--interface", "asgi"], "interface = 'asgi' does not serve: set it to"),
        ("own:app", [], "guarantee_single_callable"),
        ("own:app", ["-k", "asgi"], "guarantee_single_callable"),
    ],
)
def test_what_does_not_fit_ends_the_server_with_the_way_out(
    serve: Serve, app: str, options: list[str], text: str, preload: list[str]
) -> None:
    server = serve(app, *options, *preload, files={"own.py": ASGI_2}, wait=False)
    server.expect_log(re.escape(text))
    server.allow_log(".")
    server.expect_exit(4)
    assert server.wait_exit() == 4
    assert "Traceback" not in server.log


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["asgi_life:app"], 0, ""),
        (["-k", "asgi", "asgi_life:app"], 0, ""),
        (["-k", "sync", "asgi_life:app"], 1, "use -k asgi"),
        (["-k", "asgi", "probes:app"], 1, "use -k sync or gthread"),
        (["-k", "sync", "--interface", "asgi", "asgi_life:app"], 1, "set one of them only"),
        (["-k", "asgi", "--interface", "wsgi", "probes:app"], 1, "set one of them only"),
    ],
    ids=str,
)
def test_a_check_of_the_configuration_says_the_same(
    tmp_path: object, arguments: list[str], status: int, text: str
) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "monoceros", "--check-config", *arguments],
        env=environment(tmp_path, {}),  # type: ignore[arg-type]
        cwd=str(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (process.returncode, text in process.stderr) == (status, True), process.stderr


def test_timeout_bounds_no_request_where_the_app_has_decided(serve: Serve) -> None:
    """The arbiter takes the worker for one of `sync` until it is told."""
    server = serve("asgi_life:app", "--timeout", "1")
    server.expect_log("Slow request")
    server.allow_log("The slow request is at")
    [pid] = server.workers()
    with server.connect() as slow:
        slow.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        server.wait_log("Slow request", timeout=20.0)
        assert "in slow" in server.log, "with its coroutine's stack"
        (server.directory / "gate").touch()
        assert slow.read_response().text == str(pid)


def test_a_reload_may_change_the_interface(serve: Serve) -> None:
    """From WSGI to ASGI and back, by the app alone."""
    wsgi, asgi = "from probes import app\n", "from asgi_life import app\n"
    server = serve("own:app", files={"own.py": wsgi}, workers=2)
    for text, count in ((asgi, 1), (wsgi, 2), (asgi, 3)):
        (server.directory / "own.py").write_text(text)
        server.send_signal(signal.SIGHUP)
        server.wait_log("Reload complete", timeout=30.0, count=count)
        assert server.get("/").status == 200
    assert server.log.count("Using worker: asgi, because the app is an ASGI app") == 2


@pytest.mark.parametrize("module", ["uvicorn.workers", "uvicorn_worker"])
def test_uvicorns_classes_without_uvicorn(serve: Serve, module: str) -> None:
    """A deployment that names them means an ASGI app."""
    config = f"""
import sys
sys.modules["uvicorn"] = None
worker_class = "{module}.UvicornWorker"
"""
    server = serve("asgi_life:app", config=config)
    assert f"{module}.UvicornWorker is not installed: the worker class asgi" in server.log
    assert server.get("/variable").text == "untouched"


SUBCLASS = """
from gunicorn.workers.gasgi import ASGIWorker
from events import note

class Worker(ASGIWorker):
    def notify(self):
        super().notify()
        note("beat", connections=self.nr_conns, state=dict(self.state), loop=self.loop.time() > 0)

    def _setup_event_loop(self):
        pass

worker_class = Worker
"""


def test_a_subclass_by_gunicorns_name(serve: Serve) -> None:
    server = serve("asgi_life:app", "--timeout", "2", config=SUBCLASS)
    server.expect_log("_setup_event_loop is never called.*asgi_loop says which loop there is")
    first = server.wait_event("beat")[0]
    assert (first["state"]["number"], first["loop"]) == (1, True)
    with server.connect() as connection:
        connection.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert connection.read_response().status == 200
        wait_for(lambda: server.events("beat")[-1]["connections"] == 1, 20.0, "a beat that tells")


HOOKED = """
def pre_fork(server, worker):
    worker.given = "by pre_fork"

def post_worker_init(worker):
    from events import note
    note("init", given=worker.given, kind=type(worker).__name__)
"""


def test_hooks_see_one_worker_object(serve: Serve) -> None:
    server = serve("asgi_life:app", config=HOOKED)
    (event,) = server.events("init")
    assert (event["given"], event["kind"]) == ("by pre_fork", "ASGIWorker")


BROKEN = "from asgi_life import app\nraise ValueError('an edit')\n"
NOT_STARTING = "import os\nos.environ['LIFESPAN'] = 'fails'\nfrom asgi_life import app\n"
GOOD = "import os\nos.environ['LIFESPAN'] = ''\nfrom asgi_life import app\n"


@pytest.mark.parametrize("options", [[], ["-k", "asgi"]], ids=["auto", "asgi"])
@pytest.mark.parametrize(
    ("text", "told"),
    [(BROKEN, "ValueError: an edit"), (NOT_STARTING, "no database today")],
    ids=["import", "startup"],
)
def test_with_reload_a_broken_app_answers_500_until_it_is_mended(
    serve: Serve, options: list[str], text: str, told: str
) -> None:
    server = serve("own:app", "--reload", *options, files={"own.py": text})
    server.expect_log(told)
    assert server.get("/").status == 500
    draft = server.directory / "own.new"
    draft.write_text(GOOD)
    draft.rename(server.directory / "own.py")
    wait_for(lambda: server.get("/").status == 200, 30.0, "the app that was mended")
