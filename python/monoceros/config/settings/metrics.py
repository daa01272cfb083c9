"""Metrics that are sent to a statsd."""

from typing import Any

from monoceros.config.log_addresses import StatsdAddress, parse_statsd_address
from monoceros.config.setting import Setting
from monoceros.config.settings.logs import SECTION
from monoceros.config.validators import validate_bool, validate_string


def validate_statsd_address(value: Any) -> StatsdAddress | None:
    """None, the path of a unix socket, or (host, port)."""
    if isinstance(value, tuple):  # what it has validated before
        host, port = value
        value = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if isinstance(value, str) and value.startswith("/"):
        return value
    text = validate_string(value)
    return parse_statsd_address(text) if text else None


class StatsdHost(Setting):
    """Where statsd listens for metrics: HOST:PORT, or unix://PATH. Without it none are sent.

    Sent are gunicorn.requests, gunicorn.request.duration (milliseconds),
    gunicorn.request.status.STATUS, gunicorn.workers, and gunicorn.log.LEVEL for records of the
    error log from warning up. Metrics are datagrams; a statsd that is away or slow stops nobody.
    `logger_class` has to be the default or derive from monoceros.logging.statsd.Statsd.
    """

    name = "statsd_host"
    section = SECTION
    cli = ("--statsd-host",)
    meta = "STATSD_ADDR"
    validator = validate_statsd_address


class DogstatsdTags(Setting):
    """Tags for every metric, in the form of dogstatsd: tag1:value1,tag2:value2."""

    name = "dogstatsd_tags"
    section = SECTION
    cli = ("--dogstatsd-tags",)
    meta = "DOGSTATSD_TAGS"
    validator = validate_string
    default = ""


class StatsdPrefix(Setting):
    """What stands before the name of every metric; a dot is put in between."""

    name = "statsd_prefix"
    section = SECTION
    cli = ("--statsd-prefix",)
    meta = "STATSD_PREFIX"
    validator = validate_string
    default = ""


class BacklogMetric(Setting):
    """Send the metric gunicorn.backlog: connections that wait in the kernel's queue.

    A histogram's value a second, over all TCP addresses.
    """

    name = "enable_backlog_metric"
    section = SECTION
    cli = ("--enable-backlog-metric",)
    action = "store_true"
    validator = validate_bool
    default = False
