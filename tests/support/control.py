"""The command `monocerosctl`, run against a server under test."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from monoceros.control.client import ControlClient, ControlClientError
from support.server import START_BOUND, Server
from support.waiting import wait_for

#: As the console script does it.
PROGRAM = "import sys; from monoceros.control.command import main; sys.exit(main())"

#: Seconds that one command may take on a busy machine.
BOUND = 60.0


class Done(NamedTuple):
    """What came of the command."""

    status: int
    output: str
    error: str


def socket_of(server: Server, name: str = "gunicorn.ctl") -> Path:
    """The control socket, where tests have it by default; waits until a server listens."""
    path = server.directory / name

    def listens() -> bool:
        # The file is there a moment before it is listened at.
        try:
            with ControlClient(str(path), BOUND):
                pass
        except ControlClientError:
            return False
        return True

    wait_for(listens, START_BOUND, f"the control socket {path}")
    return path


def run(*arguments: str, home: Path, said: str = "") -> Done:
    """Run the command with these arguments; it is told `said`."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env=os.environ | {"HOME": str(home), "XDG_RUNTIME_DIR": str(home)},
        cwd=home,
        input=said,
        capture_output=True,
        text=True,
        timeout=BOUND,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def command(server: Server, text: str, *options: str) -> Done:
    """Have the command send one line."""
    socket_of(server)
    return run("-c", text, *options, home=server.directory)


def ask(server: Server, text: str) -> dict[str, Any]:
    """The data of an answer, by the command, in JSON."""
    done = command(server, text, "--json")
    assert (done.status, done.error) == (0, ""), done
    data: dict[str, Any] = json.loads(done.output)
    return data


def query(server: Server, text: str) -> dict[str, Any]:
    """The same without the cost of a process, for what is asked again and again."""
    with ControlClient(str(socket_of(server)), BOUND) as client:
        return client.send_command(text)


def refusal(server: Server, text: str) -> str:
    """Why a command is refused."""
    try:
        data = query(server, text)
    except ControlClientError as error:
        return str(error)
    raise AssertionError(f"{text!r} was not refused: {data}")
