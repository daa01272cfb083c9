"""`gunicorn.debug`: tracing every line that runs."""

from monoceros.compat import absent

_INSTEAD = "set `spew`"

__getattr__ = absent("gunicorn.debug", dict.fromkeys(("Spew", "spew", "unspew"), _INSTEAD))
