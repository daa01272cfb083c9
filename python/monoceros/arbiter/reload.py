"""Reload: a transaction from one generation to the next.

Rules:
- Everything that can fail on the spot (configuration, worker class, logging, sockets) is tried
  before anything of the old generation is touched, and taken back when it fails.
- New sockets are opened before old ones are closed; one that stays is the same socket. One that is
  given up is closed by the last of the old workers, when it has taken what waits there.
- Until a worker of the new generation is READY the old one can be returned to, and is when the new
  code does not boot: no retry, one report. After that there is no way back, and no need for one.
- TTIN and TTOU are not undone, unless the configuration asks for another number of workers than it
  did before.
- One reload at a time. A HUP meanwhile is remembered and runs afterwards. It does not wait for a
  new generation that goes nowhere: one whose workers fail after the first was READY, or of which
  nothing has become READY for `STUCK_AFTER`.
"""

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from monoceros.arbiter import states
from monoceros.arbiter.generation import Generation
from monoceros.arbiter.states import (
    Departure,
    MoldState,
    ReloadEvent,
    ReloadState,
    WorkerState,
)
from monoceros.errors import ConfigError, ConfigFileError, format_foreign_exception
from monoceros.listeners import open_listeners
from monoceros.logging import reconfigure
from monoceros.pidfile import Pidfile
from monoceros.tls import open_store

if TYPE_CHECKING:
    from monoceros.arbiter.arbiter import Arbiter

#: A new generation that has not got one worker READY in this time, seconds, gives way to a further
#: HUP, which may well bring the mended code.
STUCK_AFTER: Final = 60.0


def _describe(error: BaseException) -> str:
    """A configuration's error in a line; the traceback where the operator's own code failed."""
    if isinstance(error, ConfigFileError) and error.__cause__ is not None:
        return f"{error}\n{format_foreign_exception(error.__cause__)}"
    if isinstance(error, ConfigError):
        return str(error)
    return format_foreign_exception(error)


