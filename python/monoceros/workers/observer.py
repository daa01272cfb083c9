"""What happens around each request in Python: request hooks and the access log.

The engine calls an observer only when there is something to observe; without one a request costs no
Python but the app's own.
"""

import http
import inspect
import logging
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from monoceros import _core
from monoceros.logging.json_lines import utc


class Observer:
    """Runs `pre_request`, `post_request` and the access log for one worker, on the app's thread.

    An exception in `pre_request` is the engine's to handle (500); one in `post_request` or in the
    log is logged and changes nothing for the client, who has been answered.
    """

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._pre = worker.cfg.pre_request
        self._post = _with_all_arguments(worker.cfg.post_request)
        self._log = worker.log

    def before(self, request: Any) -> None:
        """The head has been parsed; the environ is not made yet."""
        self._pre(self._worker, request)

    def after(self, request: Any, environ: dict[str, Any], response: Any, seconds: float) -> None:
        """The answer has been handed to the engine, or the request has failed."""
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


def make_observer(worker: Any, *, engine_logs: bool = False) -> Observer | None:
    """An observer for this worker; None when hooks are the defaults and nothing is logged, or
    the engine writes the access log."""
    settings = worker.cfg.settings
    debug = worker.log.error_log.isEnabledFor(logging.DEBUG)
    default_hooks = settings["pre_request"].is_default and settings["post_request"].is_default
    # A logger that says nothing of itself may do anything in access().
    wants = getattr(worker.log, "wants_every_request", None)
    wanted = getattr(worker.log, "access_log_enabled", True) if wants is None else wants()
    logs = wanted and not engine_logs
    if default_hooks and not debug and not logs:
        return None
    return Observer(worker)


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
