"""The dirty worker: a process that holds dirty apps and runs their calls.

From fork to end: take the user and group, import the apps' classes, tell what they declare, make
the apps, `init()` each, `dirty_worker_init`, READY; then calls, each in one of `dirty_threads`
threads, until DRAIN; then `close()` each app. Rules:
- The main thread runs the event loop: it reads the channel, and runs the apps' async code.
- The process dies with the dirty arbiter.
- No call is begun after DRAIN; TERM asks the dirty arbiter for it.
"""

import asyncio
import contextlib
import importlib
import os
import queue
import random
import signal
import socket
import threading
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from monoceros.arbiter import spawn
from monoceros.arbiter.signals import SIGNALS, ignore
from monoceros.arbiter.stacks import StackFile
from monoceros.dirty.app import declaration, import_class
from monoceros.dirty.execution import Execution
from monoceros.dirty.frames import Decoder, Frame, Kind, encode_frame
from monoceros.dirty.link import READ_SIZE
from monoceros.dirty.tally import Tally
from monoceros.dirty.values import decode_whole, encode
from monoceros.parentage import die_with

if TYPE_CHECKING:
    from monoceros.dirty.arbiter import DirtyArbiter
    from monoceros.dirty.fleet import DirtyGeneration


class DirtyWorker:
    """A dirty worker, as hooks see it; the attributes are Gunicorn's.

    The object is made in the dirty arbiter, which keeps a copy; `apps` is filled in the worker.
    """

    def __init__(
        self,
        age: int,
        ppid: int,
        app_paths: Sequence[str],
        cfg: Any,
        log: Any,
        socket_path: str,
    ) -> None:
        self.age = age
        self.pid: int | str = "[booting]"
        self.ppid = ppid
        self.app_paths = list(app_paths)
        self.cfg = cfg
        self.log = log
        self.socket_path = socket_path
        self.booted = False
        self.aborted = False
        self.alive = True
        #: Told to end, in a moment in which nobody could act on it.
        self.leaving = False
        self.apps: dict[str, Any] = {}

    def __str__(self) -> str:
        return f"<DirtyWorker {self.pid}>"

    def init_process(self, channel: socket.socket) -> None:
        """Boot; raises what the apps raise."""
        for name, value in self.cfg.env.items():
            os.environ[name] = value
        if self.cfg.identity.assume():
            die_with(self.ppid)
        random.seed()  # siblings must not share a sequence
        importlib.invalidate_caches()
        classes = {path: import_class(path) for path in self.app_paths}
        told = {}
        for path, found in classes.items():
            limit, stashes = declaration(path, found)
            told[path] = {"workers": limit, "stashes": stashes}
        # Before any init(), which may already use the stash.
        channel.sendall(encode_frame(Kind.IMPORTED, 0, encode(told)))
        for path, found in classes.items():
            self.apps[path] = found()
            self.apps[path].init()
        self.cfg.dirty_worker_init(self)
        self.booted = True

    def note_orders(self) -> None:
        """From now on an order to end is noted and interrupts nothing: a boot may be broken off
        anywhere, the event loop's start must not be."""

        def note(_number: int, _frame: FrameType | None) -> None:
            self.leaving = True

        for number in (signal.SIGTERM, signal.SIGQUIT):
            signal.signal(number, note)

    def close_apps(self) -> None:
        """`close()` each app; what one raises does not keep the others open."""
        for path, app in self.apps.items():
            try:
                app.close()
            except Exception:
                self.log.exception("Exception in close() of dirty app %s", path)


def live_as_dirty_worker(
    arbiter: "DirtyArbiter",
    worker: DirtyWorker,
    channel: socket.socket,
    tally: Tally,
    stacks: StackFile,
    generation: "DirtyGeneration",
) -> NoReturn:
    """The whole life of a dirty worker; call it right after fork, with signals blocked."""
    code = spawn.CRASHED
    try:
        spawn.take_own_signals(arbiter, spawn.leave_boot)  # type: ignore[arg-type]
        # A terminal sends INT to everybody; the dirty arbiter ends its workers itself.
        signal.signal(signal.SIGINT, ignore)
        stacks.register()
        die_with(arbiter.pid)
        arbiter.release_in_child()
        worker.pid = os.getpid()
        code = _work(worker, channel, tally, generation)
    except SystemExit as end:
        code = spawn.exit_code(end)
    except BaseException:
        traceback.print_exc()
    finally:
        spawn.leave(code, quick=not worker.alive)


