"""The dirty arbiter: one process, one thread, between the web workers and the dirty workers.

Rules:
- Nothing in the loop waits but the loop's own poll.
- No app is imported here: a reload brings new code because new workers import it.
- What workers have sent is read before what clients have sent: an app that uses the stash in its
  `init` finds the tables that it has declared.
- It ends with its master, takes its workers along, and removes the socket that would be left
  behind.

SERVING until TERM or INT: STOPPING lets calls finish for dirty_graceful_timeout; ENDING (QUIT, a
second TERM, the end of that time, the master's death) waits for nothing but the workers' ends.
"""

import contextlib
import enum
import logging
import os
import select
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from monoceros.arbiter import spawn, states
from monoceros.arbiter.backoff import Backoff
from monoceros.arbiter.explain import FATAL, Ending, OutOfMemoryCounter, describe_end
from monoceros.arbiter.signals import SIGNALS, SignalInbox, blocked, signal_name
from monoceros.arbiter.stacks import StackFile, process_state
from monoceros.arbiter.states import Departure, WorkerEvent, WorkerState
from monoceros.dirty.app import Declaration, parse_spec
from monoceros.dirty.errors import DirtyError
from monoceros.dirty.fleet import (
    DirtyFleet,
    DirtyGeneration,
    DirtyRecord,
    missing_seats,
    spare_workers,
)
from monoceros.dirty.frames import Frame, Kind, encode_frame
from monoceros.dirty.link import Link
from monoceros.dirty.router import Client, Router
from monoceros.dirty.tables import Tables
from monoceros.dirty.values import decode_whole, encode
from monoceros.dirty.worker import DirtyWorker, live_as_dirty_worker
from monoceros.logging.stacks import format_stacks

if TYPE_CHECKING:
    from monoceros.arbiter.arbiter import Arbiter

#: How long no connection is accepted when there is no descriptor for one, seconds.
ACCEPT_PAUSE: Final = 1.0

#: Connections accepted per turn of the loop.
ACCEPTED_PER_TURN: Final = 64

_ALWAYS: Final = select.EPOLLRDHUP


class State(enum.Enum):
    """What the dirty arbiter as a whole is doing."""

    SERVING = "serving"
    STOPPING = "stopping"
    ENDING = "ending"
    GONE = "gone"


class Event(enum.Enum):
    """What happens to it."""

    STOP = "stop"
    END = "end"
    ALL_GONE = "all gone"


MOVES: Final[Mapping[tuple[State, Event], State]] = {
    (State.SERVING, Event.STOP): State.STOPPING,
    (State.SERVING, Event.END): State.ENDING,
    (State.STOPPING, Event.STOP): State.ENDING,
    (State.STOPPING, Event.END): State.ENDING,
    (State.STOPPING, Event.ALL_GONE): State.GONE,
    (State.ENDING, Event.STOP): State.ENDING,
    (State.ENDING, Event.END): State.ENDING,
    (State.ENDING, Event.ALL_GONE): State.GONE,
}


