"""The variables of raw_env."""

import os

import pytest

from monoceros.arbiter.environment import EnvironmentOverlay


def test_what_was_covered_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "before")
    monkeypatch.delenv("NEW", raising=False)
    overlay = EnvironmentOverlay()
    overlay.apply({"KEPT": "over", "NEW": "1"})
    assert (os.environ["KEPT"], os.environ["NEW"]) == ("over", "1")
    overlay.apply({"NEW": "2"})
    assert (os.environ["KEPT"], os.environ["NEW"]) == ("before", "2")
    overlay.restore()
    assert "NEW" not in os.environ
    overlay.restore()
    assert os.environ["KEPT"] == "before"
