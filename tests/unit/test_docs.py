"""The pages in `docs` say what the code says, and what they refer to exists."""

import ast
from functools import lru_cache
from pathlib import Path

import pytest

import generate
from contract.flaws import FLAWS, Flaw
from contract.names import GROUPS, HOOKS, SIGNALS
from monoceros.config import KNOWN_SETTINGS
from monoceros.config.not_yet import NOT_YET
from support.server import TESTS

#: Signals that an operator sends to the master.
HANDLED = ("TERM", "INT", "QUIT", "HUP", "TTIN", "TTOU", "USR1", "USR2", "WINCH")


def test_no_page_is_stale() -> None:
    assert [str(path) for path in generate.stale()] == [], "run `make docs`"


@pytest.mark.parametrize("flaw", FLAWS, ids=lambda flaw: str(flaw.number))
def test_each_weak_spot_has_its_tests(flaw: Flaw) -> None:
    assert flaw.tests
    assert [test for test in flaw.tests if not exists(test)] == []


def exists(test: str) -> bool:
    """Whether PATH::NAME or PATH::CLASS::NAME is a test."""
    path, _, name = test.partition("::")
    return (TESTS / path).exists() and name in names_in(TESTS / path)


@lru_cache
def names_in(path: Path) -> frozenset[str]:
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            members = (each for each in node.body if isinstance(each, ast.FunctionDef))
            found |= {f"{node.name}::{member.name}" for member in members}
    return frozenset(found)


def test_weak_spots_are_all_there() -> None:
    assert [flaw.number for flaw in FLAWS] == list(range(1, 64))


def test_every_hook_has_a_row() -> None:
    hooks = {known.name for known in KNOWN_SETTINGS if "Hooks" in known.section}
    hooks |= {entry.name for entry in NOT_YET.values() if entry.hook}
    told = " ".join(row.names for row in HOOKS.rows)
    assert [
        name for name in sorted(hooks) if f"`{name}(" not in told and f"`{name}`" not in told
    ] == []


def test_every_signal_of_the_master_has_a_row() -> None:
    told = " ".join(row.names for row in SIGNALS.rows)
    assert [name for name in HANDLED if name not in told] == []


def test_a_name_has_one_row() -> None:
    for group in GROUPS:
        names = [row.names for row in group.rows]
        assert len(names) == len(set(names)), group.title


def test_a_row_that_is_not_the_same_says_how() -> None:
    for group in GROUPS:
        for row in group.rows:
            assert row.text or row.verdict.value == "same", row.names
