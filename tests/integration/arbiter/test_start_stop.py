"""Start and stop: what is told, in which order, with which exit status, within which time."""

import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from integration.arbiter.helpers import SITE, answer, kill, wait_all_serve
from support.ports import free_port
from support.processes import descriptors
from support.server import Concurrent, Server, listen_on
from support.waiting import wait_for

Start = Callable[..., Server]


def test_it_tells_what_it_starts_and_stops(start: Start, preload: list[str]) -> None:
    server = start(*preload, "--pid", "server.pid", workers=2)
    pidfile = server.directory / "server.pid"
    assert pidfile.read_text() == f"{server.pid}\n"
    assert server.stop() == 0
    assert not pidfile.exists()
    texts = [record.text for record in server.records()]
    expected = [
        "Starting monoceros ",
        f"Listening at: {server.url('')}".rstrip("/"),
        "Using worker: python_worker.PythonWorker",
        "Booting worker with pid: ",
        "Handling signal: term",
        "Worker exiting (pid: ",
        "Shutting down: Master",
    ]
    places = [next(i for i, text in enumerate(texts) if text.startswith(e)) for e in expected]
    assert places == sorted(places)
    assert texts[places[1]].endswith(f" ({server.pid})")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_each_order_to_stop_ends_with_status_0(
    start: Start, preload: list[str], number: signal.Signals
) -> None:
    server = start(*preload, workers=2)
    began = time.monotonic()
    assert server.stop(number) == 0
    assert time.monotonic() - began < 2


def test_a_graceful_stop_answers_what_runs(start: Start, preload: list[str]) -> None:
    server = start(*preload)
    running = Concurrent(server.address, ["/sleep?0.7"])
    server.wait_event("sleeping")
    assert server.stop() == 0
    (response,) = running.wait()
    assert not isinstance(response, Exception)
    assert response is not None
    assert response.status == 200


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_second_order_makes_a_graceful_stop_quick(start: Start, second: signal.Signals) -> None:
    server = start()
    server.allow_log("is killed")
    server.allow_log("was killed by its master because of the server's stop")
    Concurrent(server.address, ["/sleep?20"])
    server.wait_event("sleeping")
    server.send_signal(signal.SIGTERM)
    server.wait_log("Handling signal: term")
    began = time.monotonic()
    assert server.stop(second) == 0
    assert time.monotonic() - began < 4


def test_a_worker_that_does_not_end_is_cut_at_graceful_timeout(start: Start) -> None:
    server = start("--graceful-timeout", "1", worker_class="python_worker.DeafWorker")
    server.expect_log(r"has not ended within graceful_timeout \(1 s\).*in run")
    began = time.monotonic()
    assert server.stop() == 0
    assert 1 < time.monotonic() - began < 5


def test_a_stop_while_workers_boot_ends_them_cleanly(start: Start, preload: list[str]) -> None:
    server = start(
        *preload,
        site="import time\nfrom events import note\nnote('booting')\ntime.sleep(30)\n",
        wait=False,
    )
    server.wait_event("booting")
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 5


def test_term_to_a_booting_worker_does_not_end_the_server(start: Start) -> None:
    server = start(workers=2)
    (server.directory / "site_app.py").write_text(
        "import time\nfrom events import note\nnote('booting')\ntime.sleep(1)\n" + SITE
    )
    server.allow_log("Failure")
    server.send_signal(signal.SIGTTIN)
    (event,) = server.wait_event("booting")
    kill(event["pid"], signal.SIGTERM)
    wait_for(lambda: event["pid"] not in server.workers(), 10, "the booting worker to end")
    server.wait_workers(3)
    assert answer(server)[0] == "one"


@pytest.mark.alone
def test_a_taken_port_is_one_line_and_status_1(start: Start) -> None:
    port = free_port()
    with listen_on(("127.0.0.1", port)):
        server = start(bind=f"127.0.0.1:{port}", address=("127.0.0.1", port), wait=False)
        server.expect_exit(1)
        server.expect_log(f"Can't listen on 127.0.0.1:{port}: Address already in use")
        began = time.monotonic()
        assert server.wait_exit() == 1
        assert time.monotonic() - began < 6
    assert len(server.records("ERROR", "WARNING", "CRITICAL")) == 1
    assert not server.events("imported")


