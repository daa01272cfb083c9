"""`gunicorn.workers.ggevent`: worker classes on gevent."""

from monoceros.compat import forward

__getattr__ = forward("monoceros.workers.ggevent", "monoceros.workers.gevent_pywsgi")
