"""What the tests of the logs share: settings with defaults, and a logging module put back after.

The state is kept by hand here, so that a fault in the product's own keeping of it shows.
"""

import logging
import os
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

COMBINED = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'

Settings = Callable[..., SimpleNamespace]


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    names = ("", "gunicorn.error", "gunicorn.access", "shop", "shop.cart")
    kept = []
    for name in names:
        log = logging.getLogger(name)
        kept.append((log, log.level, log.propagate, log.disabled, log.handlers[:], log.filters[:]))
    yield
    for log, level, propagate, disabled, handlers, filters in kept:
        for handler in log.handlers:
            if handler not in handlers:
                handler.close()
        log.setLevel(level)
        log.propagate = propagate
        log.disabled = disabled
        log.handlers[:] = handlers
        log.filters[:] = filters


@pytest.fixture
def settings() -> Settings:
    """Makes a configuration from Gunicorn's defaults and some settings."""

    def make(**changes: Any) -> SimpleNamespace:
        values: dict[str, Any] = {
            "loglevel": "info",
            "errorlog": "-",
            "accesslog": None,
            "access_log_format": COMBINED,
            "capture_output": False,
            "logconfig": None,
            "logconfig_dict": {},
            "logconfig_json": None,
            "syslog": False,
            "syslog_addr": "udp://127.0.0.1:9",
            "syslog_prefix": None,
            "syslog_facility": "user",
            "proc_name": "shop",
            "disable_redirect_access_to_syslog": False,
            "access_log_json": False,
            "user": os.geteuid(),
            "group": os.getegid(),
        }
        unknown = changes.keys() - values.keys()
        assert not unknown, unknown
        return SimpleNamespace(**{**values, **changes})

    return make
