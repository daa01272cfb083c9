"""Answers for people: tables of what is shown, JSON of what was done."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from monoceros.control.commands import CommandError, Verb, understand

Data = Mapping[str, Any]


def render(words: Sequence[str], data: Data) -> str:
    """The answer to a command as text."""
    try:
        verb = understand(words).verb
    except CommandError:
        # A command that a younger server knows.
        return as_json(data)
    draw = _DRAWN.get(verb)
    return as_json(data) if draw is None else draw(data)


def as_json(data: Data) -> str:
    """The answer as it came."""
    return json.dumps(data, indent=2)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], indent: str = "") -> str:
    """Columns as wide as what is in them."""
    lines = [[_printable(str(cell)) for cell in row] for row in (heads, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    text.insert(1, "-" * (sum(widths) + 2 * (len(widths) - 1)))
    return "\n".join(indent + line for line in text)


def _printable(text: str) -> str:
    # A client's request is shown on an operator's terminal: it must not speak to that.
    return "".join(each if each.isprintable() else "?" for each in text)


def duration(seconds: float | None) -> str:
    """Seconds as 1h 2m 3s."""
    if seconds is None:
        return "unknown"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes}m {rest}s"
    return f"{minutes}m {rest}s" if minutes else f"{rest}s"


def _ago(worker: Data) -> str:
    beat = worker.get("last_heartbeat")
    return "n/a" if beat is None else f"{beat}s ago"


def _yes(value: object) -> str:
    return "yes" if value else "no"


_WORKER: Final = ("PID", "AGE", "STATE", "BOOTED", "LAST_BEAT", "REQUESTS", "RUNNING", "CONNS")


def _worker(worker: Data) -> Sequence[object]:
    return (
        worker.get("pid"),
        worker.get("age"),
        worker.get("state", "?"),
        _yes(worker.get("booted")),
        _ago(worker),
        worker.get("requests", "?"),
        worker.get("running", "?"),
        worker.get("connections", "?"),
    )


_DIRTY: Final = ("PID", "AGE", "STATE", "RUNNING", "APPS")


def _dirty_worker(worker: Data) -> Sequence[object]:
    apps = ", ".join(worker.get("apps", ()))
    state = worker.get("state", "?")
    return worker.get("pid"), worker.get("age"), state, worker.get("running", "?"), apps


def _all(data: Data) -> str:
    parts = [f"ARBITER (master)\n  PID: {data.get('arbiter', {}).get('pid')}"]
    workers = data.get("web_workers", ())
    body = table(_WORKER, map(_worker, workers), "  ") if workers else "  (none)"
    parts.append(f"WEB WORKERS ({data.get('web_worker_count', 0)})\n{body}")
    dirty = data.get("dirty_arbiter")
    if not dirty:
        return "\n\n".join([*parts, "DIRTY ARBITER\n  (not running)"])
    parts.append(f"DIRTY ARBITER\n  PID: {dirty.get('pid')}")
    workers = data.get("dirty_workers", ())
    body = table(_DIRTY, map(_dirty_worker, workers), "  ") if workers else "  (none)"
    parts.append(f"DIRTY WORKERS ({data.get('dirty_worker_count', 0)})\n{body}")
    return "\n\n".join(parts)


def _workers(data: Data) -> str:
    workers = data.get("workers", ())
    if not workers:
        return "No workers running"
    return f"{table(_WORKER, map(_worker, workers))}\n\nTotal: {data.get('count')} workers"


def _requests(data: Data) -> str:
    requests = data.get("requests", ())
    if not requests:
        return "No requests running"
    heads = ("PID", "THREAD", "SECONDS", "METHOD", "PATH", "")
    names = ("pid", "thread", "seconds", "method", "path")
    rows = [
        [*(each.get(name) for name in names), "overdue" if each.get("overdue") else ""]
        for each in requests
    ]
    return f"{table(heads, rows)}\n\nTotal: {data.get('count')} requests"


def _dirty(data: Data) -> str:
    if not data.get("enabled"):
        return "Dirty arbiter not running"
    parts = [f"Dirty arbiter PID: {data.get('pid')}"]
    if workers := data.get("workers"):
        parts.append("DIRTY WORKERS:\n" + table(_DIRTY, map(_dirty_worker, workers)))
    if apps := data.get("apps"):
        rows = [
            (
                each.get("import_path"),
                each.get("current_workers", 0),
                "none" if each.get("worker_count") is None else each.get("worker_count"),
            )
            for each in apps
        ]
        parts.append("DIRTY APPS:\n" + table(("APP", "WORKERS", "LIMIT"), rows))
    return "\n\n".join(parts)


def _config(data: Data) -> str:
    def show(value: object) -> str:
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

    return "\n".join(f"{name}: {show(data[name])}" for name in sorted(data))


def _stats(data: Data) -> str:
    lines = {
        "Uptime": duration(data.get("uptime")),
        "PID": data.get("pid"),
        "Workers current": data.get("workers_current"),
        "Workers target": data.get("workers_target"),
        "Workers spawned": data.get("workers_spawned"),
        "Workers killed": data.get("workers_killed"),
        "Reloads": data.get("reloads"),
    }
    if data.get("dirty_arbiter_pid"):
        lines["Dirty arbiter"] = data["dirty_arbiter_pid"]
    return "\n".join(f"{name + ':':<17} {value}" for name, value in lines.items())


def _listeners(data: Data) -> str:
    listeners = data.get("listeners", ())
    if not listeners:
        return "No listeners bound"
    rows = [(each.get("address"), each.get("type"), each.get("fd")) for each in listeners]
    drawn = table(("ADDRESS", "TYPE", "FD"), rows)
    return f"{drawn}\n\nTotal: {data.get('count')} listeners"


def _help(data: Data) -> str:
    commands = data.get("commands", {})
    width = max(map(len, commands), default=0)
    lines = [f"  {name:<{width}}  {text}" for name, text in commands.items()]
    return "\n".join(["Available commands:", "", *lines])


_DRAWN: Final[Mapping[Verb, Callable[[Data], str]]] = {
    Verb.SHOW_ALL: _all,
    Verb.SHOW_WORKERS: _workers,
    Verb.SHOW_REQUESTS: _requests,
    Verb.SHOW_DIRTY: _dirty,
    Verb.SHOW_CONFIG: _config,
    Verb.SHOW_STATS: _stats,
    Verb.SHOW_LISTENERS: _listeners,
    Verb.HELP: _help,
}
