"""Deployments as they are found in the wild, each started for real as it starts Gunicorn.

A recipe is a folder in `tests/recipes` (see `support/recipes.py`) and an entry of `RECIPES`: where
it listens, what it is asked, and what has to be so beside an answer, an orderly stop and a log
without surprises.
"""

import contextlib
import fcntl
import json
import os
import shlex
import signal
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.client import (
    Address,
    Connection,
    Response,
    SecureAddress,
    exchange,
    format_request,
    get,
)
from support.ports import free_port
from support.recipes import EXTRA, SITES, install, names, read_start
from support.server import APPS, Server, command
from support.serving import Serve
from support.tls import HOST, Authority
from support.tools import need_package
from support.waiting import wait_for

#: Recipes that cannot work before something else is there, and what that is.
NEEDS: dict[str, str] = {}

#: Seconds to wait for what follows from something that has happened.
BOUND = 20.0


def ask(server: Server, target: str = "/", *fields: tuple[str, str]) -> Response:
    """An answer, as soon as there is one."""
    server.wait_answer(target)
    return exchange(server.address, "GET", target, fields)


@dataclass
class Recipe:
    """What a recipe's test does beside the usual.

    listens: "option" (the test adds --bind), "PORT" (it sets the variable), or the path of a unix
    socket in the recipe's folder. answer: stands in the body. errorlog: its file. log: records
    that have to come. allowed: records that may. look: called when the server has answered, after:
    when it has stopped; both get the server and its folder. workers: how many have to be ready
    before it is stopped, where hooks at the end rely on those at the start. tls: it needs a
    certificate. datagrams: the variable with the port where the test listens for them, told: stands
    in some of them.
    """

    answer: str = "hello"
    listens: str = "option"
    env: Mapping[str, str] = field(default_factory=dict)
    packages: Sequence[str] = ()
    errorlog: str = ""
    log: Sequence[str] = ()
    allowed: Sequence[str] = ()
    ask: Callable[[Server], Response] = ask
    look: Callable[[Server, Path], None] = lambda server, folder: None
    after: Callable[[Server, Path], None] = lambda server, folder: None
    stop: signal.Signals = signal.SIGTERM
    workers: int = 0
    tls: bool = False
    datagrams: str = ""
    told: frozenset[bytes] = frozenset()


def below_shop(server: Server) -> Response:
    seen = ask(
        server, "/shop/seen", ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "shop.example")
    )
    facts = json.loads(seen.body)
    assert (facts["secure"], facts["script"]) == (True, "/shop")
    assert facts["uri"] == "https://shop.example/shop/seen"
    return get(server.address, "/shop/")


def forwarded_for(server: Server, folder: Path) -> None:
    ask(server, "/seen", ("X-Forwarded-For", "203.0.113.7"))
    line = "203.0.113.7 GET /seen HTTP/1.1 200 "
    wait_for(lambda: line in (folder / "access.log").read_text(), BOUND, line)


