"""`gunicorn.glogging`: the logger class, and what logging configurations build on."""

from monoceros.compat import absent
from monoceros.logging import CONFIG_DEFAULTS as CONFIG_DEFAULTS
from monoceros.logging import Logger as Logger
from monoceros.logging import SafeAtoms as SafeAtoms
from monoceros.logging import loggers as loggers

__getattr__ = absent(
    "gunicorn.glogging",
    {
        "parse_syslog_address": "set `syslog_addr`",
        "SYSLOG_FACILITIES": "see logging.handlers.SysLogHandler.facility_names",
    },
)
