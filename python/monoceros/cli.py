"""The command `monoceros`.

Exit status: 0 after a stop or a successful check, 1 when the configuration or the app is in error,
2 when the command line is, 3 when no worker could boot and 4 when the app was not found.
"""

from collections.abc import Sequence

from monoceros.app import WSGIApplication

USAGE = "%(prog)s [OPTIONS] [APP_MODULE]"


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Serve the app that the command line names.

    argv: the arguments without the program's name; those of this process if None.
    prog: the program's name in messages, "monoceros" if None.
    """
    WSGIApplication(USAGE, prog or "monoceros", argv).run()
