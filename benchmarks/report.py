"""A run's figures as text for the terminal and as Markdown for the README."""

from pathlib import Path

from cases import CASES, Case
from groups import GROUPS, Group
from measure import DISTURBED
from peers import PEERS, named
from results import Results
from scenarios import SCENARIOS, Scenario
from targets import targets

BEGIN = "<!-- figures: begin -->"
END = "<!-- figures: end -->"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Columns as wide as needed; the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]

    def line(row: list[str]) -> str:
        first, *others = (
            text.ljust(width) if column == 0 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  " + "  ".join([first, *others]).rstrip()

    return "\n".join([line(head), *map(line, rows)])


def number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def case_table(results: Results, case: Case) -> str | None:
    """A case: a line for each peer, the cheapest first; None when nothing was measured."""
    rows = []
    ours = results.cheapest(case.name, case.group.ours) or case.group.ours[0]
    for name in case.peers:
        median = results.median(case.name, name)
        if median is None:
            continue
        values = results.values(case.name, name).values()
        ratio = 1.0 if name == ours else results.ratio(case.name, name, ours)
        memory = results.median(case.name, name, "memory")
        row = [
            f"{name} ({named(name).note.format(threads=4)})",
            number(median),
            f"{min(values):,.1f}-{max(values):,.1f}",
            number(ratio, 2),
            number(results.median(case.name, name, "requests_per_second"), 0),
            number(results.median(case.name, name, "p99_ms"), 2),
            number((results.median(case.name, name, "server_busy") or 0) * 100, 0) + "%",
            number((memory or 0) / 2**20, 1),
        ]
        rows.append((median, row))
    if not rows:
        return None
    head = ["", "CPU us", "range", "x ours", f"{case.group.unit}s/s", "p99 ms", "busy", "MiB"]
    title = f"{case.name}: {case.title}"
    return f"{title}\n{table(head, [row for _, row in sorted(rows)])}"


def scenario_table(results: Results, scenario: Scenario) -> str | None:
    """A scenario: a line for each server; None when nothing was measured."""
    measured = [row for row in results.rows if row.scenario == scenario.name]
    if not measured:
        return None
    good = [
        [row.peer, *(number(row.figures.get(name), 2) for name in scenario.units)]
        for row in measured
        if row.problem is None
    ]
    lines = [f"{scenario.name}: {scenario.title}"]
    if good:
        lines.append(table(["", *scenario.units.values()], good))
    lines += [f"  {row.peer}: {row.problem}" for row in measured if row.problem is not None]
    return "\n".join(lines)


def target_table(results: Results) -> str:
    """Every target with its verdict, and the names of those that fall short."""
    all_targets = targets(results)
    rows = [[goal.title, goal.figure, goal.bound, goal.verdict] for goal in all_targets]
    lines = ["What Monoceros must reach", table(["", "measured", "must be", ""], rows), ""]
    short = [goal.title for goal in all_targets if goal.reached is False]
    unknown = sum(goal.reached is None for goal in all_targets)
    if short:
        lines.append(f"Short: {len(short)} of {len(all_targets)}:")
        lines += [f"  - {title}" for title in short]
    elif unknown < len(all_targets):
        lines.append("None of the measured falls short.")
    if unknown:
        lines.append(f"Not measured: {unknown} of {len(all_targets)}.")
    return "\n".join(lines)


def text(results: Results) -> str:
    """The whole report."""
    setting = results.setting
    parts = [
        f"{results.date}  {results.machine['processor']}, Linux {results.machine['kernel']},"
        f" Python {results.machine['python']}\n"
        + ", ".join(f"{name} {version}" for name, version in results.versions.items())
        + f"\n{setting.rounds} rounds of {setting.seconds} s; server on CPU {setting.server_cpu},"
        f" the load on CPU {setting.client_cpu}.\n"
        "CPU us: user and system time of the server's whole process tree for one request or\n"
        "message, median over the rounds. x ours: median of the rounds' ratios, over the cheapest\n"
        "of our settings. busy: of its CPU."
    ]
    parts += [part for case in CASES if (part := case_table(results, case))]
    parts += [part for scenario in SCENARIOS if (part := scenario_table(results, scenario))]
    parts.append(target_table(results))
    disturbed = sum(sample.disturbed for sample in results.samples)
    if disturbed:
        parts.append(
            f"{disturbed} of {len(results.samples)} samples were disturbed: something else kept"
            f" the server's CPU busy for more than {DISTURBED:.0%} of the time.\n"
            "Run it again on a quiet machine before you believe small differences."
        )
    if results.absent:
        parts.append("Did not take part:\n" + "\n".join(f"  {line}" for line in results.absent))
    if results.failures:
        parts.append("FAILED:\n" + "\n".join(f"  {line}" for line in results.failures))
    return "\n\n".join(parts)


#: The tables of the README: a group's cases, and what their columns are called there.
COLUMNS = {
    "wsgi": {
        "plain": "plain",
        "browser": "a browser's headers",
        "post": "POST of 10 KB",
        "large": "100 KB answer",
        "connection": "connection per request",
    },
    "asgi": {
        "asgi-plain": "plain",
        "asgi-browser": "a browser's headers",
        "asgi-post": "POST of 10 KB",
        "asgi-large": "100 KB answer",
        "asgi-connection": "connection per request",
        "asgi-starlette": "Starlette, JSON",
        "asgi-fastapi": "FastAPI, JSON",
    },
    "websocket": {
        "echo-small": "125 bytes",
        "echo-large": "64 KiB",
        "echo-small-deflate": "125 bytes, deflated",
        "echo-large-deflate": "64 KiB, deflated",
    },
}


def markdown_table(results: Results, group: Group) -> list[str]:
    """A row for each server, a column for each case."""
    columns = COLUMNS[group.name]
    lines = [
        f"| {group.title}: CPU µs per {group.unit} | " + " | ".join(columns.values()) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for peer in PEERS:
        medians = [results.median(case, peer.name) for case in columns]
        if peer.alternative or all(value is None for value in medians):
            continue
        name = f"{peer.family} ({peer.note.format(threads=4)})"
        if peer.name in group.ours:
            name = f"**{name}**"
        cells = [number(value) if value is not None else "" for value in medians]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def markdown(results: Results) -> str:
    """The README's tables, and the chart."""
    lines: list[str] = []
    for group in GROUPS:
        lines += [*markdown_table(results, group), ""]
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    lines += [
        f"Medians of {results.setting.rounds} rounds on {results.machine['processor']},"
        f" Linux {results.machine['kernel']}, Python {results.machine['python']},"
        f" {results.date[:10]}: {versions}.",
        "",
        "![The same figures as bars](benchmarks/published/figures.svg)",
    ]
    return "\n".join(lines)


def rewrite_readme(readme: Path, results: Results) -> None:
    """Put the figures between the README's marks. Raises ValueError when it has none."""
    content = readme.read_text()
    before, begin, rest = content.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{readme} has no block from {BEGIN} to {END}")
    readme.write_text(f"{before}{BEGIN}\n{markdown(results)}\n{END}{after}")
