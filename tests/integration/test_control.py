"""The control interface: what each command shows and does, on a real server."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from monoceros.control.client import ControlClient, ControlClientError
from monoceros.control.commands import TABLE, Verb
from support.control import BOUND, ask, command, query, refusal, run, socket_of
from support.dirty import HEAVY, DirtyServer
from support.server import START_BOUND, Server
from support.serving import Serve
from support.waiting import wait_for

#: A request to /wait runs until the file `open` is there.
GATED = """
import os, time

def app(environ, start_response):
    while environ["PATH_INFO"] == "/wait" and not os.path.exists("open"):
        time.sleep(0.01)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


def wait_number(server: Server, number: int) -> None:
    """Until so many workers are booted, and no others are there."""

    def there() -> bool:
        workers = query(server, "show workers")["workers"]
        return len(workers) == number and all(each["booted"] for each in workers)

    wait_for(there, START_BOUND, f"{number} workers")


def wait_runs(server: Server, path: str) -> None:
    """Until a request for this path runs, and no other."""

    def runs() -> bool:
        return [each["path"] for each in query(server, "show requests")["requests"]] == [path]

    wait_for(runs, START_BOUND, f"a request for {path}")


# What is shown.


def test_workers(serve: Serve) -> None:
    """`booted` and `last_heartbeat` are what the workers themselves say."""
    server = serve(workers=2)
    server.get()

    def settled() -> bool:
        workers = query(server, "show workers")["workers"]
        served = sum(each["requests"] for each in workers)
        return served >= 2 and not any(each["connections"] for each in workers)

    wait_for(settled, START_BOUND, "both requests to be counted and their connections closed")
    data = ask(server, "show workers")
    assert data["count"] == 2
    assert [each["pid"] for each in data["workers"]] == server.workers()
    assert [each["age"] for each in data["workers"]] == [1, 2]
    for each in data["workers"]:
        assert each["booted"] is True
        assert each["aborted"] is False
        assert each["state"] == "ready"
        assert each["last_heartbeat"] >= 0
        assert each["connections"] == 0


def test_a_worker_that_boots_is_not_booted(serve: Serve) -> None:
    slow = "import os, time\nwhile not os.path.exists('open'): time.sleep(0.01)\n"
    server = serve("slow:app", files={"slow.py": slow + "from probes import app"}, wait=False)
    pid = wait_for(
        lambda: [w["pid"] for w in query(server, "show workers")["workers"]], START_BOUND, "a pid"
    )[0]
    [shown] = ask(server, "show workers")["workers"]
    assert (shown["pid"], shown["booted"], shown["state"]) == (pid, False, "booting")
    assert shown["last_heartbeat"] is None
    (server.directory / "open").touch()
    server.wait_ready()
    wait_number(server, 1)


def test_all(serve: Serve) -> None:
    server = serve()
    data = ask(server, "show all")
    assert data["arbiter"] == {
        "pid": server.pid,
        "type": "arbiter",
        "role": "master",
        "state": "running",
    }
    [worker] = data["web_workers"]
    assert (worker["pid"], worker["type"]) == (server.workers()[0], "web")
    assert data["web_worker_count"] == 1
    assert data["dirty_arbiter"] is None
    assert (data["dirty_workers"], data["dirty_worker_count"]) == ([], 0)
    assert ask(server, "show dirty") == {"enabled": False, "pid": None, "workers": [], "apps": []}
    done = command(server, "dirty add", "-j")
    assert done.status == 1
    assert json.loads(done.output) == {"success": False, "error": "Dirty arbiter not running"}


