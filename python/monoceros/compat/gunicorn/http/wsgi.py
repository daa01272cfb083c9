"""`gunicorn.http.wsgi`: the gateway to WSGI apps, which is the engine's here.

`Response` and `FileWrapper` are for isinstance and annotations. Gunicorn's way to change the head
of every response, another class in their place, is refused instead of being without effect.
"""

import logging
import re
from typing import Any, Final, NoReturn

from monoceros import SERVER as SERVER
from monoceros import SERVER_SOFTWARE as SERVER_SOFTWARE
from monoceros import _core
from monoceros.compat import absent

BLKSIZE: Final = 0x3FFFFFFF
HEADER_VALUE_RE: Final = re.compile(r"[ \t\x21-\x7e\x80-\xff]*")

log = logging.getLogger("gunicorn.error")

FileWrapper = _core.FileWrapper

_INSTEAD: Final = (
    "the engine writes response heads. To change the Server field set gunicorn.SERVER in the "
    'config file ("" leaves it out); an app that sends Server or Date itself keeps them'
)


class _ResponseMeta(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _core.Response)

    def __setattr__(cls, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"gunicorn.http.wsgi.Response.{name} cannot be replaced: {_INSTEAD}")


class Response(metaclass=_ResponseMeta):
    """What `post_request` and loggers are given is an instance of this class."""

    def __init_subclass__(cls, **kwargs: Any) -> NoReturn:
        raise TypeError(f"gunicorn.http.wsgi.Response cannot be derived from: {_INSTEAD}")

    def __init__(self, *arguments: Any, **named: Any) -> None:
        raise TypeError(f"gunicorn.http.wsgi.Response cannot be made: {_INSTEAD}")


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
