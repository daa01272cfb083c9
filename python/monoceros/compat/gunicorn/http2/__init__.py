"""`gunicorn.http2`: not here."""

raise ImportError(
    "this release of Monoceros has no HTTP/2: a proxy in front speaks it to clients", name=__name__
)