class AppSnapshot:
    """What `app.reload` may change: the app's attributes, the working folder, the module path."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._attributes = dict(vars(app))
        self._directory = str(Path.cwd())
        self._path = list(sys.path)

    def restore(self) -> None:
        """As if `app.reload` had not been called."""
        vars(self._app).clear()
        vars(self._app).update(self._attributes)
        sys.path[:] = self._path
        # A directory that has been removed since cannot be returned to; nothing depends on it.
        with contextlib.suppress(OSError):
            os.chdir(self._directory)


class Reload:
    """At most one reload under way, and whether another one is wanted."""

    def __init__(self, server: "Arbiter") -> None:
        self._server = server
        self.state = ReloadState.IDLE
        self.pending = False
        #: How many HUPs have been followed.
        self.count = 0
        self._candidate: Generation | None = None
        self._former: Generation | None = None
        self._former_workers = 0
        self._snapshot: AppSnapshot | None = None
        self._former_pidfile: Pidfile | None = None
        self._began_at = 0.0
        self._left = False  # the addresses that only the former generation has

    def concerns(self, generation: Generation) -> bool:
        """This generation is being tried: its failures are the reload's, not the back-off's."""
        return generation is self._candidate and not generation.proven

    def spawning_allowed(self) -> bool:
        """A generation that is being tried gets each of its workers once."""
        candidate = self._candidate
        return candidate is None or candidate.proven or candidate.failures == 0

    def want(self) -> None:
        """HUP."""
        self.pending = True

    def turn(self, now: float) -> None:
        """Begin, go on, finish."""
        if self.state is not ReloadState.IDLE:
            self._advance(now)
        # An upgrade that waits for an end of reloads goes first.
        upgrade = self._server.upgrade.wanted
        if self.pending and self.state is ReloadState.IDLE and not upgrade and self._may_begin(now):
            self.pending = False
            self._begin(now)

    def _may_begin(self, now: float) -> bool:
        # While the first workers boot there is nothing to reload from; they may hang, though.
        server = self._server
        return server.ever_ready or now - server.started_at > STUCK_AFTER

    # The move out of IDLE.

    def _begin(self, now: float) -> None:
        server = self._server
        log = server.log
        log.info("Hang up: %s", server.master_name)
        self.count += 1
        server.service.reloads()
        snapshot = AppSnapshot(server.app)
        # A config file reads the environment as it was, not as the last one has left it.
        server.environment.restore()
        try:
            server.app.reload()
        except (Exception, SystemExit) as error:
            server.environment.apply(server.cfg.env)
            log.error("Reload failed, nothing has changed: %s", _describe(error))
            return
        try:
            candidate = self._prepare(server.app.cfg)
        except (Exception, SystemExit) as error:
            expected = isinstance(error, ConfigError | RuntimeError | OSError)
            log.error("Reload failed, nothing has changed: %s", error, exc_info=not expected)
            self._take_back(snapshot)
            return
        self._snapshot = snapshot
        server.leaving.warn_of_sharing(candidate.listeners, candidate.cfg)
        self._commit(candidate, now)

    def _prepare(self, cfg: Any) -> Generation:
        """All that can fail; what it changes `_take_back` restores."""
        server = self._server
        server.environment.apply(cfg.env)
        worker_class = cfg.worker_class
        if cfg.threads > server.scoreboard.threads:
            raise ConfigError(
                f"threads = {cfg.threads} is more than a reload can give "
                f"({server.scoreboard.threads}): restart the server"
            )
        reconfigure(server.log, cfg)
        tls = open_store(cfg, server.generation.tls)
        server.dirty.prepare(cfg)
        listeners = open_listeners(server.addresses(cfg), cfg, existing=server.generation.listeners)
        try:
            pidfile = self._new_pidfile(cfg)
            try:
                if hasattr(worker_class, "check_config"):
                    worker_class.check_config(cfg, server.log)
                candidate = server.make_generation(cfg, listeners, worker_class, tls)
            except BaseException:
                if pidfile is not server.pidfile and pidfile is not None:
                    pidfile.remove()
                raise
        except BaseException:
            for listener in listeners:
                if listener not in server.generation.listeners:
                    listener.close()
                    listener.remove()
            raise
        self._former_pidfile = server.pidfile
        server.pidfile = pidfile
        return candidate

    def _new_pidfile(self, cfg: Any) -> Pidfile | None:
        server = self._server
        path = server.pidfile_path(cfg)
        if path is None:
            return None
        if server.pidfile is not None and server.pidfile.path == path:
            server.pidfile.create(server.pid)  # somebody may have removed it
            return server.pidfile
        pidfile = Pidfile(path)
        pidfile.create(server.pid)
        return pidfile

    def _take_back(self, snapshot: "AppSnapshot") -> None:
        server = self._server
        snapshot.restore()
        cfg = server.app.cfg
        server.environment.apply(cfg.env)
        try:
            reconfigure(server.log, cfg)
        except Exception:
            server.log.exception("Cannot return to the former logging configuration")

    def _commit(self, candidate: Generation, now: float) -> None:
        server = self._server
        former = server.generation
        self._former, self._candidate = former, candidate
        self._former_workers = server.num_workers
        self._began_at = now
        self._left = False
        server.log.reopen_files()
        server.backoff.reset()
        server.take_generation(candidate)
        if candidate.cfg.workers != former.cfg.workers or server.resting:
            server.num_workers = candidate.cfg.workers
            server.resting = False
        else:
            server.num_workers = server.num_workers  # the hook hears of every reload
        server.run_hook("on_reload", server)
        server.set_title()
        event = ReloadEvent.BEGIN_WITH_MOLD if candidate.preload else ReloadEvent.BEGIN
        self._move(event)

    # Under way.

    def _advance(self, now: float) -> None:
        candidate = self._candidate
        assert candidate is not None
        if self.state is ReloadState.MOLDING:
            mold = candidate.mold
            if mold is not None and mold.state is MoldState.READY:
                self._move(ReloadEvent.MOLD_READY)
        if candidate.proven and not self._left:
            self._left = True
            self._server.leaving.begin(now)
        if not candidate.proven:
            if candidate.failures and not self._trying(candidate):
                self._fail(f"The new code does not boot ({candidate.last_failure}).", now)
            elif self.pending and now - self._began_at > STUCK_AFTER:
                self._fail("Nothing of it has become ready, and another reload waits.", now)
        elif self._complete(candidate):
            self._finish(now)
        elif self.pending and (self._server.backoff.in_doubt or now - self._began_at > STUCK_AFTER):
            self._server.log.warning(
                "The reload is not complete, not all of its workers get ready; "
                "the next one takes over."
            )
            self._settle()

    def _trying(self, candidate: Generation) -> bool:
        """Something of the new generation may still become ready."""
        mold = candidate.mold
        if mold is not None and mold.state is MoldState.IMPORTING:
            return True
        return any(
            record.generation is candidate and record.state in states.STAYING
            for record in self._server.fleet
        )

    def _complete(self, candidate: Generation) -> bool:
        server = self._server
        ready = 0
        for record in server.fleet:
            if record.state not in states.STAYING:
                continue
            if record.generation is not candidate:
                return False
            ready += record.state is WorkerState.READY
        return ready >= server.attainable_workers

    def _finish(self, now: float) -> None:
        server = self._server
        candidate = self._candidate
        assert candidate is not None
        server.log.info(
            "Reload complete: %d worker%s of generation %d ready after %.1f s",
            server.num_workers,
            "" if server.num_workers == 1 else "s",
            candidate.number,
            now - self._began_at,
        )
        server.forget_generations(now)
        self._settle()

    def _settle(self) -> None:
        """The new generation is the one, for good."""
        self._server.dirty.reload()
        former_pidfile = self._former_pidfile
        if former_pidfile is not None and former_pidfile is not self._server.pidfile:
            former_pidfile.remove()
        self._former = self._candidate = self._former_pidfile = self._snapshot = None
        self._move(ReloadEvent.COMPLETED)

    def _fail(self, reason: str, now: float) -> None:
        """Return to the old generation, which has not lost a worker."""
        server = self._server
        candidate, former = self._candidate, self._former
        assert candidate is not None and former is not None
        for record in server.fleet:
            if record.generation is candidate:
                server.fleet.retire(record, Departure.ABANDONED, now)
        asked_for = candidate.cfg.workers != former.cfg.workers
        change = server.num_workers - candidate.cfg.workers if asked_for else 0
        assert self._snapshot is not None
        self._take_back(self._snapshot)
        new_pidfile = server.pidfile
        server.pidfile = self._former_pidfile
        if new_pidfile is not None and new_pidfile is not server.pidfile:
            new_pidfile.remove()
        server.take_generation(former)
        if asked_for:
            server.num_workers = max(1, self._former_workers + change)
        server.set_title()
        self._former = self._candidate = self._former_pidfile = self._snapshot = None
        self._move(ReloadEvent.FAILED)
        server.forget_generations(now)
        server.log.error(
            "Reload failed: %s The former code and configuration stay in force; mend it and send "
            "HUP again.",
            reason,
        )

    def _move(self, event: ReloadEvent) -> None:
        self.state = states.step(states.RELOAD_MOVES, self.state, event)
