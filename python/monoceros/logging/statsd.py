"""A logger that sends metrics to statsd as well, in Gunicorn's names.

The rules of this module:

- A metric is one datagram, sent at once or not at all (see `datagrams`). What goes wrong is one
  warning a minute, whose own count is not sent.
- The host's name is resolved when the settings come into force, never while requests are served.
- Names are `gunicorn.*` behind the operator's prefix; dashboards know them.
"""

import logging
import re
import socket
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from monoceros.config.log_addresses import StatsdAddress
from monoceros.errors import ConfigError
from monoceros.logging.datagrams import Datagrams
from monoceros.logging.logger import Logger
from monoceros.logging.transaction import transaction

#: Seconds between two warnings about metrics that cannot be sent.
REPORT_INTERVAL: Final = 60.0

#: What `extra` of a log record needs, so that it is a metric: its name, value and type.
METRIC_VAR: Final = "metric"
VALUE_VAR: Final = "value"
MTYPE_VAR: Final = "mtype"
GAUGE_TYPE: Final = "gauge"
COUNTER_TYPE: Final = "counter"
HISTOGRAM_TYPE: Final = "histogram"
TIMER_TYPE: Final = "timer"

#: The counter of records of a level.
_COUNTED: Final = {
    logging.CRITICAL: "gunicorn.log.critical",
    logging.ERROR: "gunicorn.log.error",
    logging.WARNING: "gunicorn.log.warning",
}


