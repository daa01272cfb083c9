"""The wire corpus (tests/wire/README.md), to be played against a running server."""

import re
from dataclasses import dataclass
from pathlib import Path

from support.server import TESTS

_ESCAPE = re.compile(r"\\(r|n|t|\\|x[0-9a-fA-F]{2})")
_HEADER_MAPS = {"drop": "drop", "refuse": "refuse", "map": "dangerous"}
_PERMISSIONS = {
    "obsolete-folding": ["--permit-obsolete-folding"],
    "header-spaces": ["--strip-header-spaces"],
    "any-method": ["--permit-unconventional-http-method"],
    "any-method-casefold": ["--permit-unconventional-http-method", "--casefold-http-method"],
    "any-version": ["--permit-unconventional-http-version"],
}
_PLAIN = {"r": "\r", "n": "\n", "t": "\t", "\\": "\\"}


@dataclass(frozen=True)
class Case:
    """An input of a request and its outcome."""

    name: str
    settings: tuple[str, ...]
    data: bytes
    outcome: tuple[str, ...]

    @property
    def options(self) -> tuple[str, ...]:
        """The command line options that the case asks for; none of them for the defaults."""
        options: list[str] = []
        for setting in self.settings:
            word, *values = setting.split()
            if word == "limits":
                for name, value in zip(("line", "fields", "field_size"), values, strict=True):
                    options += [f"--limit-request-{name}", value]
            elif word == "body":
                options += ["--limit-request-body", values[0]]
            elif word == "underscores":
                options += ["--header-map", _HEADER_MAPS[values[0]]]
            elif word == "forwarder":
                options += ["--forwarder-headers", values[0]]
            else:
                assert word == "permit", f"{self.name}: unknown setting: {setting}"
                options += _PERMISSIONS[values[0]]
        return tuple(options)

    @property
    def is_trusted(self) -> bool:
        """Whether the peer that sends it has to be one whose headers count."""
        return any(setting.startswith("forwarder ") for setting in self.settings)

    @property
    def status(self) -> int | None:
        """With which status it is refused; None when it is not."""
        word, *rest = self.outcome[0].split()
        return int(rest[0]) if word == "error" else None

    @property
    def is_complete(self) -> bool:
        return not self.outcome[0].startswith("incomplete")

    def fact(self, name: str) -> str:
        """The value of the first outcome line of that name, "" without one."""
        for line in self.outcome:
            word, _, value = line.partition(" ")
            if word == name:
                return value
        return ""


def _decode(text: str) -> bytes:
    def plain(match: re.Match[str]) -> str:
        code = match[1]
        return _PLAIN[code] if code in _PLAIN else chr(int(code[1:], 16))

    return _ESCAPE.sub(plain, text).encode("latin-1")


def _read(path: Path) -> Case:
    notes, data, outcome = re.split(r"^---\n", path.read_text(), flags=re.MULTILINE)
    settings = tuple(line for line in notes.splitlines() if line and not line.startswith("#"))
    return Case(path.stem, settings, _decode(data.replace("\n", "")), tuple(outcome.splitlines()))


def cases(kind: str) -> list[Case]:
    """The cases of `valid` or `invalid`."""
    return [_read(path) for path in sorted((TESTS / "wire" / kind).glob("*.http"))]
