"""What of Gunicorn's contract is no setting: commands, signals, hooks, attributes, atoms and so on.

A row says how a name is here: the same, better, or refused, and how. Names that need no more words
than that they are the same stand together in one row.
"""

from dataclasses import dataclass

from contract.settings import Verdict

SAME, BETTER = Verdict.SAME, Verdict.BETTER
NOT_YET, NO_EFFECT, REFUSED = Verdict.NOT_YET, Verdict.NO_EFFECT, Verdict.REFUSED


@dataclass(frozen=True)
class Row:
    """One or several names, as a user writes them."""

    names: str
    verdict: Verdict
    text: str = ""


@dataclass(frozen=True)
class Group:
    """A heading with its table. what: the heading of the column of names."""

    title: str
    what: str
    rows: tuple[Row, ...]


COMMANDS = Group(
    "Commands",
    "command",
    (
        Row("`gunicorn [OPTIONS] [APP]`", SAME, "as `monoceros`; long flags may be cut short"),
        Row("`python -m gunicorn`", SAME, "as `python -m monoceros`"),
        Row(
            "`gunicorn`, where nothing may be changed",
            SAME,
            "the distribution `monoceros-gunicorn` has commands and package of that name",
        ),
        Row(
            "`gunicornc`",
            BETTER,
            "also `monocerosctl`; `show requests`; what was not done is exit status 1",
        ),
        Row(
            "`MODULE`, `MODULE:OBJECT`, `MODULE:FACTORY(...)`",
            BETTER,
            "dotted objects, too; `app.py` is answered with what was probably meant",
        ),
        Row("`--version`, `--help`", SAME),
        Row("`--check-config`", BETTER, "see the settings"),
        Row("`--print-config`", BETTER, "see the settings"),
        Row("`--paste`, `paste.server_runner`", SAME, "with `monoceros[paste]`"),
    ),
)

SOURCES = Group(
    "Where settings come from",
    "source",
    (
        Row("defaults, `Application.init()`, file, variable, command line", SAME, "in this order"),
        Row(
            "`./gunicorn.conf.py`",
            SAME,
            "where there is no `./monoceros.conf.py`",
        ),
        Row("`-c PATH`, `-c file:PATH`", SAME, "relative to where the server was started"),
        Row("`-c python:MODULE`", BETTER, "read anew by a reload"),
        Row("names that are no settings", BETTER, "a warning, with the nearest name"),
        Row("a value that cannot be", SAME, "one line on standard error, status 1"),
        Row("the same on a reload", BETTER, "the former configuration stays in force"),
    ),
)

VARIABLES = Group(
    "Environment variables",
    "variable",
    (
        Row("`GUNICORN_CMD_ARGS`", SAME, "where `MONOCEROS_CMD_ARGS` is not set"),
        Row("`PORT`, `WEB_CONCURRENCY`, `FORWARDED_ALLOW_IPS`", BETTER, "empty counts as not set"),
        Row("`SENDFILE`", BETTER, "empty counts as not set; the setting goes before it"),
        Row("`SCRIPT_NAME`", SAME),
        Row("`GUNICORN_PID`, `GUNICORN_FD`", SAME, "of an upgrade; see USR2"),
        Row("`LISTEN_PID`, `LISTEN_FDS`", SAME),
        Row("`NOTIFY_SOCKET`", BETTER, "READY when a worker can answer; RELOADING, STOPPING"),
        Row("`WATCHDOG_USEC`, `WATCHDOG_PID`", BETTER, "the master's loop is watched"),
        Row("`GUNICORN_DIRTY_SOCKET`", SAME),
        Row("`TMPDIR`", SAME, "large bodies wait there, too: see `spool_dir`"),
        Row("`XDG_RUNTIME_DIR`, `HOME`", SAME, "where the control socket is by default"),
        Row("`PWD`", SAME, "a symbolic link to the current release keeps its name"),
        Row("`SERVER_SOFTWARE`", SAME, "is set for the app, with our name"),
    ),
)

EXIT_CODES = Group(
    "Exit statuses",
    "status",
    (
        Row("0", SAME, "stopped by a signal; a check without findings"),
        Row("1", SAME, "configuration, address, pidfile, log, certificate"),
        Row("2", SAME, "a command line that cannot be"),
        Row("3", BETTER, "the app failed to boot, and no worker has ever been ready"),
        Row("4", BETTER, "the app was not found, and no worker has ever been ready"),
        Row("255", SAME, "a bug of ours"),
    ),
)

SIGNALS = Group(
    "Signals",
    "signal",
    (
        Row("TERM to the master", BETTER, "what waits in the kernel is answered, too"),
        Row("INT, QUIT to the master", BETTER, "quick also while requests run"),
        Row(
            "HUP",
            BETTER,
            "new workers boot beside the old ones; what does not load or boot changes nothing; "
            "with `preload_app` it means new code",
        ),
        Row("TTIN, TTOU", BETTER, "each counts, also in a burst; a reload keeps the number"),
        Row("USR1", BETTER, "every file of every logger, in all processes; no line is lost"),
        Row(
            "USR2",
            BETTER,
            "the old master says when the new one answers, or that it has failed",
        ),
        Row("WINCH", SAME, "a daemon's workers go home; HUP brings them back"),
        Row("TERM, INT, QUIT, ABRT, USR1 to a worker", SAME, "hooks `worker_int`, `worker_abort`"),
        Row("HUP, USR2, WINCH to a worker", BETTER, "do no harm"),
    ),
)

