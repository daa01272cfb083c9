"""`docs/settings.md`: every setting, from its own description."""

import inspect
from collections.abc import Iterator
from typing import Any

from contract.settings import GUNICORN, NOTES
from monoceros.config import KNOWN_SETTINGS, Setting, Surroundings, make_settings

#: The page does not depend on where it is made.
NOWHERE = Surroundings({}, "/")

#: Defaults that are no fixed value, in words.
SPOKEN_DEFAULTS = {
    "chdir": "the folder in which the server was started",
    "control_socket": "`$XDG_RUNTIME_DIR/gunicorn.ctl`, or `~/.gunicorn/gunicorn.ctl`",
}

INTRODUCTION = """\
# Settings

Every setting of Monoceros, as `monoceros --help` lists them and `monoceros --print-config` shows
their values. This page is made from the descriptions in `python/monoceros/config/settings`: change
it there, then run `make docs`.

A setting is given on the command line by its flag, or by its name in the config file
(`monoceros.conf.py`, or `gunicorn.conf.py` where there is none of that name), which is Python. The
environment variable `MONOCEROS_CMD_ARGS` (or `GUNICORN_CMD_ARGS`) holds further flags. The command
line goes before the variable, and the variable before the file. A value that cannot be keeps the
server from starting, with one line that names the setting; on a reload the former configuration
stays in force.

Settings that Gunicorn does not have are marked as **our own**. How those that it has differ from
it, and what becomes of those that are not there yet, stands in [compat.md](compat.md).
"""


def render() -> str:
    """The page."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield INTRODUCTION
    settings = make_settings(NOWHERE)
    sections: dict[str, list[Setting]] = {}
    for known in KNOWN_SETTINGS:
        sections.setdefault(known.section, []).append(settings[known.name])
    for section in sections:
        yield f"- [{section}](#{anchor(section)})"
    for section, members in sections.items():
        yield f"\n## {section}"
        for setting in members:
            yield from _describe(setting)
    yield ""


def _describe(setting: Setting) -> Iterator[str]:
    yield f"\n### {setting.name}\n"
    if setting.cli:
        yield f"- on the command line: {flags(setting)}"
    yield f"- default: {default(setting)}"
    if setting.name not in GUNICORN:
        yield "- our own: Gunicorn has no such setting"
    elif setting.name in NOTES:
        yield f"- beside Gunicorn: {NOTES[setting.name].text}"
    yield f"\n{setting.documentation()}"


def flags(setting: Setting) -> str:
    """The flags, with what their value is called."""
    value = ""
    if setting.action in ("store", "append"):
        value = f" {setting.meta or setting.name.upper()}"
        if setting.nargs == "?":
            value = f" [{value.strip()}]"
    return ", ".join(f"`{flag}{value}`" for flag in setting.cli)


def default(setting: Setting) -> str:
    """The default in words."""
    if setting.name in SPOKEN_DEFAULTS:
        return SPOKEN_DEFAULTS[setting.name]
    value: Any = setting.get()
    if callable(value):
        return "a function that does nothing" if _does_nothing(value) else "a function of our own"
    if value is None or value in ("", [], {}):
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ", ".join(f"`{item}`" for item in value)
    if isinstance(value, dict):
        return ", ".join(f"`{key}: {item}`" for key, item in value.items())
    return f"`{oct(value)}`" if setting.name.endswith("_mode") else f"`{value}`"


def _does_nothing(function: Any) -> bool:
    return inspect.getsource(inspect.unwrap(function)).rstrip().endswith("pass")


def anchor(heading: str) -> str:
    """A heading's name in a link, as GitHub makes it."""
    kept = "".join(c for c in heading.lower() if c.isalnum() or c in " -_")
    return kept.replace(" ", "-")
