"""Deployments as they are found in the wild: a folder each in `tests/recipes`.

How the server is started stands in the file that such a deployment has for it: a Procfile, a unit
of systemd, a Dockerfile, a manifest of Kubernetes, a configuration of supervisord, a shell script.
They all call `gunicorn`; the test puts a command of that name on the path, which is ours.
"""

import configparser
import json
import re
import shlex
import shutil
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path

RECIPES = Path(__file__).resolve().parent.parent / "recipes"

#: Apps that several recipes serve.
SITES = RECIPES / "sites"

#: Flags that go before those of the recipe: where to listen.
EXTRA = "RECIPE_OPTIONS"


@dataclass
class Start:
    """How a recipe starts its server: what a shell runs, and its environment."""

    line: str
    env: dict[str, str] = field(default_factory=dict)


def names() -> list[str]:
    """All recipes."""
    return sorted(path.name for path in RECIPES.iterdir() if path.is_dir() and path != SITES)


def read_start(folder: Path) -> Start:
    """What the recipe's file says. Raises LookupError when there is no file that says it."""
    for path in sorted(folder.iterdir()):
        if path.name == "Procfile":
            return _procfile(path.read_text())
        if path.name == "Dockerfile":
            return _dockerfile(path.read_text())
        if path.name == "supervisord.conf":
            return _supervisord(path)
        if path.suffix == ".json":
            return _manifest(path.read_text())
        if path.suffix == ".service":
            return _unit(path.read_text())
        if path.suffix == ".sh":
            return Start(f"bash {path.name}")
    raise LookupError(f"nothing in {folder} starts a server")


def _procfile(text: str) -> Start:
    [line] = [line for line in text.splitlines() if line.startswith("web:")]
    return Start(line.removeprefix("web:").strip())


def _dockerfile(text: str) -> Start:
    env: dict[str, str] = {}
    start = ""
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word == "ENV":
            env |= dict(pair.split("=", 1) for pair in shlex.split(rest))
        elif word in ("CMD", "ENTRYPOINT"):
            start = shlex.join(json.loads(rest)) if rest.startswith("[") else rest
    return Start(start, env)


def _manifest(text: str) -> Start:
    [container] = json.loads(text)["spec"]["template"]["spec"]["containers"]
    words = [*container.get("command", []), *container["args"]]
    env = {each["name"]: each["value"] for each in container.get("env", [])}
    return Start(shlex.join(words), env)


def _unit(text: str) -> Start:
    lines = [line.partition("=") for line in text.splitlines()]
    env: dict[str, str] = {}
    for key, _, value in lines:
        if key == "Environment":
            env |= dict(pair.split("=", 1) for pair in shlex.split(value))
    [start] = [value for key, _, value in lines if key == "ExecStart"]
    return Start(re.sub(r"^\S+/gunicorn\b", "gunicorn", start), env)


def _supervisord(path: Path) -> Start:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(path)
    [name] = parser.sections()
    section = parser[name]
    env = dict(re.findall(r'(\w+)="([^"]*)"', section.get("environment", "")))
    return Start(re.sub(r"^\S+/gunicorn\b", "gunicorn", section["command"]), env)


def install(name: str, folder: Path, command: list[str]) -> dict[str, str]:
    """Copy a recipe to `folder`, with a command `gunicorn` beside it; the environment it needs."""
    shutil.copytree(RECIPES / name, folder)
    programs = folder / ".bin"
    programs.mkdir()
    program = programs / "gunicorn"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(command)} ${EXTRA} "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    python = Path(sys.executable).parent
    return {"PATH": f"{programs}:{python}:/usr/local/bin:/usr/bin:/bin"}
