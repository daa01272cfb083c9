"""Logs, and the names that processes bear."""

from monoceros.config.setting import Setting
from monoceros.config.validators import (
    validate_bool,
    validate_class,
    validate_dict,
    validate_log_level,
    validate_string,
)

SECTION = "Logging"


class AccessLog(Setting):
    """The file for the access log; "-" is standard output. Without it no access log is written."""

    name = "accesslog"
    section = SECTION
    cli = ("--access-logfile",)
    meta = "FILE"
    validator = validate_string


class AccessLogFormat(Setting):
    """The format of a line of the access log.

    Atoms stand as in %-formatting, for example ``%(h)s``:

    h: remote address. l: "-". u: user name of HTTP basic authentication. t: date of the request.
    r: request line. m: method. U: path without query. q: query. H: protocol. s: status.
    B: length of the answer's body, bytes. b: the same, "-" for 0. f: referer. a: user agent.
    T: request time in seconds. M: in milliseconds. D: in microseconds. L: in decimal seconds.
    p: process id. {name}i: a request header. {name}o: a response header. {name}e: an entry of
    the environ.
    """

    name = "access_log_format"
    section = SECTION
    cli = ("--access-logformat",)
    meta = "STRING"
    validator = validate_string
    default = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'


class AccessLogJson(Setting):
    """Write the access log as JSON, one object a line; `access_log_format` does not count then.

    The fields, always all of them and null where there is nothing to tell: time (UTC),
    remote_addr, user, method, target (as it came), path (decoded, without query), protocol,
    status, bytes (of the answer's body), duration (seconds), referer, user_agent, pid. Atoms that
    a `logger_class` adds follow under their own names.
    """

    name = "access_log_json"
    section = SECTION
    cli = ("--access-log-json",)
    action = "store_true"
    validator = validate_bool
    default = False


class ErrorLog(Setting):
    """The file for the error log; "-" is standard error."""

    name = "errorlog"
    section = SECTION
    cli = ("--error-logfile", "--log-file")
    meta = "FILE"
    validator = validate_string
    default = "-"


class LogLevel(Setting):
    """The least severe level that the error log shows: debug, info, warning, error, critical."""

    name = "loglevel"
    section = SECTION
    cli = ("--log-level",)
    meta = "LEVEL"
    validator = validate_log_level
    default = "info"


class CaptureOutput(Setting):
    """Send what is written to standard output and standard error to `errorlog`.

    It has no effect while `errorlog` is "-".
    """

    name = "capture_output"
    section = SECTION
    cli = ("--capture-output",)
    action = "store_true"
    validator = validate_bool
    default = False


class LoggerClass(Setting):
    """The class that writes the logs: its dotted path, or in a config file the class itself."""

    name = "logger_class"
    section = SECTION
    cli = ("--logger-class",)
    meta = "STRING"
    validator = validate_class
    default = "monoceros.logging.Logger"


class LogConfig(Setting):
    """A file in the format of Python's logging.config.fileConfig.

    The loggers are called gunicorn.error and gunicorn.access.
    """

    name = "logconfig"
    section = SECTION
    cli = ("--log-config",)
    meta = "FILE"
    validator = validate_string


class LogConfigDict(Setting):
    """A dict for Python's logging.config.dictConfig; it goes before the two files."""

    name = "logconfig_dict"
    section = SECTION
    validator = validate_dict

    # A dict at class level would be shared by whoever changes it.
    def default_in(self, surroundings: object) -> dict[str, object]:
        return {}


class LogConfigJson(Setting):
    """A file of JSON for Python's logging.config.dictConfig; it goes before `logconfig`."""

    name = "logconfig_json"
    section = SECTION
    cli = ("--log-config-json",)
    meta = "FILE"
    validator = validate_string


class ProcName(Setting):
    """The name in the titles of the server's processes; without it, that of the app."""

    name = "proc_name"
    section = "Process Naming"
    cli = ("-n", "--name")
    meta = "STRING"
    validator = validate_string


class DefaultProcName(Setting):
    """What `proc_name` is when it is not set. The app's own name is put here when it is known."""

    name = "default_proc_name"
    section = "Process Naming"
    validator = validate_string
    default = "monoceros"
