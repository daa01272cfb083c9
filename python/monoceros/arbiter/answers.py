"""What the commands of the control interface do, and what they tell.

Rules:
- All that is told is the scoreboard's or the fleet's: nobody is asked and nothing waited for.
- What a signal does is done by that signal to ourselves, so that there is one way for it.
- Data has Gunicorn's names; what only we know stands beside them.
"""

import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from monoceros.arbiter.fleet import WorkerRecord
from monoceros.arbiter.states import WorkerState
from monoceros.control.commands import Command, CommandError, Verb, describe

if TYPE_CHECKING:
    from monoceros.arbiter.arbiter import Arbiter

#: The settings that `show config` tells (Gunicorn's contract).
CONFIG: Final = (
    *("bind", "workers", "worker_class", "threads", "timeout", "graceful_timeout", "keepalive"),
    *("max_requests", "max_requests_jitter", "worker_connections", "preload_app", "daemon"),
    *("pidfile", "proc_name", "reload", "dirty_workers", "dirty_apps", "dirty_timeout"),
    *("control_socket", "control_socket_disable"),
)

#: Dirty workers that one command adds at most: a slip of the finger must not fill the memory.
DIRTY_MOST: Final = 64

#: Kinds of listeners (Gunicorn's contract).
FAMILIES: Final = {socket.AF_UNIX: "unix", socket.AF_INET: "tcp", socket.AF_INET6: "tcp6"}

Data = dict[str, Any]


