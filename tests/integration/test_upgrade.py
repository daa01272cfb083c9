"""USR2: a new master beside the old one, whatever becomes of either; no request is lost."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from support import processes
from support.load import Load
from support.server import Server
from support.serving import Serve
from support.waiting import holds_for, wait_for

#: Answers with its version and its master's pid.
APP = """
import os
from events import note
note("imported")
VERSION = "{version}"

def app(environ, start_response):
    start_response("200 OK", [])
    return [f"{{VERSION}} {{os.getppid()}}".encode()]
"""


def start(serve: Serve, *options: str, **more: object) -> Server:
    return serve(
        "site_app:app",
        "--pid",
        "master.pid",
        *options,
        files={"site_app.py": APP.format(version="old")},
        **more,  # type: ignore[arg-type]
    )


def masters(server: Server) -> set[int]:
    return {each.pid for each in server.family() if processes.role(each) == "master"}


def upgrade(server: Server) -> int:
    """USR2; the pid of the new master, which answers."""
    times = server.log.count("answers requests")
    before = masters(server)
    server.send_signal(signal.SIGUSR2)
    server.wait_log("answers requests", 20, count=times + 1)
    [new] = masters(server) - before
    return new


def pidfile(server: Server, name: str = "master.pid") -> str | None:
    try:
        return (server.directory / name).read_text()
    except FileNotFoundError:
        return None


@contextmanager
def load(server: Server) -> Iterator[list[Load]]:
    """Both kinds of clients; none of them may lose a request."""
    loads = [
        Load(server.address, clients=3, keep_alive=True, timeout=30.0),
        Load(server.address, clients=3, keep_alive=False, timeout=30.0),
    ]
    with loads[0], loads[1]:
        yield loads
    for each in loads:
        each.assert_no_loss(at_least=20)


def wait_answers_of(loads: list[Load], master: int) -> None:
    """Until clients of both kinds are answered by workers of this master only."""

    def only() -> bool:
        for each in loads:
            last = [o.body for o in each.outcomes[-12:]]
            if {body.split()[-1] for body in last if body} != {b"%d" % master}:
                return False
        return True

    wait_for(only, 20, f"answers by master {master}")


@pytest.mark.parametrize(
    ("threads", "preload"), [("1", False), ("4", True)], ids=["sync", "gthread-preload"]
)
def test_new_code_takes_over(serve: Serve, preload: bool, threads: str) -> None:
    """The whole way, under load: pidfiles, titles, log, promotion, and a second upgrade."""
    options = ["--preload"] * preload
    server = start(serve, "--threads", threads, *options, workers=2)
    old = server.pid
    with load(server) as loads:
        (server.directory / "site_app.py").write_text(APP.format(version="new"))
        new = upgrade(server)
        assert pidfile(server) == f"{old}\n"
        assert pidfile(server, "master.pid.2") == f"{new}\n"
        assert processes.title(psutil.Process(new)) == "monoceros: master [site_app:app.2]"
        assert f"The new master (pid:{new}) answers requests" in server.log
        server.send_signal(signal.SIGTERM)
        server.succeeded_by(new)
        server.wait_log("Master has been promoted.")
        wait_answers_of(loads, new)
        wait_for(lambda: pidfile(server) == f"{new}\n", 10, "the pidfile's new name")
        wait_for(lambda: pidfile(server, "master.pid.2") is None, 10, "the other one to go")
        wait_for(
            lambda: processes.title(psutil.Process(new)) == "monoceros: master [site_app:app]",
            10,
            "the title without its suffix",
        )
        assert loads[0].outcomes[-1].body.startswith(b"new ")
        # An upgraded server is a server like any other.
        newest = upgrade(server)
        server.send_signal(signal.SIGTERM)
        server.succeeded_by(newest)
        wait_answers_of(loads, newest)
    server.wait_log("Master has been promoted.", count=2)


def test_an_idle_connection_of_the_old_master_still_brings_its_request(serve: Serve) -> None:
    """Where a stop would have closed it by then; the old master waits for it."""
    server = start(serve)
    with server.connect(30.0) as connection:
        assert connection.request().body == b"old %d" % server.pid
        new = upgrade(server)
        server.send_signal(signal.SIGTERM)
        server.wait_log("Handling signal: term")
        holds_for(lambda: len(server.workers()) == 2, 2.6, "the old worker waits")
        response = connection.request()
        assert response.body == b"old %d" % server.pid and response.closes
    server.succeeded_by(new)


def test_taking_it_back(serve: Serve) -> None:
    """TERM to the new master: the old one has never stopped serving, and can try again."""
    server = start(serve, workers=2)
    with load(server) as loads:
        new = upgrade(server)
        os.kill(new, signal.SIGTERM)
        server.wait_log(f"The new master (pid:{new}) ended with exit status 0.", 20)
        wait_answers_of(loads, server.pid)
        assert pidfile(server) == f"{server.pid}\n"
        assert pidfile(server, "master.pid.2") is None
        again = upgrade(server)
        os.kill(again, signal.SIGTERM)
        server.wait_log(f"The new master (pid:{again}) ended with exit status 0.", 20)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("site_app.py", "raise RuntimeError('this code does not boot')"),
        ("conf.py", "workers = 'many'"),
        ("conf.py", "raise RuntimeError('this is no configuration')"),
        ("conf.py", "def pre_exec(server):\n    raise RuntimeError('not today')\n"),
    ],
    ids=["code", "setting", "config", "hook"],
)
def test_a_new_master_that_does_not_start_costs_nothing(serve: Serve, name: str, text: str) -> None:
    server = start(serve, config="proc_name = 'shop'\n", workers=2)
    server.expect_log("The upgrade failed. The new master .* ended with exit status")
    server.allow_log(
        "boot|Error|Reason|Shutting down|Invalid value|Failed to read|exited|not today"
    )
    hook = "pre_exec" in text
    with load(server) as loads:
        if hook:
            (server.directory / "conf.py").write_text(text)
            server.send_signal(signal.SIGHUP)
            server.wait_log("Reload complete")
        former = (server.directory / name).read_text()
        (server.directory / name).write_text(text)
        before = server.workers() if not hook else []
        server.send_signal(signal.SIGUSR2)
        server.wait_log(f"This one (pid:{server.pid}) goes on serving", 20)
        wait_answers_of(loads, server.pid)
        assert masters(server) == {server.pid}
        assert hook or server.workers() == before
        assert pidfile(server) == f"{server.pid}\n"
        # Mended, it works.
        (server.directory / name).write_text("" if hook else former)
        if hook:
            server.send_signal(signal.SIGHUP)
            server.wait_log("Reload complete", count=2)
        new = upgrade(server)
        server.send_signal(signal.SIGTERM)
        server.succeeded_by(new)
        wait_answers_of(loads, new)


def test_a_second_usr2_is_not_followed(serve: Serve) -> None:
    server = start(serve)
    server.expect_log("a new master .* is there already")
    server.expect_log("this master .* is a new one itself")
    new = upgrade(server)
    server.send_signal(signal.SIGUSR2)
    server.wait_log("is there already")
    os.kill(new, signal.SIGUSR2)
    server.wait_log("is a new one itself")
    assert masters(server) == {server.pid, new}
    server.send_signal(signal.SIGTERM)
    server.succeeded_by(new)


def test_the_old_master_killed(serve: Serve) -> None:
    """Its workers die with it; the new one takes its pidfile all the same."""
    server = start(serve)
    server.expect_exit(-signal.SIGKILL)
    old = server.pid
    new = upgrade(server)
    os.kill(old, signal.SIGKILL)
    server.wait_log("Master has been promoted.", 20)
    wait_for(lambda: pidfile(server) == f"{new}\n", 10, "the pidfile")
    assert server.get().body == b"old %d" % new
    os.kill(new, signal.SIGTERM)
    wait_for(lambda: not server.family(), 20, "everybody to end")


@pytest.mark.parametrize("ends_first", ["old", "new"])
def test_a_unix_socket_stays_while_one_of_them_lives(serve: Serve, ends_first: str) -> None:
    server = start(serve, bind="unix:site.sock")
    path = server.directory / "site.sock"
    file = path.stat().st_ino
    new = upgrade(server)
    if ends_first == "old":
        server.send_signal(signal.SIGTERM)
        server.succeeded_by(new)
        server.wait_log("Master has been promoted.")
    else:
        os.kill(new, signal.SIGTERM)
        server.wait_log("goes on serving")
    assert path.stat().st_ino == file
    assert server.get().body == b"old %d" % server.pid
    # The gate sees that it is removed in the end.


def test_the_old_master_ends_before_the_new_one_has_begun(serve: Serve) -> None:
    """The sockets are the new master's: who comes in between waits for it."""
    server = start(serve)
    server.expect_log("has not said yet that it answers requests")
    server.send_signal(signal.SIGUSR2)
    server.wait_log("Started a new master")
    [new] = {each.pid for each in server.family()} - {server.pid, *server.workers()}
    server.send_signal(signal.SIGTERM)
    server.succeeded_by(new)
    assert server.get().body == b"old %d" % new
    server.wait_log("Master has been promoted.")
    wait_for(lambda: pidfile(server) == f"{new}\n", 10, "the pidfile")


