"""What a `pre_request` hook has changed in a request, for the environ.

Gunicorn makes the environ after the hook, from the request's attributes; so hooks add header
fields, rewrite paths, set the scheme. The engine makes it from what it has read, and what the hook
has changed is put into it afterwards.
"""

from typing import Any
from urllib.parse import unquote_to_bytes

#: Fields whose keys have no HTTP_ (PEP 3333, "environ Variables").
_WITHOUT_PREFIX = {"CONTENT-TYPE": "CONTENT_TYPE", "CONTENT-LENGTH": "CONTENT_LENGTH"}

_ATTRIBUTES = ("method", "uri", "path", "query", "scheme")


class Before:
    """A request as it was before the hook."""

    def __init__(self, request: Any) -> None:
        self._fields = list(request.headers)
        self._values = [getattr(request, name) for name in _ATTRIBUTES]

    def changes(self, request: Any) -> dict[str, str | None]:
        """Keys of the environ that have another value now, None for those that are no more."""
        changed: dict[str, str | None] = {}
        for name, old in zip(_ATTRIBUTES, self._values, strict=True):
            new = getattr(request, name)
            if new != old:
                changed |= _of_attribute(name, new)
        if request.headers != self._fields:
            old_fields, new_fields = _joined(self._fields), _joined(request.headers)
            for key in old_fields.keys() | new_fields.keys():
                if old_fields.get(key) != new_fields.get(key):
                    changed[key] = new_fields.get(key)
        return changed


def apply(changes: dict[str, str | None], environ: dict[str, Any]) -> None:
    """Put changes into an environ."""
    for key, value in changes.items():
        if key == "PATH_INFO" and value is not None:
            environ[key] = value.removeprefix(environ.get("SCRIPT_NAME", ""))
        elif value is None:
            environ.pop(key, None)
        else:
            environ[key] = value


def _of_attribute(name: str, value: str) -> dict[str, str | None]:
    match name:
        case "method":
            return {"REQUEST_METHOD": value}
        case "uri":
            return {"RAW_URI": value}
        case "query":
            return {"QUERY_STRING": value}
        case "scheme":
            return {"wsgi.url_scheme": value}
        case _:
            return {"PATH_INFO": unquote_to_bytes(value).decode("latin-1")}


def _joined(fields: list[tuple[str, Any]]) -> dict[str, str]:
    """The environ's keys of these fields; values of one name are joined by commas, cookies by
    semicolons (RFC 6265, 5.4)."""
    found: dict[str, str] = {}
    for name, value in fields:
        upper = str(name).upper()
        key = _WITHOUT_PREFIX.get(upper) or f"HTTP_{upper.replace('-', '_')}"
        between = "; " if upper == "COOKIE" else ","
        found[key] = f"{found[key]}{between}{value}" if key in found else str(value)
    return found
