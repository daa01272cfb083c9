"""An app that behaves as its request says: `X-Behaviour`, a JSON object.

- `status`: the status line that it gives;
- `pieces`: sizes of the pieces of its body;
- `how`: list, tuple, generator, write, or file;
- `length`: the Content-Length that it gives, null for none;
- `fail`: before which piece it fails, null for never; for a list or tuple it fails at once.
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_ALPHABET = b"abcdefghijklmnopqrstuvwxyz0123456789" * 1000


def content(pieces: list[int]) -> list[bytes]:
    """The pieces of a body: no two neighbours begin alike."""
    return [_ALPHABET[number % 36 : number % 36 + size] for number, size in enumerate(pieces)]


class OnPurpose(RuntimeError):
    """What the app was told to do."""


def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    meant = json.loads(environ.get("HTTP_X_BEHAVIOUR", '{"status": "200 OK", "pieces": []}'))
    environ["wsgi.input"].read()
    length = meant.get("length")
    fields = [] if length is None else [("Content-Length", str(length))]
    pieces = content(meant["pieces"])
    fail = meant.get("fail")
    how = meant.get("how", "list")
    if how == "generator":
        start(meant["status"], fields)
        return generated(pieces, fail)
    if how == "write":
        write = start(meant["status"], fields)
        for piece in generated(pieces, fail):
            write(piece)
        return []
    if fail is not None:
        raise OnPurpose("failing on purpose")
    start(meant["status"], fields)
    if how == "file":
        file = tempfile.TemporaryFile()  # noqa: SIM115 the server closes it
        file.write(b"".join(pieces))
        file.seek(0)
        return environ["wsgi.file_wrapper"](file)
    return tuple(pieces) if how == "tuple" else pieces


def generated(pieces: list[bytes], fail: int | None) -> Iterator[bytes]:
    for number, piece in enumerate(pieces):
        if number == fail:
            raise OnPurpose("failing on purpose")
        yield piece
    if fail is not None and fail >= len(pieces):
        raise OnPurpose("failing on purpose")