def test_both_end_at_once(serve: Serve) -> None:
    """As when the service manager signals everybody."""
    server = start(serve)
    new = upgrade(server)
    server.allow_log("is told to stop|has not said yet")
    os.kill(new, signal.SIGTERM)
    server.send_signal(signal.SIGTERM)
    assert server.wait_exit() == 0
    wait_for(lambda: not server.family(), 20, "everybody to end")
    assert pidfile(server) is None


def test_the_environment_of_the_new_master(serve: Serve) -> None:
    """Gunicorn's variables, the environment of the start, the folder of the start."""
    config = """
raw_env = ["COLOUR=green"]
chdir = "below"

def pre_exec(server):
    from events import note
    import os
    note("pre_exec", pid=os.getpid(), master=server.pid, argv=server.START_CTX["args"][1:3])

def on_starting(server):
    from events import note
    import os
    note("starting", pid=server.pid, old=os.environ.get("GUNICORN_PID"),
         names=sorted({"GUNICORN_PID", "GUNICORN_FD", "MONOCEROS_LISTENERS", "MONOCEROS_HEIR",
                       "MONOCEROS_READY_FD"}.intersection(os.environ)),
         colour=os.environ.get("COLOUR"), name=server.master_name, reexec=server.reexec_pid)
"""
    server = start(serve, config=config, wait=False)
    (server.directory / "below").mkdir()
    (server.directory / "below" / "site_app.py").write_text(APP.format(version="old"))
    server.wait_answer()
    old = server.pid
    new = upgrade(server)
    [hook] = server.events("pre_exec")
    assert hook["pid"] == new and hook["master"] == old and hook["argv"] == ["-m", "monoceros"]
    first, second = server.events("starting")
    assert first["old"] is None and first["name"] == "Master"
    assert second["old"] == str(old) and second["name"] == "Master.2" and second["pid"] == new
    assert second["names"] == ["GUNICORN_PID"]
    assert second["colour"] == "green"
    server.send_signal(signal.SIGTERM)
    server.succeeded_by(new)