def test_a_port_that_becomes_free_is_taken(start: Start) -> None:
    port = free_port()
    with listen_on(("127.0.0.1", port)):
        server = start(bind=f"127.0.0.1:{port}", address=("127.0.0.1", port), wait=False)
        server.wait_log("trying again")
    server.wait_answer()


def test_term_while_the_port_is_waited_for(start: Start) -> None:
    port = free_port()
    with listen_on(("127.0.0.1", port)):
        server = start(bind=f"127.0.0.1:{port}", address=("127.0.0.1", port), wait=False)
        server.wait_log("trying again")
        assert server.stop() == 0


def test_a_pidfile_of_the_living_keeps_the_server_from_starting(
    start: Start, tmp_path: Path
) -> None:
    pidfile = tmp_path / "shared.pid"
    first = start("--pid", str(pidfile))
    second = start("--pid", str(pidfile), wait=False)
    second.expect_exit(1)
    second.expect_log(f"Already running on PID {first.pid}")
    assert second.wait_exit() == 1
    assert pidfile.read_text() == f"{first.pid}\n"


def test_a_unix_socket_is_served_and_removed(start: Start, preload: list[str]) -> None:
    server = start(*preload, bind="unix:server.sock")
    assert answer(server)[0] == "one"
    path = server.directory / "server.sock"
    assert server.stop() == 0
    assert not path.exists()


def test_a_living_unix_socket_is_not_stolen(start: Start, tmp_path: Path) -> None:
    path = str(tmp_path / "shared.sock")
    first = start(bind=f"unix:{path}", address=path)
    second = start(bind=f"unix:{path}", address=str(tmp_path / "other"), wait=False)
    second.expect_exit(1)
    second.expect_log("a living process listens there")
    assert second.wait_exit() == 1
    assert answer(first)[0] == "one"


def test_an_inherited_descriptor_beside_another_bind(start: Start, preload: list[str]) -> None:
    port = free_port()
    with socket.socket() as given:
        given.bind(("127.0.0.1", 0))
        number = given.fileno()
        server = start(
            *preload,
            "--bind",
            f"fd://{number}",
            bind=f"127.0.0.1:{port}",
            address=("127.0.0.1", port),
            pass_fds=[number],
        )
        assert answer(server)[0] == "one"
        inherited = given.getsockname()
    from support.client import get

    assert get(inherited, "/", 10).status == 200


def test_titles(start: Start) -> None:
    server = start("--preload", "--name", "kettle")
    titles = {" ".join(each.cmdline()).strip() for each in server.family()}
    assert titles == {
        "monoceros: master [kettle]",
        "monoceros: worker [kettle]",
        "monoceros: mold [kettle]",
    }


def test_workers_hold_no_descriptors_of_the_master(start: Start, preload: list[str]) -> None:
    server = start(*preload, workers=3)
    wait_all_serve(server, 3)

    def kinds(pid: int) -> list[str]:
        return sorted(target.split(":")[0] for target in descriptors(pid).values())

    def all_alike() -> bool:
        first, second, third = map(kinds, server.workers())
        return first == second == third

    wait_for(all_alike, 10, "the last worker to hold nothing of the others")
    for pid in server.workers():
        assert sum("monoceros-stacks" in each for each in descriptors(pid).values()) == 1


def test_the_app_can_leave_threads_and_exit_handlers(start: Start) -> None:
    """Non-daemon threads are waited for and exit handlers run, as at a Python program's end."""
    site = SITE + (
        "\nimport atexit, threading\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "pool = ThreadPoolExecutor(1)\n"
        "pool.submit(note, 'pool')\n"
        "atexit.register(note, 'exit handler')\n"
    )
    server = start(site=site)
    server.wait_event("pool")
    assert server.stop() == 0
    (event,) = server.events("exit handler")
    assert event["pid"] == server.events("pool")[0]["pid"]
