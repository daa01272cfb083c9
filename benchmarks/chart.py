"""The chart: a panel for each case, a bar for each server, as SVG."""

from html import escape

from cases import CASES, Case
from peers import PEERS
from results import Results

WIDTH = 760
LABEL = 190
BAR = 18
GAP = 6
PANEL_HEAD = 34
PANEL_FOOT = 18
HEADER = 74
#: Room to the right of the longest bar for its number.
NUMBER = 90

#: A bar longer than this many times the cheapest one is cut, and torn at its end: Gunicorn's
#: would leave no room to tell the others apart.
LONGEST = 6.0

STYLE = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #2b2b2b; }
  .title { font-size: 17px; font-weight: 600; }
  .case { font-weight: 600; }
  .note { fill: #767676; font-size: 12px; }
  .bar { fill: #b9c2cc; }
  .ours { fill: #2f6f5e; }
  .nginx { fill: #dcdcdc; }
  .tear { stroke: #ffffff; stroke-width: 3; fill: none; }
  .back { fill: #ffffff; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6e6e6; }
    .note { fill: #9a9a9a; }
    .bar { fill: #56616c; }
    .ours { fill: #63b39b; }
    .nginx { fill: #3c4248; }
    .tear { stroke: #16191c; }
    .back { fill: #16191c; }
  }
"""


def bars(results: Results, case: Case) -> list[tuple[str, str, float]]:
    """Label, class and microseconds of each bar, the cheapest first."""
    found = []
    for peer in PEERS:
        median = results.median(case.name, peer.name)
        if median is None or peer.alternative or peer.name == "monoceros-access-log":
            continue
        kind = "ours" if peer.name in case.group.ours else "nginx" if not peer.python else "bar"
        found.append((peer.name, kind, median))
    return sorted(found, key=lambda bar: bar[2])


def svg(results: Results) -> str:
    """The chart of a run."""
    parts: list[str] = []
    top = HEADER
    for case in CASES:
        panel = bars(results, case)
        if not panel:
            continue
        parts.append(
            f'<text class="case" x="20" y="{top + 20}">'
            f"{case.group.title}: {escape(case.title)}</text>"
        )
        top += PANEL_HEAD
        limit = min(panel[-1][2], panel[0][2] * LONGEST)
        for label, kind, value in panel:
            length = min(value, limit) / limit * (WIDTH - LABEL - NUMBER)
            middle = top + BAR / 2
            parts.append(
                f'<text x="{LABEL - 10}" y="{middle + 4.5}" text-anchor="end">'
                f"{escape(label)}</text>"
                f'<rect class="{kind}" x="{LABEL}" y="{top}" width="{length:.1f}"'
                f' height="{BAR}" rx="2"/>'
            )
            if value > limit:
                x = LABEL + length - 26
                parts.append(f'<path class="tear" d="M{x:.1f} {top - 1} l5 5 l-5 5 l5 5 l-5 5"/>')
            parts.append(
                f'<text x="{LABEL + length + 8:.1f}" y="{middle + 4.5}">{value:,.1f}</text>'
            )
            top += BAR + GAP
        top += PANEL_FOOT
    machine = results.machine
    note = f"{machine['processor']}, Python {machine['python']}, {results.date[:10]}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}"'
            f' viewBox="0 0 {WIDTH} {top}" role="img"'
            ' aria-label="CPU microseconds per request or message of Python servers">',
            f"<style>{STYLE}</style>",
            f'<rect class="back" width="{WIDTH}" height="{top}"/>',
            '<text class="title" x="20" y="32">CPU per request or message, one worker on one core'
            "</text>",
            '<text class="note" x="20" y="54">Microseconds of user and system time; shorter is'
            f" better. {escape(note)}</text>",
            *parts,
            "</svg>",
            "",
        ]
    )
