"""What a class of somebody else's overrides in ours, and how a request takes its way through it.

The engine calls the app by itself. A class that overrides nothing which happens once per request
stays on that way. For one that does, decided once when the worker starts, each request goes

    engine -> Route -> handle -> handle_request -> the app

on the app thread that serves it, with the arguments that Gunicorn gives. The engine keeps reading,
deadlines, framing and sending; so a method is given no socket to read from, and the answer is what
the app gives to `start_response`.

A method of Gunicorn's loop, which is the engine's here, is never called; who overrides one is told
when the server starts.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Any, Final

from monoceros import _core

#: Methods that are called once per request.
PER_REQUEST: Final = ("handle", "handle_request", "handle_error")


def is_overridden(kind: type[Any], name: str) -> bool:
    """Whether a class has another method of this name than the engine's own classes."""
    method = getattr(kind, name, None)
    return method is not None and not method.__module__.startswith("monoceros.workers.")


def needs_route(kind: type[Any]) -> bool:
    """Whether requests have to take their way through methods of the class."""
    return any(is_overridden(kind, name) for name in PER_REQUEST)


def unheard(kind: type[Any], loop_methods: Mapping[str, str]) -> Iterator[str]:
    """One line for each method that the class overrides in vain.

    Args:
        kind: the worker class.
        loop_methods: methods of Gunicorn's loop, with what to override instead.
    """
    for name, instead in loop_methods.items():
        # Gunicorn's classes have them, ours do not: any such method is the operator's.
        if callable(getattr(kind, name, None)):
            yield (
                f"{kind.__module__}.{kind.__qualname__}.{name} is never called: the engine accepts "
                f"and reads connections; {instead}"
            )


@dataclass
class Connection:
    """What `ThreadWorker.handle_request` is given as `conn`, with Gunicorn's names.

    sock: stands for the client's socket; the engine reads and writes it.
    client, server: the two addresses.
    """

    cfg: Any
    sock: Any
    client: Any
    server: Any
    listener: Any


@dataclass
class Visit:
    """One request on its way through a class's methods."""

    environ: dict[str, Any]
    start_response: Callable[..., Any]
    request: Any
    connection: Connection
    #: What goes back to the engine; None until the app has been called.
    result: Any = None
    failure: Exception | None = None


class Route:
    """The engine's app, for a worker whose class overrides what happens per request.

    Used by `worker` through `visit`, which belongs to the calling thread.
    """

    def __init__(self, worker: Any, app: Callable[..., Any]) -> None:
        self._worker = worker
        self._app = app
        self._listeners = {
            str(name[1]): listener
            for listener in worker.sockets
            if isinstance(name := listener.getsockname(), tuple)
        }

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        """Raises what the app raised; RuntimeError when a method has left the app out."""
        worker = self._worker
        request = worker.observer.request
        connection = Connection(
            cfg=worker.cfg,
            sock=environ["gunicorn.socket"],
            client=request.peer_addr,
            server=(environ["SERVER_NAME"], environ["SERVER_PORT"]),
            listener=self._listeners.get(environ["SERVER_PORT"], next(iter(worker.sockets), None)),
        )
        visit = Visit(environ, start_response, request, connection)
        worker.local.visit = visit
        try:
            worker.take(visit)
        finally:
            del worker.local.visit
        if visit.failure is not None:
            raise visit.failure
        if visit.result is None:
            kind = type(worker)
            raise RuntimeError(
                f"{kind.__module__}.{kind.__qualname__} has not called the app: its handle and "
                "handle_request have to call those of the class that they override"
            )
        return visit.result

    def call_app(self, visit: Visit) -> None:
        """The innermost part: the hook, the app, and the body where it is made bit by bit."""
        worker = self._worker
        worker.observer.run_before(visit.request, visit.environ)
        write: Callable[[bytes], Any] | None = None

        def start_response(*arguments: Any, **named: Any) -> Any:
            nonlocal write
            write = visit.start_response(*arguments, **named)
            return write

        result = self._app(visit.environ, start_response)
        if isinstance(result, list | tuple | _core.FileWrapper):
            visit.result = result
            return
        # What the app does while its body is made belongs to the request, as it does in Gunicorn,
        # where handle_request sends the whole answer.
        with closing(result) if hasattr(result, "close") else nullcontext():
            for chunk in result:
                if chunk:
                    if write is None:
                        raise RuntimeError("the app has not called start_response")
                    write(chunk)
        visit.result = []