class Statsd(Logger):
    """Logger with metrics: chosen by itself when `statsd_host` is set and `logger_class` is not.

    Raises ConfigError as Logger does, and when the host of `statsd_host` is not known.
    """

    sends_metrics: ClassVar[bool] = True

    #: Stands before every name; ends in a dot where it is not empty.
    prefix: str = ""
    #: The tags of dogstatsd, or "".
    dogstatsd_tags: str = ""
    #: What metrics go through; None without an address.
    sock: Datagrams | None = None

    _next_report = 0.0
    _unsent = 0
    # Where `sock` leads.
    _target: StatsdAddress | None = None

    def setup(self, cfg: Any) -> None:
        """As Logger's. Raises ConfigError when the host of `statsd_host` is not known."""
        with transaction(self) as change:
            super().setup(cfg)
            self.prefix = re.sub(r"^(.+[^.]+)\.*$", r"\g<1>.", cfg.statsd_prefix or "")
            self.dogstatsd_tags = cfg.dogstatsd_tags or ""
            if self._target != cfg.statsd_host:
                if self.sock is not None:
                    change.on_commit(self.sock.close)
                self.sock = _channel(cfg.statsd_host)
                self._target = cfg.statsd_host

    def critical(self, msg: object, *args: object, **kwargs: Any) -> None:
        kwargs.setdefault("stacklevel", 3)
        super().critical(msg, *args, **kwargs)
        self.increment("gunicorn.log.critical", 1)

    def error(self, msg: object, *args: object, **kwargs: Any) -> None:
        kwargs.setdefault("stacklevel", 3)
        super().error(msg, *args, **kwargs)
        self.increment("gunicorn.log.error", 1)

    def warning(self, msg: object, *args: object, **kwargs: Any) -> None:
        kwargs.setdefault("stacklevel", 3)
        super().warning(msg, *args, **kwargs)
        self.increment("gunicorn.log.warning", 1)

    def exception(self, msg: object, *args: object, **kwargs: Any) -> None:
        kwargs.setdefault("stacklevel", 3)
        super().exception(msg, *args, **kwargs)
        self.increment("gunicorn.log.exception", 1)

    def info(self, msg: object, *args: object, **kwargs: Any) -> None:
        kwargs.setdefault("stacklevel", 4)
        self._record(logging.INFO, msg, args, kwargs)

    def debug(self, msg: object, *args: object, **kwargs: Any) -> None:
        kwargs.setdefault("stacklevel", 4)
        self._record(logging.DEBUG, msg, args, kwargs)

    def log(self, lvl: int | str, msg: object, *args: object, **kwargs: Any) -> None:
        """A record of the error log; with `metric`, `value` and `mtype` in `extra` a metric, too.

        Without a message it is only the metric.
        """
        kwargs.setdefault("stacklevel", 4)
        self._record(lvl, msg, args, kwargs)
        level = self.LOG_LEVELS.get(lvl.lower(), logging.INFO) if isinstance(lvl, str) else lvl
        counter = _COUNTED.get(level)
        if counter is not None and msg:
            failed = level == logging.ERROR and kwargs.get("exc_info")
            self.increment("gunicorn.log.exception" if failed else counter, 1)

    def _record(
        self, lvl: int | str, msg: object, args: tuple[object, ...], kwargs: dict[str, Any]
    ) -> None:
        self._send_of(kwargs.get("extra"))
        if msg:
            super().log(lvl, msg, *args, **kwargs)

    def _send_of(self, extra: Any) -> None:
        if not isinstance(extra, Mapping):
            return
        name, value, kind = (extra.get(key) for key in (METRIC_VAR, VALUE_VAR, MTYPE_VAR))
        if not name or value is None:
            return
        if kind == GAUGE_TYPE:
            self.gauge(name, value)
        elif kind == COUNTER_TYPE:
            self.increment(name, value)
        elif kind == HISTOGRAM_TYPE:
            self.histogram(name, value)
        elif kind == TIMER_TYPE:
            self.timer(name, value)

    def access(self, resp: Any, req: Any, environ: Mapping[str, Any], request_time: Any) -> None:
        """The access line, and the metrics of the request: also where no access log is written."""
        super().access(resp, req, environ, request_time)
        status = resp.status
        if isinstance(status, bytes):
            status = status.decode("latin-1")
        if isinstance(status, str):
            status = status.split(None, 1)[0]
        seconds = getattr(request_time, "days", 0) * 86_400 + request_time.seconds
        self.timer("gunicorn.request.duration", seconds * 1000 + request_time.microseconds / 1000)
        self.increment("gunicorn.requests", 1)
        self.increment(f"gunicorn.request.status.{int(status)}", 1)

    def gauge(self, name: str, value: float) -> None:
        """Send what something amounts to now."""
        self._sock_send(f"{self.prefix}{name}:{value}|g")

    def increment(self, name: str, value: float, sampling_rate: float = 1.0) -> None:
        """Send that something has happened `value` times."""
        self._sock_send(f"{self.prefix}{name}:{value}|c|@{sampling_rate}")

    def decrement(self, name: str, value: float, sampling_rate: float = 1.0) -> None:
        """Take back what `increment` has sent."""
        self._sock_send(f"{self.prefix}{name}:-{value}|c|@{sampling_rate}")

    def timer(self, name: str, value: float) -> None:
        """Send how long something took, milliseconds."""
        self._sock_send(f"{self.prefix}{name}:{value}|ms")

    def histogram(self, name: str, value: float) -> None:
        """Send one value of many, whose distribution counts."""
        self._sock_send(f"{self.prefix}{name}:{value}|h")

    def _sock_send(self, msg: str | bytes) -> None:
        """Send one metric, without the tags; every metric comes through here."""
        if self.sock is None:
            return
        data = msg.encode("utf-8", "replace") if isinstance(msg, str) else msg
        if self.dogstatsd_tags:
            data += b"|#" + self.dogstatsd_tags.encode("utf-8", "replace")
        try:
            self.sock.send(data)
        except OSError as error:
            self._unsent += 1
            if time.monotonic() >= self._next_report:
                self._next_report = time.monotonic() + REPORT_INTERVAL
                unsent, self._unsent = self._unsent, 0
                Logger.warning(
                    self,
                    "statsd at %s does not take metrics: %s; not sent: %d",
                    _name(self._target),
                    error.strerror or error,
                    unsent,
                )


def _channel(address: StatsdAddress | None) -> Datagrams | None:
    if address is None:
        return None
    if isinstance(address, str):
        return Datagrams(socket.AF_UNIX, address)
    try:
        found = socket.getaddrinfo(*address, 0, socket.SOCK_DGRAM)
    except OSError as error:
        raise ConfigError(f"statsd_host: {_name(address)} cannot be used: {error}") from error
    # As ever, a name is first of all one of IPv4.
    found.sort(key=lambda each: each[0] != socket.AF_INET)
    return Datagrams(found[0][0], found[0][4])


def _name(address: StatsdAddress | None) -> str:
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else f"unix:{address}"
