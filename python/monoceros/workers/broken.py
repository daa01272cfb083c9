"""What stands for an app that could not be loaded while somebody works on it.

With `reload` an error in the code must not end the server, because the next edit mends it. The
error log says what is wrong; clients are told where to look, and nothing of the code.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from monoceros.errors import AppImportError, format_foreign_exception
from monoceros.watching import files_of_failure

_BODY: Final = (
    b"Internal Server Error\n\n"
    b"The application could not be loaded. The error log of the server says why.\n"
)


class BrokenApp:
    """A WSGI app that answers 500. `files`: which ones have to do with the failure."""

    def __init__(self, error: BaseException) -> None:
        self.files = files_of_failure(error)

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        start_response(
            "500 Internal Server Error",
            [
                ("Content-Type", "text/plain; charset=utf-8"),
                ("Content-Length", str(len(_BODY))),
                ("Cache-Control", "no-store"),
            ],
        )
        return [_BODY]


def load(app: Any, cfg: Any, log: Any, is_news: Callable[[BaseException], bool]) -> Any:
    """The app; with `reload` a `BrokenApp` where it cannot be loaded.

    Args:
        is_news: whether this failure has not been told yet.

    Raises what the app raises, without `reload`.
    """
    try:
        return app.wsgi()
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
