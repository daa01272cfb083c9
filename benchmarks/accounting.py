"""What a server costs: CPU time and memory of its whole process tree.

CPU time comes from each process's CPU clock (the clock that clock_getcpuclockid(3) names), in
nanoseconds. It is user and system time of every thread, those that have ended included, read
from the scheduler's exact run time: not sampled, as the ticks of /proc/<pid>/stat may be, and
without their rounding to 10 ms. Children that were reaped meanwhile are added from their
parent's cutime and cstime, which only exist in ticks; in a steady run there are none.

A server's processes are those of its session: it is started as leader of a new one, and a
worker stays in it whoever its parent is by now.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")

#: Positions in /proc/<pid>/stat after the command's closing bracket (proc(5)).
SESSION, CUTIME, CSTIME = 3, 13, 14

#: Which of a process's clocks: CPUCLOCK_SCHED of the kernel's posix-timers.
SCHEDULER_CLOCK = 2


@dataclass(frozen=True)
class Snapshot:
    """CPU seconds that a session's processes have used up to now."""

    living: float
    reaped: float

    def since(self, earlier: "Snapshot") -> float:
        """CPU seconds between two snapshots. A process that ended between them is in `reaped`
        with its whole life, and what it had used before is in the earlier `living`."""
        return self.living + self.reaped - earlier.living - earlier.reaped


def fields_of(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat from the state on; None when the process has gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(")") + 2 :].split()


def processes(session: int) -> list[int]:
    """The processes of a session, the youngest last."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = fields_of(int(entry.name))
            if fields is not None and int(fields[SESSION]) == session and fields[0] != "Z":
                found.append(int(entry.name))
    return sorted(found)


def cpu(session: int) -> Snapshot:
    """What the processes of a session have used."""
    living = reaped = 0.0
    for pid in processes(session):
        fields = fields_of(pid)
        if fields is None:
            continue
        try:
            living += time.clock_gettime((~pid << 3) | SCHEDULER_CLOCK)
        except OSError:
            continue  # It ended between the two reads: its parent has it among the reaped.
        reaped += (int(fields[CUTIME]) + int(fields[CSTIME])) * TICK
    return Snapshot(living, reaped)


def memory(session: int) -> int:
    """Bytes of memory of a session's processes; a page that n of them share counts 1/n in each
    (Pss of /proc/<pid>/smaps_rollup), so that the sum counts it once."""
    total = 0
    for pid in processes(session):
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        for line in rollup.splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def processor_busy(number: int) -> float:
    """Seconds that a processor has been busy with anything since boot, stolen time included."""
    prefix = f"cpu{number} "
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(prefix):
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, line.split()[1:9])
            return (user + nice + system + irq + softirq + steal) * TICK
    raise ValueError(f"this machine has no CPU {number}")
