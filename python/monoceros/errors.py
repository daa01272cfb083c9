"""What can go wrong before a request is served, and how it is told to the operator.

Every error here carries one complete sentence for people: what happened, to what, and what to do.
A traceback is shown only where it belongs to the operator's own code (the app, the config file).
"""

import importlib
import traceback
from pathlib import Path
from types import TracebackType

#: Frames of files that begin so are ours or the import system's, not the operator's.
_OWN_FILES = (
    str(Path(__file__).parent),
    str(Path(importlib.__file__).parent),
    "<frozen importlib",
)


class HaltServer(BaseException):
    """Ends the arbiter's loop from wherever it is raised.

    It derives from BaseException so that no hook's ``except Exception`` keeps the server alive.

    reason: one line for the log. exit_status: what the arbiter's process exits with.
    """

    def __init__(self, reason: str, exit_status: int = 1) -> None:
        super().__init__(reason, exit_status)
        self.reason = reason
        self.exit_status = exit_status

    def __str__(self) -> str:
        return f"<HaltServer {self.reason!r} {self.exit_status}>"


class ConfigError(Exception):
    """The configuration cannot be used; the text says which part of it and why."""


class ConfigFileError(ConfigError):
    """A config file's own code failed. ``__cause__`` is its exception."""


class AppImportError(Exception):
    """The app's module was imported, but the app is not where its URI says, or is no app."""


class StartupFailed(Exception):
    """The app says that it cannot start, or has failed while it did. ``__cause__`` is what it has
    raised, if anything."""


def strip_own_frames(found: TracebackType | None) -> TracebackType | None:
    """The traceback without its leading frames of this package and of the import system."""
    while found is not None:
        filename = found.tb_frame.f_code.co_filename
        if not filename.startswith(_OWN_FILES):
            break
        found = found.tb_next
    return found


def format_foreign_exception(error: BaseException) -> str:
    """The traceback of `error` as text, as the author of the failing module would see it.

    Frames above the author's own code are left out. A module that does not compile has no frame
    of its own; then the exception alone is shown, with the line that it names.
    """
    return "".join(
        traceback.format_exception(type(error), error, strip_own_frames(error.__traceback__))
    )
