"""Reading a server's error log as records.

A record of level WARNING and above owns the lines that follow it without a prefix (tracebacks,
stacks). A line without a prefix anywhere else is a record of its own, of level RAW: somebody wrote
past the log.
"""

import re
from dataclasses import dataclass, field

_PREFIX = re.compile(
    r"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] \[(?P<pid>\d+)\] \[(?P<level>[A-Z]+)\] "
    r"(?P<text>.*)$"
)
QUIET_LEVELS = frozenset({"DEBUG", "INFO"})
RAW = "RAW"


@dataclass
class Record:
    """One entry of the log."""

    level: str
    pid: int
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The message with the lines that belong to it."""
        return "\n".join(self.lines)


def parse(text: str) -> list[Record]:
    """All records of a log, in order."""
    records: list[Record] = []
    for line in text.splitlines():
        match = _PREFIX.match(line)
        if match:
            records.append(Record(match["level"], int(match["pid"]), [match["text"]]))
        elif records and records[-1].level not in QUIET_LEVELS:
            records[-1].lines.append(line)
        elif line.strip():
            records.append(Record(RAW, 0, [line]))
    return records


@dataclass
class Expectation:
    """A log record of level WARNING and above that a test foresees."""

    pattern: re.Pattern[str]
    required: bool
    seen: int = 0


class Expectations:
    """What a test has declared about the log, and what remains to be said about it."""

    def __init__(self) -> None:
        self._declared: list[Expectation] = []

    def declare(self, pattern: str, required: bool) -> None:
        """Foresee records that `pattern` is found in (over several lines, `.` matches all)."""
        self._declared.append(Expectation(re.compile(pattern, re.DOTALL), required))

    def complaints(self, text: str) -> list[str]:
        """Records that nobody foresaw, and required ones that did not come."""
        for expectation in self._declared:
            expectation.seen = 0
        found = []
        for record in parse(text):
            if record.level in QUIET_LEVELS:
                continue
            hits = [each for each in self._declared if each.pattern.search(record.text)]
            for each in hits:
                each.seen += 1
            if not hits:
                found.append(f"unexpected log record [{record.level}] {record.text}")
        found.extend(
            f"no log record matches {each.pattern.pattern!r}"
            for each in self._declared
            if each.required and not each.seen
        )
        return found