def with_preface(server: Server) -> Response:
    """The first request of a proxy that says whom it speaks for."""
    with Connection(server.address, BOUND) as connection:
        connection.send(b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 80\r\n" + format_request())
        response = connection.read_response()
    assert "address 203.0.113.7" in response.text
    return response


def by_uwsgi(server: Server) -> Response:
    """A request as nginx's uwsgi_pass sends it."""
    variables = {
        "REQUEST_METHOD": "GET",
        "REQUEST_URI": "/",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "203.0.113.7",
        "HTTP_HOST": "shop.example",
    }
    block = b"".join(
        struct.pack("<H", len(part)) + part.encode() for pair in variables.items() for part in pair
    )
    with Connection(server.address, BOUND) as connection:
        connection.send(struct.pack("<BHB", 0, len(block), 0) + block)
        return connection.read_response()


def counted(server: Server, folder: Path) -> None:
    assert b"site_requests_total" in get(server.address, "/metrics").body


def metrics_served(server: Server, folder: Path) -> None:
    [port] = [address[1] for address in server.other_addresses if not isinstance(address, str)]
    assert b"python_info" in get(("127.0.0.1", port), "/metrics").body


def probes_left_out(server: Server, folder: Path) -> None:
    for agent in ("kube-probe/1.31", "a browser"):
        exchange(server.address, "GET", "/", [("User-Agent", agent)])
    log = folder / "access.log"
    wait_for(lambda: "a browser" in log.read_text(), BOUND, "the browser's line")
    assert "kube-probe" not in log.read_text()


def all_hooks(server: Server, folder: Path) -> None:
    lines = [line.partition("hook ")[2] for line in server.log.splitlines() if "hook " in line]
    called = [line.split()[0] for line in lines]
    order = [
        *("nworkers_changed", "on_starting", "when_ready", "pre_fork", "post_fork"),
        *("post_worker_init", "pre_request", "post_request", "worker_exit", "child_exit"),
        "on_exit",
    ]
    assert [name for name in dict.fromkeys(called) if name in order] == order
    assert "post_request GET 200 OK" in lines


def json_lines(server: Server, folder: Path) -> None:
    texts = [json.loads(line)["message"] for line in server.stdout.splitlines()]
    assert any(text.startswith("Starting monoceros") for text in texts)
    assert any('"GET / HTTP/1.1" 200' in text for text in texts)
    assert not server.stderr


def has_pidfile(server: Server, folder: Path) -> None:
    assert (folder / "site.pid").read_text() == f"{server.pid}\n"


def no_pidfile(server: Server, folder: Path) -> None:
    assert not (folder / "site.pid").exists()


def is_ready(server: Server, folder: Path) -> None:
    assert (folder / "ready").exists()
    assert "stage cluster" in get(server.address, "/").text


def is_not_ready(server: Server, folder: Path) -> None:
    assert not (folder / "ready").exists()


def socket_mode(mode: int, name: str) -> Callable[[Server, Path], None]:
    def look(server: Server, folder: Path) -> None:
        assert stat.S_IMODE((folder / name).stat().st_mode) == mode

    return look


def written(*parts: str) -> Callable[[Server, Path], None]:
    """The log has these texts."""

    def look(server: Server, folder: Path) -> None:
        for part in parts:
            server.wait_log(part)

    return look


def says(text: str, *fields: tuple[str, str]) -> Callable[[Server, Path], None]:
    """A request with these fields is answered so."""

    def look(server: Server, folder: Path) -> None:
        assert text in exchange(server.address, "GET", "/", fields).text

    return look


def stacks_told(server: Server, folder: Path) -> None:
    assert "thread MainThread" in server.log


def spans_told(server: Server, folder: Path) -> None:
    assert '"name": "answer"' in server.stdout


DJANGO, FLASK = ("django",), ("flask",)

RECIPES = {
    "all-hooks": Recipe(after=all_hooks),
    "daemon": Recipe(errorlog="error.log"),
    "dirty": Recipe(answer="hello, world"),
    "django-docker": Recipe("hello from Django", packages=DJANGO),
    "django-proxy": Recipe("hello from Django", packages=DJANGO, ask=below_shop),
    "django-script": Recipe(
        "hello from Django", "run/gunicorn.sock", packages=DJANGO, look=written("[DEBUG] GET /")
    ),
    "django-settings": Recipe("hello from Django", packages=DJANGO),
    "django-template": Recipe("hello from Django", packages=DJANGO),
    "docker-entrypoint": Recipe(look=says("stage container")),
    "docker-environment": Recipe(
        listens="PORT",
        env={"HOST": "127.0.0.1", "MAX_WORKERS": "2"},
    ),
    "docker-json-logs": Recipe(after=json_lines, packages=["pythonjsonlogger"]),
    "docker-shell": Recipe(listens="PORT"),
    "flask-factory": Recipe("hello from Flask in development", packages=FLASK),
    "flask-factory-arguments": Recipe(
        "hello from Flask in production", packages=FLASK, errorlog="logs/error.log"
    ),
    "flask-gevent": Recipe("hello from Flask", packages=["flask", "gevent"]),
    "flask-log-config": Recipe("hello from Flask", packages=FLASK, look=forwarded_for),
    "flask-preload": Recipe(
        "hello from Flask",
        packages=FLASK,
        look=written("starting with 2 workers", "Server is ready", "Worker spawned (pid: "),
    ),
    "flask-reload": Recipe("hello from Flask", packages=FLASK),
    "flask-threads": Recipe("hello from Flask", packages=FLASK),
    "health-filter": Recipe(look=probes_left_out),
    "heroku": Recipe(listens="PORT", env={"WEB_CONCURRENCY": "2"}),
    "heroku-options": Recipe(listens="PORT", env={"WEB_CONCURRENCY": "2"}),
    "heroku-release": Recipe(
        listens="PORT",
        env={"WEB_CONCURRENCY": "2"},
        look=says("scheme https", ("X-Forwarded-Proto", "https")),
    ),
    "heroku-variable": Recipe(
        listens="PORT",
        env={"GUNICORN_CMD_ARGS": "--workers 2 --threads 2 --access-logfile - -n 'a site'"},
        look=written("Using worker: gthread"),
    ),
    "http2": Recipe(
        tls=True,
        look=says("scheme https"),
        log=["http_protocols is not supported by this release and has no effect"],
    ),
    "kubernetes": Recipe(look=is_ready, after=is_not_ready),
    "kubernetes-sidecar": Recipe(listens="code/shared/app.sock"),
    "memory-watch": Recipe(look=written("watching workers"), allowed=["multi-threaded"]),
    "monorepo": Recipe(look=says("stage monorepo")),
    "new-relic": Recipe(),
    "nginx-proxy-protocol": Recipe(ask=with_preface),
    "nginx-socket": Recipe(
        listens="gunicorn.sock",
        log=["no setting is called 'x_forwarded_for_header'"],
        look=socket_mode(0o770, "gunicorn.sock"),
    ),
    "nginx-two-ports": Recipe(listens="PORT", look=socket_mode(0o777, "admin.sock")),
    "nginx-uwsgi": Recipe(ask=by_uwsgi),
    "opentelemetry": Recipe(packages=["opentelemetry.sdk"], after=spans_told, workers=2),
    "paste": Recipe(packages=["paste.deploy"]),
    "pre-exec": Recipe(),
    "prometheus": Recipe(
        packages=["prometheus_client"], env={"PROMETHEUS_MULTIPROC_DIR": "metrics"}, look=counted
    ),
    "prometheus-server": Recipe(
        packages=["prometheus_client"], look=metrics_served, allowed=["multi-threaded"]
    ),
    "sentry": Recipe(packages=["sentry_sdk"]),
    "stack-dump": Recipe(
        stop=signal.SIGQUIT, after=stacks_told, allowed=["File|thread|^ "], workers=2
    ),
    "statsd": Recipe(
        datagrams="METRICS_PORT",
        told=frozenset({b"shop.gunicorn.requests:1|c", b"env:test,team:web"}),
    ),
    "strictness": Recipe(allowed=["permit_|strip_|casefold_|header_map"]),
    "supervisord": Recipe(look=says("stage supervised"), errorlog="error.log"),
    "supervisord-socket": Recipe(listens="descriptor 0", stop=signal.SIGINT),
    "syslog": Recipe(
        datagrams="SYSLOG_PORT",
        told=frozenset({b"gunicorn.shop.error: ", b"gunicorn.shop.access: ", b"<134>"}),
    ),
    "systemd-reload": Recipe(
        listens="site.sock",
        look=socket_mode(0o770, "site.sock"),
        after=written("Using worker: gthread"),
    ),
    "systemd-service": Recipe(look=has_pidfile, after=no_pidfile),
    "systemd-socket": Recipe(listens="descriptor 3"),
    "tls": Recipe(tls=True, look=says("scheme https")),
    "tornado": Recipe(packages=["tornado"]),
    "typing-errors": Recipe(
        log=[
            "no setting is called 'log_level'; did you mean 'loglevel'",
            "no setting is called 'pid_file'; did you mean 'pidfile'",
            "no setting is called 'worker'; did you mean 'workers'",
            "no setting is called 'logfile'",
        ]
    ),
    "uvicorn": Recipe(packages=["uvicorn_worker"]),
}

#: What a service manager does between fork and exec: the given descriptor becomes number argv[2].
HAND_OVER = """
import os, sys
given, number = int(sys.argv[1]), int(sys.argv[2])
os.dup2(given, number)
os.set_inheritable(number, True)
if number:
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execvp(sys.argv[3], sys.argv[3:])
"""


@dataclass
class Place:
    """A recipe's folder, and how it is started there."""

    folder: Path
    words: list[str]
    env: dict[str, str]


def prepare(name: str, recipe: Recipe, folder: Path) -> Place:
    for package in recipe.packages:
        need_package(package)
    path = install(name, folder, command())
    start = read_start(folder)
    # A shell that replaces itself by the server, as all of these do.
    line = start.line if "exec " in start.line else f"exec {start.line}"
    modules = os.pathsep.join([str(APPS), str(SITES)])
    return Place(
        folder, ["sh", "-c", line], {**start.env, **path, "PYTHONPATH": modules, **recipe.env}
    )


def launch(name: str, recipe: Recipe, place: Place, serve: Serve) -> Server:
    port = free_port()
    address: Address = ("127.0.0.1", port)
    others: list[Address] = []
    handed_over: socket.socket | None = None
    words = place.words
    if recipe.listens == "option":
        place.env[EXTRA] = f"--bind 127.0.0.1:{port}"
    elif recipe.listens == "PORT":
        place.env["PORT"] = str(port)
    elif recipe.listens.startswith("descriptor"):
        handed_over = socket.create_server(("127.0.0.1", port))
        given = fcntl.fcntl(handed_over.fileno(), fcntl.F_DUPFD, 50)
        number = recipe.listens.split()[1]
        words = [sys.executable, "-c", HAND_OVER, str(given), number, *words]
    else:
        address = str(place.folder / recipe.listens)
    if recipe.tls:
        authority = Authority(place.folder)
        pair = authority.pair("server")
        for made, wanted in ((pair.certfile, "server.pem"), (pair.keyfile, "server.key")):
            (place.folder / wanted).write_bytes(made.read_bytes())
        address = SecureAddress.of(("127.0.0.1", port), authority.context(), HOST)
    if name == "prometheus-server":
        others.append(("127.0.0.1", free_port()))
        place.env["METRICS_PORT"] = str(others[0][1])
    if name == "nginx-two-ports":
        others.append(str(place.folder / "admin.sock"))
    server = serve(
        None,
        bind="",
        address=address,
        env=place.env,
        cwd=place.folder,
        program=words,
        pass_fds=[given] if handed_over else [],
        wait=False,
    )
    if handed_over:
        handed_over.close()
        os.close(given)
    server.other_addresses += others
    if recipe.errorlog:
        server.error_log = place.folder / recipe.errorlog
    return server


@pytest.mark.parametrize("name", [name for name in names() if name != "daemon"])
def test_a_recipe(name: str, serve: Serve, tmp_path: Path) -> None:
    if name in NEEDS:
        pytest.skip(f"needs what is not there yet: {NEEDS[name]}")
    recipe = RECIPES[name]
    place = prepare(name, recipe, tmp_path / "recipe")
    with contextlib.ExitStack() as stack:
        heard = listen_for_datagrams(recipe, place, stack)
        run(name, recipe, place, serve)
        wait_for(lambda: recipe.told <= heard(), BOUND, f"datagrams with {recipe.told}")


def listen_for_datagrams(
    recipe: Recipe, place: Place, stack: contextlib.ExitStack
) -> Callable[[], set[bytes]]:
    """A port where somebody listens, in the recipe's variable; returns what has been told of it."""
    if not recipe.datagrams:
        return set
    sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    place.env[recipe.datagrams] = str(sock.getsockname()[1])
    received: list[bytes] = []

    def heard() -> set[bytes]:
        with contextlib.suppress(BlockingIOError):
            while True:
                received.append(sock.recv(65_536))
        return {part for part in recipe.told if any(part in each for each in received)}

    return heard


def run(name: str, recipe: Recipe, place: Place, serve: Serve) -> None:
    """The life of a recipe's server."""
    server = launch(name, recipe, place, serve)
    for pattern in recipe.log:
        server.expect_log(pattern)
    for pattern in recipe.allowed:
        server.allow_log(pattern)
    server.wait_listening()
    response = recipe.ask(server)
    assert response.status == 200
    assert recipe.answer in response.text
    recipe.look(server, place.folder)
    if recipe.workers:
        server.wait_ready(recipe.workers)
    assert server.stop(recipe.stop) == 0
    recipe.after(server, place.folder)


def test_a_daemon(tmp_path: Path) -> None:
    recipe = RECIPES["daemon"]
    place = prepare("daemon", recipe, tmp_path / "recipe")
    port = free_port()
    place.env[EXTRA] = f"--bind 127.0.0.1:{port}"
    subprocess.run(
        place.words,
        cwd=place.folder,
        env=os.environ | place.env,
        stdin=subprocess.DEVNULL,
        timeout=BOUND,
        check=True,
    )
    pidfile = place.folder / "site.pid"
    wait_for(lambda: pidfile.exists() and pidfile.read_text().strip(), BOUND, "the pid file")
    pid = int(pidfile.read_text())
    try:

        def answered() -> bool:
            try:
                return "hello" in get(("127.0.0.1", port), "/").text
            except ConnectionRefusedError:
                return False

        wait_for(answered, BOUND, "an answer")
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not pidfile.exists(), BOUND, "the end of the daemon")
    assert "[ERROR]" not in (place.folder / recipe.errorlog).read_text()


def test_every_recipe_has_its_entry() -> None:
    assert names() == sorted(RECIPES)
    assert set(NEEDS) <= set(RECIPES)
    assert len(RECIPES) >= 40


def test_every_recipe_calls_gunicorn() -> None:
    for name in names():
        folder = SITES.parent / name
        line = read_start(folder).line
        text = "".join(path.read_text() for path in folder.glob("*.sh")) or line
        assert "gunicorn" in shlex.split(text.replace("\\\n", " "), comments=True), name
