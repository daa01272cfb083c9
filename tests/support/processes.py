"""Looking at the processes of a server, from outside.

A server under test is started in a session of its own, so that every process that descends from
it is found by its session, also when its parent has died.
"""

import os
import re
import signal
from pathlib import Path

import psutil

_ROLE = re.compile(r"^\w+: (?P<role>[\w-]+)(?: \[(?P<name>.*)\])?")


def in_session(session: int) -> list[psutil.Process]:
    """The living processes of a session; zombies are dead and left out."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def title(process: psutil.Process) -> str:
    """The process title as `ps` shows it, "" when it is gone."""
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.NoSuchProcess:
        return ""


def role(process: psutil.Process) -> str:
    """`master`, `worker`, `mold` ... from the title; "" when it has not set one yet."""
    match = _ROLE.match(title(process))
    return match["role"] if match else ""


def has_engine(pid: int) -> bool:
    """Whether a worker's engine runs: it has a thread of its own, named after it."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return any((task / "comm").read_text().startswith("monoceros-sent") for task in tasks)
    except FileNotFoundError:
        return False


def kill_session(session: int) -> None:
    """SIGKILL to what is left of a session that we started."""
    for process in in_session(session):
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def descriptors(pid: int) -> dict[str, str]:
    """Open descriptors of a process: number -> what it points at."""
    found = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found[entry.name] = str(entry.readlink())
        except FileNotFoundError:
            continue
    return found


def memory(pid: int) -> int:
    """Proportional set size in bytes: private memory plus the share of what is shared."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no Pss line for process {pid}")
