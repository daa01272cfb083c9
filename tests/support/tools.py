"""Programs that tests run beside the server."""

import os
import shutil

import pytest

#: Set where every tool must be there, as on the machine that decides about a change.
REQUIRE = "MONOCEROS_REQUIRE_TOOLS"

_ELSEWHERE = "/usr/local/sbin:/usr/sbin:/sbin"


def need_tool(name: str) -> str:
    """The path of a program; without it the test is skipped, or fails where tools are required."""
    path = shutil.which(name) or shutil.which(name, path=_ELSEWHERE)
    if path is None:
        reason = f"needs {name}: it is not installed"
        if os.environ.get(REQUIRE) == "1":
            pytest.fail(f"{reason}, and {REQUIRE}=1 forbids to skip", pytrace=False)
        pytest.skip(reason)
    return path
