"""All kinds of clients for a long time: nothing grows, nothing is said, nothing goes wrong."""

import os
import statistics
import time
from collections.abc import Callable

import psutil
import pytest

from support.mixed import ASGI_SCENES, SCENES, Mixed, Scene
from support.serving import Serve
from support.waiting import wait_for

MIB = 1024 * 1024

#: How long `make soak` runs, and the form in `make test`, seconds.
LONG = float(os.environ.get("SECONDS", "600"))
SHORT = 20.0

#: Memory settles in this share of the time, in a minute at most.
WARMING = 0.4
WARMING_MOST = 60.0

#: What each worker's resident memory may differ by afterwards, from the beginning to the end.
GROWTH_BOUND = 2 * MIB


def resident(pid: int) -> int:
    """Resident memory of a process, bytes."""
    return int(psutil.Process(pid).memory_info().rss)


#: What is served, by name: the options and the app; and what its clients do.
KINDS: dict[str, tuple[tuple[str, ...], dict[str, Scene]]] = {
    "sync": (("--threads", "1", "probes:app"), SCENES),
    "threads": (("--threads", "4", "probes:app"), SCENES),
    "asyncio": (("--asgi-loop", "asyncio", "asgi_mixed:app"), ASGI_SCENES),
    "uvloop": (("--asgi-loop", "uvloop", "asgi_mixed:app"), ASGI_SCENES),
}


def long(kind: str) -> object:
    """A part of `make soak`."""
    share = LONG / len(KINDS)
    marks = [pytest.mark.soak, pytest.mark.timeout(LONG + 120)]
    return pytest.param(share, kind, id=kind, marks=marks)


@pytest.mark.alone
@pytest.mark.parametrize(
    ("seconds", "kind"),
    [
        pytest.param(SHORT, "sync", id="short"),
        pytest.param(SHORT, "uvloop", id="short-asgi"),
        *map(long, KINDS),
    ],
)
def test_nothing_grows(
    serve: Serve, figures: Callable[[str], None], seconds: float, kind: str
) -> None:
    (*options, app), scenes = KINDS[kind]
    server = serve(app, *options, workers=2)
    pids = server.wait_ready()
    before = server.descriptor_counts()
    samples: list[tuple[float, dict[int, int]]] = []
    started = time.monotonic()
    with Mixed(server.address, scenes=scenes) as mixed:

        def over() -> bool:
            """Takes a sample about every half second."""
            now = time.monotonic() - started
            if not samples or now - samples[-1][0] >= 0.5:
                samples.append((now, {pid: resident(pid) for pid in pids}))
            return now >= seconds

        wait_for(over, seconds + 30, "the time to be over")
    warm = min(seconds * WARMING, WARMING_MOST)
    kept = [memory for moment, memory in samples if moment >= warm]
    quarter = max(len(kept) // 4, 1)
    figures(f"load for {seconds:g} s, {kind}: {sum(mixed.played.values())} scenes")
    figures("  " + ", ".join(f"{name} {count}" for name, count in sorted(mixed.played.items())))
    growth = {}
    for pid in pids:
        first = statistics.median(memory[pid] for memory in kept[:quarter])
        last = statistics.median(memory[pid] for memory in kept[-quarter:])
        highest = max(memory[pid] for _, memory in samples)
        growth[pid] = last - first
        figures(
            f"  worker {pid}: {first / MIB:.2f} MiB after {warm:.0f} s, {last / MIB:.2f} MiB at "
            f"the end, {highest / MIB:.2f} MiB at most"
        )
    assert not mixed.faults, f"{len(mixed.faults)} faults, first: {mixed.faults[:5]}"
    assert set(mixed.played) == set(scenes)
    assert server.workers() == pids
    assert max(growth.values()) <= GROWTH_BOUND, growth

    def closed() -> bool:
        now = server.descriptor_counts()
        return all(now[pid] <= before[pid] for pid in pids)

    wait_for(closed, 20.0, f"descriptors to be closed: {before} -> {server.descriptor_counts()}")
    assert not server.records("WARNING", "ERROR", "CRITICAL", "RAW")
