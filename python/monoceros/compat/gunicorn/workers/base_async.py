"""`gunicorn.workers.base_async`: not here."""

raise ImportError(
    "Monoceros has no base of worker classes on greenlets: derive from "
    "gunicorn.workers.ggevent.GeventWorker, or from gunicorn.workers.base.Worker",
    name=__name__,
)
