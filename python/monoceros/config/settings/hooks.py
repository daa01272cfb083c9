"""Hooks: functions of the operator that the server calls.

A hook is set in a config file, as a function of the setting's name or as the import path of one.
Each default does nothing, but for that of `pre_request`. Which process calls a hook and when is
said beside it; hooks are called one at a time and must come back soon.
"""

from typing import Any

from monoceros.config.setting import Setting
from monoceros.config.validators import validate_callable, validate_post_request

SECTION = "Server Hooks"


class OnStarting(Setting):
    """on_starting(server): in the arbiter, before it listens."""

    name = "on_starting"
    section = SECTION
    validator = validate_callable(1)

    @staticmethod
    def default(server: Any) -> None:
        pass


class OnReload(Setting):
    """on_reload(server): in the arbiter, on SIGHUP, before new workers are started."""

    name = "on_reload"
    section = SECTION
    validator = validate_callable(1)

    @staticmethod
    def default(server: Any) -> None:
        pass


class WhenReady(Setting):
    """when_ready(server): in the arbiter, when it listens and before it forks the first worker."""

    name = "when_ready"
    section = SECTION
    validator = validate_callable(1)

    @staticmethod
    def default(server: Any) -> None:
        pass


class PreFork(Setting):
    """pre_fork(server, worker): before a worker is forked, in the process that forks it."""

    name = "pre_fork"
    section = SECTION
    validator = validate_callable(2)

    @staticmethod
    def default(server: Any, worker: Any) -> None:
        pass


class PostFork(Setting):
    """post_fork(server, worker): in the worker, first of all, before the app is loaded."""

    name = "post_fork"
    section = SECTION
    validator = validate_callable(2)

    @staticmethod
    def default(server: Any, worker: Any) -> None:
        pass


class PostWorkerInit(Setting):
    """post_worker_init(worker): in the worker, when the app has been loaded."""

    name = "post_worker_init"
    section = SECTION
    validator = validate_callable(1)

    @staticmethod
    def default(worker: Any) -> None:
        pass


class WorkerInt(Setting):
    """worker_int(worker): in the worker, on SIGINT and SIGQUIT."""

    name = "worker_int"
    section = SECTION
    validator = validate_callable(1)

    @staticmethod
    def default(worker: Any) -> None:
        pass


class WorkerAbort(Setting):
    """worker_abort(worker): in the worker, on SIGABRT: it was stuck and is to be killed."""

    name = "worker_abort"
    section = SECTION
    validator = validate_callable(1)

    @staticmethod
    def default(worker: Any) -> None:
        pass


class PreRequest(Setting):
    """pre_request(worker, req): in the worker, before the app is called.

    The default logs method and path at the level debug.
    """

    name = "pre_request"
    section = SECTION
    validator = validate_callable(2)

    @staticmethod
    def default(worker: Any, req: Any) -> None:
        worker.log.debug("%s %s", req.method, req.path)


class PostRequest(Setting):
    """post_request(worker, req, environ, resp): in the worker, after each request.

    It may leave out resp, or environ and resp. It is called after failed requests too.
    """

    name = "post_request"
    section = SECTION
    validator = validate_post_request

    @staticmethod
    def default(worker: Any, req: Any, environ: Any, resp: Any) -> None:
        pass


class ChildExit(Setting):
    """child_exit(server, worker): in the arbiter, when a worker has ended."""

    name = "child_exit"
    section = SECTION
    validator = validate_callable(2)

    @staticmethod
    def default(server: Any, worker: Any) -> None:
        pass


class WorkerExit(Setting):
    """worker_exit(server, worker): in the worker, the last that it does."""

    name = "worker_exit"
    section = SECTION
    validator = validate_callable(2)

    @staticmethod
    def default(server: Any, worker: Any) -> None:
        pass


class NumWorkersChanged(Setting):
    """nworkers_changed(server, new_value, old_value): in the arbiter.

    It is called when the number of workers is set, at the start too, where old_value is None.
    """

    name = "nworkers_changed"
    section = SECTION
    validator = validate_callable(3)

    @staticmethod
    def default(server: Any, new_value: Any, old_value: Any) -> None:
        pass


class OnExit(Setting):
    """on_exit(server): in the arbiter, the last that it does."""

    name = "on_exit"
    section = SECTION
    validator = validate_callable(1)

    @staticmethod
    def default(server: Any) -> None:
        pass
