"""Asks one server's configuration what it makes of values; a process of its own for each server.

Called as ``python settings_runner.py gunicorn`` or ``... monoceros``: reads a `Request` as JSON
from standard input and prints what the package says. It imports nothing of the tests, and nothing
of a package before the environment is as it shall be: Gunicorn reads it on import.

An answer to a probe is ``["accepted", VALUE]``, ``["refused"]``, or ``["not yet"]`` for a setting
of Gunicorn's that this server knows by name only.
"""

import argparse
import contextlib
import importlib
import inspect
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ACCEPTED, REFUSED, NOT_YET = "accepted", "refused", "not yet"

#: The variable that options are read from by both.
OPTIONS = "GUNICORN_CMD_ARGS"


def plain(value: Any) -> Any:
    """A value as JSON has it; what is no data by its kind."""
    if inspect.isclass(value):
        return f"class {value.__name__}"
    if callable(value):
        return "a callable"
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return type(value).__name__


class Package:
    """What is asked of either package."""

    def __init__(self, name: str) -> None:
        self.config: Any = importlib.import_module(f"{name}.config")
        self.own = name == "monoceros"
        self.not_yet: Any = {}
        if self.own:
            self.not_yet = importlib.import_module("monoceros.config.not_yet").NOT_YET
            self.files: Any = importlib.import_module("monoceros.config.files")
            kind = importlib.import_module("monoceros.app").WSGIApplication
        else:
            kind = importlib.import_module("gunicorn.app.wsgiapp").WSGIApplication
        # One for all probes: to make a parser takes longer than everything else.
        self.cfg: Any = self.config.Config(prog="probe")
        self.parser = self.cfg.parser()
        self.application: Any = kind.__new__(kind)  # without reading this command's own line
        self.application.cfg = self.cfg

    def describe(self) -> dict[str, Any]:
        """Every setting: its place on the command line, its section, its default."""
        instances = self.config.make_settings()
        return {
            known.name: {
                "section": known.section,
                "cli": list(known.cli or []),
                "meta": known.meta,
                "action": known.action or "store",
                "nargs": known.nargs,
                "const": known.const,
                "type": self.describe_type(known.type),
                "default": plain(instances[known.name].get()),
                "validator": known.validator.__name__,
                "arity": arity(known.default),
            }
            for known in self.config.KNOWN_SETTINGS
        }

    @staticmethod
    def describe_type(function: Any) -> str:
        """By meaning: the two packages' converters are different functions."""
        if function is None or function is callable:
            return "text"
        name = str(function.__name__)
        return {"auto_int": "integer, C octal", "int": "integer"}.get(name, name)

    def by_file(self, name: str, expression: str, folder: Path) -> None:
        path = folder / "probe.py"
        path.write_text(f"{name} = {expression}\n")
        if self.own:
            self.files.load_config_file(self.cfg, str(path))
        else:
            self.application.load_config_from_file(str(path))

    def by_command(self, words: list[str]) -> None:
        self.set_all(self.parser.parse_args(words))

    def by_environment(self, words: str) -> None:
        self.cfg.env_orig[OPTIONS] = words
        if self.own:
            self.set_all(self.application.parse_environment(self.parser))
        else:
            self.set_all(self.parser.parse_args(self.cfg.get_cmd_args_from_env()))

    def set_all(self, options: argparse.Namespace) -> None:
        for key, value in vars(options).items():
            if value is not None and key != "args":
                self.cfg.set(key, value)

    def probe(self, name: str, source: str, value: Any, folder: Path) -> list[Any]:
        """What comes of one value; `value` is an expression, or the words of a command line."""
        if name in self.not_yet:
            return [NOT_YET]
        self.cfg.settings[name] = type(self.cfg.settings[name])()
        try:
            if source == "file":
                self.by_file(name, value, folder)
            elif source == "command":
                self.by_command(value)
            else:
                self.by_environment(value)
        except SystemExit as error:
            if not error.code:
                raise
            return [REFUSED]
        except Exception:
            return [REFUSED]  # in whichever words
        return [ACCEPTED, plain(self.cfg.settings[name].get())]


def arity(function: Any) -> int:
    """Positional parameters of a hook; 0 for other defaults."""
    return len(inspect.signature(function).parameters) if inspect.isfunction(function) else 0


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What the packages say about refused values is theirs to test, not ours."""
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
        yield


def in_environment(package: str, variables: dict[str, str], names: list[str]) -> Any:
    """What a package makes of environment variables, in a child that imports it with them."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.environ.update(variables)
        answer: Any = [REFUSED]
        with quiet(), contextlib.suppress(Exception, SystemExit):
            cfg = Package(package).config.Config()
            answer = [ACCEPTED, {name: plain(getattr(cfg, name)) for name in names}]
        os.write(writing, json.dumps(answer).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = json.loads(pipe.read())
    os.waitpid(pid, 0)
    return answer


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("package", choices=["gunicorn", "monoceros"])
    name = parser.parse_args().package
    request = json.load(sys.stdin)
    environments = [
        in_environment(name, variables, names) for variables, names in request["environments"]
    ]
    package = Package(name)
    with tempfile.TemporaryDirectory() as folder, quiet():
        probes = [
            package.probe(setting, source, value, Path(folder))
            for setting, source, value in request["probes"]
        ]
    origin = str(Path(package.config.__file__).resolve())
    json.dump(
        {
            "origin": origin,
            "settings": package.describe(),
            "environments": environments,
            "probes": probes,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