def test_dirty_workers(serve: Serve) -> None:
    """They are shown as they are, and their number changes within what their apps allow."""
    dirty = DirtyServer(serve, apps=(HEAVY, "heavy:Limited"), dirty_workers=2)
    server = dirty.server

    def shown(number: int) -> list[dict[str, Any]]:
        def ready() -> list[dict[str, Any]]:
            workers = query(server, "show dirty")["workers"]
            booted = [each for each in workers if each["state"] == "ready"]
            return workers if len(booted) == len(workers) == number else []

        return wait_for(ready, START_BOUND, f"{number} dirty workers to be shown")

    workers = shown(2)
    assert sorted(each["pid"] for each in workers) == dirty.of_role("dirty-worker")
    assert all(each["booted"] and HEAVY in each["apps"] for each in workers)
    data = ask(server, "show dirty")
    assert (data["enabled"], data["pid"]) == (True, dirty.arbiter)
    [heavy, limited] = data["apps"]
    assert (heavy["import_path"], heavy["worker_count"], heavy["current_workers"]) == (
        HEAVY,
        None,
        2,
    )
    assert (limited["worker_count"], limited["current_workers"]) == (2, 2)
    everything = ask(server, "show all")
    assert everything["dirty_arbiter"]["pid"] == dirty.arbiter
    assert everything["dirty_worker_count"] == 2
    assert ask(server, "dirty add 2") == {
        "success": True,
        "operation": "add",
        "requested": 2,
        "spawned": 2,
        "total_workers": 2,
        "target_workers": 4,
    }
    shown(4)
    removed = ask(server, "dirty remove 5")
    assert (removed["removed"], removed["target_workers"]) == (2, 2)
    assert "need 2" in removed["reason"]
    shown(2)
    refused = command(server, "dirty remove", "-j")
    assert refused.status == 1
    assert json.loads(refused.output)["success"] is False
    assert "DIRTY APPS:" in command(server, "show dirty").output


def test_dirty_workers_that_would_have_nothing_to_do(serve: Serve) -> None:
    dirty = DirtyServer(serve, apps=("heavy:Heavy:1",))
    wait_for(lambda: query(dirty.server, "show dirty")["apps"], START_BOUND, "a report")
    refused = command(dirty.server, "dirty add", "-j")
    assert refused.status == 1
    assert "as often as it may be" in json.loads(refused.output)["reason"]


def test_the_end_of_the_dirty_arbiter_is_seen(serve: Serve) -> None:
    dirty = DirtyServer(serve)
    dirty.server.expect_log("was sent SIGKILL")
    before = dirty.arbiter
    os.kill(before, signal.SIGKILL)

    def replaced() -> bool:
        data = query(dirty.server, "show dirty")
        return data["pid"] not in (None, before) and [w["state"] for w in data["workers"]] == [
            "ready"
        ]

    wait_for(replaced, START_BOUND, "the next dirty arbiter's report")


