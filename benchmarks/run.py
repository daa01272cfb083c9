#!/usr/bin/env python3
"""Measure Monoceros beside its peers: `make bench`, or run.py --help.

Installs the peers into benchmarks/.venv, measures, prints the tables and the targets, and writes
raw results (JSON) and a chart (SVG) to benchmarks/results/. Exit status 0 unless a measurement
broke: to fall short of a target is a result. 1: something broke; 2: it could not begin.
"""

import argparse
import os
import shutil
import signal
import sys
from pathlib import Path

import chart
import environment
import measure
import report
import results
import scenarios
from cases import CASES, Case
from groups import GROUPS, Group
from measure import Setting
from peers import PEERS
from programs import FAMILIES, ROOT

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PUBLISHED = HERE / "published"

#: What a run can be narrowed to, besides servers.
PARTS: tuple[Group | Case | scenarios.Scenario, ...] = (*GROUPS, *CASES, *scenarios.SCENARIOS)

#: Rounds and seconds for a sample: a full run takes some 30 minutes, a quick one under eight.
FULL = (5, 2)
QUICK = (2, 1)

#: A load average above this before the start means that somebody else is working here.
QUIET = 0.7


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/run.py", description="Measure Monoceros beside its peers."
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--rounds", type=int, help="rounds, instead of 5 (quick: 2)")
    parser.add_argument("--seconds", type=int, help="whole seconds of load for each sample")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="a group (wsgi, asgi, websocket), a case, a scenario, a server or one of its settings;"
        " may be given several times",
    )
    parser.add_argument("--server-cpu", type=int, default=0, help="CPU of the servers")
    parser.add_argument("--client-cpu", type=int, default=1, help="CPU of the load")
    parser.add_argument("--list", action="store_true", help="list the names that --only takes")
    parser.add_argument(
        "--publish",
        "--readme",
        action="store_true",
        dest="publish",
        help="put the latest results into the README and benchmarks/published; measures nothing",
    )
    return parser.parse_args()


def main() -> int:
    """Run it."""
    chosen = arguments()
    if chosen.list:
        list_names()
        return 0
    if chosen.publish:
        return publish()
    problem = unusable(chosen)
    if problem:
        print(f"benchmarks: {problem}", file=sys.stderr)
        return 2
    # A TERM ends like Ctrl-C: the servers that run are stopped on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rounds, seconds = QUICK if chosen.quick else FULL
    setting = Setting(
        rounds=chosen.rounds or rounds,
        seconds=chosen.seconds or seconds,
        server_cpu=chosen.server_cpu,
        client_cpu=chosen.client_cpu,
        quick=chosen.quick,
    )
    try:
        found = run(setting, chosen.only)
    except KeyboardInterrupt:
        print("benchmarks: interrupted; the servers are stopped", file=sys.stderr)
        return 130
    print(report.text(found))
    written = write(found)
    print("\nWritten: " + ", ".join(str(path.relative_to(ROOT)) for path in written))
    return 1 if found.failures else 0


def unusable(chosen: argparse.Namespace) -> str | None:
    """What is wrong with the command line; None when nothing is."""
    known = {part.name for part in PARTS}
    known |= {peer.name for peer in PEERS} | set(FAMILIES)
    unknown = [name for name in chosen.only if name not in known]
    if unknown:
        return f"--only {unknown[0]}: no such group, case, scenario or server; --list shows them"
    for case in chosen_cases(chosen.only):
        missing = case.load.missing()
        if missing:
            return missing
    usable = os.sched_getaffinity(0)
    for cpu in (chosen.server_cpu, chosen.client_cpu):
        if cpu not in usable:
            return f"CPU {cpu} is not among {sorted(usable)}; see --server-cpu and --client-cpu"
    if chosen.server_cpu == chosen.client_cpu:
        return "the servers and the load need a CPU each"
    if any(number is not None and number < 1 for number in (chosen.rounds, chosen.seconds)):
        return "--rounds and --seconds are at least 1"
    return None


def chosen_cases(only: list[str]) -> list[Case]:
    """The cases that are asked for, by their names or their groups'; all when only servers are
    named, or nothing."""
    if not asks_for_part(only):
        return list(CASES)
    return [case for case in CASES if case.name in only or case.group.name in only]


