"""The command line, made from the settings.

A flag that is not given leaves None, so that the sources before the command line keep their say.
Gunicorn's flags that this release has not got are known too: they keep abbreviations and
positions as they are there, and are refused by name instead of being taken for a typing error.
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from monoceros import __version__
from monoceros.config.not_yet import NOT_YET, Fate, NotYet
from monoceros.config.setting import Setting
from monoceros.config.validators import nearest


def build_parser(
    settings: Iterable[Setting], usage: str | None, prog: str | None, warn: Callable[[str], None]
) -> argparse.ArgumentParser:
    """The parser of the command line and of MONOCEROS_CMD_ARGS.

    warn: called with one line for each flag that is accepted without effect.
    """
    parser = _Parser(usage=usage, prog=prog, formatter_class=_HelpFormatter, add_help=False)
    general = parser.add_argument_group("General")
    general.add_argument("-h", "--help", action="help", help="show this help and exit")
    general.add_argument(
        "-v",
        "--version",
        action="version",
        version=f"%(prog)s (version {__version__})",
        help="show the version and exit",
    )
    parser.add_argument("args", nargs="*", help=argparse.SUPPRESS)
    groups: dict[str, Any] = {}
    for setting in settings:
        if not setting.cli:
            continue
        if setting.section not in groups:
            groups[setting.section] = parser.add_argument_group(setting.section)
        groups[setting.section].add_argument(*setting.cli, **_describe(setting))
    for entry in NOT_YET.values():
        if entry.cli:
            parser.add_argument(
                *entry.cli,
                action=_NotYetAction,
                entry=entry,
                warn=warn,
                dest=argparse.SUPPRESS,
                nargs=0 if entry.boolean else None,
                default=argparse.SUPPRESS,
                help=argparse.SUPPRESS,
            )
    return parser


def _describe(setting: Setting) -> dict[str, Any]:
    described: dict[str, Any] = {
        "dest": setting.name,
        "action": setting.action,
        "default": None,
        "help": f"{setting.short} [{_show(setting)}]".replace("%", "%%"),
    }
    if setting.action in ("store", "append"):
        described["metavar"] = setting.meta
    if setting.action == "store" and setting.type is not None:
        described["type"] = setting.type
    if setting.nargs is not None:
        described["nargs"] = setting.nargs
    if setting.const is not None:
        described["const"] = setting.const
    return described


def _show(setting: Setting) -> str:
    default = setting.default
    if isinstance(default, list):
        return ", ".join(default) or "none"
    if default is None or default == "":
        return "none"
    if isinstance(default, bool):
        return "on" if default else "off"
    return str(default)


class _Parser(argparse.ArgumentParser):
    """Says of a flag that nobody knows what was probably meant."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            flag = unknown[0].partition("=")[0]
            near = nearest(flag, list(self._option_string_actions)) if flag[:2] == "--" else None
            hint = f"; did you mean {near}?" if near else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return parsed


class _HelpFormatter(argparse.HelpFormatter):
    """Flags in one column of fixed width, a value's name once for all spellings of its flag."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        return f"{', '.join(action.option_strings)} {action.metavar or ''}".rstrip()


class _NotYetAction(argparse.Action):
    """Says that a flag is known and has no effect, as an error or as a warning."""

    def __init__(self, *, entry: NotYet, warn: Callable[[str], None], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.entry = entry
        self.warn = warn

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        asked = True if self.entry.boolean else values
        if self.entry.asks_for_nothing(asked):
            return
        if self.entry.fate is Fate.HARMLESS:
            self.warn(self.entry.message(option_string))
            return
        note = f" ({self.entry.note})" if self.entry.note else ""
        parser.error(f"argument {option_string}: not supported by this release{note}")
