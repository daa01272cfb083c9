"""`gunicorn.instrument.statsd`: the logger class that sends metrics."""

from monoceros.compat import forward

__getattr__ = forward(
    "monoceros.logging.statsd",
    "this release of Monoceros sends nothing to StatsD",
)