def test_requests(serve: Serve) -> None:
    """What runs where, and for how long; queries are not shown."""
    server = serve("gated:app", "--threads", "2", files={"gated.py": GATED})
    # The first request's answer is out a moment before its thread is free.
    wait_for(
        lambda: query(server, "show requests") == {"requests": [], "count": 0},
        START_BOUND,
        "no request to run",
    )
    with server.connect() as connection:
        connection.send(b"GET /wait?secret=1 HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_runs(server, "/wait")
        [shown] = ask(server, "show requests")["requests"]
        assert (shown["pid"], shown["method"]) == (server.workers()[0], "GET")
        assert (shown["path"], shown["overdue"]) == ("/wait", False)
        assert shown["thread"] in (0, 1)
        assert shown["seconds"] >= 0
        drawn = command(server, "show requests").output
        assert "GET     /wait" in drawn
        assert "secret" not in drawn
        assert query(server, "show workers")["workers"][0]["running"] == 1
        (server.directory / "open").touch()
        assert connection.read_response().status == 200


def test_config(serve: Serve) -> None:
    server = serve("probes:app", "--threads", "3", "--max-requests", "70", workers=2)
    data = ask(server, "show config")
    assert (data["workers"], data["worker_class"], data["threads"]) == (2, "gthread", 3)
    assert data["max_requests"] == 70
    assert data["control_socket"] == str(server.directory / "gunicorn.ctl")
    assert data["control_socket_disable"] is False
    assert "threads: 3\n" in command(server, "show config").output


def test_listeners(serve: Serve) -> None:
    server = serve("probes:app", "--bind", "unix:site.sock")
    host, port = server.address
    data = ask(server, "show listeners")
    assert data["count"] == 2
    kinds = {each["address"]: each["type"] for each in data["listeners"]}
    assert kinds == {"unix:site.sock": "unix", f"http://{host}:{port}": "tcp"}
    assert all(each["fd"] > 2 for each in data["listeners"])


def test_stats(serve: Serve) -> None:
    """A worker that is told to go twice counts once."""
    server = serve(workers=2)
    before = ask(server, "show stats")
    assert (before["pid"], before["workers_current"], before["workers_target"]) == (
        server.pid,
        2,
        2,
    )
    assert (before["workers_spawned"], before["workers_killed"], before["reloads"]) == (2, 0, 0)
    assert before["dirty_arbiter_pid"] is None
    pid = server.workers()[0]
    for _ in range(3):
        # It may be gone by the second time.
        query(server, f"worker kill {pid}")
    wait_for(lambda: pid not in server.workers(), START_BOUND, "the worker's end")
    wait_number(server, 2)
    after = ask(server, "show stats")
    assert (after["workers_spawned"], after["workers_killed"]) == (3, 1)
    assert after["uptime"] > before["uptime"]
    query(server, "reload")
    server.wait_log("Reload complete")
    assert query(server, "show stats")["reloads"] == 1


# What is done.


def test_scaling(serve: Serve) -> None:
    server = serve()
    assert ask(server, "worker add 2") == {"added": 2, "previous": 1, "total": 3}
    wait_number(server, 3)
    assert ask(server, "worker add") == {"added": 1, "previous": 3, "total": 4}
    wait_number(server, 4)
    assert ask(server, "worker remove 2") == {"removed": 2, "previous": 4, "total": 2}
    wait_number(server, 2)
    assert "Handling control command: worker add 1\n" in server.log
    assert "Handling control command: show" not in server.log
    assert ask(server, "worker remove 9") == {"removed": 1, "previous": 2, "total": 1}
    assert ask(server, "worker remove") == {"removed": 0, "previous": 1, "total": 1}
    wait_number(server, 1)
    assert "there are places for" in refusal(server, "worker add 100000")
    assert query(server, "show stats")["workers_target"] == 1
    server.wait_workers(1)


def test_kill(serve: Serve) -> None:
    """The worker finishes and is replaced; where there is none the exit status says so."""
    server = serve()
    [pid] = server.workers()
    assert ask(server, f"worker kill {pid}") == {"success": True, "killed": pid}
    wait_for(lambda: pid not in server.workers(), START_BOUND, "the worker's end")
    wait_number(server, 1)
    done = command(server, f"worker kill {pid}", "-j")
    assert done.status == 1
    assert json.loads(done.output) == {"success": False, "error": f"Worker {pid} not found"}
    # Processes of others, and the master itself, are nobody's business here.
    assert command(server, f"worker kill {server.pid}").status == 1


def test_reload_and_reopen(serve: Serve) -> None:
    server = serve("probes:app", "--log-file", "error.log")
    server.error_log = server.directory / "error.log"
    [pid] = server.workers()
    assert ask(server, "reload") == {"status": "reloading"}
    server.wait_log("Reload complete")
    wait_for(lambda: pid not in server.workers(), START_BOUND, "the old worker's end")
    server.error_log.rename(server.directory / "error.log.1")
    assert ask(server, "reopen") == {"status": "reopening"}
    wait_for(server.error_log.exists, START_BOUND, "the log file to be made anew")
    assert ask(server, "show stats")["reloads"] == 1
    server.error_log = server.directory / "error.log.1"


@pytest.mark.parametrize("mode", ["", "graceful", "quick"])
def test_shutdown(serve: Serve, mode: str) -> None:
    server = serve()
    shown = {"status": "shutting_down", "mode": mode or "graceful"}
    assert ask(server, f"shutdown {mode}") == shown
    assert server.wait_exit() == 0
    name = "int" if mode == "quick" else "term"
    assert f"Handling signal: {name}" in server.log
    assert not (server.directory / "gunicorn.ctl").exists()


def test_a_server_that_stops_shows_that_it_does(serve: Serve) -> None:
    server = serve("gated:app", files={"gated.py": GATED})
    with server.connect() as connection:
        connection.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_runs(server, "/wait")
        query(server, "shutdown")
        wait_for(
            lambda: query(server, "show all")["arbiter"]["state"] == "stopping gracefully",
            START_BOUND,
            "the stop",
        )
        [worker] = query(server, "show workers")["workers"]
        assert worker["state"] == "draining"
        for line in ("worker add", "worker remove", "reload"):
            assert refusal(server, line) == "The server stops already"
        # Patience twice is no haste.
        assert query(server, "shutdown")["mode"] == "graceful"
        assert query(server, "show all")["arbiter"]["state"] == "stopping gracefully"
        (server.directory / "open").touch()
        assert connection.read_response().status == 200
    assert server.wait_exit() == 0


def test_help(serve: Serve) -> None:
    server = serve()
    commands = ask(server, "help")["commands"]
    assert len(commands) == len(TABLE) == len(Verb)
    assert {"show all", "worker kill PID", "shutdown [graceful|quick]"} <= set(commands)
    assert "Available commands:" in command(server, "HELP").output


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("frobnicate", "Unknown command: frobnicate"),
        ("worker frobnicate", "Unknown command: worker frobnicate"),
        ("show", "Missing show target (all, workers, requests, dirty, config, stats, listeners)"),
        ("", "Empty command"),
        ("worker add -1", "Invalid argument: '-1' is no whole number from 1 on"),
        ("worker add two", "Invalid argument: 'two' is no whole number from 1 on"),
        ("worker kill", "Invalid argument: worker kill needs the pid of a worker"),
        ("shutdown now", "Invalid argument: 'now' is neither graceful nor quick"),
        ("reload it", "Invalid argument: 'it' is one too many for reload"),
        ("worker 'add", "the command cannot be split into words: No closing quotation"),
    ],
)
def test_mistakes(serve: Serve, line: str, reason: str) -> None:
    server = serve()
    done = command(server, line)
    assert (done.status, done.output, done.error) == (1, "", f"Error: {reason}\n")
    assert query(server, "show stats")["workers_target"] == 1


