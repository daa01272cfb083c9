"""`gunicorn.debug`: tracing every line that runs."""

from monoceros.compat import absent

_INSTEAD = "use sys.settrace or a debugger; set `spew` where this release has it"

__getattr__ = absent("gunicorn.debug", dict.fromkeys(("Spew", "spew", "unspew"), _INSTEAD))
