"""CPU microseconds per request or message: every peer in turn, round after round.

A sample is one fresh server process on its own processor, warmed, then loaded for a few
seconds; its figure is the CPU time of the whole process tree over the requests answered. All
peers of a case take turns within a round, so that what drifts on the machine (clock, heat,
neighbours) meets all of them. A fresh process for each sample lets the accidents of one start
(where its memory lies, how dictionaries hash) average out instead of deciding.
"""

import sys
import time
from dataclasses import dataclass

import accounting
import client
import load
import server
from cases import LEADING, Case
from peers import named
from programs import Peer

#: Requests by which a server's caches and the interpreter's specialised code get warm.
WARM = 500
#: A sample during which others kept the server's processor busy for more than this share of the
#: time is marked: they evict its caches.
DISTURBED = 0.05
#: A sample that failed is taken again, so often; then the run goes on without it.
TRIES = 2


@dataclass(frozen=True)
class Sample:
    """One measurement. Shares are of the wall-clock time of the load; memory is in bytes."""

    case: str
    peer: str
    round: int
    cpu_us: float
    requests: int
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    server_busy: float
    client_busy: float
    others_busy: float
    memory: int

    @property
    def disturbed(self) -> bool:
        return self.others_busy > DISTURBED


@dataclass(frozen=True)
class Setting:
    """How a run is made."""

    rounds: int
    seconds: int
    server_cpu: int
    client_cpu: int
    quick: bool


def sample(case: Case, peer: Peer, number: int, setting: Setting) -> Sample:
    """Take one sample. Raises ServerFailed, LoadFailed, BadAnswer or OSError."""
    secure = case.load.secure
    with server.running(peer, case.app, setting.server_cpu, secure=secure) as running:
        case.load.warm(running.port, WARM)
        busy_before = accounting.processor_busy(setting.server_cpu)
        before = accounting.cpu(running.session)
        started = time.monotonic()
        outcome = case.load.apply(running.port, setting.seconds, setting.client_cpu)
        wall = time.monotonic() - started
        used = accounting.cpu(running.session).since(before)
        busy = accounting.processor_busy(setting.server_cpu) - busy_before
        return Sample(
            case=case.name,
            peer=peer.name,
            round=number,
            cpu_us=used / outcome.requests * 1e6,
            requests=outcome.requests,
            requests_per_second=outcome.requests / outcome.seconds,
            p50_ms=outcome.p50 * 1e3,
            p99_ms=outcome.p99 * 1e3,
            server_busy=used / wall,
            client_busy=outcome.client_cpu / wall,
            others_busy=max(0.0, busy - used) / wall,
            memory=accounting.memory(running.session),
        )


def measure(
    cases: list[Case], peers: list[Peer], setting: Setting
) -> tuple[list[Sample], list[str]]:
    """All samples of these cases and peers, and a line for each that failed every try."""
    samples: list[Sample] = []
    failures: list[str] = []
    given_up: set[tuple[str, str]] = set()
    names = {peer.name for peer in peers}
    for number in range(1, setting.rounds + 1):
        for case in cases:
            turn = [named(name) for name in case.peers if name in names]
            if setting.quick and case.name not in LEADING:
                turn = [peer for peer in turn if peer.decisive]
            # Every round begins with another peer, so that nobody always follows the same one.
            shift = (number - 1) * 3 % max(1, len(turn))
            for peer in turn[shift:] + turn[:shift]:
                if (case.name, peer.name) in given_up:
                    continue
                progress(f"round {number}/{setting.rounds}  {case.name:<19} {peer.name}")
                for attempt in range(1, TRIES + 1):
                    try:
                        samples.append(sample(case, peer, number, setting))
                        break
                    except (
                        server.ServerFailed,
                        load.LoadFailed,
                        client.BadAnswer,
                        OSError,
                    ) as error:
                        if attempt == TRIES:
                            failures.append(f"{case.name}, {peer.name}, round {number}: {error}")
                            given_up.add((case.name, peer.name))
    progress("")
    return samples, failures


def progress(text: str) -> None:
    """One line on a terminal that the next overwrites; nothing elsewhere."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
