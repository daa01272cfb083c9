"""The pages in `docs` say what the code says, and what they refer to exists."""

import ast
from functools import lru_cache
from pathlib import Path

import pytest

import generate
from contract.flaws import FLAWS, Flaw
from contract.names import GROUPS
from support.server import TESTS

#: Weak spots whose tests come with what is being built elsewhere.
AWAITED: frozenset[int] = frozenset({15, 16, 30, 31, 32, 33, 34, 47, 49, 53, 56, 63})


def test_no_page_is_stale() -> None:
    assert [str(path) for path in generate.stale()] == [], "run `make docs`"


@pytest.mark.parametrize("flaw", FLAWS, ids=lambda flaw: str(flaw.number))
def test_each_weak_spot_has_its_tests(flaw: Flaw) -> None:
    assert flaw.tests
    missing = [test for test in flaw.tests if not exists(test)]
    if flaw.number not in AWAITED:
        assert not missing


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
    assert {flaw.number for flaw in FLAWS} >= AWAITED


def test_a_name_has_one_row() -> None:
    for group in GROUPS:
        names = [row.names for row in group.rows]
        assert len(names) == len(set(names)), group.title


def test_a_row_that_is_not_the_same_says_how() -> None:
    for group in GROUPS:
        for row in group.rows:
            assert row.text or row.verdict.value == "same", row.names
