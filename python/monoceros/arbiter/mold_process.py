"""The mold, seen from inside: import the app once, fork workers from it, do nothing else.

The protocol, one JSON object per SEQPACKET message:
- arbiter to mold: `{"slot", "age", "fleet"}` with the descriptor of the worker's stack file: fork a
  worker.
- mold to arbiter: `{"kind": "imported"}`; `{"kind": "forked", "age", "pid"}`, sent by the process
  between mold and worker before it ends, so that it is on its way before the worker can be reaped;
  `{"kind": "failed", "age"}`: no worker came of the request, the log has the reason.

Rules:
- A worker is forked twice: the process between ends at once, and the kernel gives the worker to
  the arbiter, the nearest subreaper. The worker goes on when that has happened.
- The heap is frozen after the import, so that the collector of a worker does not touch, and so
  copy, what all workers share.
- The mold has no threads. Threads that the app starts at import do not exist in the workers; the
  mold says so, once, by name.
"""

import contextlib
import gc
import json
import os
import select
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from monoceros.arbiter import spawn
from monoceros.arbiter.generation import Generation
from monoceros.arbiter.signals import SIGNALS, blocked, ignore
from monoceros.arbiter.stacks import StackFile
from monoceros.parentage import die_with
from monoceros.workers.base import prepare_loading
from monoceros.workers.broken import load
from monoceros.workers.seat import Seat

if TYPE_CHECKING:
    from monoceros.arbiter.arbiter import Arbiter

#: Bytes of the longest message.
MESSAGE_LIMIT: Final = 4096

#: How long a worker waits to be adopted by the arbiter, seconds; the kernel does it when the
#: process between ends, which is its next step.
ADOPTION_PATIENCE: Final = 10.0

#: Names of threads that are told before the rest is only counted.
THREADS_TOLD: Final = 10


def live_as_mold(
    server: "Arbiter", generation: Generation, channel: socket.socket, stacks: StackFile
) -> NoReturn:
    """The whole life of a mold; call it right after fork, with signals blocked."""
    code = spawn.CRASHED
    try:
        spawn.take_own_signals(server, spawn.leave_boot)
        # A terminal sends INT and QUIT to everybody; the arbiter ends the mold itself.
        for number in (signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, ignore)
        stacks.register()
        die_with(server.pid)
        server.release_in_child(generation, stacks)
        code = _serve(server, generation, channel, stacks)
    except SystemExit as end:
        code = spawn.exit_code(end)
    except BaseException:
        traceback.print_exc()
    finally:
        spawn.leave(code, quick=True)


def _serve(
    server: "Arbiter", generation: Generation, channel: socket.socket, stacks: StackFile
) -> int:
    log = server.log
    imported = False
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        spawn.title("mold", server.proc_name)
        log.info("Booting mold with pid: %s", os.getpid())
        if generation.cfg.identity.assume():
            die_with(server.pid)
        prepare = getattr(generation.worker_class, "before_import", None)
        if prepare is not None:
            prepare()
        prepare_loading(generation.cfg)
        server.app.loading_since = time.time_ns()
        load(server.app, generation.cfg, log, generation.seen.first, generation.worker_class)
        imported = True
        _tell_threads(server)
        gc.collect()
        gc.freeze()
        channel.send(json.dumps({"kind": "imported"}).encode())
        _fork_on_request(server, generation, channel, stacks)
    except SystemExit as end:
        return spawn.exit_code(end)
    except BaseException as error:
        spawn.deafen()
        return spawn.tell_failure(log, generation, error, booted=imported, who="Mold")
    return 0


def _tell_threads(server: "Arbiter") -> None:
    names = thread_names()
    if names:
        told = ", ".join(names[:THREADS_TOLD]) + (" ..." if len(names) > THREADS_TOLD else "")
        server.log.warning(
            "The app has started %d thread%s at import under preload: %s. They do not exist in "
            "the workers, and locks that they hold stay locked there. Start them in post_fork or "
            "post_worker_init.",
            len(names),
            "" if len(names) == 1 else "s",
            told,
        )


def thread_names() -> list[str]:
    """Every thread of this process but the main one: Python's by their names, others by the
    kernel's."""
    python = {
        thread.native_id: thread.name
        for thread in threading.enumerate()
        if thread is not threading.main_thread()
    }
    names = list(python.values())
    for task in Path("/proc/self/task").iterdir():
        number = int(task.name)
        if number != os.getpid() and number not in python:
            with contextlib.suppress(OSError):
                names.append((task / "comm").read_text().strip())
    return names


def _fork_on_request(
    server: "Arbiter", generation: Generation, channel: socket.socket, own: StackFile
) -> None:
    """Fork workers until the arbiter hangs up. `own` is the mold's stack file."""
    while True:
        data, descriptors, _flags, _address = socket.recv_fds(channel, MESSAGE_LIMIT, 1)
        if not data:
            return
        request = json.loads(data)
        stacks = StackFile(descriptors[0])
        try:
            _fork_worker(server, generation, channel, stacks, request, own)
        except Exception as error:
            what = "The mold (pid:%s) could not make a worker: %s"
            shown = error if generation.seen.first(error) else None
            server.log.error(what, os.getpid(), error, exc_info=shown)
            channel.send(json.dumps({"kind": "failed", "age": request["age"]}).encode())
        finally:
            stacks.close()


def _fork_worker(
    server: "Arbiter",
    generation: Generation,
    channel: socket.socket,
    stacks: StackFile,
    request: dict[str, int],
    own: StackFile,
) -> None:
    seat = Seat(
        server.scoreboard,
        request["slot"],
        server.lifeline,
        request["fleet"],
        generation.tls,
        server.edits.writer,
        generation.seen.first,
        generation.handoff,
    )
    worker = spawn.make_worker(server, generation, request["age"], seat)
    with blocked():
        between = os.fork()
        if between == 0:
            _be_between(server, generation, channel, stacks, seat, worker, request["age"], own)
    _, status = os.waitpid(between, 0)
    if status != 0:
        raise ChildProcessError("the process between mold and worker failed to fork")


def _be_between(
    server: "Arbiter",
    generation: Generation,
    channel: socket.socket,
    stacks: StackFile,
    seat: Seat,
    worker: object,
    age: int,
    own: StackFile,
) -> NoReturn:
    code = 1
    try:
        between = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                channel.close()
                adopted = _adoption(between, own)
                spawn.live_as_worker(server, worker, seat, stacks, generation, adopted)
            finally:
                os._exit(spawn.CRASHED)
        channel.send(json.dumps({"kind": "forked", "age": age, "pid": pid}).encode())
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _adoption(between: int, own: StackFile) -> Callable[[], None]:
    """A function that waits in the worker until `between` has ended, and the master is the parent
    (or is no more), and lets go of the mold's stack file, in whose place the worker's has come."""

    def wait() -> None:
        own.close()
        deadline = time.monotonic() + ADOPTION_PATIENCE
        try:
            watch = os.pidfd_open(between)
        except OSError:
            pass  # it has ended and been reaped already, or the kernel is older than 5.3
        else:
            poller = select.poll()
            poller.register(watch, select.POLLIN)
            # Readable when the process has ended; its children have been given away before that.
            poller.poll(ADOPTION_PATIENCE * 1000)
            os.close(watch)
        while os.getppid() == between and time.monotonic() < deadline:
            time.sleep(0.0005)

    return wait
