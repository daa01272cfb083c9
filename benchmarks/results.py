"""What a run found: kept as JSON, read back for reports."""

import dataclasses
import json
import os
import platform
import statistics
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from measure import Sample, Setting
from scenarios import Row


@dataclass
class Results:
    """A run. `absent` has a line for each peer that did not take part, `failures` one for each
    measurement that did not work."""

    date: str
    machine: dict[str, str]
    versions: dict[str, str]
    setting: Setting
    samples: list[Sample] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def values(self, case: str, peer: str, figure: str = "cpu_us") -> dict[int, float]:
        """A figure of a peer in a case, by round."""
        return {
            sample.round: getattr(sample, figure)
            for sample in self.samples
            if sample.case == case and sample.peer == peer
        }

    def median(self, case: str, peer: str, figure: str = "cpu_us") -> float | None:
        """The median over all rounds; None when there is no sample."""
        values = self.values(case, peer, figure)
        return statistics.median(values.values()) if values else None

    def cheapest(self, case: str, names: tuple[str, ...]) -> str | None:
        """Which of these has the lowest median in a case; None when none was measured."""
        medians = {name: self.median(case, name) for name in names}
        measured = {name: value for name, value in medians.items() if value is not None}
        return min(measured, key=measured.__getitem__) if measured else None

    def ratio(self, case: str, peer: str, base: str) -> float | None:
        """CPU per request of `peer` over that of `base`: the median of the rounds' ratios, each
        from two samples of one round, so that what drifted between rounds drops out."""
        ours, theirs = self.values(case, peer), self.values(case, base)
        ratios = [ours[number] / theirs[number] for number in ours if number in theirs]
        return statistics.median(ratios) if ratios else None

    def figure(self, scenario: str, peer: str, name: str) -> float | None:
        """A figure of a scenario; None where it was not measured."""
        for row in self.rows:
            if row.scenario == scenario and row.peer == peer:
                return row.figures.get(name)
        return None

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")


def load(path: Path) -> Results:
    """Read what `save` wrote."""
    raw: dict[str, Any] = json.loads(path.read_text())
    return Results(
        **raw
        | {
            "setting": Setting(**raw["setting"]),
            "samples": [Sample(**sample) for sample in raw["samples"]],
            "rows": [Row(**row) for row in raw["rows"]],
        }
    )


def describe_machine() -> dict[str, str]:
    """What the figures depend on."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "processor": f"{model}, {os.cpu_count()} CPUs",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": " ".join(f"{value:.2f}" for value in os.getloadavg()),
    }


def now() -> str:
    """The date and time of a run, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")
