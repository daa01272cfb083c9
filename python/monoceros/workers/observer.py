"""What happens around each request in Python: request hooks and the access log.

The engine calls an observer only when there is something to observe; without one a request costs no
Python but the app's own.
"""

import http
import inspect
import itertools
import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from monoceros import _core
from monoceros.logging.json_lines import utc
from monoceros.workers.changes import Before, apply


class Observer:
    """Runs `pre_request`, `post_request` and the access log for one worker, on the app's thread.

    Where the class of the worker overrides what happens per request (`overrides`), the hook runs
    in there, by `run_before`.

    An exception in `pre_request` is the engine's to handle (500); one in `post_request` or in the
    log is logged and changes nothing for the client, who has been answered.
    """

    def __init__(self, worker: Any, *, routed: bool = False) -> None:
        self._worker = worker
        self._pre = worker.cfg.pre_request
        self._routed = routed
        #: The hook may change the request, and has to be looked after.
        self._changing = not worker.cfg.settings["pre_request"].is_default
        #: The hook is given the response.
        self._telling = not worker.cfg.settings["post_request"].is_default
        self._local = threading.local()
        # Its next number is drawn whole by whichever thread.
        self._numbers = itertools.count(worker.nr + 1)
        self._post = _with_all_arguments(worker.cfg.post_request)
        self._log = worker.log

    def before(self, request: Any) -> None:
        """The head has been parsed; the environ is not made yet."""
        request.cfg = self._worker.cfg
        self._local.request = request
        if not self._routed:
            self._local.changes = self._run_hook(request)

    @property
    def request(self) -> Any:
        """The request that this thread serves."""
        return self._local.request

    def run_before(self, request: Any, environ: dict[str, Any]) -> None:
        """The hook, once the environ is there."""
        apply(self._run_hook(request), environ)

    def _run_hook(self, request: Any) -> dict[str, str | None]:
        before = Before(request) if self._changing else None
        self._pre(self._worker, request)
        self._worker.nr = next(self._numbers)
        return before.changes(request) if before else {}

    def wrap(self, app: Callable[..., Any]) -> Callable[..., Any]:
        """The app as the engine has to call it: with what the hook has changed."""
        if self._routed or not self._changing:
            return app

        def changed(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            if self._local.changes:
                apply(self._local.changes, environ)
            return app(environ, start_response)

        return changed

    def after(self, request: Any, environ: dict[str, Any], response: Any, seconds: float) -> None:
        """The answer has been handed to the engine, or the request has failed."""
        response.cfg = self._worker.cfg
        if self._telling:
            response.response_length = _declared_length(response.headers)
        try:
            self._post(self._worker, request, environ, response)
        except Exception:
            self._log.exception("Exception in post_request hook")
        try:
            self._log.access(response, request, environ, timedelta(seconds=seconds))
        except Exception:
            self._log.exception("Exception while writing the access log")

    def refused(self, environ: dict[str, Any], status: int) -> None:
        """The engine has answered a request itself; no hook sees it, the access log does."""
        try:
            phrase = http.HTTPStatus(status).phrase
        except ValueError:
            phrase = ""
        response = SimpleNamespace(
            status=f"{status} {phrase}".strip(), status_code=status, headers=[], sent=0
        )
        request = SimpleNamespace(
            method=environ["REQUEST_METHOD"], uri=environ["RAW_URI"], headers=[]
        )
        try:
            self._log.access(response, request, environ, timedelta(0))
        except Exception:
            self._log.exception("Exception while writing the access log")


#: What the engine needs to write access lines by itself: a descriptor, the format (None: JSON), the
#: time of a second as lines show it, and who an environ's Basic credentials name.
Access = tuple[int, str | None, Callable[[int], str], Callable[[dict[str, Any]], str | None]]


def make_access(worker: Any) -> Access | None:
    """How the engine writes access lines by itself; None where Python has a say in them."""
    log = worker.log
    if not getattr(log, "access_log_enabled", False) or not hasattr(log, "direct_access_handler"):
        return None
    text = None if worker.cfg.access_log_json else worker.cfg.access_log_format
    handler = log.direct_access_handler()
    if handler is None or not log.has_standard_access_lines():
        return None
    if not log.access_log.isEnabledFor(logging.INFO):
        return None
    if text is not None and not _core.writes_access_format(text):
        return None
    try:
        descriptor: int = handler.stream.fileno()
    except (AttributeError, OSError, ValueError):  # a stream that is no file
        return None
    now: Callable[[int], str] = utc if text is None else lambda _second: log.now()
    return descriptor, text, now, log._get_user


def make_observer(
    worker: Any, *, engine_logs: bool = False, routed: bool = False
) -> Observer | None:
    """An observer for this worker; None when hooks are the defaults and nothing is logged, or
    the engine writes the access log, and no request is `routed` through the worker's class."""
    settings = worker.cfg.settings
    debug = worker.log.error_log.isEnabledFor(logging.DEBUG)
    default_hooks = settings["pre_request"].is_default and settings["post_request"].is_default
    # A logger that is not ours may do anything in access().
    wants = getattr(worker.log, "wants_every_request", None)
    logs = not engine_logs and (wants is None or wants())
    if default_hooks and not debug and not logs and not routed:
        return None
    return Observer(worker, routed=routed)


def _declared_length(fields: Any) -> int | None:
    """The Content-Length that the app has given; None without one."""
    for name, value in fields:
        if name.lower() == "content-length" and value.strip().isdecimal():
            return int(value)
    return None


def _with_all_arguments(hook: Callable[..., Any]) -> Callable[[Any, Any, Any, Any], Any]:
    """`post_request` takes two, three or four arguments; call each with what it takes."""
    try:
        count = sum(
            1
            for p in inspect.signature(hook).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        )
    except (TypeError, ValueError):
        count = 4
    if count == 2:
        return lambda worker, request, _environ, _response: hook(worker, request)
    if count == 3:
        return lambda worker, request, environ, _response: hook(worker, request, environ)
    return hook