HOOKS = Group(
    "Hooks",
    "hook",
    (
        Row("`on_starting(server)`", SAME, "master, before it listens"),
        Row("`when_ready(server)`", SAME, "master, listening, before the first fork"),
        Row("`on_reload(server)`", SAME, "master, before new workers are started"),
        Row("`nworkers_changed(server, new, old)`", SAME, "master; `old` is None at the start"),
        Row("`pre_fork(server, worker)`", SAME, "the process that forks: master, or mold"),
        Row("`post_fork(server, worker)`", SAME, "worker, before it takes on `user`"),
        Row("`post_worker_init(worker)`", SAME, "worker, when the app is imported"),
        Row("`pre_request(worker, req)`", SAME, "worker; what it changes, the app sees"),
        Row("`post_request(worker, req, environ, resp)`", SAME, "with 2, 3 or 4 parameters"),
        Row("`worker_int(worker)`, `worker_abort(worker)`", SAME, "worker, in the handler"),
        Row("`worker_exit(server, worker)`", SAME, "worker, as the last thing"),
        Row("`child_exit(server, worker)`", SAME, "master, when it has been reaped"),
        Row("`pre_exec(server)`", SAME, "the new process of an upgrade, before exec"),
        Row("`on_exit(server)`", SAME, "master, as the last thing"),
        Row(
            "`on_dirty_starting`, `dirty_post_fork`, `dirty_worker_init`, `dirty_worker_exit`",
            SAME,
        ),
        Row(
            "`ssl_context(conf, default)`",
            REFUSED,
            "TLS is not OpenSSL's: `certfile`, `keyfile`, `sni_certs`, `ca_certs`, `cert_reqs`, "
            "`ciphers`, `ssl_version` say what is needed",
        ),
        Row(
            "a hook of the master that fails",
            BETTER,
            "is logged; only those without which there is no start end it",
        ),
    ),
)

ATTRIBUTES = Group(
    "Attributes that hooks and classes use",
    "object",
    (
        Row(
            "`server`",
            SAME,
            "`app cfg log pid timeout proc_name address worker_class num_workers WORKERS LISTENERS "
            "pidfile systemd worker_age reexec_pid master_pid master_name START_CTX SIG_QUEUE "
            "dirty_arbiter dirty_arbiter_pid`; `wakeup kill_worker kill_workers spawn_worker "
            "spawn_workers manage_workers murder_workers reap_workers reload reexec stop halt "
            "setup`; `WORKER_BOOT_ERROR APP_LOAD_ERROR`",
        ),
        Row(
            "`worker`",
            SAME,
            "`age ppid pid sockets app timeout cfg log booted aborted reloader nr max_requests "
            "alive tmp wsgi wait_fds`; `notify run init_process load_wsgi init_signals handle_* "
            "handle_error`",
        ),
        Row(
            "`req`",
            SAME,
            "`method uri path query fragment version headers trailers body scheme peer_addr "
            "remote_addr req_number must_close proxy_protocol_info cfg unreader`; `should_close "
            "force_close`",
        ),
        Row(
            "`resp`",
            SAME,
            "`status status_code headers response_length sent headers_sent chunked must_close "
            "upgrade version req sock cfg`",
        ),
        Row(
            "`worker.sockets`, `server.LISTENERS`",
            SAME,
            "`sock FAMILY cfg_addr conf close() get_backlog()`, and all of the socket's own",
        ),
        Row(
            "`cfg`",
            SAME,
            "every setting; `set settings worker_class_str address uid gid proc_name logger_class "
            "is_ssl ssl_options env env_orig forwarded_allow_networks() proxy_allow_networks()`",
        ),
    ),
)

WORKERS = Group(
    "Worker classes",
    "class",
    (
        Row("`sync`", BETTER, "keeps connections alive; slow clients cost nothing"),
        Row("`gthread`", BETTER, "a thread runs the app and never waits for a client"),
        Row("`gevent`, `gevent_wsgi`, `gevent_pywsgi`", BETTER, "with `monoceros[gevent]`"),
        Row("`tornado`", SAME, "with `monoceros[tornado]`"),
        Row("`eventlet`", REFUSED, "Gunicorn has it no more; the message names `gevent`"),
        Row("`asgi`", BETTER, "ASGI apps are found without it, where no class is set"),
        Row(
            "`uvicorn_worker.UvicornWorker`, `aiohttp.GunicornWebWorker`, "
            "`aiohttp.GunicornUVLoopWebWorker`",
            SAME,
            "unchanged, with their own loop and Python's `ssl`; where uvicorn is not installed, "
            "`asgi` stands for its classes",
        ),
        Row(
            "subclasses of `SyncWorker`, `ThreadWorker`",
            SAME,
            "what they override is used; what has no meaning here is told at the start",
        ),
        Row("`egg:DIST#NAME`, entry points", SAME, "`gunicorn.workers` and `monoceros.workers`"),
    ),
)

