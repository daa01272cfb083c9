"""Our settings beside those of the installed Gunicorn, by their descriptions and by their values.

Both are asked in processes of their own (`support/settings_runner.py`). Every difference stands in
`docs/contract/settings.py`, from which the page about it is made.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from contract.settings import DEFAULTS, GUNICORN, NOTES, VALUES, VARIABLES
from monoceros.config import KNOWN_SETTINGS
from monoceros.config.not_yet import NOT_YET
from support import settings_runner
from support.settings_probes import ENVIRONMENTS, Probe, probes, shown

pytest.importorskip("gunicorn", reason="gunicorn is not installed")

#: Seconds; it takes two.
BOUND = 60


@lru_cache
def ask(package: str, of_gunicorns: bool = True) -> dict[str, Any]:
    """All answers of a package; without probes where they are not known yet."""
    wanted = list(asked_probes()) if of_gunicorns else []
    request = {"environments": ENVIRONMENTS if wanted else [], "probes": wanted}
    process = subprocess.run(
        [sys.executable, settings_runner.__file__, package],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    answers: dict[str, Any] = json.loads(process.stdout)
    return answers


@lru_cache
def asked_probes() -> tuple[Probe, ...]:
    return tuple(probes(theirs()))


def theirs() -> dict[str, Any]:
    """Gunicorn's settings."""
    settings: dict[str, Any] = ask("gunicorn", of_gunicorns=False)["settings"]
    return settings


def ours() -> dict[str, Any]:
    """Ours, without those that Gunicorn has not got."""
    settings: dict[str, Any] = ask("monoceros", of_gunicorns=False)["settings"]
    return {name: each for name, each in settings.items() if name in GUNICORN}


def test_it_is_the_real_gunicorn() -> None:
    assert Path(ask("gunicorn", of_gunicorns=False)["origin"]).match("site-packages/gunicorn/*.py")


def test_the_table_has_all_of_gunicorns_names() -> None:
    assert set(theirs()) == set(GUNICORN), "the installed Gunicorn has other settings"
    assert len(GUNICORN) == len(set(GUNICORN))


def test_every_name_is_known_here() -> None:
    assert set(GUNICORN) == set(ours()) | set(NOT_YET)
    assert not {known.name for known in KNOWN_SETTINGS} & set(NOT_YET)


@pytest.mark.parametrize("name", GUNICORN)
def test_a_setting_is_described_alike(name: str) -> None:
    other, mine = theirs()[name], ours().get(name)
    if mine is None:
        check_not_yet(name, other)
        return
    for key in ("section", "cli", "action", "nargs", "const", "type"):
        assert mine[key] == other[key], key
    if other["meta"] is not None and other["cli"]:
        assert mine["meta"] == other["meta"]
    if other["arity"]:
        assert mine["arity"] == other["arity"]
    elif name in DEFAULTS:
        assert mine["default"] == DEFAULTS[name].value != other["default"]
    else:
        assert mine["default"] == other["default"]


def check_not_yet(name: str, other: dict[str, Any]) -> None:
    entry = NOT_YET[name]
    assert list(entry.cli) == other["cli"]
    assert entry.boolean == (other["action"] == "store_true")
    assert entry.appended == (other["action"] == "append")
    assert entry.hook == bool(other["arity"])
    if not entry.hook:
        assert entry.asks_for_nothing(other["default"])
        assert entry.default in (None, other["default"])


def answers() -> Iterator[tuple[Probe, list[Any], list[Any]]]:
    return zip(asked_probes(), ask("gunicorn")["probes"], ask("monoceros")["probes"], strict=True)


def listed() -> set[tuple[str, str]]:
    return {(name, value) for each in VALUES for name in each.settings for value in each.values}


def test_values_are_taken_alike() -> None:
    unlisted = [
        f"{probe[0]}: {probe[1]} {shown(probe)}: Gunicorn {other}, here {mine}"
        for probe, other, mine in answers()
        if other != mine
        and mine != [settings_runner.NOT_YET]
        and (probe[0], shown(probe)) not in listed()
    ]
    assert not unlisted, "\n".join(unlisted)


def test_every_listed_difference_is_one() -> None:
    differing = {(probe[0], shown(probe)) for probe, other, mine in answers() if other != mine}
    assert not sorted(listed() - differing - {(n, v) for n, v in listed() if n in NOT_YET})


def test_the_probes_reach_every_setting_that_takes_a_value() -> None:
    accepted = {probe[0] for probe, other, _ in answers() if other[0] == settings_runner.ACCEPTED}
    refused = {probe[0] for probe, other, _ in answers() if other[0] == settings_runner.REFUSED}
    assert accepted == set(GUNICORN)
    # Gunicorn takes anything for this one.
    assert refused == set(GUNICORN) - {"ssl_version"}


@pytest.mark.parametrize("index", range(len(ENVIRONMENTS)))
def test_variables_set_defaults_alike(index: int) -> None:
    other, mine = (ask(each)["environments"][index] for each in ("gunicorn", "monoceros"))
    [(name, value)] = ENVIRONMENTS[index][0].items()
    if any((each.name, each.value) == (name, value) for each in VARIABLES):
        assert mine != other
    else:
        assert mine == other


def test_listed_variables_are_tried() -> None:
    tried = [next(iter(variables.items())) for variables, _ in ENVIRONMENTS]
    assert {(each.name, each.value) for each in VARIABLES} <= set(tried)


def test_notes_and_defaults_are_of_gunicorns_settings() -> None:
    assert set(NOTES) | set(DEFAULTS) <= set(GUNICORN)
