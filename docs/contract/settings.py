"""Gunicorn's settings, and every way in which ours of the same name differ.

Rules:
- `GUNICORN` is Gunicorn's whole table, by name and in its order: of the release that `RELEASE`
  names, which is the newest that the test has seen. Whatever else we have is our own.
- A difference that the test finds and that is not listed here is an error, and so is one that is
  listed and cannot be found.
- Settings that this release does not have stand in `monoceros.config.not_yet` with what becomes of
  them. Nothing need be said of them here; it counts once they are there.
"""

import enum
from dataclasses import dataclass
from typing import Any

#: The release that this table has been held against.
RELEASE = "27.0.1"

#: The names of Gunicorn's settings.
GUNICORN = """
config wsgi_app
bind backlog
workers worker_class threads worker_connections max_requests max_requests_jitter timeout
graceful_timeout keepalive
limit_request_line limit_request_fields limit_request_field_size
reload reload_engine reload_extra_files spew check_config print_config
preload_app sendfile reuse_port chdir daemon raw_env pidfile worker_tmp_dir user group umask
initgroups tmp_upload_dir secure_scheme_headers forwarded_allow_ips
accesslog disable_redirect_access_to_syslog access_log_format errorlog loglevel capture_output
logger_class logconfig logconfig_dict logconfig_json syslog_addr syslog syslog_prefix
syslog_facility enable_stdio_inheritance statsd_host dogstatsd_tags statsd_prefix
enable_backlog_metric
proc_name default_proc_name
pythonpath paste
on_starting on_reload when_ready pre_fork post_fork post_worker_init worker_int worker_abort
pre_exec pre_request post_request child_exit worker_exit nworkers_changed on_exit ssl_context
proxy_protocol proxy_allow_ips protocol uwsgi_allow_ips
keyfile certfile ssl_version cert_reqs ca_certs suppress_ragged_eofs do_handshake_on_connect
ciphers
http_protocols http2_cleartext http2_max_concurrent_streams http2_initial_window_size
http2_max_frame_size http2_max_header_list_size
raw_paste_global_conf permit_obsolete_folding strip_header_spaces
permit_unconventional_http_method permit_unconventional_http_version casefold_http_method
forwarder_headers header_map
asgi_loop asgi_lifespan asgi_disconnect_grace_period websocket_max_message_size http_parser
root_path
dirty_apps dirty_workers dirty_timeout dirty_threads dirty_graceful_timeout on_dirty_starting
dirty_post_fork dirty_worker_init dirty_worker_exit
control_socket control_socket_mode control_socket_disable
""".split()  # noqa: SIM905 - a table to read

#: Hooks by the number of their arguments.
HOOKS_OF_ONE = (
    "on_starting",
    "on_reload",
    "when_ready",
    "post_worker_init",
    "worker_int",
    "worker_abort",
    "pre_exec",
    "on_exit",
    "on_dirty_starting",
    "dirty_worker_init",
)
HOOKS_OF_TWO = (
    "pre_fork",
    "post_fork",
    "pre_request",
    "child_exit",
    "worker_exit",
    "dirty_post_fork",
    "dirty_worker_exit",
)


@dataclass(frozen=True)
class Default:
    """A default that is not Gunicorn's.

    value: ours, as the configuration has it. told: a sentence for the page; "" where a user cannot
    notice it.
    """

    value: Any
    why: str
    told: str = ""


DEFAULTS: dict[str, Default] = {
    "config": Default(
        "./monoceros.conf.py",
        "a project may carry both names while it changes over",
        "`./monoceros.conf.py`, and `./gunicorn.conf.py` where there is none of that name",
    ),
    "keepalive": Default(
        75,
        "proxies and load balancers keep idle connections for 60 s, and who closes first must be "
        "they; an idle connection costs some hundred bytes and no thread",
        "75 s in every worker class, where Gunicorn has 2 s and none in `sync`",
    ),
    "logger_class": Default("monoceros.logging.Logger", "our class, with Gunicorn's contract"),
    "default_proc_name": Default("monoceros", "our name, until the app's is known"),
    "user": Default(
        None, "whether one is asked for decides whose group it is; `cfg.user` is an id as before"
    ),
    "group": Default(None, "as for `user`; `cfg.group` is an id as before"),
}


