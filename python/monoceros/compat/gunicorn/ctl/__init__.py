"""`gunicorn.ctl`: not here."""

raise ImportError(
    "this release of Monoceros has no a control interface: send the master signals", name=__name__
)