def _work(
    worker: DirtyWorker, channel: socket.socket, tally: Tally, generation: "DirtyGeneration"
) -> int:
    log = worker.log
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        spawn.title("dirty-worker", generation.cfg.proc_name)
        log.info("Booting dirty worker with pid: %s (%s)", worker.pid, ", ".join(worker.app_paths))
        worker.init_process(channel)
        worker.note_orders()
        asyncio.run(Service(worker, channel, tally).run())
    except SystemExit as end:
        spawn.deafen()
        return spawn.exit_code(end)
    except BaseException as error:
        spawn.deafen()
        # It needs of a generation only what this one has, too.
        told: Any = generation
        return spawn.tell_failure(log, told, error, booted=worker.booted, who="Dirty worker")
    finally:
        spawn.deafen()
        worker.close_apps()
        log.info("Dirty worker exiting (pid: %s)", worker.pid)
    return 0


class Service:
    """Calls in, answers out, on the worker's event loop."""

    def __init__(self, worker: DirtyWorker, channel: socket.socket, tally: Tally) -> None:
        self._worker = worker
        self._tally = tally
        self._channel = channel
        self._waiting: queue.Queue[tuple[int, Execution]] = queue.Queue()
        self._running: dict[int, Execution] = {}
        self._draining = False

    async def run(self) -> None:
        """Until told to end, and what runs is done."""
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        reader, self._writer = await asyncio.open_unix_connection(
            sock=self._channel, limit=READ_SIZE
        )
        self._loop.add_signal_handler(signal.SIGTERM, self._leave)
        self._loop.add_signal_handler(signal.SIGQUIT, self._quit)
        for number in range(max(1, self._worker.cfg.dirty_threads)):
            threading.Thread(target=self._work, name=f"dirty-{number}", daemon=True).start()
        self._write(encode_frame(Kind.READY))
        if self._worker.leaving:
            self._leave()
        reading = asyncio.ensure_future(self._read(reader))
        await self._over.wait()
        reading.cancel()
        self._writer.close()
        with contextlib.suppress(OSError):  # the dirty arbiter is no more
            await self._writer.wait_closed()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        decoder = Decoder()
        while data := await reader.read(READ_SIZE):
            for frame in decoder.feed(data):
                self._take(frame)
        # The dirty arbiter is no more; the kernel is about to end this process, too.
        self._quit()

    def _take(self, frame: Frame) -> None:
        execution = self._running.get(frame.number)
        match frame.kind:
            case Kind.CALL:
                self._tally.add()
                execution = Execution(frame.number, frame.payload, self._send, self._loop)
                self._running[frame.number] = execution
                self._waiting.put((frame.number, execution))
            case Kind.CANCEL if execution is not None:
                execution.cancel()
            case Kind.CREDIT if execution is not None:
                execution.credit(decode_whole(frame.payload))
            case Kind.DRAIN:
                self._draining = True
                self._look()

    def _work(self) -> None:
        """A thread that runs calls."""
        while True:
            number, execution = self._waiting.get()
            last = execution.run(self._worker.apps, self._worker.log)
            self._loop.call_soon_threadsafe(self._finished, number, last)
            del execution

    def _send(self, data: bytes) -> None:
        self._loop.call_soon_threadsafe(self._write, data)

    def _write(self, data: bytes) -> None:
        self._writer.write(data)

    def _finished(self, number: int, last: bytes) -> None:
        self._write(last)
        self._running.pop(number, None)
        self._look()

    def _look(self) -> None:
        if self._draining and not self._running:
            self._over.set()

    def _leave(self) -> None:
        self._write(encode_frame(Kind.LEAVING))

    def _quit(self) -> None:
        """End at once, whatever runs."""
        self._worker.alive = False
        self._over.set()
