"""`gunicorn.workers.base`: the base of all worker classes."""

from monoceros.workers.base import Worker as Worker
