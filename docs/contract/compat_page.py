"""`docs/compat.md`: Gunicorn's contract, row by row, and what becomes of each row here."""

from collections.abc import Iterable, Iterator

from contract.flaws import FLAWS
from contract.names import GROUPS
from contract.settings import (
    DEFAULTS,
    GUNICORN,
    NOTES,
    RELEASE,
    VALUES,
    VARIABLES,
    Verdict,
)
from contract.settings_page import NOWHERE, anchor
from monoceros.config import KNOWN_SETTINGS, Setting, make_settings
from monoceros.config.not_yet import NOT_YET, Fate, NotYet

INTRODUCTION = f"""\
# Beside Gunicorn

What somebody relies on who comes from Gunicorn {RELEASE}, and how it is here:

- **same**: as there.
- **better**: it does what is meant, and the row says what is different.
- **not yet**: a feature is missing. On the command line that is an error, in a config file a
  warning; a value that asks for nothing passes.
- **no effect**: it is accepted, and nothing is lost; where a value asks for something a warning
  says so.
- **refused**: the server does not start, because without it the deployment would be less safe than
  it looks, or would have no app.

Nothing is ignored in silence. This page is made from the tables in `docs/contract`, which tests
hold against this server and against the newest Gunicorn: change it there, then run `make docs`.
"""

_FATES = {
    Fate.REFUSED: Verdict.REFUSED,
    Fate.UNSUPPORTED: Verdict.NOT_YET,
    Fate.HARMLESS: Verdict.NO_EFFECT,
}


def render() -> str:
    """The page."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield INTRODUCTION
    titles = ["Settings", "Values", "Settings of our own", *(group.title for group in GROUPS)]
    for title in (*titles, "Weak spots"):
        yield f"- [{title}](#{anchor(title)})"
    yield from _settings()
    yield from _values()
    yield from _own()
    for group in GROUPS:
        yield f"\n## {group.title}\n"
        rows = ((row.names, row.verdict.value, row.text) for row in group.rows)
        yield from table((group.what, "here", "how"), rows)
    yield from _flaws()
    yield ""


def _settings() -> Iterator[str]:
    known = make_settings(NOWHERE)
    yield "\n## Settings\n"
    yield "Names, flags, sections and defaults are Gunicorn's where nothing else is said.\n"
    rows = []
    for name in GUNICORN:
        if name in NOT_YET:
            entry = NOT_YET[name]
            rows.append((f"`{name}`", _flags(entry.cli), _FATES[entry.fate].value, _note(entry)))
        else:
            rows.append((f"[`{name}`](settings.md#{name})", *_describe(known[name])))
    yield from table(("setting", "flag", "here", "how"), rows)


def _describe(setting: Setting) -> tuple[str, str, str]:
    told = []
    default = DEFAULTS.get(setting.name)
    if default is not None and default.told:
        told.append(f"default: {default.told} ({default.why})")
    verdict = Verdict.BETTER if told else Verdict.SAME
    note = NOTES.get(setting.name)
    if note is not None:
        told.append(note.text)
        verdict = note.verdict
    return _flags(setting.cli), verdict.value, "; ".join(told)


def _note(entry: NotYet) -> str:
    """What the operator is told, and what asks for nothing."""
    told = [entry.note] if entry.note else []
    if entry.default not in (None, "", []):
        told.append(f"`{entry.default}` passes")
    return "; ".join(told)


def _values() -> Iterator[str]:
    yield "\n## Values\n"
    yield "Values that both do not take alike, from whatever source.\n"
    rows = (
        (
            ", ".join(f"`{name}`" for name in each.settings),
            ", ".join(f"`{value}`" for value in each.values),
            each.gunicorn,
            each.here,
            each.why,
        )
        for each in VALUES
        if not set(each.settings) <= set(NOT_YET)
    )
    yield from table(("settings", "values", "Gunicorn", "here", "why"), rows)
    yield ""
    of_variables = ((f"`{each.name}={each.value}`", each.gunicorn, each.here) for each in VARIABLES)
    yield from table(("variable", "Gunicorn", "here"), of_variables)


def _own() -> Iterator[str]:
    yield "\n## Settings of our own\n"
    yield "What Gunicorn does not have. Each has a default that needs no tuning.\n"
    rows = (
        (f"[`{known.name}`](settings.md#{known.name})", _flags(known.cli), _first_line(known))
        for known in KNOWN_SETTINGS
        if known.name not in GUNICORN
    )
    yield from table(("setting", "flag", "what it does"), rows)


def _first_line(known: type[Setting]) -> str:
    return known.documentation().partition("\n")[0]


def _flaws() -> Iterator[str]:
    yield "\n## Weak spots\n"
    yield (
        f"What is weak in Gunicorn {RELEASE}, what happens here instead, and the tests that show "
        "it (in `tests/`).\n"
    )
    rows = (
        (str(flaw.number), flaw.gunicorn, flaw.here, ", ".join(f"`{test}`" for test in flaw.tests))
        for flaw in FLAWS
    )
    yield from table(("", "Gunicorn", "here", "shown by"), rows)


def _flags(flags: Iterable[str]) -> str:
    return ", ".join(f"`{flag}`" for flag in flags)


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """The lines of a table."""
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for row in rows:
        cells = (cell.replace("|", "\\|") for cell in row)
        yield f"| {' | '.join(cells)} |"
