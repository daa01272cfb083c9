"""`gunicorn.uwsgi`: the protocol is the engine's."""

from monoceros.compat import absent

_INSTEAD = "the engine reads the protocol; set `protocol` and `uwsgi_allow_ips`"

__getattr__ = absent("gunicorn.uwsgi", dict.fromkeys(("UWSGIParser", "UWSGIRequest"), _INSTEAD))
