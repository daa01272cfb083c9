"""What Monoceros must reach, as ratios and bounds, and whether a run reached it."""

from dataclasses import dataclass

from cases import CASES
from peers import RIVALS, named
from results import Results

US = "monoceros"

#: A p99 counts as unchanged within this ratio, or within this many milliseconds: below that,
#: two runs without any change differ as much.
UNCHANGED_RATIO = 1.25
UNCHANGED_MS = 0.5


@dataclass(frozen=True)
class Target:
    """`value` is None when the run lacks what it needs. `figure` and `bound` are for people."""

    title: str
    figure: str
    bound: str
    reached: bool | None

    @property
    def verdict(self) -> str:
        return {True: "ok", False: "short", None: "not measured"}[self.reached]


def best_rival(results: Results, case: str) -> str | None:
    """The rival with the lowest median in a case."""
    medians = {name: results.median(case, name) for name in RIVALS}
    measured = {name: value for name, value in medians.items() if value is not None}
    return min(measured, key=measured.__getitem__) if measured else None


def at_most(title: str, ratio: float | None, bound: float) -> Target:
    reached = None if ratio is None else ratio <= bound
    return Target(title, show(ratio), f"<= {bound:.2f}", reached)


def at_least(title: str, ratio: float | None, bound: float) -> Target:
    reached = None if ratio is None else ratio >= bound
    return Target(title, show(ratio), f">= {bound:.2f}", reached)


def show(ratio: float | None, unit: str = "") -> str:
    return "-" if ratio is None else f"{ratio:.2f}{unit}"


def targets(results: Results) -> list[Target]:
    """Every target, in the order in which they are told."""
    found = []
    for case in CASES:
        rival = best_rival(results, case.name)
        ratio = None if rival is None else results.ratio(case.name, US, rival)
        against = "" if rival is None else f" ({named(rival).name})"
        title = f"CPU per request, {case.name}: ours / the best peer's{against}"
        found.append(at_most(title, ratio, 1.0))
    found += [
        at_most("plain: ours / nginx's", results.ratio("plain", US, "nginx"), 1.25),
        at_most(
            "plain: ours with 4 threads / with 1",
            results.ratio("plain", "monoceros-threads", US),
            1.15,
        ),
        at_least("plain: Gunicorn's sync / ours", results.ratio("plain", "gunicorn-sync", US), 8.0),
        at_least(
            "plain: Gunicorn's gthread / ours",
            results.ratio("plain", "gunicorn-gthread", US),
            8.0,
        ),
        at_most(
            "plain: ours with an access log / without",
            results.ratio("plain", "monoceros-access-log", US),
            1.10,
        ),
        at_least(
            "sleeping 20 ms, 8 threads: requests/s / the ideal 400",
            results.figure("sleeper", US, "share"),
            0.95,
        ),
    ]
    p99 = results.figure("tail", US, "p99_ms")
    failed = results.figure("tail", US, "failed")
    found.append(
        Target(
            "1 in 100 sleeps 500 ms, 8 threads: p99 of the others",
            show(p99, " ms"),
            "< 10 ms",
            None if p99 is None else p99 < 10 and failed == 0,
        )
    )
    mib = results.figure("idle", US, "mib")
    found.append(
        Target(
            "10,000 idle connections: memory",
            show(mib, " MiB"),
            "< 32 MiB",
            None if mib is None else mib < 32,
        )
    )
    without = results.figure("idle", US, "p99_before_ms")
    beside = results.figure("idle", US, "p99_beside_ms")
    ratio = beside / without if without and beside else None
    unchanged = (
        None
        if without is None or beside is None
        else beside <= max(without * UNCHANGED_RATIO, without + UNCHANGED_MS)
    )
    found.append(
        Target("10,000 idle connections: p99 with / without", show(ratio), "unchanged", unchanged)
    )
    worst = results.figure("reload", US, "worst_ms")
    lost = results.figure("reload", US, "failed")
    found.append(
        Target(
            "HUP, an import of 1 s: worst latency, none lost",
            show(worst, " ms") if not lost else f"{lost:.0f} lost",
            "< 100 ms",
            None if worst is None else worst < 100 and not lost,
        )
    )
    return found
