"""Starts workers: forks them, or has the mold fork them.

Rules:
- Never more than the back-off, the reload and the scoreboard's room allow.
- Under preload a mold is started when workers are needed and none is there; the workers are asked
  for when it has imported the app.
- A worker that was asked for is known by its age until its pid comes.
"""

import os
import time
from typing import TYPE_CHECKING, Any

from monoceros.arbiter import spawn
from monoceros.arbiter.explain import Ending
from monoceros.arbiter.fleet import WorkerRecord
from monoceros.arbiter.generation import Generation
from monoceros.arbiter.mold import CHANNEL_PATIENCE, Mold
from monoceros.arbiter.remote import RemoteWorker
from monoceros.arbiter.signals import blocked
from monoceros.arbiter.stacks import StackFile
from monoceros.arbiter.states import Departure, MoldEvent, MoldState, WorkerEvent, WorkerState
from monoceros.workers.seat import Seat

if TYPE_CHECKING:
    from monoceros.arbiter.arbiter import Arbiter


class Spawner:
    """The only place where the arbiter makes processes."""

    def __init__(self, server: "Arbiter") -> None:
        self._server = server
        self._room_told = False

    def start(self, missing: int, now: float) -> None:
        """Start up to `missing` workers of the generation that is to serve."""
        server = self._server
        generation = server.generation
        count = min(missing, self._allowance(generation, now))
        if count <= 0:
            return
        if generation.preload:
            self._start_from_mold(generation, count, now)
            return
        for _ in range(count):
            if not self._start_one(generation, None, now):
                return

    def _allowance(self, generation: Generation, now: float) -> int:
        server = self._server
        if not server.reloading.spawning_allowed():
            return 0
        booting = sum(
            1
            for record in server.fleet
            if record.generation is generation
            and record.state in (WorkerState.REQUESTED, WorkerState.BOOTING)
        )
        room = server.fleet.free_slots
        if room == 0:
            if not self._room_told:
                self._room_told = True
                server.log.warning(
                    "All %d places for workers are taken; further ones wait for one to be free.",
                    server.scoreboard.slots,
                )
            return 0
        self._room_told = False
        allowed = server.backoff.allowance(now, booting)
        return room if allowed is None else min(room, allowed)

    def _start_from_mold(self, generation: Generation, count: int, now: float) -> None:
        mold = generation.mold
        if mold is None or mold.state in (MoldState.ENDING, MoldState.GONE):
            self._start_mold(generation, now)
            return
        if mold.state is MoldState.READY:
            for _ in range(count):
                if not self._start_one(generation, mold, now):
                    return

    def _start_mold(self, generation: Generation, now: float) -> None:
        server = self._server
        try:
            mold = Mold.start(server, generation)
        except OSError as error:
            server.log.error("Cannot start a mold: %s", error)
            self._not_made(generation, f"a mold that could not be started: {error}", now)
            return
        generation.mold = mold
        server.molds.append(mold)

    def _start_one(self, generation: Generation, mold: Mold | None, now: float) -> bool:
        """One worker; False when it was not to be had (now)."""
        server = self._server
        slot = server.fleet.take_slot()
        age = server.worker_age + 1
        stacks = None
        try:
            stacks = StackFile.create()
            server.scoreboard.open(slot, age)
            if mold is None:
                record = self._fork(generation, slot, age, stacks)
            else:
                if not mold.ask(slot, age, server.num_workers, stacks, now):
                    stacks.close()
                    server.fleet.return_slot(slot)
                    return False
                record = self._expect(generation, mold, slot, age, stacks)
        except BaseException as error:
            if stacks is not None:
                stacks.close()
            server.fleet.return_slot(slot)
            if not isinstance(error, Exception | SystemExit):
                raise
            shown = error if generation.seen.first(error) else None
            server.log.error("Cannot make a worker: %s", error, exc_info=shown)
            self._not_made(generation, "a worker that could not be started", now)
            return False
        server.worker_age = age
        server.fleet.add(record)
        return True

    def _fork(self, generation: Generation, slot: int, age: int, stacks: StackFile) -> WorkerRecord:
        server = self._server
        seat = Seat(
            server.scoreboard,
            slot,
            server.lifeline,
            server.num_workers,
            generation.tls,
            server.edits.writer,
            generation.seen.first,
            generation.handoff,
        )
        worker = spawn.make_worker(server, generation, age, seat)
        started_at = time.monotonic()
        with blocked():
            pid = os.fork()
            if pid == 0:
                spawn.live_as_worker(server, worker, seat, stacks, generation)
        worker.pid = pid
        return WorkerRecord(slot, age, generation, worker, stacks, started_at, pid=pid)

    def _expect(
        self, generation: Generation, mold: Mold, slot: int, age: int, stacks: StackFile
    ) -> WorkerRecord:
        server = self._server
        cfg = generation.cfg
        seat = Seat(server.scoreboard, slot, server.lifeline, server.num_workers, generation.tls)
        worker = RemoteWorker(
            age,
            server.pid,
            generation.listeners,
            server.app,
            cfg.timeout / 2.0,
            cfg,
            server.log,
            seat,
        )
        return WorkerRecord(
            slot,
            age,
            generation,
            worker,
            stacks,
            time.monotonic(),
            state=WorkerState.REQUESTED,
            mold=mold,
        )

    def _not_made(self, generation: Generation, what: str, now: float) -> None:
        self._server.reaper.failed(generation, what, Ending(None, None), now, False, now)

    # The molds.

    def hear_molds(self) -> None:
        """Read what the molds have said."""
        for mold in list(self._server.molds):
            for message in mold.receive():
                self._hear(mold, message)

    def _hear(self, mold: Mold, message: dict[str, Any]) -> None:
        server = self._server
        now = time.monotonic()
        if message["kind"] == "imported":
            if mold.state is MoldState.IMPORTING:
                mold.move(MoldEvent.IMPORTED)
                mold.ready_at = now
                mold.generation.seen.forget()
            return
        age = message["age"]
        mold.asked.pop(age, None)
        record = server.fleet.of_age(age)
        if message["kind"] == "failed":
            if record is not None:
                self._lose(record)
                what = "a worker that the mold could not fork"
                if not server.stopping:
                    self._not_made(mold.generation, what, now)
            return
        if record is None:
            server.log.warning("A worker (pid:%s) came too late: it is ended.", message["pid"])
            server.fleet.end_stranger(message["pid"])
            return
        server.fleet.forked(record, message["pid"])

    def _lose(self, record: WorkerRecord) -> None:
        record.move(WorkerEvent.LOST)
        self._server.fleet.remove(record)

    def bury_molds(self, now: float) -> None:
        """Let go of molds that are gone, and of the workers that they did not fork."""
        server = self._server
        for mold in list(server.molds):
            if mold.state is not MoldState.GONE or mold.ended_at is None:
                continue
            if not mold.hung_up and now - mold.ended_at < CHANNEL_PATIENCE:
                continue
            for record in server.fleet:
                if record.mold is mold and record.state is WorkerState.REQUESTED:
                    self._lose(record)
            mold.close()
            server.molds.remove(mold)
            if mold.generation.mold is mold:
                mold.generation.mold = None

    def dismiss_molds(self, departure: Departure, now: float) -> None:
        """End every mold."""
        for mold in self._server.molds:
            mold.dismiss(departure, now)
