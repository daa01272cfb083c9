"""`gunicorn.asgi`: not here."""

raise ImportError(
    "this release of Monoceros has no ASGI of its own: use uvicorn_worker.UvicornWorker",
    name=__name__,
)
