"""What Monoceros must reach, as ratios and bounds, and whether a run reached it."""

from dataclasses import dataclass

from cases import CASES, Case
from groups import ASGI, WEBSOCKET, WSGI, Group
from results import Results
from scenarios import SCENARIOS

#: Our setting in the scenarios with WSGI, and in the figures that compare settings of ours.
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


def at_most(title: str, ratio: float | None, bound: float) -> Target:
    reached = None if ratio is None else ratio <= bound
    return Target(title, show(ratio), f"<= {bound:.2f}", reached)


def at_least(title: str, ratio: float | None, bound: float) -> Target:
    reached = None if ratio is None else ratio >= bound
    return Target(title, show(ratio), f">= {bound:.2f}", reached)


def show(ratio: float | None, unit: str = "") -> str:
    return "-" if ratio is None else f"{ratio:.2f}{unit}"


def of_case(results: Results, case: Case) -> Target:
    """The cheapest of our settings over the cheapest rival."""
    ours = results.cheapest(case.name, case.group.ours)
    rival = results.cheapest(case.name, case.rivals)
    ratio = None if ours is None or rival is None else results.ratio(case.name, ours, rival)
    against = "" if rival is None else f" ({rival})"
    which = f" ({ours})" if ours is not None and len(case.group.ours) > 1 else ""
    if case.group is WEBSOCKET:
        title = f"Messages per CPU second, {case.name}: ours{which} / the best peer's{against}"
        return at_least(title, None if ratio is None else 1 / ratio, 1 / case.bound)
    best = "uvicorn's" if case.own_rivals else f"the best peer's{against}"
    title = f"CPU per request, {case.name}: ours{which} / {best}"
    return at_most(title, ratio, case.bound)


def targets(results: Results) -> list[Target]:
    """Every target of the groups that the run has something of, in the order in which they are
    told."""
    measured = {sample.case for sample in results.samples}
    begun = {row.scenario for row in results.rows}
    groups: dict[Group, list[Target]] = {WSGI: of_wsgi(results), ASGI: [], WEBSOCKET: []}
    groups[WEBSOCKET].append(of_idle_websockets(results))
    found = []
    for group, further in groups.items():
        cases = [case for case in CASES if case.group is group]
        names = {case.name for case in cases} | {
            entry.name for entry in SCENARIOS if entry.group is group
        }
        if names & (measured | begun):
            found += [*(of_case(results, case) for case in cases), *further]
    return found


def of_idle_websockets(results: Results) -> Target:
    """The memory of idle WebSockets, with the setting of ours that has least."""
    figures = {name: results.figure("idle-websockets", name, "mib") for name in WEBSOCKET.ours}
    known = {name: value for name, value in figures.items() if value is not None}
    least = min(known, key=known.__getitem__) if known else None
    return Target(
        f"5,000 idle WebSockets: memory{f' ({least})' if least else ''}",
        show(known[least], " MiB") if least else "-",
        "< 24 MiB",
        known[least] < 24 if least else None,
    )


def of_wsgi(results: Results) -> list[Target]:
    """What WSGI has to reach besides its cases."""
    found = [
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
