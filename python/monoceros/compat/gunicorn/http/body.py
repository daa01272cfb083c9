"""`gunicorn.http.body`: request bodies.

`Body` is what `wsgi.input` is: for isinstance and annotations.
"""

from monoceros import _core
from monoceros.compat import absent

Body = _core.Input

_INSTEAD = "the engine reads request bodies; apps find them whole in `wsgi.input`"

__getattr__ = absent(
    "gunicorn.http.body", dict.fromkeys(("ChunkedReader", "LengthReader", "EOFReader"), _INSTEAD)
)
