"""The command `monocerosctl`, and `gunicornc` by another name.

Exit status: 0 when the server has done what was asked, 1 when not or when nobody answers, 2 when
the command line is in error, 130 after Ctrl-C.
"""

import argparse
import contextlib
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from monoceros import __version__
from monoceros.control.client import ControlClient, ControlClientError
from monoceros.control.place import default_path
from monoceros.control.tables import as_json, render

INTERRUPTED: Final = 130

#: Words that end the conversation.
LEAVE: Final = ("quit", "exit", "q")

#: Where the lines of former conversations are kept (Gunicorn's contract).
HISTORY: Final = "~/.gunicornc_history"


def main(argv: Sequence[str] | None = None, prog: str = "monocerosctl") -> int:
    """Run the command; its exit status.

    argv: the arguments without the program's name; those of this process if None.
    prog: the program's name in messages.
    """
    options = _parser(prog).parse_args(argv)
    if options.version:
        print(f"{prog} (monoceros {__version__})")
        return 0
    path = options.socket or default_path(os.environ)
    if path is None:
        print("Error: you have no home folder: name the socket with -s", file=sys.stderr)
        return 1
    client = ControlClient(str(Path(path).absolute()))
    try:
        if options.command is not None:
            return _run(client, options.command, in_json=options.json)
        return _converse(client, in_json=options.json)
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough; the interpreter must not stumble over it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    finally:
        client.close()


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Look into a running server and steer it.",
        epilog="Without -c it asks for commands; `help` lists them.",
    )
    where = default_path(os.environ) or "none"
    parser.add_argument(
        "-s", "--socket", metavar="PATH", help=f"the server's control socket ({where})"
    )
    parser.add_argument("-c", "--command", help="run one command and end")
    parser.add_argument("-j", "--json", action="store_true", help="show answers as JSON")
    parser.add_argument("-v", "--version", action="store_true", help="show the version and end")
    return parser


def _run(client: ControlClient, command: str, *, in_json: bool) -> int:
    """Send one command and show its answer; the exit status."""
    try:
        data = client.send_command(command)
    except ControlClientError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    if in_json:
        print(as_json(data), flush=True)
    else:
        print(render(shlex.split(command), data), flush=True)
    # An answer may say of itself that nothing was done.
    return 1 if data.get("success") is False else 0


def _converse(client: ControlClient, *, in_json: bool) -> int:
    """Ask for commands until there are no more; the exit status."""
    try:
        client.connect()
    except ControlClientError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"Connected to {client.socket_path}")
    print("Type 'help' for available commands, 'quit' to exit.\n")
    with _history():
        while True:
            try:
                line = input("gunicorn> ").strip()
            except EOFError:
                print()
                return 0
            if line.lower() in LEAVE:
                return 0
            if line and not _tell(client, line, in_json=in_json):
                return 1


def _tell(client: ControlClient, line: str, *, in_json: bool) -> bool:
    """Show the answer to one line; False when there is nobody to talk to any more."""
    try:
        data = client.send_command(line)
    except ControlClientError as error:
        print(f"Error: {error}\n")
        if not error.lost:
            return True
        # The server hangs up on who is silent for long, and a restart leads to another server.
        try:
            client.connect()
        except ControlClientError as second:
            print(f"Error: {second}")
            return False
        print("Connected again; nothing was repeated.\n")
        return True
    print(as_json(data) if in_json else render(shlex.split(line), data), end="\n\n")
    return True


@contextlib.contextmanager
def _history() -> Iterator[None]:
    """Line editing, with the lines of former conversations, where there is a terminal."""
    if not sys.stdin.isatty():
        yield
        return
    try:
        import readline
    except ImportError:  # Python can be built without it
        yield
        return
    path = Path(HISTORY).expanduser()
    with contextlib.suppress(OSError):
        readline.read_history_file(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            readline.write_history_file(path)
