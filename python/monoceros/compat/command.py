"""The commands of the distribution `monoceros-gunicorn`, Gunicorn's by name."""

import importlib.util
import sys
from pathlib import Path

from monoceros import cli, compat
from monoceros.control import command


def gunicorn() -> None:
    """Serve, as the command `monoceros` does; refuses where a real Gunicorn's files lie."""
    found = importlib.util.find_spec("gunicorn")
    if found is not None and found.origin is not None:
        complaint = compat.conflict(Path(found.origin).parent)
        if complaint:
            sys.exit(f"\nError: {complaint}\n")
    cli.main(prog="gunicorn")


def gunicornc() -> None:
    """Look into a running server and steer it, as the command `monocerosctl` does."""
    sys.exit(command.main(prog="gunicornc"))
