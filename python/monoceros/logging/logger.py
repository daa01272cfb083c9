"""The server's logger: error log and access log behind Gunicorn's contract.

The rules of this module:

- One object per server, made before the first fork and kept over reloads. `setup` runs again on
  the same object, and a setup that fails changes nothing.
- Subclasses rely on every public name here, and on `_get_user`, `_set_handler` and
  `_set_syslog_handler`. The quick way
  of `access` is taken only while nobody has changed anything that could be seen.
- The access log never breaks a request: what goes wrong while a line is made is an error record.
"""

import base64
import difflib
import logging
import os
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, ClassVar, TextIO

from monoceros.config.log_addresses import parse_syslog_address
from monoceros.errors import ConfigError
from monoceros.logging import files, json_lines, logconfig
from monoceros.logging.atoms import AccessFormat, LazyAtoms, SafeAtoms, collect
from monoceros.logging.capture import OutputCapture
from monoceros.logging.files import LineHandler, LogFileHandler
from monoceros.logging.syslog import PatientSyslogHandler
from monoceros.logging.transaction import attached_handlers, loggers, transaction

ERROR_LOGGER = "gunicorn.error"
ACCESS_LOGGER = "gunicorn.access"

#: The name that stands for standard output or error in `errorlog` and `accesslog`.
CONSOLE = "-"

_PLAIN_FORMAT = "%(message)s"


