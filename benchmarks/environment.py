"""The peers' own environment: benchmarks/.venv, filled from the package index.

ASGI servers run in it, ours too, so that uvloop and the frameworks are the same ones for all. Our
package is used where it was built, by a path file; its dependency is installed beside the peers.
"""

import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV = HERE / ".venv"
PYTHON = VENV / "bin" / "python"

#: What is installed for each import. Each by itself, so that one that fails stops no other.
#: fastwsgi imports pkg_resources, which setuptools has dropped since 81. Gunicorn's extra `fast`
#: is not used: it wants a parser that the index may not have, and pip takes an older Gunicorn then.
DISTRIBUTIONS = {
    "gunicorn": ["gunicorn[gevent]"],
    "granian": ["granian"],
    "bjoern": ["bjoern"],
    "fastwsgi": ["fastwsgi", "setuptools<81"],
    "uvloop": ["uvloop"],
    "gunicorn_h1c": ["gunicorn_h1c"],
    "uvicorn": ["uvicorn"],
    "httptools": ["httptools"],
    "websockets": ["websockets"],
    "wsproto": ["wsproto"],
    "starlette": ["starlette"],
    "fastapi": ["fastapi"],
    "setproctitle": ["setproctitle"],
}

EV_HEADERS = (Path("/usr/include/ev.h"), Path("/usr/local/include/ev.h"))


def prepare() -> list[str]:
    """Make the environment and install what is missing. Returns a line for each peer that
    could not be installed: the run goes on without it."""
    if not PYTHON.exists():
        print("Making benchmarks/.venv for the peers.", flush=True)
        venv.create(VENV, with_pip=True)
    link_ours()
    problems = []
    for name, requirements in DISTRIBUTIONS.items():
        if installed(name):
            continue
        if name == "bjoern" and not any(header.exists() for header in EV_HEADERS):
            problems.append(
                "bjoern: it is built from source against libev, and ev.h is missing. "
                "Install it (Debian: apt-get install libev-dev) and run again."
            )
            continue
        print(f"Installing {name}.", flush=True)
        command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        ran = subprocess.run([*command, *requirements], capture_output=True, text=True)
        if ran.returncode != 0 or not installed(name):
            lines = (ran.stderr or ran.stdout).strip().splitlines() or ["it does not import"]
            problems.append(f"{name}: not installed: {lines[-1]}")
    return problems


def link_ours() -> None:
    """Let the peers' environment import our package from where it was built."""
    for packages in (VENV / "lib").glob("python3*/site-packages"):
        (packages / "monoceros-in-place.pth").write_text(f"{HERE.parent / 'python'}\n")


def installed(name: str) -> bool:
    """Whether the peers' environment can import it."""
    ran = subprocess.run([str(PYTHON), "-c", f"import {name}"], capture_output=True)
    return ran.returncode == 0


if __name__ == "__main__":
    sys.exit("\n".join(prepare()) or 0)
