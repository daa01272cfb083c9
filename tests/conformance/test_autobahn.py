"""Autobahn's cases of RFC 6455 and RFC 7692 against a server that echoes, on both loops.

The cases are Autobahn's own; `kosoku` runs them on a Python of today. Each has two verdicts, on
what came back and on how the connection was closed, and Autobahn knows two that are no failure
and no full mark: NON-STRICT, where the RFC lets a server do otherwise than it would best, and
INFORMATIONAL, where the RFC says nothing and the case only notes what happens.
"""

import asyncio
import collections
from collections.abc import Callable
from typing import Any

import pytest

from support.serving import Serve
from support.tools import need_package

#: All that Autobahn has: none may be left out.
CASES = 517

#: How many run at a time: enough to keep both sides busy, and few enough that none of them
#: waits so long that Autobahn's own time limits matter.
CONCURRENCY = 4

#: Seconds for all of them; a quiet machine needs about one and a half minutes.
BOUND = 900

#: The cases that are about what the RFC leaves open, and note only what happens: data after a
#: close frame, and close codes that nobody has registered.
INFORMATIONAL = {"7.1.6", "7.13.1", "7.13.2"}


async def autobahn(address: str) -> list[Any]:
    """Every case; what became of each."""
    import kosoku

    try:
        return list(await kosoku.run_fuzzingclient(address, concurrency=CONCURRENCY))
    except kosoku.FailureError as failure:
        return list(failure.results)


def verdicts(result: Any) -> tuple[str, str]:
    return result.behavior.value, result.behavior_close.value


def described(results: list[Any]) -> str:
    return "\n".join(
        f"{each.case_id}: {' / '.join(verdicts(each))}: {each.result} {each.result_close}"
        for each in results
    )


@pytest.mark.conformance
@pytest.mark.timeout(BOUND)
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_autobahn(serve: Serve, figures: Callable[[str], None], loop: str) -> None:
    need_package("kosoku")
    server = serve("echoing:app", "-k", "asgi", "--asgi-loop", loop)
    server.wait_ready()
    host, port = server.address
    results = asyncio.run(autobahn(f"ws://{host}:{port}"))

    assert len(results) == CASES
    failed = [each for each in results if not each.passed]
    assert not failed, f"{len(failed)} of {CASES} cases:\n{described(failed)}"
    short = [each for each in results if verdicts(each) != ("OK", "OK")]
    informational = [each for each in short if "INFORMATIONAL" in verdicts(each)]
    assert {each.case_id for each in informational} <= INFORMATIONAL, described(informational)
    counts = collections.Counter(" / ".join(verdicts(each)) for each in results)
    figures(f"Autobahn on {loop}: " + ", ".join(f"{n} {name}" for name, n in counts.items()))
    for line in described(short).splitlines():
        figures(f"  {line}")
