"""`gunicorn.http.parser`: there is none of Python's here."""

from monoceros.compat import absent

_INSTEAD = "the engine reads requests; derive a worker class from gunicorn.workers.base.Worker and \
bring a parser (h11, say) to read them in Python"

__getattr__ = absent("gunicorn.http.parser", dict.fromkeys(("Parser", "RequestParser"), _INSTEAD))
