"""--reuse-port: several servers at one port, and no connection that is lost with a worker."""

import os
import signal

from support import processes
from support.load import Load
from support.ports import free_port
from support.serving import Serve
from support.waiting import wait_for


def test_two_servers_share_a_port(serve: Serve) -> None:
    port = free_port()
    bind = f"127.0.0.1:{port}"
    address = ("127.0.0.1", port)
    app = (
        "import os\ndef app(environ, start):\n    start('200 OK', [])\n"
        "    return [os.environ['NAME'].encode()]\n"
    )
    first, second = (
        serve(
            "own:app",
            "--reuse-port",
            bind=bind,
            address=address,
            files={"own.py": app},
            env={"NAME": name},
        )
        for name in ("first", "second")
    )
    seen: set[bytes] = set()

    def both() -> bool:
        seen.add(first.get().body)
        return seen == {b"first", b"second"}

    wait_for(both, 20, "answers of both")
    # A deployment takes over: nothing is lost when the first one stops.
    assert first.stop() == 0
    with Load(address, clients=2, keep_alive=False) as load:
        wait_for(lambda: load.answered >= 20, 20, "requests")
    load.assert_no_loss()
    assert load.bodies() == {b"second"}
    assert second.stop() == 0


def test_what_waits_for_a_worker_is_not_lost_with_it(serve: Serve) -> None:
    """In Gunicorn each worker has a queue of its own, which dies with it."""
    server = serve("probes:app", "--reuse-port", workers=2)
    for pid in server.workers():
        os.kill(pid, signal.SIGSTOP)
    waiting = [server.connect(30.0) for _ in range(20)]
    for connection in waiting:
        connection.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    server.allow_log("SIGKILL|Worker|Failure")
    for pid in server.workers():
        os.kill(pid, signal.SIGKILL)
    assert all(connection.read_response().status == 200 for connection in waiting)


def test_a_change_that_comes_too_late_is_told(serve: Serve) -> None:
    server = serve(config="reuse_port = False\n")
    (server.directory / "conf.py").write_text("reuse_port = True\n")
    server.expect_log("reuse_port = True has no effect on http://.*, which is open already")
    server.send_signal(signal.SIGHUP)
    server.wait_log("Reload complete")
    assert server.get().status == 200


def test_folders_of_gunicorns(serve: Serve) -> None:
    """`worker_tmp_dir` must be there; `tmp_upload_dir` takes large bodies."""
    server = serve("probes:app", "--worker-tmp-dir", "nowhere", wait=False)
    server.expect_exit(1)
    server.expect_log("nowhere doesn't exist. Can't create workertmp.")
    assert server.wait_exit() == 1
    server = serve("probes:app", config="tmp_upload_dir = '/nowhere'\n")
    server.expect_log("tmp_upload_dir: '/nowhere' is no folder that files can be made in")
    assert server.get().status == 200
    config = (
        "import os\nos.makedirs('uploads', exist_ok=True)\nworker_tmp_dir = '/dev/shm'\n"
        "tmp_upload_dir = 'uploads'\nbody_buffer = 1000\n"
    )
    server = serve("probes:app", config=config)
    folder = server.directory / "uploads"
    [pid] = server.workers()
    with server.connect() as connection:
        connection.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n")
        connection.send(b"x" * 200_000)

        def spooled() -> bool:
            return any(str(folder) in path for path in processes.descriptors(pid).values())

        wait_for(spooled, 10, "the body to be in the folder")
        connection.send(b"x" * 100_000)
        assert connection.read_response().status == 200
