"""`gunicorn.ctl`: not here."""

raise ImportError(
    "this release of Monoceros has no control interface: send the master signals", name=__name__
)
