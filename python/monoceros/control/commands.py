"""The commands: one table, from which the server, its help and the client take what they know."""

import enum
from collections.abc import Sequence
from typing import Final, NamedTuple


class CommandError(Exception):
    """A command that is not understood or cannot be followed; the text is for its author."""


class Verb(enum.Enum):
    """What is asked for; the value is how it is written."""

    SHOW_ALL = "show all"
    SHOW_WORKERS = "show workers"
    SHOW_REQUESTS = "show requests"
    SHOW_DIRTY = "show dirty"
    SHOW_CONFIG = "show config"
    SHOW_STATS = "show stats"
    SHOW_LISTENERS = "show listeners"
    WORKER_ADD = "worker add"
    WORKER_REMOVE = "worker remove"
    WORKER_KILL = "worker kill"
    DIRTY_ADD = "dirty add"
    DIRTY_REMOVE = "dirty remove"
    RELOAD = "reload"
    REOPEN = "reopen"
    SHUTDOWN = "shutdown"
    HELP = "help"


class Argument(enum.Enum):
    """The one word that may follow a command; the value is how the help writes it."""

    NONE = ""
    COUNT = "[N]"
    PID = "PID"
    MODE = "[graceful|quick]"


class Description(NamedTuple):
    """What a command takes, and what it does."""

    argument: Argument
    help: str


_ALONE: Final = Argument.NONE

TABLE: Final = {
    Verb.SHOW_ALL: Description(_ALONE, "the master, its workers and the dirty arbiter"),
    Verb.SHOW_WORKERS: Description(_ALONE, "workers: state, requests, connections, heartbeat"),
    Verb.SHOW_REQUESTS: Description(_ALONE, "the requests that the app runs now, and for how long"),
    Verb.SHOW_DIRTY: Description(_ALONE, "the dirty arbiter, its workers and apps"),
    Verb.SHOW_CONFIG: Description(_ALONE, "the configuration in force"),
    Verb.SHOW_STATS: Description(_ALONE, "counts since the start"),
    Verb.SHOW_LISTENERS: Description(_ALONE, "the addresses that are listened on"),
    Verb.WORKER_ADD: Description(Argument.COUNT, "have N more workers (1)"),
    Verb.WORKER_REMOVE: Description(Argument.COUNT, "have N workers fewer (1); one stays"),
    Verb.WORKER_KILL: Description(Argument.PID, "let a worker finish and replace it"),
    Verb.DIRTY_ADD: Description(Argument.COUNT, "have N more dirty workers (1)"),
    Verb.DIRTY_REMOVE: Description(Argument.COUNT, "have N dirty workers fewer (1)"),
    Verb.RELOAD: Description(_ALONE, "read configuration and code again, as HUP does"),
    Verb.REOPEN: Description(_ALONE, "open the log files again, as USR1 does"),
    Verb.SHUTDOWN: Description(Argument.MODE, "stop, as TERM (graceful) or INT (quick) does"),
    Verb.HELP: Description(_ALONE, "this list"),
}


class Command(NamedTuple):
    """A command that was understood. `number`: N, or the pid. `quick`: of a shutdown."""

    verb: Verb
    number: int = 1
    quick: bool = False

    @property
    def only_looks(self) -> bool:
        """It changes nothing."""
        return self.verb is Verb.HELP or self.verb.value.startswith("show ")

    def __str__(self) -> str:
        argument = TABLE[self.verb].argument
        if argument is Argument.MODE:
            return f"{self.verb.value} {'quick' if self.quick else 'graceful'}"
        return self.verb.value if argument is Argument.NONE else f"{self.verb.value} {self.number}"


def describe() -> dict[str, str]:
    """Every command as it is written, with what it does."""
    return {
        f"{verb.value} {entry.argument.value}".strip(): entry.help for verb, entry in TABLE.items()
    }


def understand(words: Sequence[str]) -> Command:
    """The command that these words are. Raises CommandError."""
    if not words:
        raise CommandError("Empty command")
    for verb, entry in TABLE.items():
        name = verb.value.split()
        if [word.lower() for word in words[: len(name)]] == name:
            return _with_arguments(verb, entry.argument, words[len(name) :])
    first = words[0].lower()
    group = [verb.value.split()[1] for verb in TABLE if verb.value.startswith(f"{first} ")]
    if len(words) == 1 and first == "show":
        raise CommandError(f"Missing show target ({', '.join(group)})")
    if len(words) == 1 and group:
        raise CommandError(f"Missing what to do with {first} ({', '.join(group)})")
    raise CommandError(f"Unknown command: {' '.join(words[:2] if group else words[:1])}")


def _with_arguments(verb: Verb, argument: Argument, words: Sequence[str]) -> Command:
    if len(words) > (0 if argument is Argument.NONE else 1):
        raise CommandError(f"Invalid argument: {words[-1]!r} is one too many for {verb.value}")
    if argument is Argument.PID and not words:
        raise CommandError(f"Invalid argument: {verb.value} needs the pid of a worker")
    if not words:
        return Command(verb)
    word = words[0]
    if argument is Argument.MODE:
        if word.lower() not in ("graceful", "quick"):
            raise CommandError(f"Invalid argument: {word!r} is neither graceful nor quick")
        return Command(verb, quick=word.lower() == "quick")
    # Not int() alone: it takes underscores and other scripts' digits.
    if not (word.isascii() and word.isdigit() and len(word) <= 10 and int(word) > 0):
        raise CommandError(f"Invalid argument: {word!r} is no whole number from 1 on")
    return Command(verb, number=int(word))