def chosen_scenarios(only: list[str]) -> list[scenarios.Scenario]:
    """The same for scenarios."""
    if not asks_for_part(only):
        return list(scenarios.SCENARIOS)
    return [
        entry for entry in scenarios.SCENARIOS if entry.name in only or entry.group.name in only
    ]


def asks_for_part(only: list[str]) -> bool:
    """Whether any of these names a group, a case or a scenario."""
    return any(part.name in only for part in PARTS)


def run(setting: Setting, only: list[str]) -> results.Results:
    """Install, measure and collect."""
    absent = environment.prepare()
    present = {}
    for name, family in FAMILIES.items():
        reason = family.missing()
        if reason is None:
            present[name] = family.version()
        elif not any(line.startswith(f"{name}:") for line in absent):
            absent.append(f"{name}: {reason}")
    for line in absent:
        print(f"Without {line}", flush=True)
    found = results.Results(
        date=results.now(),
        machine=results.describe_machine(),
        versions=present,
        setting=setting,
        absent=absent,
    )
    if os.getloadavg()[0] > QUIET:
        print(f"The load is {os.getloadavg()[0]:.2f}: others work here, figures will be rough.")
    os.sched_setaffinity(0, {setting.client_cpu})
    chosen_peers = [peer for peer in PEERS if peer.name in only or peer.family in only]
    peers = [peer for peer in chosen_peers or PEERS if peer.family in present]
    found.samples, found.failures = measure.measure(chosen_cases(only), peers, setting)
    found.rows = scenarios.run(chosen_scenarios(only), {peer.family for peer in peers}, setting)
    # A peer that cannot do something is a finding; we ourselves must be able to.
    found.failures += [
        f"{row.scenario}, {row.peer}: {row.problem}"
        for row in found.rows
        if row.problem and row.peer.startswith("monoceros")
    ]
    return found


def write(found: results.Results) -> list[Path]:
    """Keep results and chart under the date, and again as `latest`."""
    RESULTS.mkdir(exist_ok=True)
    stem = found.date[:19].replace(":", "").replace("T", "-")
    raw, picture = RESULTS / f"{stem}.json", RESULTS / f"{stem}.svg"
    found.save(raw)
    picture.write_text(chart.svg(found))
    (RESULTS / f"{stem}.txt").write_text(report.text(found) + "\n")
    for path in (raw, picture, RESULTS / f"{stem}.txt"):
        shutil.copyfile(path, RESULTS / f"latest{path.suffix}")
    return [raw, picture, RESULTS / f"{stem}.txt"]


def publish() -> int:
    """Put the latest results where readers look."""
    latest = RESULTS / "latest.json"
    if not latest.exists():
        print("benchmarks: there are no results yet; run make bench first", file=sys.stderr)
        return 2
    found = results.load(latest)
    if found.setting.quick or any(
        found.cheapest(case.name, case.group.ours) is None for case in CASES
    ):
        print(
            "benchmarks: the latest run was a quick or a partial one; run make bench first",
            file=sys.stderr,
        )
        return 2
    PUBLISHED.mkdir(exist_ok=True)
    found.save(PUBLISHED / "figures.json")
    (PUBLISHED / "figures.svg").write_text(chart.svg(found))
    (PUBLISHED / "figures.txt").write_text(report.text(found) + "\n")
    report.rewrite_readme(ROOT / "README.md", found)
    print("README.md and benchmarks/published hold the figures of", found.date)
    return 0


def list_names() -> None:
    """What --only takes."""
    for title, names in (
        ("groups", [f"{group.name}: cases and scenarios of {group.title}" for group in GROUPS]),
        ("cases", [f"{case.name}: {case.title}" for case in CASES]),
        ("scenarios", [f"{entry.name}: {entry.title}" for entry in scenarios.SCENARIOS]),
        ("servers", [f"{peer.name}: {peer.note.format(threads=4)}" for peer in PEERS]),
    ):
        print(title)
        print("\n".join(f"  {line}" for line in names))


if __name__ == "__main__":
    sys.exit(main())
