"""Turning a dump of faulthandler into a block for the error log.

faulthandler can tell what every thread does while the interpreter is stuck, but it writes for
developers of Python: innermost frame first, every bootstrap frame, one block for each idle thread.
Here the block reads like a traceback, the threads that do something come first, and the idle ones
take a line together.

The rules of this module:

- The innermost frame of a thread that is not idle is always shown: there it is stuck.
- Nothing is left out without a line that says so, and lines that are not understood are kept.
- A block has at most MAX_LINES lines.
"""

import re
import sysconfig
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

#: Lines of a block: a screen. A log with hundreds of lines per stuck request hides the next one.
MAX_LINES = 60

#: Frames shown of one thread, tried in turn until the block fits.
_FRAME_LIMITS = (50, 30, 20, 12, 8, 5, 3)

#: Lines of the dump kept although they are no stack ("Fatal Python error: ...").
_MAX_REMARKS = 5

_OWN_PACKAGE = str(Path(__file__).resolve().parent.parent) + "/"
_STANDARD_LIBRARY = sysconfig.get_paths()["stdlib"] + "/"

_THREAD = re.compile(
    r"^(?P<current>Current thread|Thread) (?P<id>0x[0-9a-fA-F]+)"
    r"(?: \[(?P<name>.*)\])? \(most recent call first\):$"
)
_FRAME = re.compile(
    r'^  File (?:"(?P<file>.*)"|\?\?\?), line (?P<line>\d+|\?\?\?) in (?P<name>.*)$'
)

# How a thread or program starts: true for every stack, so it tells nothing.
_BOOTSTRAP = frozenset(
    {
        ("threading.py", "_bootstrap"),
        ("threading.py", "_bootstrap_inner"),
        ("threading.py", "run"),
        ("<frozen runpy>", "_run_module_as_main"),
        ("<frozen runpy>", "_run_code"),
    }
)

# Where the standard library's own loops wait for work, when nothing but that library is below.
_WAITING = frozenset(
    {
        ("concurrent/futures/thread.py", "_worker"),
        ("queue.py", "get"),
        ("selectors.py", "select"),
        ("socketserver.py", "serve_forever"),
        ("threading.py", "wait"),
    }
)


@dataclass(frozen=True)
class _Frame:
    file: str
    line: str
    name: str

    @property
    def is_own(self) -> bool:
        return self.file.startswith(_OWN_PACKAGE)

    @property
    def place(self) -> tuple[str, str]:
        """File (within the standard library) and function."""
        return self.file.removeprefix(_STANDARD_LIBRARY), self.name

    @property
    def is_standard(self) -> bool:
        return self.file.startswith(("<frozen ", _STANDARD_LIBRARY)) and not self.file.startswith(
            (_STANDARD_LIBRARY + "site-packages/", _STANDARD_LIBRARY + "dist-packages/")
        )

    def __str__(self) -> str:
        return f'  File "{self.file}", line {self.line}, in {self.name}'


@dataclass
class _Thread:
    label: str
    current: bool
    frames: list[_Frame] = field(default_factory=list)  # outermost first once parsed
    remarks: list[str] = field(default_factory=list)

    @property
    def idle(self) -> bool:
        """Nobody's code runs here but ours and the standard library's, and it waits for work."""
        if self.remarks:
            return False
        if not self.frames:
            return True
        last = self.frames[-1]
        return all(frame.is_own or frame.is_standard for frame in self.frames) and (
            (last.is_own and "/workers/" in last.file) or last.place in _WAITING
        )

    def trimmed(self) -> "_Thread":
        """Without the frames that led from the start of the thread into the app."""
        start = 0
        for frame in self.frames[:-1]:
            if not (frame.is_own or frame.place in _BOOTSTRAP):
                break
            start += 1
        return replace(self, frames=self.frames[start:])


