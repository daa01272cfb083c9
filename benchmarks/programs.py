"""Programs that serve, and what they are asked to do.

A peer is one server in one setting: wsgi_peers.py and asgi_peers.py have them all.
"""

import functools
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
OURS = ROOT / ".venv" / "bin" / "monoceros"
PEER_BIN = HERE / ".venv" / "bin"

#: More requests than a run can make: nginx closes a connection after 1000 otherwise.
UNLIMITED = 1_000_000_000


@dataclass(frozen=True)
class Launch:
    """What a server is asked to do. `folder` is its own, and removed after the run."""

    app: str
    port: int
    folder: Path
    threads: int = 4
    connections: int = 1000
    #: Speak TLS with the certificate and key in this file.
    certificate: Path | None = None


@dataclass(frozen=True)
class Peer:
    """A server in a setting.

    `family` is the program, `note` what a reader has to know about the setting. `alternative`
    marks a second setting of a program of which the better one counts.
    """

    name: str
    family: str
    note: str
    command: Callable[[Launch], list[str]]
    python: bool = True
    alternative: bool = False

    @property
    def decisive(self) -> bool:
        """Whether a target of every case may hang on it: a quick run leaves out the others."""
        return self.family != "gunicorn" and not self.alternative

    def missing(self) -> str | None:
        """Why this peer cannot be started here; None when it can."""
        return FAMILIES[self.family].missing()

    def version(self) -> str:
        """The program's version, as it tells it."""
        return FAMILIES[self.family].version()


@dataclass(frozen=True)
class Family:
    """A program: where it is, and how to ask for its version."""

    program: Path
    probe: tuple[str, ...]
    remedy: str

    @functools.lru_cache  # noqa: B019 - a handful of constants
    def missing(self) -> str | None:
        """Why it cannot be started here; None when it can."""
        if not self.program.exists():
            return f"not installed ({self.remedy})"
        try:
            ran = subprocess.run(self.probe, capture_output=True, text=True, timeout=30)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"does not run: {error}"
        if ran.returncode != 0:
            lines = (ran.stderr or ran.stdout).strip().splitlines()
            return f"does not run: {lines[-1] if lines else f'exit status {ran.returncode}'}"
        return None

    def version(self) -> str:
        """The first word of its answer that begins with a digit."""
        ran = subprocess.run(self.probe, capture_output=True, text=True, timeout=30, check=True)
        words = (ran.stdout + ran.stderr).replace("/", " ").replace("(", " ").split()
        return next((word.rstrip(",)") for word in words if word[0].isdigit()), "unknown")


def distribution(name: str) -> Family:
    """A peer from the package index, in the benchmarks' own environment."""
    python = str(PEER_BIN / "python")
    code = f"import {name}; from importlib.metadata import version; print(version({name!r}))"
    return Family(PEER_BIN / "python", (python, "-c", code), "see the installation above")


def nginx_program() -> Path:
    found = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    return Path(found or "/usr/sbin/nginx")


FAMILIES = {
    "monoceros": Family(OURS, (str(OURS), "--version"), "make bench builds it"),
    "gunicorn": distribution("gunicorn"),
    "granian": distribution("granian"),
    "bjoern": distribution("bjoern"),
    "fastwsgi": distribution("fastwsgi"),
    "uvicorn": distribution("uvicorn"),
    "nginx": Family(nginx_program(), (str(nginx_program()), "-v"), "apt-get install nginx-light"),
}
