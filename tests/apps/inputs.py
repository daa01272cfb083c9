"""An app that plays a script of calls on wsgi.input and returns what they gave."""

import json
from collections.abc import Callable, Iterable
from typing import Any


def play(stream: Any, script: list[list[Any]]) -> list[Any]:
    """The results of `[method, argument...]` calls, as JSON values; errors by their type's name.

    `next` iterates by one line, `rest` by all that remain.
    """
    results: list[Any] = []
    for name, *arguments in script:
        try:
            if name == "next":
                value = next(iter(stream), None)
            elif name == "rest":
                value = list(stream)
            else:
                value = getattr(stream, name)(*arguments)
        except Exception as error:
            results.append(type(error).__name__)
            continue
        if isinstance(value, list):
            results.append([item.decode("latin-1") for item in value])
        else:
            results.append(None if value is None else value.decode("latin-1"))
    return results


def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    script = json.loads(environ.get("HTTP_X_SCRIPT", "[]"))
    body = json.dumps(play(environ["wsgi.input"], script)).encode()
    start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