@dataclass(frozen=True)
class Values:
    """Values that both do not take alike.

    settings: names. values: as in a config file; a text on a command line is the same value.
    gunicorn, here: what comes of them.
    """

    settings: tuple[str, ...]
    values: tuple[str, ...]
    gunicorn: str
    here: str
    why: str


VALUES: tuple[Values, ...] = (
    Values(
        ("loglevel",),
        ("'x'", "' x '", "'  x '", "''", "None"),
        "anything unknown means `info`, silently; `None` ends the server",
        "refused, with the nearest level; `warn` and `fatal` mean `warning` and `critical`",
        "who wants to see errors only must not get something else",
    ),
    Values(
        ("worker_class", "logger_class"),
        ("''", "None"),
        "accepted, and the server ends when it looks for the class",
        "refused",
        "the message names the setting",
    ),
    Values(
        ("raw_env",),
        ("'a'", "('a', 'b')", "[' a ']", "' a '", "''", "['a', 'b']", "['x1', 'x2']"),
        "an item without `=` is accepted, and the server ends when it exports it",
        "refused",
        "the message names the setting",
    ),
    Values(
        ("bind", "raw_env"),
        ("[None]",),
        "accepted, and the server ends later on",
        "refused",
        "the message names the setting",
    ),
    Values(
        ("threads",),
        ("0", "'0'"),
        "0 threads: a `gthread` worker cannot run",
        "1",
        "a worker without a thread answers nobody",
    ),
    Values(
        ("chdir",),
        ("'/etc/passwd'",),
        "a file is accepted, and the server ends when it enters it",
        "refused",
        "the message names the setting",
    ),
    Values(
        ("cert_reqs",),
        ("' 7 '", "' 7'", "'0x10'", "'10'", "10", "10 ** 10"),
        "any number; the server fails on the first connection",
        "0, 1, 2, or their names in the module `ssl`; others are refused",
        "nobody must believe that clients are checked",
    ),
    Values(
        ("ssl_version",),
        ("'none-such'", "99", "None", "'2'"),
        "anything, which is ignored with a warning",
        "a name or number of the module `ssl`; it sets the lowest version",
        "a setting of this name has to have its effect",
    ),
    Values(
        ("header_map",),
        ("None",),
        "accepted, and treated as `refuse`",
        "refused",
        "it does not say what it means",
    ),
    Values(
        ("user", "group"),
        ("-1",),
        "accepted; `setuid` fails in every worker",
        "refused",
        "there is no such id",
    ),
    Values(
        ("user", "group"),
        ("None",),
        "the master's own id",
        "nobody is asked for, which comes to the same",
        "see the defaults",
    ),
    Values(
        ("forwarded_allow_ips", "proxy_allow_ips", "uwsgi_allow_ips"),
        ("['127.0.0.1']",),
        "refused",
        "accepted: a list of texts is the same as one text with commas",
        "other settings take lists",
    ),
    Values(
        ("forwarder_headers",),
        ("['A']",),
        "refused",
        "accepted: a list of texts is the same as one text with commas",
        "other settings take lists",
    ),
    Values(
        ("config",),
        ("None", "''", "'x'", "'  x '", "5", "b'x'", "['x']", "True"),
        "in a config file it is stored, and read by nobody",
        "in a config file it is not even stored",
        "a config file cannot change where the configuration is read from",
    ),
    Values(
        ("protocol",),
        ("'x'", "' x '", "'  x '", "''", "None"),
        "anything that is not `uwsgi` means `http`, silently",
        "`http` or `uwsgi`; others are refused",
        "nobody must believe that another protocol is spoken",
    ),
    Values(
        ("syslog_addr", "syslog_facility"),
        ("'x'", "' x '", "'  x '", "''", "None"),
        "accepted, and the server ends when it opens the log",
        "refused",
        "the message names the setting",
    ),
    Values(
        ("statsd_host",),
        ("''",),
        "on a command line: port 8125 of every address",
        "none: no metrics are sent",
        "nothing was named",
    ),
    Values(
        ("paste",),
        ("'x'", "' x '", "'  x '", "''"),
        "kept as it is given",
        "with its whole path; empty is none",
        "the server may go to another folder before it reads the file",
    ),
    Values(
        ("raw_paste_global_conf",),
        ("[None]",),
        "accepted, and the server ends later on",
        "refused",
        "the message names the setting",
    ),
    Values(
        ("dirty_apps",),
        (
            *("'a'", "' a '", "''", "['a', 'b']", "('a', 'b')", "[' a ']", "[None]"),
            "['x1', 'x2']",
        ),
        "a name without a class is accepted, and the pool fails when it loads it",
        "refused",
        "the message names the setting",
    ),
    Values(
        HOOKS_OF_ONE,
        ("lambda *a: None", "lambda a, b=0: None"),
        "refused: the number of named parameters must be exact",
        "accepted: what can be called with the hook's arguments",
        "decorated functions look like this",
    ),
    Values(
        HOOKS_OF_TWO,
        ("lambda a, b, c=0: None",),
        "refused: the number of named parameters must be exact",
        "accepted: what can be called with the hook's arguments",
        "decorated functions look like this",
    ),
    Values(
        ("post_request",),
        ("lambda *a: None",),
        "refused: the number of named parameters must be exact",
        "accepted, and called with four",
        "decorated functions look like this",
    ),
)