def format_stacks(text: str, names: Mapping[int, str] | None = None) -> str:
    """A readable block of at most MAX_LINES lines from what faulthandler wrote of all threads.

    `names` gives names by thread identity (`threading.get_ident`). Without it they are those in
    the dump (Python 3.14 and later writes them) and of the threads of this process.
    """
    if names is None:
        names = {thread.ident: thread.name for thread in threading.enumerate() if thread.ident}
    remarks, threads = _parse(text, names)
    lines = remarks[:_MAX_REMARKS]
    if len(remarks) > _MAX_REMARKS:
        lines.append(f"({len(remarks) - _MAX_REMARKS} more lines of the dump not shown)")
    if not threads:
        return "\n".join([*lines, "(no stack of any Python thread)"])

    # faulthandler writes the newest thread first and the main thread last.
    threads.reverse()
    threads.sort(key=lambda thread: not thread.current)
    busy = _grouped([thread.trimmed() for thread in threads if not thread.idle])
    idle = _grouped([thread for thread in threads if thread.idle])
    summary = _fit([_idle_line(group) for group in idle], MAX_LINES // 4)

    room = MAX_LINES - len(lines) - len(summary)
    blocks: list[list[str]] = []
    for limit in _FRAME_LIMITS:
        blocks = [_block(group, limit) for group in busy]
        if sum(map(len, blocks)) <= room:
            break
    shown = 0
    while shown < len(blocks) and len(blocks[shown]) + (shown + 1 < len(blocks)) <= room:
        room -= len(blocks[shown])
        lines += blocks[shown]
        shown += 1
    if shown < len(blocks):
        hidden = sum(len(group) for group in busy[shown:])
        lines.append(f"({hidden} more busy threads not shown)")
    return "\n".join(lines + summary)


def _parse(text: str, names: Mapping[int, str]) -> tuple[list[str], list[_Thread]]:
    """Lines outside of any stack, and the threads, frames outermost first."""
    remarks: list[str] = []
    threads: list[_Thread] = []
    thread: _Thread | None = None
    for line in text.splitlines():
        if header := _THREAD.match(line):
            identity = int(header["id"], 16)
            name = header["name"] or names.get(identity)
            thread = _Thread(
                label=f"Thread {name}" if name else f"Thread {identity:#x}",
                current=header["current"] == "Current thread",
            )
            threads.append(thread)
        elif thread is not None and (frame := _FRAME.match(line)):
            thread.frames.insert(0, _Frame(frame["file"] or "???", frame["line"], frame["name"]))
        elif not line.strip():
            thread = None
        elif thread is None:
            remarks.append(line.strip())
        elif line.strip() == "...":
            thread.remarks.append("  ... outer frames not in the dump")
        elif line.strip() != "<no Python frame>":
            thread.remarks.append(f"  {line.strip()}")
    return remarks, threads


def _grouped(threads: Sequence[_Thread]) -> list[list[_Thread]]:
    """Threads with the same stack together, in the order of the first of each."""
    groups: dict[tuple[object, ...], list[_Thread]] = {}
    for thread in threads:
        groups.setdefault((*thread.frames, *thread.remarks), []).append(thread)
    return list(groups.values())


def _labels(group: Sequence[_Thread]) -> str:
    first = group[0].label
    if len(group) == 1:
        return first
    return f"{len(group)} threads with this stack ({first} and others)"


def _block(group: Sequence[_Thread], limit: int) -> list[str]:
    thread = group[0]
    frames = [str(frame) for frame in thread.frames]
    if len(frames) > limit:
        # The innermost frames say where it is stuck, the outermost ones which way it came.
        outer = limit // 4
        left_out = len(frames) - limit
        inner = frames[outer + left_out :]
        frames = [*frames[:outer], f"  ... {left_out} frames not shown", *inner]
    return [f"{_labels(group)} (most recent call last):", *thread.remarks[:3], *frames]


def _idle_line(group: Sequence[_Thread]) -> str:
    thread = group[0]
    who = f"{len(group)} idle threads" if len(group) > 1 else f"{thread.label}: idle"
    if not thread.frames:
        return f"{who} (no Python frame)"
    return f"{who} in{str(thread.frames[-1])[1:]}"


def _fit(lines: list[str], room: int) -> list[str]:
    if len(lines) <= room:
        return lines
    return [*lines[: room - 1], f"({len(lines) - room + 1} more lines of idle threads not shown)"]
