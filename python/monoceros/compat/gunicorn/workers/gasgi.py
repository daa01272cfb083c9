"""`gunicorn.workers.gasgi`: not here."""

raise ImportError(
    "this release of Monoceros has no worker class for ASGI: use uvicorn_worker.UvicornWorker",
    name=__name__,
)