@dataclass(frozen=True)
class Variable:
    """An environment variable whose value both do not take alike."""

    name: str
    value: str
    gunicorn: str
    here: str


VARIABLES: tuple[Variable, ...] = (
    Variable("PORT", "", "no port: the server ends", "as if it were not set"),
    Variable("WEB_CONCURRENCY", "", "a traceback, and the server ends", "as if it were not set"),
    Variable("SENDFILE", "", "off", "as if it were not set"),
)


class Verdict(enum.Enum):
    """How something of Gunicorn's is here."""

    SAME = "same"
    BETTER = "better"
    NOT_YET = "not yet"
    NO_EFFECT = "no effect"
    REFUSED = "refused"


@dataclass(frozen=True)
class Note:
    """What a setting does here that it does not under Gunicorn."""

    verdict: Verdict
    text: str


_B, _N = Verdict.BETTER, Verdict.NO_EFFECT

#: Effects that differ; values and defaults stand above.
NOTES: dict[str, Note] = {
    "config": Note(_B, "`python:MODULE` is read anew on a reload; unknown names are warned about"),
    "wsgi_app": Note(_B, "a dotted name is an object, too: `site.wsgi:container.app`"),
    "bind": Note(
        _B,
        "a unix socket that somebody listens on is not taken away; `fd://` and other addresses "
        "can be mixed; a port out of range is refused before anything is opened",
    ),
    "worker_class": Note(_B, "`sync` keeps connections alive and waits for no client"),
    "threads": Note(_B, "a thread waits for no client, only for the app"),
    "worker_connections": Note(_B, "holds in every worker class, `sync` too"),
    "max_requests": Note(_B, "the replacement is ready before the old worker stops accepting"),
    "timeout": Note(
        _B, "the log names the request and shows its stack; `request_timeout` bounds it everywhere"
    ),
    "graceful_timeout": Note(_B, "holds after a reload, too; the log says what was cut"),
    "asgi_lifespan": Note(
        _B,
        "`auto` tells of an exception in a start; `boot_timeout` bounds a start, what is left of "
        "`graceful_timeout` an end (Gunicorn: 30 s each)",
    ),
    "asgi_loop": Note(_B, "uvloop with `monoceros[uvloop]`"),
    "websocket_max_message_size": Note(_B, "compressed messages count with what they become"),
    "limit_request_line": Note(_B, "0 and large values are not cut to 8190"),
    "limit_request_fields": Note(_B, "0 is the most that the server supports"),
    "limit_request_field_size": Note(_B, "0 is the most that the server supports, not 8190"),
    "check_config": Note(
        _B,
        "also checks worker class, logger, log configuration, certificates, user and addresses, "
        "with `raw_env` and `pythonpath` applied; does not take the port",
    ),
    "print_config": Note(_B, "does as `--check-config` does; shows no pass phrases"),
    "reload": Note(
        _B, "code that cannot be loaded is a 500 until it is mended; tracebacks go to the log only"
    ),
    "reload_engine": Note(_B, "`inotify` needs `monoceros[reload]`; changes are followed once"),
    "reload_extra_files": Note(_B, "relative to the folder in which the server was started"),
    "daemon": Note(_B, "the command ends when the server listens; errors reach the terminal"),
    "reuse_port": Note(_B, "for several servers; workers of one share a socket and lose nothing"),
    "worker_tmp_dir": Note(_N, "heartbeats are in memory always; the folder must exist"),
    "tmp_upload_dir": Note(_B, "large bodies go there where `spool_dir` is not set"),
    "paste": Note(_B, "with `monoceros[paste]`; a relative file counts from the start folder"),
    "protocol": Note(_B, "variables of the front end count; a path is decoded once"),
    "uwsgi_allow_ips": Note(_B, "networks match, too; others get 403"),
    "syslog": Note(_B, "one that is away or slow stops nobody"),
    "statsd_host": Note(_B, "one that is away or slow stops nobody"),
    "dirty_workers": Note(_B, "a reload brings new code; the number changes by TTIN and TTOU"),
    "dirty_threads": Note(_B, "as many calls at the same time"),
    "dirty_timeout": Note(_B, "0 is no timeout; what is stuck is explained by its stack"),
    "preload_app": Note(_B, "a reload brings new code; the app is imported as `user`"),
    "sendfile": Note(_B, "`sendfile = True` switches it on (Gunicorn: off)"),
    "user": Note(_B, "the user's own group and no others, where `group` is not given"),
    "group": Note(_B, "no supplementary groups of the master's are left"),
    "initgroups": Note(_B, "the primary group is set, too"),
    "raw_env": Note(_B, "is checked when it is read"),
    "forwarded_allow_ips": Note(
        _B, "behind a PROXY protocol header it is the client named there who has to be listed"
    ),
    "proxy_protocol": Note(_B, "a peer in `proxy_allow_ips` must send the header; it stays"),
    "permit_obsolete_folding": Note(_B, "not for fields that frame or route the request"),
    "capture_output": Note(_B, "the files are opened anew by USR1, too"),
    "logconfig_json": Note(_B, "a missing file keeps the server from starting"),
    "keyfile": Note(_B, "may be encrypted: `keyfile_password`"),
    "certfile": Note(
        _B, "one that does not load keeps the server from starting; new ones are in use in seconds"
    ),
    "ssl_version": Note(_B, "the lowest version; TLS 1.2 and 1.3 are there (RFC 8996)"),
    "ciphers": Note(_B, "only suites with forward secrecy; names that are not known are refused"),
    "ca_certs": Note(_B, "needed with `cert_reqs`; what clients show is in the environ"),
    "suppress_ragged_eofs": Note(_N, "an end without a word of TLS never completes a request"),
    "do_handshake_on_connect": Note(_N, "handshakes keep nobody waiting"),
    "http_parser": Note(_B, "there is one parser, native, with one reading of a request"),
}
