"""Logs that go to syslog."""

from logging.handlers import SysLogHandler
from typing import Any

from monoceros.config.log_addresses import parse_syslog_address
from monoceros.config.setting import Setting
from monoceros.config.settings.logs import SECTION
from monoceros.config.validators import validate_bool, validate_choice, validate_string

#: Facilities of syslog by name (RFC 5424, 6.2.1, under the names that syslog.h has).
FACILITIES = dict(SysLogHandler.facility_names)

_validate_facility = validate_choice(*sorted(FACILITIES))


def validate_syslog_address(value: Any) -> str:
    """The text of an address that `parse_syslog_address` can read."""
    text = validate_string(value) or ""
    parse_syslog_address(text)
    return text


class SyslogTo(Setting):
    """Where syslog listens: udp://HOST:PORT, tcp://HOST:PORT, or unix://PATH.

    Behind PATH #dgram or #stream says which kind of socket it is; without it datagrams are tried
    first. Over tcp each record is one line: a line feed within it becomes #012.
    """

    name = "syslog_addr"
    section = SECTION
    cli = ("--log-syslog-to",)
    meta = "SYSLOG_ADDR"
    validator = validate_syslog_address
    default = "udp://localhost:514"


class Syslog(Setting):
    """Send the logs to syslog, besides where they go otherwise.

    A syslog that is away or slow stops nobody: what it does not take is dropped, and the error log
    says how much.
    """

    name = "syslog"
    section = SECTION
    cli = ("--log-syslog",)
    action = "store_true"
    validator = validate_bool
    default = False


class SyslogPrefix(Setting):
    """The program's name in syslog: gunicorn.PREFIX.error and gunicorn.PREFIX.access.

    Without it PREFIX is the name of the process, see `proc_name`.
    """

    name = "syslog_prefix"
    section = SECTION
    cli = ("--log-syslog-prefix",)
    meta = "SYSLOG_PREFIX"
    validator = validate_string


class SyslogFacility(Setting):
    """The facility under which syslog files the records: user, daemon, local0 and so on."""

    name = "syslog_facility"
    section = SECTION
    cli = ("--log-syslog-facility",)
    meta = "SYSLOG_FACILITY"
    validator = _validate_facility
    default = "user"


class DisableRedirectAccessToSyslog(Setting):
    """Send only the error log to syslog."""

    name = "disable_redirect_access_to_syslog"
    section = SECTION
    cli = ("--disable-redirect-access-to-syslog",)
    action = "store_true"
    validator = validate_bool
    default = False
