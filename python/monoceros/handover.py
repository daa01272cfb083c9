"""What an old master hands to the new one that it has started: sockets, and a way to hear of it.

It travels in environment variables:

    GUNICORN_PID          the old master's pid (Gunicorn's contract; hooks look at it)
    GUNICORN_FD           descriptors of the sockets, separated by commas (Gunicorn's contract)
    MONOCEROS_LISTENERS   the same sockets with their addresses: [[descriptor, address, file], ...]
    MONOCEROS_HEIR        the new master's own pid
    MONOCEROS_READY_FD    a pipe; what is written there says that the new master answers

Rules:
- They are meant for the process that MONOCEROS_HEIR names, or, from a Gunicorn, for a child of the
  one that GUNICORN_PID names: in any other process they have leaked, and count for nothing.
- The old master may have ended before the new one reads them. The sockets are its all the same.
- A socket is matched with `bind` by its address, so that the new master may listen elsewhere. One
  that came without an address, from a Gunicorn, takes the place of `bind` as it does there.
- All of them but GUNICORN_PID are gone from the environment when they have been read.
"""

import json
import os
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from monoceros.listeners import Listener, UnixListener, inherit

PID: Final = "GUNICORN_PID"
DESCRIPTORS: Final = "GUNICORN_FD"
LISTENERS: Final = "MONOCEROS_LISTENERS"
HEIR: Final = "MONOCEROS_HEIR"
READY: Final = "MONOCEROS_READY_FD"

#: What a new master must not find from an earlier one, or from the service manager's first start.
_STALE: Final = (PID, DESCRIPTORS, LISTENERS, HEIR, READY, "LISTEN_PID", "LISTEN_FDS")


@dataclass
class Inheritance:
    """What this process has got from an old master; empty when it has none.

    `master`: its pid, 0 for none. `sockets`: entries of MONOCEROS_LISTENERS. `unnamed`: descriptors
    without an address. `ready`: descriptor of the pipe, -1 for none.
    """

    master: int = 0
    sockets: list[Any] = field(default_factory=list)
    unnamed: list[int] = field(default_factory=list)
    ready: int = -1

    def listeners(self, conf: Any) -> list[Listener]:
        """The sockets whose addresses are known, as listeners."""
        return [
            inherit(number, tuple(address) if isinstance(address, list) else address, file, conf)
            for number, address, file in self.sockets
        ]


def is_heir(environ: Mapping[str, str]) -> bool:
    """Whether an old master has started this process to take its place."""
    if HEIR in environ:
        return environ[HEIR] == str(os.getpid()) and environ.get(PID, "").isdigit()
    return environ.get(PID) == str(os.getppid())


def take(environ: MutableMapping[str, str]) -> Inheritance:
    """What an old master has handed over; takes the variables out of `environ`.

    Raises ValueError when they make no sense.
    """
    heir = is_heir(environ)
    environ.pop(HEIR, None)
    numbers = environ.pop(DESCRIPTORS, "")
    named = environ.pop(LISTENERS, "")
    ready = environ.pop(READY, "")
    if not heir:
        environ.pop(PID, None)
        return Inheritance()
    inheritance = Inheritance(master=int(environ[PID]))
    try:
        if named:
            inheritance.sockets = json.loads(named)
        else:
            inheritance.unnamed = [int(number) for number in numbers.split(",") if number]
    except ValueError as error:
        raise ValueError(
            f"the environment variables of an upgrade make no sense: {DESCRIPTORS}={numbers!r}, "
            f"{LISTENERS}={named!r}"
        ) from error
    if ready.isdigit():
        inheritance.ready = int(ready)
        os.set_inheritable(inheritance.ready, False)
    return inheritance


def environment(
    base: Mapping[str, str],
    listeners: Sequence[Listener],
    *,
    master: int,
    pid: int,
    ready: int,
    manager: bool,
    in_place_of_bind: bool,
) -> dict[str, str]:
    """The environment of a new master.

    Args:
        base: what this server was started with.
        master, pid: the old master and the new one.
        ready: the pipe's writing end.
        manager: the sockets are the service manager's, and are told the manager's way.
        in_place_of_bind: they came without addresses.
    """
    environ = {name: value for name, value in base.items() if name not in _STALE}
    environ[PID] = str(master)
    environ[HEIR] = str(pid)
    environ[READY] = str(ready)
    if "WATCHDOG_PID" in environ:
        environ["WATCHDOG_PID"] = str(pid)
    if manager:
        environ |= {"LISTEN_PID": str(pid), "LISTEN_FDS": str(len(listeners))}
        return environ
    environ[DESCRIPTORS] = ",".join(str(listener.fileno()) for listener in listeners)
    if not in_place_of_bind:
        environ[LISTENERS] = json.dumps([_entry(listener) for listener in listeners])
    return environ


def _entry(listener: Listener) -> list[Any]:
    file = listener.file if isinstance(listener, UnixListener) else None
    return [listener.fileno(), listener.cfg_addr, file]