class DirtyArbiter:
    """The process; attributes without documentation are the ones that hook authors know."""

    def __init__(
        self, server: "Arbiter", listener: socket.socket, socket_path: str, lifeline: int
    ) -> None:
        """In the new process. `lifeline` reports end-of-file when the master is no more."""
        self._server = server
        self.cfg = server.cfg
        self.log = server.log
        self.pid = os.getpid()
        self.ppid = server.pid
        self.socket_path = socket_path
        self.tmpdir = str(Path(socket_path).parent)
        self.worker_age = 0
        self.num_workers: int = self.cfg.dirty_workers
        self.state = State.SERVING
        self._listener = listener
        self._lifeline = lifeline
        self._inbox = SignalInbox()
        self._poller = select.epoll()
        self._fleet = DirtyFleet()
        self.workers = self._fleet.workers
        self._router = Router(self, self._fleet, self._stacks)
        self._tables = Tables()
        self._clients: set[Client] = set()
        self._closing: set[Client] = set()
        self._links: dict[int, Link] = {}
        self._touched: set[Link] = set()
        self._backoff = Backoff(self.cfg.respawn_backoff)
        self._memory = OutOfMemoryCounter()
        self._deadline: float | None = None
        self._accept_at: float | None = None
        self._generation = self._make_generation(1)
        self._former: DirtyGeneration | None = None

    @property
    def alive(self) -> bool:
        """It serves."""
        return self.state is State.SERVING

    @property
    def stopping(self) -> bool:
        """It is on its way out."""
        return self.state is not State.SERVING

    @property
    def app_specs(self) -> dict[str, int | None]:
        """Each app's number of workers, None for all, by path."""
        return {spec.path: self._generation.limit(spec) for spec in self._generation.specs}

    def _make_generation(self, number: int) -> DirtyGeneration:
        return DirtyGeneration(number, self.cfg, [parse_spec(t) for t in self.cfg.dirty_apps])

    # From start to end.

    def run(self) -> int:
        """Serve until told to stop; the exit status."""
        self.log.info("Dirty arbiter starting (pid: %s)", self.pid)
        self._run_hook("on_dirty_starting", self)
        self._inbox.install()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        for descriptor in (self._inbox.fileno(), self._lifeline, self._listener.fileno()):
            self._poller.register(descriptor, select.EPOLLIN)
        self._listener.setblocking(False)
        self._manage(time.monotonic())
        while self.state is not State.GONE:
            self._turn()
        self.log.info("Dirty arbiter exiting (pid: %s)", self.pid)
        return 0

    def _turn(self) -> None:
        events = dict(self._poller.poll(self._patience()))
        now = time.monotonic()
        if events.pop(self._lifeline, 0):
            self._orphaned()
        for number in self._inbox.take():
            self._take_signal(number, now)
        events.pop(self._inbox.fileno(), None)
        self._hear_workers(events, now)
        self._reap(now)
        if events.pop(self._listener.fileno(), 0):
            self._accept(now)
        for descriptor, event in events.items():
            link = self._links.get(descriptor)
            if isinstance(link, Client):
                self._hear_client(link, event, now)
        self._look_at_deadlines(now)
        if self.stopping:
            self._go_on_stopping(now)
        else:
            self._manage(now)
        self._router.dispatch(now)
        self._update_interest()

    def _patience(self) -> float:
        """Seconds that the poll may take."""
        now = time.monotonic()
        deadlines = [self._deadline, self._router.next_deadline(), self._accept_at]
        for record in self._fleet:
            deadlines.append(record.deadline)
            boot_timeout = record.generation.cfg.boot_timeout
            if record.state is WorkerState.BOOTING and boot_timeout:
                deadlines.append(record.started_at + boot_timeout)
        if self._backoff.next_at > now:
            deadlines.append(self._backoff.next_at)
        if self._backoff.failures:
            deadlines.append(now + 1.0)  # until the workers have been healthy for long enough
        until = min((each for each in deadlines if each is not None), default=None)
        return -1 if until is None else max(0.0, until - now) + 0.001

    def _orphaned(self) -> None:
        """The master is no more: leave nothing behind."""
        self._poller.unregister(self._lifeline)
        self.log.warning("The master is gone: the dirty arbiter ends (pid: %s)", self.pid)
        self._step(Event.END)
        with contextlib.suppress(OSError):
            Path(self.socket_path).unlink()
        with contextlib.suppress(OSError):
            Path(self.tmpdir).rmdir()

    def _step(self, event: Event) -> None:
        self.state = states.step(MOVES, self.state, event)
        if self.state is State.ENDING:
            self._router.give_up()
            for record in self._fleet:
                record.kill(Departure.STOP)

    # Signals.

    def _take_signal(self, number: int, now: float) -> None:
        if number == signal.SIGCHLD:
            return
        name = signal_name(number).removeprefix("SIG").lower()
        self.log.debug("Dirty arbiter handling signal: %s", name)
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stop(now)
        elif number == signal.SIGQUIT:
            self._step(Event.END)
        elif number == signal.SIGUSR1:
            self.log.reopen_files()
            for record in self._fleet:
                record.tell(signal.SIGUSR1)
        elif self.stopping:
            return
        elif number == signal.SIGHUP:
            self._reload()
        elif number == signal.SIGTTIN:
            self._change_number(self.num_workers + 1)
        elif number == signal.SIGTTOU:
            self._change_number(self.num_workers - 1)

    def _change_number(self, number: int) -> None:
        least = self._generation.least_workers
        if number < min(least, self.num_workers):
            self.log.warning(
                "SIGTTOU: Cannot decrease below %d dirty workers (required by app specs)", least
            )
            return
        if number > self.num_workers and not self._generation.apps_of(number - 1):
            self.log.warning(
                "SIGTTIN: %d dirty workers hold every app as often as it may be loaded; a further "
                "one would have nothing to do. Raise an app's number of workers, or remove it.",
                self.num_workers,
            )
            return
        self.num_workers = number
        self.log.info("Dirty workers wanted: %d", number)

    def _stop(self, now: float) -> None:
        self._step(Event.STOP)
        if self.state is not State.STOPPING:
            return
        self._deadline = now + self.cfg.dirty_graceful_timeout
        # The socket stays the master's: who connects now is served by the next dirty arbiter.
        if self._accept_at is None:
            self._poller.unregister(self._listener)
        self._accept_at = None
        for client in list(self._clients):
            if client.task is None:
                self.hang_up(client)

    def _go_on_stopping(self, now: float) -> None:
        if not len(self._fleet):
            self._router.give_up()
        if len(self._router.queue):
            return  # the workers go on with what waits
        for record in self._fleet:
            record.retire(Departure.STOP, now)
        unread = self.state is State.STOPPING and any(client.pending for client in self._clients)
        if not len(self._fleet) and not unread:
            self._step(Event.ALL_GONE)

    # Reload.

    def _reload(self) -> None:
        """HUP: the configuration and the code anew."""
        server, former = self._server, self._generation
        server.environment.restore()
        # The master has just said what there is to say about this configuration.
        speaker = logging.getLogger("gunicorn.error")
        speaker.disabled = True
        try:
            server.app.reload()
            cfg = server.app.cfg
            workers = cfg.dirty_workers
            generation = DirtyGeneration(
                former.number + 1, cfg, [parse_spec(text) for text in cfg.dirty_apps]
            )
        except (Exception, SystemExit) as error:
            speaker.disabled = False
            server.environment.apply(self.cfg.env)
            self.log.error("Reload of dirty apps failed, nothing has changed: %s", error)
            return
        speaker.disabled = False
        server.environment.apply(cfg.env)
        self.log.setup(cfg)
        self.log.reopen_files()
        if workers != former.cfg.dirty_workers:
            self.num_workers = workers
        self.cfg = cfg
        if self._former is None or former.proven:
            self._former = former
        self._generation = generation
        self._backoff.reset()
        self._backoff.base = cfg.respawn_backoff
        spawn.title("dirty-arbiter", cfg.proc_name)
        self.log.info("Dirty workers are replaced: generation %d", generation.number)

    @property
    def _former_serves(self) -> bool:
        """There is a generation to return to."""
        former = self._former
        return former is not None and any(record.generation is former for record in self._fleet)

    def _take_back(self) -> None:
        """The new code does not boot, and the former workers are still there."""
        failed, former = self._generation, self._former
        assert former is not None
        self._generation, self._former = former, None
        self.cfg = former.cfg
        if former.cfg.dirty_workers != failed.cfg.dirty_workers:
            self.num_workers = former.cfg.dirty_workers
        self._server.environment.apply(self.cfg.env)
        self._backoff.reset()
        self.log.error(
            "Reload of dirty apps failed: the new code does not boot (%s). The former workers "
            "keep serving; mend it and send HUP again.",
            failed.last_failure,
        )

    # Workers.

    def _manage(self, now: float) -> None:
        generation = self._generation
        for record, departure in spare_workers(self._fleet, generation, self.num_workers):
            record.retire(departure, now)
        missing = missing_seats(self._fleet, generation, self.num_workers)
        booting = sum(record.state is WorkerState.BOOTING for record in self._fleet)
        allowed = self._backoff.allowance(now, booting)
        for seat in missing if allowed is None else missing[:allowed]:
            try:
                self._fork(seat, now)
            except OSError as error:
                self._failed(generation, f"a dirty worker that could not be forked: {error}", now)
                return
        if self._former is not None and not missing:
            self._finish_reload()

    def _finish_reload(self) -> None:
        former = self._former
        if former is None or any(r.generation is not self._generation for r in self._fleet):
            return
        if not all(r.state is WorkerState.READY for r in self._fleet):
            return
        self._former = None
        former.seen.close()
        self.log.info(
            "Reload of dirty apps complete: %d dirty workers of generation %d",
            len(self._fleet),
            self._generation.number,
        )

    def _fork(self, seat: int, now: float) -> None:
        generation = self._generation
        self.worker_age += 1
        worker = DirtyWorker(
            self.worker_age,
            self.pid,
            generation.apps_of(seat),
            generation.cfg,
            self.log,
            self.socket_path,
        )
        stacks = StackFile.create()
        try:
            ours, theirs = socket.socketpair()
            with theirs, blocked():
                pid = os.fork()
                if pid == 0:
                    ours.close()
                    live_as_dirty_worker(self, worker, theirs, stacks, generation)
        except BaseException:
            stacks.close()
            raise
        worker.pid = pid
        record = DirtyRecord(seat, generation, worker, pid, Link(ours), stacks, now)
        self._fleet.add(record)
        self._add(record.link)
        self._run_hook("dirty_post_fork", self, worker)

    def release_in_child(self) -> None:
        """In a dirty worker: close the descriptors that are the dirty arbiter's, or of others."""
        self._inbox.close()
        self._poller.close()
        self._listener.close()
        os.close(self._lifeline)
        for link in self._links.values():
            link.socket.close()
        for record in self._fleet:
            record.stacks.close()

    def _hear_workers(self, events: dict[int, int], now: float) -> None:
        for record in self._fleet:
            event = events.pop(record.link.fileno(), 0)
            if event:
                self._hear_worker(record, event, now)

    def _hear_worker(self, record: DirtyRecord, event: int, now: float) -> None:
        if event & select.EPOLLOUT:
            record.link.flush()
        try:
            frames = record.link.receive()
        except DirtyError as error:
            self.log.error("Dirty worker (pid:%s) is killed: %s", record.pid, error)
            record.kill(Departure.STUCK)
            frames = []
            record.link.ended = True
        for frame in frames:
            self._take_word(record, frame, now)
        self.touch(record.link)

    def _take_word(self, record: DirtyRecord, frame: Frame, now: float) -> None:
        generation = record.generation
        match frame.kind:
            case Kind.IMPORTED:
                for path, told in decode_whole(frame.payload).items():
                    generation.declared[path] = Declaration(told["workers"], told["stashes"])
                    self._tables.ensure(told["stashes"])
            case Kind.READY if record.state is WorkerState.BOOTING:
                record.move(WorkerEvent.SERVES)
                record.ready_at = now
                record.worker.booted = True
                self.log.info(
                    "Dirty worker ready (pid: %s) after %.1f s", record.pid, now - record.started_at
                )
                generation.proven = True
                generation.seen.forget()
            case Kind.LEAVING:
                record.retire(Departure.OWN, now)
            case Kind.BEGUN | Kind.RESULT | Kind.ERROR | Kind.CHUNK | Kind.END:
                self._router.answer(record, frame, now)

    def _reap(self, now: float) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            record = self._fleet.of_pid(pid)
            if record is not None:
                self._ended(record, Ending.from_status(status, self._memory), now)

    def _ended(self, record: DirtyRecord, ending: Ending, now: float) -> None:
        # Its last words. A child of the app may hold the other end open.
        self._hear_worker(record, 0, now)
        while not (record.link.ended or record.link.drained):
            self._hear_worker(record, 0, now)
        ordered = record.departure
        record.move(WorkerEvent.REAPED)
        told = describe_end(
            "Dirty worker",
            record.pid,
            ending,
            ordered=ordered.value if ordered else None,
            ours=record.last_signal,
        )
        running = self._router.describe_running(record)
        if told is not None:
            self.log.log(told[0], "%s%s", told[1].removesuffix("."), running or ".")
        if ending.signal in FATAL and record.last_signal is None:
            text = record.stacks.read()
            if text:
                self.log.error("Where (pid:%s) crashed:\n%s", record.pid, format_stacks(text))
        self._fleet.remove(record)
        self._forget(record.link)
        record.close()
        self._router.worker_ended(record, ending)
        self._run_hook("dirty_worker_exit", self, record.worker)
        if (ordered is None or ordered in states.FAILED_DEPARTURES) and not self.stopping:
            where = "" if record.ready_at is not None else " before it was ready"
            what = f"dirty worker (pid:{record.pid}): {ending.brief}{where}"
            self._failed(
                record.generation, what, now, record.started_at, record.ready_at is not None
            )

    def _failed(
        self,
        generation: DirtyGeneration,
        what: str,
        now: float,
        started_at: float | None = None,
        served: bool = False,
    ) -> None:
        """A dirty worker has ended, or was not made, though nobody wanted that."""
        generation.failures += 1
        generation.last_failure = what
        if generation is self._generation and not generation.proven and self._former_serves:
            self._take_back()
            return
        if generation is not self._generation:
            return
        if not self._backoff.failed(now, now if started_at is None else started_at, served):
            return
        if self._backoff.in_doubt:
            times = self._backoff.failures
            self.log.error(
                "%s: %s. Next try in %.1f s.",
                "Failure" if times == 1 else f"Failure number {times} in a row",
                what,
                max(0.0, self._backoff.next_at - now),
            )
            self._router.refuse_waiting(self.why_not)

    def why_not(self, app: str) -> str | None:
        """Why a call of this app has no sense now; None when it has."""
        known = app in self._generation.paths or any(
            app in record.worker.app_paths for record in self._fleet if record.staying
        )
        if not known:
            return f"No workers available for app: {app}: it is not among dirty_apps"
        if self._backoff.in_doubt and not self._fleet.has_ready(app):
            return (
                f"No workers available for app: {app}: they end before they are ready "
                f"({self._generation.last_failure}); see the server's log"
            )
        return None

    # Clients.

    def _accept(self, now: float) -> None:
        for _ in range(ACCEPTED_PER_TURN):
            try:
                sock, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                self.log.error(
                    "The dirty arbiter cannot accept a client: %s. It tries again in %g s.",
                    error,
                    ACCEPT_PAUSE,
                )
                self._poller.unregister(self._listener)
                self._accept_at = now + ACCEPT_PAUSE
                return
            client = Client(sock)
            self._clients.add(client)
            self._add(client)
            welcome = {"timeout": float(self.cfg.dirty_timeout), "pid": self.pid}
            client.send(encode_frame(Kind.WELCOME, 0, encode(welcome)))

    def _hear_client(self, client: Client, event: int, now: float) -> None:
        if event & select.EPOLLOUT:
            client.flush()
            if not client.pending:
                self._router.taken(client)
        if client.task is not None:
            # Its next call, if it has sent one already, waits in the kernel.
            if event & (select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR):
                client.ended = True
        elif event & ~select.EPOLLOUT:
            try:
                for frame in client.receive():
                    self._serve(client, frame, now)
            except DirtyError as error:
                self.log.warning("A client of dirty apps is cut off: %s", error)
                client.ended = True
        self.touch(client)

    def _serve(self, client: Client, frame: Frame, now: float) -> None:
        if client.task is not None:
            raise DirtyError("it has sent a call before the last one was answered")
        if frame.kind is Kind.CALL:
            self._router.call(client, frame, now)
        elif frame.kind is Kind.STASH:
            try:
                answer = encode_frame(Kind.RESULT, 0, self._tables.answer(frame.payload))
            except DirtyError as error:
                answer = encode_frame(Kind.ERROR, 0, encode(error.to_dict()))
            client.send(answer)
        else:
            raise DirtyError(f"it has sent {frame.kind.name}")

    def drop(self, client: Client) -> None:
        """Cut a client off."""
        client.ended = True
        self.touch(client)

    def hang_up(self, client: Client) -> None:
        """Close a client's connection when it has taken what it was sent."""
        self._closing.add(client)
        self.touch(client)

    # The poller.

    def touch(self, link: Link) -> None:
        """Something about this link has changed."""
        self._touched.add(link)

    def _add(self, link: Link) -> None:
        self._links[link.fileno()] = link
        self._poller.register(link.fileno(), select.EPOLLIN | _ALWAYS)
        link.registered = select.EPOLLIN | _ALWAYS

    def _forget(self, link: Link) -> None:
        if link.registered:
            self._poller.unregister(link.fileno())
            link.registered = 0
        self._links.pop(link.fileno(), None)
        self._touched.discard(link)

    def _update_interest(self) -> None:
        # Workers are written to by the router, which touches clients only.
        self._touched.update(record.link for record in self._fleet)
        while self._touched:
            link = self._touched.pop()
            if isinstance(link, Client):
                if link.ended or (link in self._closing and not link.pending):
                    self._close(link)
                    continue
                wanted = _ALWAYS | (0 if link.task is not None else select.EPOLLIN)
            elif link.ended:
                # Its owner is about to be reaped; a hang-up would be reported for ever.
                self._forget(link)
                continue
            else:
                wanted = _ALWAYS | select.EPOLLIN
            if link.pending:
                wanted |= select.EPOLLOUT
            if wanted != link.registered:
                self._poller.modify(link.fileno(), wanted)
                link.registered = wanted

    def _close(self, client: Client) -> None:
        self._forget(client)
        self._clients.discard(client)
        self._closing.discard(client)
        self._router.left(client)
        client.close()

    # Deadlines.

    def _look_at_deadlines(self, now: float) -> None:
        self._router.turn(now)
        if self._accept_at is not None and now >= self._accept_at:
            self._accept_at = None
            self._poller.register(self._listener, select.EPOLLIN)
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            if self.state is State.STOPPING:
                for record in self._fleet:
                    self._tell_unfinished(record)
                self._step(Event.END)
        for record in self._fleet:
            boot_timeout = record.generation.cfg.boot_timeout
            if record.state is WorkerState.BOOTING and boot_timeout:
                if now - record.started_at > boot_timeout:
                    self.log.error(
                        "Dirty worker (pid:%s) has not booted within boot_timeout (%s s): it is "
                        "killed.\n%s",
                        record.pid,
                        boot_timeout,
                        self._stacks(record),
                    )
                    record.kill(Departure.BOOT_TIMEOUT)
            elif record.state is WorkerState.READY and record.ready_at is not None:
                self._backoff.ready(now, record.started_at, record.ready_at)
            if record.deadline is not None and now >= record.deadline:
                self._tell_unfinished(record)
                record.kill(record.departure or Departure.STOP)

    def _tell_unfinished(self, record: DirtyRecord) -> None:
        self.log.error(
            "Dirty worker (pid:%s) has not ended within dirty_graceful_timeout (%s s)%s: it is "
            "killed.\n%s",
            record.pid,
            record.generation.cfg.dirty_graceful_timeout,
            self._router.describe_running(record),
            self._stacks(record),
        )

    # Words.

    def _stacks(self, record: DirtyRecord) -> str:
        text = ""
        with contextlib.suppress(PermissionError):
            text = record.stacks.request(record.pid)
        if text:
            return format_stacks(text)
        state = process_state(record.pid) or "gone"
        return f"(no stacks: the process did not write them in time; it is {state})"

    def _run_hook(self, name: str, *arguments: Any) -> None:
        try:
            getattr(self.cfg, name)(*arguments)
        except Exception:
            self.log.exception("Exception in %s hook", name)