# The command itself.


def test_a_conversation(serve: Serve) -> None:
    """Without -c: one answer for each line, errors among them, until `quit`."""
    server = serve()
    socket_of(server)
    said = "show stats\n\nnonsense\nshow workers\nQUIT\nshow all\n"
    done = run(home=server.directory, said=said)
    assert (done.status, done.error) == (0, "")
    assert done.output.startswith(f"Connected to {server.directory / 'gunicorn.ctl'}\n")
    assert f"PID:              {server.pid}\n" in done.output
    assert "Error: Unknown command: nonsense\n" in done.output
    assert "Total: 1 workers\n" in done.output
    assert "ARBITER" not in done.output
    assert run(home=server.directory, said="help\n").status == 0  # the input just ends


def test_nobody_answers(tmp_path: Path) -> None:
    done = run("-s", "nowhere.ctl", "-c", "help", home=tmp_path)
    assert done.status == 1
    assert done.error.startswith(f"Error: There is no control socket {tmp_path / 'nowhere.ctl'}: ")
    assert run(home=tmp_path).status == 1
    version = run("-v", home=tmp_path)
    assert (version.status, version.output.split()[0]) == (0, "monocerosctl")


# Beside everything else that goes on.


@contextmanager
def asking(server: Server, failures: list[str], counts: list[int]) -> Iterator[None]:
    """Commands one after another meanwhile, each on a connection of its own."""
    over = threading.Event()

    def ask_on() -> None:
        while not over.is_set():
            try:
                query(server, "show all")
            except (ControlClientError, AssertionError) as error:
                failures.append(str(error))
                return
            counts[0] += 1

    thread = threading.Thread(target=ask_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(BOUND)


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
def test_commands_during_reloads(serve: Serve, preload: bool) -> None:
    """Forks disturb no command: Gunicorn's fail for a moment after each."""
    server = serve("probes:app", *["--preload"] * preload, workers=2)
    failures: list[str] = []
    counts = [0]
    socket_of(server)
    with asking(server, failures, counts):
        for number in range(1, 4):
            server.send_signal(signal.SIGHUP)
            server.wait_log("Reload complete", 60, count=number)
        query(server, "worker add 3")
        wait_number(server, 5)
        wait_for(lambda: failures or counts[0] > 50, 60, "fifty answers")
    assert failures == []


def test_an_idle_client_holds_up_no_fork(serve: Serve) -> None:
    server = serve()
    with ControlClient(str(socket_of(server)), BOUND) as client:
        client.send_command("help")
        [pid] = server.workers()
        server.send_signal(signal.SIGHUP)
        server.wait_log("Reload complete", 60)
        wait_for(lambda: pid not in server.workers(), START_BOUND, "the old worker's end")
        # The same connection goes on.
        assert client.send_command("show stats")["reloads"] == 1