class Logger:
    """Error and access log of a server. `cfg` is the configuration; its names are the settings'.

    Raises ConfigError when a log file cannot be opened or a log configuration is not usable.
    """

    LOG_LEVELS: ClassVar[dict[str, int]] = {
        "critical": logging.CRITICAL,
        "error": logging.ERROR,
        "warning": logging.WARNING,
        "info": logging.INFO,
        "debug": logging.DEBUG,
    }
    loglevel: int = logging.INFO

    error_fmt: str = "%(asctime)s [%(process)d] [%(levelname)s] %(message)s"
    datefmt: str = "[%Y-%m-%d %H:%M:%S %z]"
    access_fmt: str = _PLAIN_FORMAT
    syslog_fmt: str = "[%(process)d] %(message)s"

    #: Wraps what `atoms` returns before it meets the format.
    atoms_wrapper_class: type[SafeAtoms] = SafeAtoms

    #: Metrics go to statsd; only `monoceros.logging.statsd.Statsd` and what derives from it does.
    sends_metrics: ClassVar[bool] = False

    _access_log_enabled: bool | None = None
    # The second that the formatted time below belongs to.
    _clock: tuple[int, str] = (-1, "")
    # The text that the compiled format below was made from.
    _compiled: tuple[str, AccessFormat] | None = None
    # The format whose failure has been reported.
    _reported_format: str | None = None
    # What the last logging configuration has attached; the next setup takes it away.
    _configured_handlers: tuple[logging.Handler, ...] = ()

    def __init__(self, cfg: Any) -> None:
        self.error_log = logging.getLogger(ERROR_LOGGER)
        self.error_log.propagate = False
        self.access_log = logging.getLogger(ACCESS_LOGGER)
        self.access_log.propagate = False
        #: The handlers that this object has put on either logger.
        self.error_handlers: list[logging.Handler] = []
        self.access_handlers: list[logging.Handler] = []
        #: The file that standard output and error go into, with `capture_output`.
        self.logfile: TextIO | None = None
        # Reentrant, because a signal handler may reopen files while files are being reopened.
        self.lock = threading.RLock()
        self.cfg = cfg
        self._capture = OutputCapture()
        with transaction(self):
            self.setup(cfg)

    def setup(self, cfg: Any) -> None:
        """Put the logging settings of `cfg` in force: at the start and at each reload.

        Raises ConfigError and leaves the former settings in force when these do not work.
        """
        with transaction(self) as change:
            self.cfg = cfg
            self._access_log_enabled = self._wants_access_log()
            level = self.LOG_LEVELS.get(cfg.loglevel.lower())
            self.loglevel = logging.INFO if level is None else level
            self._detach_former()
            self.error_log.setLevel(self.loglevel)
            self.access_log.setLevel(logging.INFO)
            self.error_log.propagate = self.access_log.propagate = False

            if cfg.capture_output and cfg.errorlog not in (None, CONSOLE):
                try:
                    captured = self._capture.prepare(cfg.errorlog, self._file_owner())
                except OSError as error:
                    raise _unwritable("errorlog", cfg.errorlog, error) from error
                change.on_rollback(captured.close)
                change.on_commit(lambda: self._start_capture(captured, cfg.errorlog))
            else:
                change.on_commit(self._stop_capture)

            self._set_handler(
                self.error_log, cfg.errorlog, logging.Formatter(self.error_fmt, self.datefmt)
            )
            if cfg.accesslog is not None:
                self._set_handler(
                    self.access_log,
                    cfg.accesslog,
                    fmt=logging.Formatter(self.access_fmt),
                    stream=sys.stdout,
                )

            if cfg.syslog:
                self._set_syslog_handler(self.error_log, cfg, self.syslog_fmt, "error")
                if not cfg.disable_redirect_access_to_syslog:
                    self._set_syslog_handler(self.access_log, cfg, self.syslog_fmt, "access")

            before = attached_handlers()
            logconfig.apply(cfg)
            self._configured_handlers = tuple(
                handler for key, handler in attached_handlers().items() if key not in before
            )
            self.error_handlers = _own_handlers(self.error_log)
            self.access_handlers = _own_handlers(self.access_log)

            if level is None:
                self._warn_of_level(cfg.loglevel)
            if getattr(cfg, "statsd_host", None) is not None and not self.sends_metrics:
                self.warning(
                    "statsd_host is set, but logger_class %s sends no metrics: derive it from "
                    "monoceros.logging.statsd.Statsd",
                    type(self).__qualname__,
                )
            self._warn_of_owners()

    def critical(self, msg: object, *args: object, **kwargs: Any) -> None:
        kwargs.setdefault("stacklevel", 2)
        self.error_log.critical(msg, *args, **kwargs)

    def error(self, msg: object, *args: object, **kwargs: Any) -> None:
        kwargs.setdefault("stacklevel", 2)
        self.error_log.error(msg, *args, **kwargs)

    def warning(self, msg: object, *args: object, **kwargs: Any) -> None:
        kwargs.setdefault("stacklevel", 2)
        self.error_log.warning(msg, *args, **kwargs)

    def info(self, msg: object, *args: object, **kwargs: Any) -> None:
        kwargs.setdefault("stacklevel", 2)
        self.error_log.info(msg, *args, **kwargs)

    def debug(self, msg: object, *args: object, **kwargs: Any) -> None:
        kwargs.setdefault("stacklevel", 2)
        self.error_log.debug(msg, *args, **kwargs)

    def exception(self, msg: object, *args: object, **kwargs: Any) -> None:
        """An error record with the traceback of the exception being handled."""
        kwargs.setdefault("stacklevel", 2)
        self.error_log.exception(msg, *args, **kwargs)

    def log(self, lvl: int | str, msg: object, *args: object, **kwargs: Any) -> None:
        """A record of the error log at a level given by number or by name."""
        if isinstance(lvl, str):
            lvl = self.LOG_LEVELS.get(lvl.lower(), logging.INFO)
        kwargs.setdefault("stacklevel", 2)
        self.error_log.log(lvl, msg, *args, **kwargs)

    @property
    def access_log_enabled(self) -> bool:
        """Whether access lines go anywhere; callers skip the work when they do not."""
        if self._access_log_enabled is None:  # a subclass's setup that does not call this one
            return self._wants_access_log()
        return self._access_log_enabled

    def access(self, resp: Any, req: Any, environ: Mapping[str, Any], request_time: Any) -> None:
        """Write the access line of one exchange.

        `resp` has `status`, `headers` and `sent` (bytes of body), `req` has `headers` or is them,
        `request_time` is a timedelta or has its `seconds` and `microseconds`.
        """
        if not self.access_log_enabled or not self.access_log.isEnabledFor(logging.INFO):
            return
        try:
            if getattr(self.cfg, "access_log_json", False):
                self._access_as_json(resp, req, environ, request_time)
                return
            line_format = self._access_format()
            atoms: Mapping[str, Any]
            if not self._has_standard_atoms():
                atoms = self.atoms_wrapper_class(self.atoms(resp, req, environ, request_time))
            elif line_format.whole or (handler := self.direct_access_handler()) is None:
                atoms = LazyAtoms(self, resp, req, environ, request_time)
            else:
                try:
                    line = line_format.line(self, resp, req, environ, request_time)
                except (TypeError, ValueError) as error:
                    self._report_format(line_format.text, error)
                    line = AccessFormat.default().line(self, resp, req, environ, request_time)
                handler.write_line(line)
                return
            self.access_log.info(line_format.text, atoms)
        except Exception:
            self.exception(
                "The access line of %s %s cannot be written",
                environ.get("REQUEST_METHOD", "?"),
                environ.get("RAW_URI", "?"),
            )

    def _access_as_json(
        self, resp: Any, req: Any, environ: Mapping[str, Any], request_time: Any
    ) -> None:
        atoms = None
        if not self._has_standard_atoms():
            atoms = self.atoms(resp, req, environ, request_time)
        line = json_lines.line(self, resp, environ, request_time, atoms)
        handler = self.direct_access_handler()
        if handler is None:
            self.access_log.info("%s", line)
        else:
            handler.write_line(line)

    def atoms(
        self, resp: Any, req: Any, environ: Mapping[str, Any], request_time: Any
    ) -> dict[str, Any]:
        """Every value that the access log format can name, unescaped."""
        return collect(self, resp, req, environ, request_time)

    def now(self) -> str:
        """The local time in the Common Log Format."""
        second = int(time.time())
        if self._clock[0] != second:
            text = time.strftime("[%d/%b/%Y:%H:%M:%S %z]", time.localtime(second))
            self._clock = (second, text)
        return self._clock[1]

    def direct_access_handler(self) -> LineHandler | None:
        """The handler that access lines may be written to without a log record, or None.

        None as soon as anybody would notice: another handler, a filter, a formatter, a level,
        propagation. Whoever writes to its descriptor writes whole lines, one write each.
        """
        log = self.access_log
        if len(log.handlers) != 1 or log.filters or log.propagate:
            return None
        handler = log.handlers[0]
        if (
            isinstance(handler, LineHandler)
            and type(handler) in (LineHandler, LogFileHandler)
            and type(handler.formatter) is logging.Formatter
            and handler.formatter._fmt == _PLAIN_FORMAT
            and not handler.filters
            and handler.level <= logging.INFO
        ):
            return handler
        return None

    def has_standard_access_lines(self) -> bool:
        """Whether no subclass has a say in what an access line contains."""
        return self._has_standard_atoms() and all(map(self._is_standard, _STANDARD_METHODS))

    def wants_every_request(self) -> bool:
        """Whether `access` has to be called: a subclass may do more in it than write lines."""
        return self.access_log_enabled or not self._is_standard("access")

    def _is_standard(self, name: str) -> bool:
        return getattr(getattr(self, name), "__func__", None) is _STANDARD_METHODS[name]

    def reopen_files(self) -> None:
        """Reopen every log file of this process under its name, after a rotation.

        A file that cannot be reopened is reported, and goes on under its old descriptor.
        """
        failures: list[tuple[str, Exception]] = []
        with self.lock:
            try:
                self._capture.reopen()
            except OSError as error:
                failures.append((str(self.cfg.errorlog), error))
            for handler in attached_handlers().values():
                if isinstance(handler, logging.FileHandler):
                    try:
                        files.reopen(handler)
                    except Exception as error:
                        failures.append((handler.baseFilename, error))
        for path, failure in failures:
            self.error(
                "Log file %s cannot be reopened: %s. Lines go on into the former file; make the "
                "path writable for user id %d and send USR1 again",
                path,
                failure,
                os.geteuid(),
            )
        self._warn_of_owners()

    def close_on_exec(self) -> None:
        """Keep the log files from being inherited by programs that this process executes."""
        for handler in attached_handlers().values():
            if isinstance(handler, logging.FileHandler):
                handler.acquire()
                try:
                    if handler.stream is not None:
                        os.set_inheritable(handler.stream.fileno(), False)
                finally:
                    handler.release()

    def _wants_access_log(self) -> bool:
        cfg = self.cfg
        to_syslog = cfg.syslog and not cfg.disable_redirect_access_to_syslog
        return bool(cfg.accesslog or logconfig.is_configured(cfg) or to_syslog)

    def _access_format(self) -> AccessFormat:
        text = self.cfg.access_log_format
        if self._compiled is None or self._compiled[0] != text:
            try:
                compiled = AccessFormat(text)
            except ValueError as error:
                self._report_format(text, error)
                compiled = AccessFormat.default()
            self._compiled = (text, compiled)
        return self._compiled[1]

    def _report_format(self, text: str, error: Exception) -> None:
        if self._reported_format != text:
            self._reported_format = text
            self.error(
                "access_log_format %r cannot be applied: %s. Access lines that it fails for are "
                "written in the default format",
                text,
                error,
            )

    def _has_standard_atoms(self) -> bool:
        return (
            self.atoms_wrapper_class is SafeAtoms
            and getattr(self.atoms, "__func__", None) is _STANDARD_ATOMS
        )

    def _get_user(self, environ: Mapping[str, Any]) -> str | None:
        """The user name of Basic credentials (RFC 7617), or None."""
        authorization = environ.get("HTTP_AUTHORIZATION")
        if not authorization:
            return None
        scheme, _, credentials = authorization.partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            decoded = base64.b64decode(credentials.strip().encode("utf-8", "replace"))
            return decoded.partition(b":")[0].decode("utf-8")
        except ValueError as error:
            self.debug("Authorization header without a readable user name: %s", error)
            return None

    def _set_handler(
        self,
        log: logging.Logger,
        output: str | None,
        fmt: logging.Formatter,
        stream: TextIO | None = None,
    ) -> None:
        """Let the records of `log` go to a file, or to `stream` when `output` is "-".

        Replaces the handler that a former call has set; None for `output` only removes it.
        Raises ConfigError when the file cannot be opened to append.
        """
        for former in _own_handlers(log):
            log.removeHandler(former)
        if output is None:
            return
        handler: LineHandler
        if output == CONSOLE:
            handler = LineHandler(stream)
        else:
            try:
                handler = LogFileHandler(output, self._file_owner())
            except OSError as error:
                settings = {ERROR_LOGGER: "errorlog", ACCESS_LOGGER: "accesslog"}
                raise _unwritable(settings.get(log.name, log.name), output, error) from error
        handler.setFormatter(fmt)
        log.addHandler(handler)

    def _set_syslog_handler(self, log: logging.Logger, cfg: Any, fmt: str, name: str) -> None:
        """Let the records of `log` go to syslog as well; `name` is error or access.

        Raises ConfigError when the address's host is not known.
        """
        prefix = cfg.syslog_prefix or cfg.proc_name.replace(":", ".")
        facility = PatientSyslogHandler.facility_names[cfg.syslog_facility.lower()]
        try:
            address = parse_syslog_address(cfg.syslog_addr)
            handler = PatientSyslogHandler(cfg.syslog_addr, address, facility)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"syslog_addr: {cfg.syslog_addr!r} cannot be used: {error}"
            ) from error
        # A percent sign in the prefix is no conversion.
        program = f"gunicorn.{prefix}.{name}".replace("%", "%%")
        handler.setFormatter(logging.Formatter(f"{program}: {fmt}"))
        log.addHandler(handler)

    def _file_owner(self) -> files.Owner | None:
        user, group = getattr(self.cfg, "user", None), getattr(self.cfg, "group", None)
        return (user, group) if isinstance(user, int) and isinstance(group, int) else None

    def _detach_former(self) -> None:
        """Take away what the last setup has attached, so that nothing is logged twice."""
        former = set(map(id, self._configured_handlers))
        for log in (logging.root, *loggers()):
            ours = log in (self.error_log, self.access_log)
            for handler in list(log.handlers):
                if id(handler) in former or (ours and getattr(handler, "_gunicorn", False)):
                    log.removeHandler(handler)

    def _start_capture(self, captured: TextIO, path: str) -> None:
        with self.lock:
            self._capture.start(captured, path, self._file_owner())
            self.logfile = captured

    def _stop_capture(self) -> None:
        with self.lock:
            self._capture.stop()
            self.logfile = None

    def _warn_of_level(self, name: str) -> None:
        near = difflib.get_close_matches(name.lower(), self.LOG_LEVELS, n=1)
        self.warning(
            "loglevel %r is not known%s; info is used. Known are %s",
            name,
            f" (did you mean {near[0]!r}?)" if near else "",
            ", ".join(self.LOG_LEVELS),
        )

    def _warn_of_owners(self) -> None:
        for handler in attached_handlers().values():
            if isinstance(handler, LogFileHandler) and handler.ownership_error is not None:
                self.warning(
                    "Log file %s cannot be given to the workers' user %s: %s. "
                    "Workers may be unable to reopen it on USR1",
                    handler.baseFilename,
                    handler.owner,
                    handler.ownership_error,
                )


# Kept apart, because a program may replace the methods on the class itself.
_STANDARD_ATOMS = Logger.atoms
_STANDARD_METHODS = {
    "access": Logger.access,
    "now": Logger.now,
    "_get_user": Logger._get_user,
}


def reconfigure(log: Any, cfg: Any) -> None:
    """Run `log.setup(cfg)` for a reload, whole or not at all.

    Takes back also what a subclass's own setup has done before it raised. Raises what it raises.
    """
    with transaction(log):
        log.setup(cfg)
    wanted = getattr(cfg, "logger_class", None)
    if wanted is not None and wanted.__qualname__ != type(log).__qualname__:
        log.warning(
            "The logger's class stays %s until a restart: %s is wanted now (by logger_class or "
            "statsd_host)",
            type(log).__qualname__,
            wanted.__qualname__,
        )


def _own_handlers(log: logging.Logger) -> list[logging.Handler]:
    return [handler for handler in log.handlers if getattr(handler, "_gunicorn", False)]


def _unwritable(setting: str, path: str, error: OSError) -> ConfigError:
    return ConfigError(
        f"{setting}: {path!r} isn't writable: {error.strerror}. Make its directory, or let "
        f"user id {os.geteuid()} write there, or set {setting} to '-'"
    )
