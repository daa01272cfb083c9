"""What stands for an app that could not be loaded while somebody works on it.

With `reload` an error in the code must not end the server, because the next edit mends it. The
error log says what is wrong; clients are told where to look, and nothing of the code. It stands for
WSGI and ASGI apps alike, because nobody knows what the app would have been.
"""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Final

from monoceros.errors import AppImportError, format_foreign_exception
from monoceros.watching import files_of_failure
from monoceros.workers.choice import class_for

_BODY: Final = (
    b"Internal Server Error\n\n"
    b"The application could not be loaded. The error log of the server says why.\n"
)


_STATUS: Final = 500
_FIELDS: Final = [
    ("Content-Type", "text/plain; charset=utf-8"),
    ("Content-Length", str(len(_BODY))),
    ("Cache-Control", "no-store"),
]


class BrokenApp:
    """Answers 500, as a WSGI app when it is called and as an ASGI app by `asgi`.

    `files`: which ones have to do with the failure.
    """

    #: It goes with every worker class.
    is_broken: ClassVar[bool] = True

    def __init__(self, error: BaseException) -> None:
        self.files = files_of_failure(error)

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        start_response(f"{_STATUS} Internal Server Error", list(_FIELDS))
        return [_BODY]

    async def asgi(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """The same answer; a WebSocket is refused."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})
            return
        fields = [(name.lower().encode(), value.encode()) for name, value in _FIELDS]
        await send({"type": "http.response.start", "status": _STATUS, "headers": fields})
        await send({"type": "http.response.body", "body": _BODY})


def load(
    app: Any,
    cfg: Any,
    log: Any,
    is_news: Callable[[BaseException], bool],
    worker_class: type[Any],
) -> Any:
    """The app; with `reload` a `BrokenApp` where it cannot be loaded.

    Args:
        is_news: whether this failure has not been told yet.
        worker_class: an app that no worker of this deployment serves counts as one that cannot be
            loaded.

    Raises what the app raises, and AppImportError for one that nobody serves, without `reload`.
    """
    try:
        found = app.wsgi()
        class_for(worker_class, cfg, found)
        return found
    except Exception as error:
        if not cfg.reload:
            raise
        if is_news(error):
            told = isinstance(error, AppImportError)
            log.error(
                "The app cannot be loaded; until a file of it changes, requests get 500:\n%s",
                error if told else format_foreign_exception(error),
            )
        app.callable = BrokenApp(error)
        return app.callable
