"""`gunicorn.instrument.statsd`: the logger class that sends metrics."""

from monoceros.logging.statsd import Statsd as Statsd
