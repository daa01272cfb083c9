"""Fixtures for all tests.

`serve` starts real servers and puts every one of them through the gate when the test ends. A test
marked `alone` runs while no other test does; one marked `soak` or `conformance` runs by the verb
of that name only.
"""

import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

from support.quiet import presence
from support.server import APPS, TESTS
from support.serving import Serve

# Tests share a few functions with the apps that run in the server.
sys.path.insert(0, str(APPS))
# What the documentation says of the contract is held against the server.
sys.path.insert(0, str(TESTS.parent / "docs"))

_SERVE = pytest.StashKey[Serve]()

#: Of the property that holds what a test has measured.
_FIGURES = "figures"

#: How much of each log a failure report shows, in characters.
REPORTED = 20_000


# A machine that is busy for a moment has not found a counterexample.
hypothesis.settings.register_profile("tests", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("tests")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "alone: measures time; no other test runs meanwhile")
    config.addinivalue_line("markers", "soak: runs for minutes, by `make soak` only")
    config.addinivalue_line("markers", "conformance: runs for minutes, by `make conformance` only")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and _SERVE in item.stash:
        for server in item.stash[_SERVE].servers:
            name = " ".join(server.arguments)
            report.sections.append((f"log of {name}", server.log[-REPORTED:]))
            if server.stdout:
                report.sections.append((f"stdout of {name}", server.stdout[-REPORTED:]))
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    # Outside of everything else: what a test waits for its turn is not part of its time limit.
    with presence(alone=item.get_closest_marker("alone") is not None):
        return (yield)


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Takes a line with what a test has measured; all of them stand at the end of the run."""

    def say(line: str) -> None:
        record_property(_FIGURES, line)

    return say


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [each for kind in ("passed", "failed") for each in terminalreporter.getreports(kind)]
    lines = [str(v) for each in reports for key, v in each.user_properties if key == _FIGURES]
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Serve]:
    """Starts servers: see support.serving.Serve."""
    serving = Serve(tmp_path)
    request.node.stash[_SERVE] = serving
    yield serving
    complaints = serving.finish()
    if complaints:
        pytest.fail("\n".join(complaints), pytrace=False)