ENVIRON = Group(
    "The environ and the answer",
    "what",
    (
        Row("keys and their types", SAME, "but for the values listed in the golden comparison"),
        Row("`SERVER_SOFTWARE`, `Server`", SAME, "with our name"),
        Row("`HTTP_COOKIE` of several fields", BETTER, "joined with `; `"),
        Row("`PATH_INFO` of `http://host`", BETTER, "`/`"),
        Row(
            "`gunicorn.socket`",
            BETTER,
            "a socket when it is looked at; over TLS it answers questions "
            "(`getpeercert`) and sends nothing",
        ),
        Row("`wsgi.early_hints`, `wsgi.file_wrapper`, `wsgi.input_terminated`", SAME),
        Row("client certificates", BETTER, "`SSL_CLIENT_*`, as Apache's mod_ssl has them"),
        Row("REMOTE_ADDR behind proxies", BETTER, "`trusted_proxy_headers`, where it is set"),
        Row("Content-Length of a list", BETTER, "sent where the whole body is at hand"),
        Row("`Date` and `Server` of the app", BETTER, "are kept"),
        Row("`Connection: close` of the app, or in a list", BETTER, "is understood"),
        Row("other hop-by-hop fields of the app", BETTER, "500 and a line in the log"),
        Row("a length that is none; two of them", BETTER, "500"),
        Row("an answer that is shorter than it says", BETTER, "500, or a cut connection"),
        Row("`100 (Continue)`", BETTER, "not sent when the body is there already"),
        Row("no Host, Host beside another authority", BETTER, "400"),
        Row("HTTP/1.2, HTTP/2.0 and others in HTTP/1", BETTER, "505"),
        Row("`Transfer-Encoding: gzip, chunked`", BETTER, "501"),
        Row("error pages", BETTER, "plain text, with nothing of the request"),
    ),
)

ATOMS = Group(
    "Atoms of the access log",
    "atom",
    (
        Row("`h l u t r m U q H s B b f a T M D L p`", SAME),
        Row("`{name}i`, `{name}o`, `{name}e`", SAME),
        Row("values with quotes and control characters", BETTER, "no line can be forged or torn"),
        Row("requests that were refused, cut, or overdue", BETTER, "have their line, too"),
        Row("one object a line", BETTER, "`access_log_json`"),
    ),
)

LOGGING = Group(
    "Logs and metrics",
    "what",
    (
        Row("loggers `gunicorn.error`, `gunicorn.access`", SAME),
        Row("formats of lines", SAME),
        Row(
            "`Starting gunicorn V`",
            BETTER,
            "`Starting monoceros V`",
        ),
        Row(
            "`Listening at: `, `Using worker: `, `Booting worker with pid: `, "
            "`Worker exiting (pid: `, `WORKER TIMEOUT (pid:`, `Handling signal: `, "
            "`Shutting down: Master`, `Invalid request from ip=`, `Error handling request `",
            SAME,
        ),
        Row(
            "`logger_class`", SAME, "what a subclass of `gunicorn.glogging.Logger` overrides counts"
        ),
        Row("`logconfig_dict`, `logconfig_json`, `logconfig`", SAME, "in this order"),
        Row("syslog, statsd, dogstatsd", BETTER, "one that is away or slow stops nobody"),
        Row("titles of processes", SAME, "`monoceros: master [NAME]`, `monoceros: worker [NAME]`"),
    ),
)

IMPORTS = Group(
    "Names that code imports",
    "module",
    (
        Row(
            "`gunicorn.app.base`, `gunicorn.app.wsgiapp`, `gunicorn.arbiter`, `gunicorn.config`, "
            "`gunicorn.errors`, `gunicorn.glogging`, `gunicorn.instrument.statsd`, "
            "`gunicorn.pidfile`, `gunicorn.reloader`, `gunicorn.sock`, `gunicorn.systemd`, "
            "`gunicorn.util`, `gunicorn.workers`, `gunicorn.dirty`",
            SAME,
            "found in the server's processes; elsewhere with `monoceros-gunicorn`",
        ),
        Row(
            "`gunicorn.http`",
            SAME,
            "names and exceptions; what is parsed in native code says so when it is called",
        ),
        Row("`gunicorn.ctl`", SAME, "`ControlClient` and the command; the master has no thread"),
        Row("`gunicorn.http2`, `gunicorn.asgi`", NOT_YET, "an ImportError"),
    ),
)

GROUPS = (
    COMMANDS,
    SOURCES,
    VARIABLES,
    EXIT_CODES,
    SIGNALS,
    HOOKS,
    ATTRIBUTES,
    WORKERS,
    ENVIRON,
    ATOMS,
    LOGGING,
    IMPORTS,
)