def test_the_new_master_may_listen_elsewhere(serve: Serve) -> None:
    """What both have in common is the same socket; what only the old one had ends with it."""
    from support.ports import free_port

    extra, other = free_port(), free_port()
    config = "bind = ['127.0.0.1:{}', '127.0.0.1:{}']\n"
    kept = free_port()
    server = start(serve, config=config.format(kept, extra), bind="", address=("127.0.0.1", kept))
    (server.directory / "conf.py").write_text(config.format(kept, other))
    with load(server):
        new = upgrade(server)
        socket.create_connection(("127.0.0.1", other)).close()
        server.send_signal(signal.SIGTERM)
        server.succeeded_by(new)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", extra))
    server.other_addresses = [("127.0.0.1", extra), ("127.0.0.1", other)]


def test_nothing_leaks_into_the_new_master(serve: Serve) -> None:
    """It has the descriptors of a fresh start, and its workers those of fresh workers."""
    server = start(serve, "--preload", workers=2)
    before = len(processes.descriptors(server.pid))
    worker = len(processes.descriptors(server.workers()[0]))
    for times in range(1, 4):
        new = upgrade(server)
        server.send_signal(signal.SIGTERM)
        server.succeeded_by(new)
        server.wait_log("Master has been promoted.", count=times)
        server.wait_ready(2)
    wait_for(lambda: len(processes.descriptors(server.pid)) <= before, 10, "no more descriptors")
    for pid in server.workers():
        assert len(processes.descriptors(pid)) <= worker


