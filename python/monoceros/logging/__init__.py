"""Error log and access log. See `monoceros.logging.logger` for the rules."""

from monoceros.config.log_addresses import parse_syslog_address
from monoceros.logging.atoms import SafeAtoms
from monoceros.logging.logconfig import CONFIG_DEFAULTS
from monoceros.logging.logger import Logger, reconfigure
from monoceros.logging.transaction import loggers

__all__ = [
    "CONFIG_DEFAULTS",
    "Logger",
    "SafeAtoms",
    "loggers",
    "parse_syslog_address",
    "reconfigure",
]
