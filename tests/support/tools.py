"""Programs that tests run beside the server."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest

#: Set where every tool must be there, as on the machine that decides about a change.
REQUIRE = "MONOCEROS_REQUIRE_TOOLS"

_ELSEWHERE = "/usr/local/sbin:/usr/sbin:/sbin"


def need_tool(name: str) -> str:
    """The path of a program; without it the test is skipped, or fails where tools are required."""
    return shutil.which(name) or shutil.which(name, path=_ELSEWHERE) or _missing(name)


def need_file(path: str) -> str:
    """The same for a part of a program that lies in a file of its own."""
    return path if Path(path).exists() else _missing(path)


def need_package(name: str) -> None:
    """The same for a Python package, by the name that is imported."""
    if find_spec(name) is None:
        _missing(f"the package {name}")


def _missing(name: str) -> NoReturn:
    reason = f"needs {name}: it is not installed"
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(f"{reason}, and {REQUIRE}=1 forbids to skip", pytrace=False)
    pytest.skip(reason)
