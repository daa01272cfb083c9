"""Dirty apps: heavy apps in processes of their own, called from the web workers.

Also their hooks. `monoceros.dirty` has what apps import.
"""

from typing import Any, Final

from monoceros.config.setting import Setting
from monoceros.config.validators import (
    validate_callable,
    validate_list_string,
    validate_pos_int,
)

#: The environment variable by which the master tells everybody it starts where the dirty arbiter
#: listens (Gunicorn's name).
SOCKET_VARIABLE: Final = "GUNICORN_DIRTY_SOCKET"

SECTION = "Dirty Arbiters"
HOOKS = "Dirty Arbiter Hooks"


class DirtyApps(Setting):
    """The dirty apps to load, each as MODULE:CLASS or MODULE:CLASS:N.

    A dirty app is a class derived from `DirtyApp`. Each dirty worker makes one object of it and
    keeps it as long as it lives. With N, or the attribute `workers` of the class, only so many
    dirty workers load it; N wins. `dirty_workers` has to be set, too.
    """

    name = "dirty_apps"
    section = SECTION
    cli = ("--dirty-app",)
    meta = "STRING"
    action = "append"
    default: Any = []  # noqa: RUF012 - every instance copies it

    @staticmethod
    def validator(value: Any) -> list[str]:
        found = validate_list_string(value)
        if not found:
            return found
        # Not at the top: what is not used takes no memory.
        from monoceros.dirty.app import parse_spec

        paths = [parse_spec(text).path for text in found]
        for path in paths:
            if paths.count(path) > 1:
                raise ValueError(f"{path} is named more than once")
        return found


class DirtyWorkers(Setting):
    """The number of dirty worker processes; 0 means that there are no dirty apps.

    TTIN and TTOU, sent to the dirty arbiter, change it while the server runs.
    """

    name = "dirty_workers"
    section = SECTION
    cli = ("--dirty-workers",)
    meta = "INT"
    type = int
    validator = validate_pos_int
    default = 0


class DirtyTimeout(Setting):
    """Seconds that one call of a dirty app may take; 0 switches it off.

    For a stream it bounds the time from item to item. At the deadline the client gets an error,
    the log shows what the worker does, and the worker is killed and replaced.
    """

    name = "dirty_timeout"
    section = SECTION
    cli = ("--dirty-timeout",)
    meta = "INT"
    type = int
    validator = validate_pos_int
    default = 300


class DirtyThreads(Setting):
    """The number of calls that one dirty worker runs at the same time. 0 counts as 1.

    With more than 1 the dirty apps have to be safe in threads.
    """

    name = "dirty_threads"
    section = SECTION
    cli = ("--dirty-threads",)
    meta = "INT"
    type = int
    validator = validate_pos_int
    default = 1


class DirtyGracefulTimeout(Setting):
    """Seconds that a dirty worker has to finish its calls when it is to stop or be replaced.

    When the server stops, this begins when the web workers have ended.
    """

    name = "dirty_graceful_timeout"
    section = SECTION
    cli = ("--dirty-graceful-timeout",)
    meta = "INT"
    type = int
    validator = validate_pos_int
    default = 30


class OnDirtyStarting(Setting):
    """on_dirty_starting(arbiter): in the dirty arbiter, before it serves."""

    name = "on_dirty_starting"
    section = HOOKS
    validator = validate_callable(1)

    @staticmethod
    def default(arbiter: Any) -> None:
        pass


class DirtyPostFork(Setting):
    """dirty_post_fork(arbiter, worker): in the dirty arbiter, after a dirty worker was forked."""

    name = "dirty_post_fork"
    section = HOOKS
    validator = validate_callable(2)

    @staticmethod
    def default(arbiter: Any, worker: Any) -> None:
        pass


class DirtyWorkerInit(Setting):
    """dirty_worker_init(worker): in the dirty worker, when every app's `init` is done."""

    name = "dirty_worker_init"
    section = HOOKS
    validator = validate_callable(1)

    @staticmethod
    def default(worker: Any) -> None:
        pass


class DirtyWorkerExit(Setting):
    """dirty_worker_exit(arbiter, worker): in the dirty arbiter, when a dirty worker has ended."""

    name = "dirty_worker_exit"
    section = HOOKS
    validator = validate_callable(2)

    @staticmethod
    def default(arbiter: Any, worker: Any) -> None:
        pass
