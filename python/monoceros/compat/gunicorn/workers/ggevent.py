"""`gunicorn.workers.ggevent`: worker classes on gevent."""

from monoceros.compat import forward

__getattr__ = forward(
    "monoceros.workers.ggevent",
    "this release of Monoceros has no worker class on gevent: use 'gthread'",
    "monoceros.workers.gevent_pywsgi",
)
