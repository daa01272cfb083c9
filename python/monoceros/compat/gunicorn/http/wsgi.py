"""`gunicorn.http.wsgi`: the gateway to WSGI apps, which is the engine's here.

`Response` is what hooks are given, for isinstance and annotations. Deployments put a class of their
own in its place, or another `default_headers`, to hide or change the field Server: that works. The
engine asks it once, when a worker starts (`server_field`); what else such a class changes would be
without effect and is refused.
"""

import logging
import re
from types import SimpleNamespace
from typing import Any, Final, NoReturn

import gunicorn  # type: ignore[import-untyped]

from monoceros import SERVER as SERVER
from monoceros import SERVER_SOFTWARE as SERVER_SOFTWARE
from monoceros import _core
from monoceros.compat import absent
from monoceros.errors import ConfigError

BLKSIZE: Final = 0x3FFFFFFF
HEADER_VALUE_RE: Final = re.compile(r"[ \t\x21-\x7e\x80-\xff]*")

log = logging.getLogger("gunicorn.error")

FileWrapper = _core.FileWrapper

_OURS: Final = SERVER

_INSTEAD: Final = (
    "the engine writes responses. default_headers may hide or change the field Server, and "
    "gunicorn.SERVER in the config file does the same; an app that sends Server or Date itself "
    "keeps them"
)


class _ResponseMeta(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _core.Response) or type.__instancecheck__(cls, instance)

    def __setattr__(cls, name: str, value: Any) -> None:
        if name != "default_headers":
            raise AttributeError(
                f"gunicorn.http.wsgi.Response.{name} cannot be replaced: {_INSTEAD}"
            )
        super().__setattr__(name, value)


class Response(metaclass=_ResponseMeta):
    """Stands for responses; what `post_request` and loggers are given counts as an instance."""

    def __init__(self, req: Any = None, sock: Any = None, cfg: Any = None) -> None:
        self.req, self.sock, self.cfg = req, sock, cfg
        # Whichever of the two names has been replaced counts.
        self.version = SERVER if SERVER != _OURS else str(gunicorn.SERVER)
        self.status, self.status_code = "200 OK", 200
        self.headers: list[tuple[str, str]] = []
        self.headers_sent = self.chunked = self.must_close = self.upgrade = False
        self.response_length: int | None = None
        self.sent = 0

    def should_close(self) -> bool:
        """Of the example: no."""
        return False

    def is_chunked(self) -> bool:
        """Of the example: no."""
        return False

    def default_headers(self) -> list[str]:
        """The lines of a head that the server adds, as Gunicorn's subclasses know them."""
        return [
            "HTTP/1.1 200 OK\r\n",
            f"Server: {self.version}\r\n",
            "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n",
            "Connection: keep-alive\r\n",
        ]


_ORIGINAL: Final = Response

#: The request whose response a replaced class is asked about.
_EXAMPLE: Final = SimpleNamespace(method="GET", version=(1, 1), headers=[])


def server_field() -> str:
    """The value of the field Server, "" for none, after what a deployment has replaced.

    Raises ConfigError when that wants to change more.
    """
    replaced = sorted(
        name
        for kind in Response.__mro__
        if kind not in (_ORIGINAL, object)
        for name in vars(kind)
        if name != "default_headers" and not name.startswith("__")
    )
    lines = list(Response(_EXAMPLE).default_headers())
    others = [line.partition(":")[0].lower() for line in lines]
    others = [name for name in others if name != "server"]
    if replaced or others != ["http/1.1 200 ok\r\n", "date", "connection"]:
        what = ", ".join(replaced) or "the lines of default_headers"
        raise ConfigError(f"gunicorn.http.wsgi.Response has another {what}: {_INSTEAD}")
    values = [line.partition(":")[2] for line in lines if line.lower().startswith("server:")]
    return values[0].strip() if values else ""


def create(*arguments: Any, **named: Any) -> NoReturn:
    """Gunicorn's maker of environs; raises RuntimeError with what to do instead."""
    raise RuntimeError(
        "gunicorn.http.wsgi.create cannot be called: the engine makes environs. A worker class "
        "that derives from SyncWorker or ThreadWorker calls super().handle_request instead"
    )


__getattr__ = absent(
    "gunicorn.http.wsgi",
    dict.fromkeys(
        ("base_environ", "default_environ", "proxy_environ", "WSGIErrorsWrapper"),
        "the engine makes environs; wrap the app to change them",
    ),
)
