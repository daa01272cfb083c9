"""`gunicorn.workers.gasgi`: the worker class for ASGI apps."""

from monoceros.compat import forward

__getattr__ = forward(
    "monoceros.workers.asgi",
    "this release of Monoceros has no worker class for ASGI: use uvicorn_worker.UvicornWorker",
)
