"""`gunicorn.http.message`: requests as hooks and loggers see them.

`Request` is what `pre_request` and loggers are given: for isinstance and annotations. The engine
makes them, nobody else can.
"""

from monoceros import _core
from monoceros.compat import absent

Request = _core.Request
Message = _core.Request

_INSTEAD = "the engine reads requests; the settings limit_request_* bound them"

__getattr__ = absent(
    "gunicorn.http.message",
    dict.fromkeys(
        (
            "MAX_REQUEST_LINE",
            "MAX_HEADERS",
            "DEFAULT_MAX_HEADERFIELD_SIZE",
            "TOKEN_RE",
            "METHOD_BADCHAR_RE",
            "VERSION_RE",
            "PPCommand",
            "PPFamily",
            "PPProtocol",
            "HeaderPolicy",
        ),
        _INSTEAD,
    ),
)
