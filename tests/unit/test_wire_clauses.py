"""The table of clauses beside the wire cases: complete both ways."""

import re

from support.server import TESTS
from support.wire import cases

ROW = re.compile(
    r"^\| (?P<clause>\d{4}, [^|]+) \| (?P<rule>[^|]+) \|(?P<verdict>[^|]*)\|(?P<cases>[^|]*)\|$"
)


def rows() -> list[re.Match[str]]:
    lines = (TESTS / "wire" / "CLAUSES.md").read_text().splitlines()
    tables = [line for line in lines if line.startswith("|")]
    found = [match for line in tables if (match := ROW.match(line))]
    heads = sum(line.startswith(("| Clause |", "|---|")) for line in tables)
    assert len(found) + heads == len(tables), "a row of CLAUSES.md cannot be read"
    return found


def named(row: re.Match[str]) -> list[str]:
    return re.findall(r"`([^`]+)`", row["cases"])


def test_every_clause_names_cases_and_every_case_has_a_clause() -> None:
    table = rows()
    assert len(table) > 50
    for row in table:
        assert named(row), f"{row['clause']}: no case"
    listed = [name for row in table for name in named(row)]
    existing = [case.name for kind in ("valid", "invalid") for case in cases(kind)]
    assert len(existing) == len(set(existing)), "a name stands in both folders"
    assert sorted(listed) == sorted(existing)


def test_a_status_in_the_table_is_that_of_its_cases() -> None:
    """A row that says 400 has only refusals with 400 and messages that are in order."""
    statuses = {case.name: case.status for case in cases("invalid")}
    for row in rows():
        expected = set(re.findall(r"\d{3}", row["verdict"]))
        seen = {str(statuses[name]) for name in named(row) if name in statuses}
        assert seen <= expected, (row["clause"], row["rule"], seen)
        assert seen or not expected, (row["clause"], "no case is refused with", expected)


def test_every_status_that_a_parser_can_give_is_there() -> None:
    statuses = {case.status for case in cases("invalid")}
    assert statuses >= {400, 413, 414, 417, 431, 501, 505}