class Answers:
    """Does what is asked."""

    def __init__(self, server: "Arbiter") -> None:
        self._server = server
        self._of: Mapping[Verb, Callable[[Command], Data]] = {
            Verb.SHOW_ALL: self._all,
            Verb.SHOW_WORKERS: self._workers,
            Verb.SHOW_REQUESTS: self._requests,
            Verb.SHOW_DIRTY: self._dirty,
            Verb.SHOW_CONFIG: self._config,
            Verb.SHOW_STATS: self._stats,
            Verb.SHOW_LISTENERS: self._listeners,
            Verb.WORKER_ADD: self._add,
            Verb.WORKER_REMOVE: self._remove,
            Verb.WORKER_KILL: self._kill,
            Verb.DIRTY_ADD: self._change_dirty,
            Verb.DIRTY_REMOVE: self._change_dirty,
            Verb.RELOAD: self._reload,
            Verb.REOPEN: self._reopen,
            Verb.SHUTDOWN: self._shutdown,
            Verb.HELP: lambda _: {"commands": describe()},
        }

    def answer(self, command: Command) -> Data:
        """The data of the answer. Raises CommandError when the command cannot be followed."""
        return self._of[command.verb](command)

    # What there is.

    def _all(self, _: Command) -> Data:
        server = self._server
        workers = [{"type": "web", **each} for each in self._living()]
        dirty = self._dirty_workers()
        pid = server.dirty_arbiter_pid
        return {
            "arbiter": {
                "pid": server.pid,
                "type": "arbiter",
                "role": "master",
                "state": server.state.value,
            },
            "web_workers": workers,
            "web_worker_count": len(workers),
            "dirty_arbiter": (
                {"pid": pid, "type": "dirty_arbiter", "role": "dirty master"} if pid else None
            ),
            "dirty_workers": dirty,
            "dirty_worker_count": len(dirty),
        }

    def _workers(self, _: Command) -> Data:
        workers = self._living()
        return {"workers": workers, "count": len(workers)}

    def _living(self) -> list[Data]:
        """Every worker that has a process, oldest first."""
        now = time.monotonic()
        records = sorted(self._server.fleet, key=lambda record: record.age)
        return [self._worker(each, now) for each in records if each.pid is not None]

    def _worker(self, record: WorkerRecord, now: float) -> Data:
        status = self._server.scoreboard.read(record.slot)
        # An idle interpreter has no reason to beat; the engine beside it does.
        beat = max(status.python_beat, status.engine_beat, status.ready_at)
        return {
            "pid": record.pid,
            "age": record.age,
            "booted": record.served,
            "aborted": record.state in (WorkerState.ABORTING, WorkerState.KILLED),
            "last_heartbeat": round(max(0.0, now - beat), 2) if beat else None,
            "state": record.state.value,
            "generation": record.generation.number,
            "uptime": round(now - record.started_at, 2),
            "requests": status.requests,
            "running": len(status.running),
            "connections": status.connections,
            "idle_connections": status.idle,
        }

    def _requests(self, _: Command) -> Data:
        server = self._server
        now = time.monotonic()
        requests: list[Data] = []
        for record in sorted(server.fleet, key=lambda each: each.age):
            if record.pid is None:
                continue
            for running in server.scoreboard.read(record.slot).running:
                method, _space, target = running.request.partition(" ")
                requests.append(
                    {
                        "pid": record.pid,
                        "thread": running.thread,
                        "method": method,
                        # Queries hold what is nobody's business.
                        "path": target.partition("?")[0],
                        "seconds": round(max(0.0, now - running.since), 3),
                        "overdue": running.overdue,
                    }
                )
        requests.sort(key=lambda each: float(each["seconds"]), reverse=True)
        return {"requests": requests, "count": len(requests)}

    def _config(self, _: Command) -> Data:
        cfg = self._server.cfg
        values = {name: getattr(cfg, name) for name in CONFIG}
        values["worker_class"] = cfg.worker_class_str
        plain = (str, int, float, bool, list, type(None))
        return {
            name: value if isinstance(value, plain) else str(value)
            for name, value in values.items()
        }

    def _stats(self, _: Command) -> Data:
        server = self._server
        return {
            "uptime": round(time.monotonic() - server.started_at, 2),
            "pid": server.pid,
            "workers_current": len(server.WORKERS),
            "workers_target": server.num_workers,
            "workers_spawned": server.worker_age,
            "workers_killed": server.fleet.sent_home,
            "reloads": server.reloading.count,
            "dirty_arbiter_pid": server.dirty_arbiter_pid or None,
        }

    def _listeners(self, _: Command) -> Data:
        listeners = [
            {
                "address": str(listener),
                "fd": listener.fileno(),
                "type": FAMILIES.get(listener.FAMILY, "unknown"),
            }
            for listener in self._server.LISTENERS
        ]
        return {"listeners": listeners, "count": len(listeners)}

    # How many there shall be.

    def _add(self, command: Command) -> Data:
        server = self._server
        self._must_run()
        previous, most = server.num_workers, server.places
        if previous + command.number > most:
            raise CommandError(
                f"Invalid argument: {previous} workers are wanted and there are places for {most}; "
                "a restart with a larger setting of workers makes more"
            )
        server.num_workers = previous + command.number
        server.wakeup()
        return {"added": command.number, "previous": previous, "total": server.num_workers}

    def _remove(self, command: Command) -> Data:
        server = self._server
        self._must_run()
        previous = server.num_workers
        total = min(previous, max(1, previous - command.number))
        if total != previous:
            server.num_workers = total
            server.wakeup()
        return {"removed": previous - total, "previous": previous, "total": total}

    def _kill(self, command: Command) -> Data:
        server = self._server
        if server.fleet.of_pid(command.number) is None:
            return {"success": False, "error": f"Worker {command.number} not found"}
        server.kill_worker(command.number, signal.SIGTERM)
        return {"success": True, "killed": command.number}

    # Dirty apps.

    def _dirty(self, _: Command) -> Data:
        pid, report = self._server.dirty_arbiter_pid, self._server.dirty.report
        return {
            "enabled": bool(pid),
            "pid": pid or None,
            "workers": self._dirty_workers(),
            "apps": report.apps if report is not None else [],
        }

    def _dirty_workers(self) -> list[Data]:
        report = self._server.dirty.report
        return report.hear().workers if report is not None else []

    def _change_dirty(self, command: Command) -> Data:
        """More or fewer dirty workers, as far as the limits of their apps let that be."""
        self._must_run()
        report = self._server.dirty.report
        if report is None:
            return {"success": False, "error": "Dirty arbiter not running"}
        if not report.hear().wanted:
            return {"success": False, "error": "The dirty arbiter is not ready yet: try again"}
        adds = command.verb is Verb.DIRTY_ADD
        if adds:
            room = command.number if report.most is None else report.most - report.wanted
            reason = "every app is loaded as often as it may be"
            if command.number > DIRTY_MOST < room:
                reason = f"one command adds {DIRTY_MOST} at most"
        else:
            room = report.wanted - report.least
            reason = f"the apps' numbers of workers need {report.least}"
        number = max(0, min(command.number, room, DIRTY_MOST))
        if number and not report.change(number if adds else -number):
            return {"success": False, "error": "The dirty arbiter does not listen now: try again"}
        data = {
            "success": number > 0,
            "operation": "add" if adds else "remove",
            "requested": command.number,
            "spawned" if adds else "removed": number,
            "total_workers": len(report.workers),
            "target_workers": report.wanted,
        }
        return data if number == command.number else {**data, "reason": reason}

    # What signals do.

    def _reload(self, _: Command) -> Data:
        self._must_run()
        os.kill(self._server.pid, signal.SIGHUP)
        return {"status": "reloading"}

    def _reopen(self, _: Command) -> Data:
        os.kill(self._server.pid, signal.SIGUSR1)
        return {"status": "reopening"}

    def _shutdown(self, command: Command) -> Data:
        # A second TERM would mean haste, which nobody has asked for here.
        if command.quick or not self._server.stopping:
            os.kill(self._server.pid, signal.SIGINT if command.quick else signal.SIGTERM)
        return {"status": "shutting_down", "mode": "quick" if command.quick else "graceful"}

    def _must_run(self) -> None:
        if self._server.stopping:
            raise CommandError("The server stops already")