@pytest.mark.parametrize("variable", ["GUNICORN_PID", "GUNICORN_FD"])
def test_variables_that_have_leaked_count_for_nothing(serve: Serve, variable: str) -> None:
    """An app that starts another server hands on its environment."""
    server = start(serve, env={"GUNICORN_PID": "1", "GUNICORN_FD": "9", variable: "77"})
    assert pidfile(server) == f"{server.pid}\n"
    assert processes.title(psutil.Process(server.pid)) == "monoceros: master [site_app:app]"


def test_old_masters_of_gunicorn_are_succeeded(serve: Serve) -> None:
    """Its variables without ours: the descriptors take the place of `bind`, as there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.set_inheritable(True)
        server = start(
            serve,
            "--bind",
            "127.0.0.1:1",
            bind="",
            address=listener.getsockname(),
            pass_fds=[listener.fileno()],
            env={"GUNICORN_PID": str(os.getpid()), "GUNICORN_FD": str(listener.fileno())},
        )
        assert server.get().status == 200
        assert pidfile(server, "master.pid.2") == f"{server.pid}\n"
        assert server.stop() == 0
        listener.close()


Watch = Callable[[], list[str]]


def test_the_service_manager_hears_who_goes_on(serve: Serve, tmp_path: Path) -> None:
    """The new master is silent until the old one has named it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        heard: list[str] = []

        def hear() -> list[str]:
            while True:
                try:
                    heard.extend(manager.recv(4096).decode().split("\n"))
                except BlockingIOError:
                    return [x for x in heard if x.startswith(("READY", "MAINPID", "STOPPING"))]

        server = start(serve, env={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        old = server.pid
        first = ["READY=1", f"MAINPID={old}"]
        wait_for(lambda: hear() == first, 15, f"{first}, not {hear()}")
        new = upgrade(server)
        holds_for(lambda: hear() == first, 0.3, "the new master says nothing")
        server.send_signal(signal.SIGTERM)
        server.succeeded_by(new)
        then = [*first, f"MAINPID={new}", "READY=1", f"MAINPID={new}"]
        wait_for(lambda: hear() == then, 15, f"{then}, not {hear()}")
        assert server.stop() == 0
        assert hear() == [*then, "STOPPING=1"]


def test_sockets_of_the_service_manager_are_handed_on(serve: Serve) -> None:
    import sys

    from integration.test_systemd import ACTIVATE
    from support.server import command

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.set_inheritable(True)
        server = start(
            serve,
            bind="",
            address=listener.getsockname(),
            pass_fds=[listener.fileno()],
            program=[sys.executable, "-c", ACTIVATE, str(listener.fileno()), *command()],
        )
        new = upgrade(server)
        server.send_signal(signal.SIGTERM)
        server.succeeded_by(new)
        assert server.get().body == b"old %d" % new
        assert server.stop() == 0
        listener.close()
