"""Gunicorn's weak spots, what becomes of each here, and the tests that show it.

The numbers are those of a list that was made by reading and running Gunicorn 27.0.1. A test is
named as PATH::NAME below `tests/`; that each exists is tested.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Flaw:
    """One weak spot.

    number: in the list. gunicorn: what happens there. here: what happens instead. tests: show it.
    """

    number: int
    gunicorn: str
    here: str
    tests: tuple[str, ...]


_DEATHS = "integration/arbiter/test_deaths.py"
_RELOAD = "integration/arbiter/test_reload.py"
_ENGINE = "integration/arbiter/test_engine.py"
_FLAWS = "integration/test_flaws.py"
_GOLDEN = "integration/test_golden.py::test_the_same_requests_have_the_same_answers"
_PREFACE = "integration/test_proxy_protocol.py"
_POOL = "integration/test_dirty_processes.py"
_SLOW = "integration/test_slow_clients.py"
_LIFE = "integration/asgi/test_life.py"
_NO_CLASS = "unit/config/test_config_classes.py::test_classes_that_are_not_there_yet_are_named"
_NO_ASGI = "there is no such worker class yet: the server says so and does not start"
_CONTROL = "integration/test_control.py"
_CONTROL_SOCKET = "integration/test_control_socket.py"
_NO_HTTP2 = "HTTP/2 is not there yet: the setting says so"
_HTTP2 = "unit/config/test_config_not_yet.py::test_another_value_is_warned_about_in_one_line"

FLAWS: tuple[Flaw, ...] = (
    # Availability of the whole server.
    Flaw(
        1,
        "one worker that cannot boot, at any time, stops the server",
        "only while none has ever been ready; later it is tried again, ever more slowly",
        (f"{_DEATHS}::test_a_later_boot_failure_does_not_stop_the_server",),
    ),
    Flaw(
        2,
        "a reload onto broken code ends the server",
        "the old code goes on serving; the log has the traceback, once",
        ("integration/test_reload.py::test_broken_code_then_mended_code",),
    ),
    Flaw(
        3,
        "a reload with a broken config file ends the master and orphans its workers",
        "the old configuration stays in force",
        ("integration/test_reload.py::test_broken_config_changes_nothing",),
    ),
    Flaw(
        4,
        "a reload with a bind that is taken closes the old listeners and ends the server",
        "new listeners are opened first; where that fails nothing changes",
        (f"{_RELOAD}::test_a_bind_to_a_taken_port_changes_nothing",),
    ),
    Flaw(
        5,
        "two workers that fail together end the server with a traceback and status 1",
        "one line, status 3 or 4, the pidfile removed, `on_exit` called",
        ("integration/test_command_errors.py::test_two_workers_that_cannot_boot_are_told_once",),
    ),
    Flaw(
        6,
        "workers that die are replaced without a pause, twenty forks a second",
        "ever more slowly, one at a time, with the reason in the log",
        (
            f"{_DEATHS}::test_crashes_after_ready_are_backed_off",
            "unit/arbiter/test_backoff.py::"
            "test_two_workers_that_never_boot_make_at_most_eight_boots_in_ten_seconds",
            f"{_POOL}::test_workers_that_do_not_boot_are_started_ever_more_slowly",
        ),
    ),
    Flaw(
        7,
        "a reload blocks the master for up to `graceful_timeout`",
        "nothing blocks the master: a reload is a state",
        (f"{_RELOAD}::test_other_signals_are_heard_during_a_reload",),
    ),
    Flaw(
        8,
        "`graceful_timeout` does not hold for old workers after a reload",
        "it does, and the log says what was cut",
        (f"{_RELOAD}::test_an_old_worker_that_does_not_drain_is_cut",),
    ),
    Flaw(
        9,
        "a worker that hangs in its import is never timed out",
        "`boot_timeout` ends it, with its stack in the log",
        ("integration/arbiter/test_boot.py::test_a_boot_over_its_timeout_is_explained",),
    ),
    Flaw(
        10,
        "a stuck request is invisible to `timeout` but in `sync`",
        "it is named with its stack in every class; `request_timeout` ends it with 504",
        (
            f"{_ENGINE}::test_a_long_request_of_a_threaded_worker_is_named_once",
            "integration/test_deadlines.py::test_stuck_request",
        ),
    ),
    Flaw(
        11,
        "a draining asgi worker is killed for its silence",
        "the loop beats until it is closed",
        (f"{_LIFE}::test_a_worker_that_drains_for_longer_than_timeout_is_left_alone",),
    ),
    Flaw(
        12,
        "idle connections hold the drain of an asgi worker",
        "they are handed on or closed; WebSockets are told to close",
        (f"{_LIFE}::test_idle_connections_do_not_hold_the_end",),
    ),
    Flaw(
        13,
        "connections that wait in the kernel are lost on TERM",
        "they are accepted and answered before the workers end",
        ("integration/test_stop.py::test_queued_requests_are_answered",),
    ),
    Flaw(
        14,
        "an answer that is shorter than its Content-Length leaves the client waiting, and lengths "
        "that are none go out",
        "500 where nothing was sent, else the connection is cut; such lengths are a 500",
        (
            "integration/test_wsgi_response.py::test_body_shorter_than_its_length_is_cut",
            "integration/test_wsgi_response.py::test_wrong_head_is_500",
        ),
    ),
    Flaw(
        15,
        "`--reload` ends on an ImportError or NameError",
        "the server answers 500 until the code is mended",
        (
            "integration/test_auto_reload.py::test_broken_code_answers_500_until_it_is_mended",
            "integration/test_auto_reload.py::test_code_that_is_broken_from_the_start",
        ),
    ),
    Flaw(
        16,
        "an upgrade by USR2 is not verified",
        "the old master goes on, and says when the new one answers or has failed",
        (
            "integration/test_upgrade.py::test_new_code_takes_over",
            "integration/test_upgrade.py::test_a_new_master_that_does_not_start_costs_nothing",
        ),
    ),
    Flaw(
        17,
        "the service manager hears READY before there is a worker, and nothing else",
        "READY when one can answer; RELOADING, STOPPING, STATUS, the watchdog",
        (
            "integration/test_systemd.py::test_ready_when_a_worker_is",
            "integration/test_systemd.py::test_reloads_are_told_however_they_end",
            "integration/test_systemd.py::test_the_watchdog_hears_from_the_loop",
        ),
    ),
    Flaw(
        18,
        "`max_requests` lowers the number of workers while replacements boot",
        "the replacement is ready first; one at a time",
        (
            "integration/test_recycling.py::test_replacement_comes_first",
            "integration/test_recycling.py::test_max_requests_under_load",
        ),
    ),
    Flaw(
        19,
        "an exception in a hook of the master ends the server",
        "it is logged; only hooks without which there is no start end it",
        (
            "integration/arbiter/test_hooks.py::test_other_failing_hooks_do_not_end_the_master",
            "integration/compat/test_hook_objects.py::test_hooks_of_the_master_that_fail_end_nothing",
        ),
    ),
    Flaw(
        20,
        "a unix socket that somebody listens on is taken away, and removed by who ends first",
        "it is not taken; who ends removes only its own file",
        (
            f"{_FLAWS}::test_a_second_server_takes_nothing_from_the_first",
            "unit/arbiter/test_listeners.py::test_somebody_elses_socket_in_our_place_is_left_alone",
        ),
    ),
    Flaw(
        21,
        "`fd://` drops the other addresses",
        "all are listened on",
        (
            "integration/arbiter/test_start_stop.py::"
            "test_an_inherited_descriptor_beside_another_bind",
        ),
    ),
    # Slow clients and load.
    Flaw(
        22,
        "half-sent heads hold workers and threads, for ever in `gthread`",
        "a slow client holds nobody, and has deadlines; handshakes of TLS likewise",
        (
            f"{_SLOW}::test_all_kinds_at_once",
            f"{_SLOW}::test_header_deadline",
            "integration/test_tls_connections.py::test_stalled_handshakes_stop_nobody",
        ),
    ),
    Flaw(
        23,
        "silent connections take threads for 5 s each",
        "they take none",
        (f"{_FLAWS}::test_threads_are_not_taken_by_silent_connections",),
    ),
    Flaw(
        24,
        "requests wait behind a busy worker while another is idle",
        "a worker without a free thread accepts nothing",
        (f"{_FLAWS}::test_no_request_waits_behind_a_busy_worker",),
    ),
    Flaw(
        25,
        "`sync` keeps no connection",
        "it does",
        ("integration/test_http_connections.py::test_keep_alive",),
    ),
    Flaw(
        26,
        "`worker_connections` does not hold in `asgi`",
        "it holds in every class that is there",
        ("integration/test_idle_connections.py::test_connections_beyond_worker_connections_wait",),
    ),
    Flaw(
        27,
        "`gevent` closes without a word when a head takes longer than `keepalive`",
        "408 after `header_timeout`, in every class",
        (f"{_SLOW}::test_header_deadline",),
    ),
    Flaw(28, "streams of HTTP/2 run one after the other in `gthread`", _NO_HTTP2, (_HTTP2,)),
    Flaw(
        29,
        "certificates are read anew for every connection; sessions are not resumed",
        "read by the master when they change; sessions resume across workers",
        (
            "integration/test_tls_rotation.py::test_new_files_under_load",
            "integration/test_tls_connections.py::test_resumption_across_workers",
        ),
    ),
    # Dirty arbiters.
    Flaw(
        30,
        "HUP reloads no dirty app",
        "a new pool with new code beside the old one, which drains",
        ("integration/test_dirty_reload.py::test_new_code_takes_the_place_of_the_old",),
    ),
    Flaw(
        31,
        "`dirty_threads` has no effect",
        "as many calls at the same time",
        ("integration/test_dirty_calls.py::test_threads_run_calls_at_the_same_time",),
    ),
    Flaw(
        32,
        "`dirty_timeout = 0` breaks every call",
        "it means no timeout",
        (
            "integration/test_dirty_calls.py::test_without_a_timeout_calls_take_as_long_as_they_want",
        ),
    ),
    Flaw(
        33,
        "the stash raises for what is missing and takes data for errors; clients do not survive "
        "the arbiter's crash, nor `user`",
        "defaults are given, data is data, `stashes` is there; clients connect anew and get a "
        "clear error; sockets are the workers' user's",
        (
            "integration/test_dirty_calls.py::test_the_stash",
            "integration/test_dirty_calls.py::"
            "test_the_crash_of_a_worker_is_an_error_of_its_call_only",
            f"{_POOL}::test_the_crash_of_the_dirty_arbiter",
            f"{_POOL}::test_dirty_workers_and_their_clients_run_as_the_user",
        ),
    ),
    # Security.
    Flaw(
        34,
        "over uwsgi a path is decoded twice, and variables of the front end are ignored",
        "decoded once, by the front end; its variables count",
        (
            "integration/test_uwsgi.py::test_a_path_is_decoded_once",
            "integration/test_uwsgi.py::test_the_environ_is_what_the_front_end_tells",
        ),
    ),
    Flaw(
        35,
        "`asgi` serves plain text on a TLS port when the certificate does not load",
        "the server does not start; plain text on a TLS port is not served",
        (
            "integration/test_tls_configuration.py::test_keys_that_cannot_be_had",
            "integration/test_tls_connections.py::test_plain_http_on_a_tls_port",
        ),
    ),
    Flaw(
        36,
        "privileges are dropped in part: root's groups stay",
        "user, group and groups are those asked for, and nothing else is left",
        (
            "integration/test_privileges.py::test_the_app_has_the_users_rights_and_no_others",
            "unit/test_privileges.py::test_everything_of_the_master_goes_for_good",
        ),
    ),
    Flaw(
        37,
        "a unix socket is everybody's, and every peer on it is trusted",
        "`socket_mode` says whose it is, from its first moment; without it `umask` decides as "
        "there, so that a proxy under another user still reaches it",
        (f"{_FLAWS}::test_a_unix_socket_is_not_everybodys",),
    ),
    Flaw(
        38,
        "`gthread` forgets the address of a PROXY protocol header after the first request",
        "it holds for the connection",
        (f"{_PREFACE}::test_the_client_is_whom_the_header_names",),
    ),
    Flaw(
        39,
        "a PROXY protocol header may be missing; LOCAL gives addresses that are none; UNKNOWN and "
        "malformed ones are errors of ours",
        "it must be there; LOCAL and UNKNOWN keep the peer's address; malformed ones are a 400",
        (
            f"{_PREFACE}::test_a_header_without_a_client",
            f"{_PREFACE}::test_a_malformed_header_is_refused",
            f"{_PREFACE}::test_the_peer_of_a_unix_socket_is_allowed",
        ),
    ),
    Flaw(
        40,
        "a control socket by default, at one path for all servers of a user",
        "the first server keeps it, and a second one says that it needs a path of its own; each "
        "removes its own file only; the mode is there from the first moment",
        (
            f"{_CONTROL_SOCKET}::test_a_second_server_leaves_the_first_ones",
            f"{_CONTROL_SOCKET}::test_an_upgrade",
            f"{_CONTROL_SOCKET}::test_whose_it_is",
        ),
    ),
    Flaw(
        41,
        "HTTP/1.1 without Host is served, and versions that do not exist",
        "400; 505",
        (_GOLDEN, "integration/test_http_corpus.py::test_invalid_is_refused"),
    ),
    Flaw(
        42,
        "an upload that is cut looks complete to the app",
        "the app is not called",
        ("integration/test_http_errors.py::test_body_shorter_than_declared",),
    ),
    Flaw(
        43,
        "two parsers and two interfaces answer the same bytes differently",
        "there is one parser",
        (f"{_FLAWS}::test_every_parser_is_there", _GOLDEN),
    ),
    Flaw(
        44,
        "500 and 501 with the reason of 400; error pages repeat the request",
        "the reason is the status's; pages tell nothing of the request",
        (f"{_FLAWS}::test_error_pages_tell_neither_the_request_nor_the_exception",),
    ),
    Flaw(
        45,
        "HTTP/2 sends the text of an exception to the client",
        "nothing of an exception leaves the server",
        (f"{_FLAWS}::test_error_pages_tell_neither_the_request_nor_the_exception",),
    ),
    Flaw(
        46,
        "`limit_request_field_size = 0` is 8190; bodies have no limit",
        "0 is the most that the server supports; `limit_request_body`",
        (
            f"{_FLAWS}::test_a_field_size_of_0_is_no_small_limit",
            "integration/test_limits.py::test_limit_request_body",
        ),
    ),
    Flaw(
        47,
        "`--reload` shows tracebacks to every client",
        "they go to the log",
        ("integration/test_auto_reload.py::test_broken_code_answers_500_until_it_is_mended",),
    ),
    # Operations.
    Flaw(
        48,
        "`sendfile = True` switches it off",
        "on",
        (
            "unit/config/test_config_values.py::TestSendfile::test_the_setting_goes_before_the_variable",
        ),
    ),
    Flaw(
        49,
        "misspelt names in a config file, unknown log levels and protocols, a missing "
        "`logconfig_json` pass in silence",
        "a warning that names the nearest setting; the others keep the server from starting",
        (
            "integration/test_command_errors.py::test_typing_error_in_a_config_file_is_warned_of",
            "integration/test_command_errors.py::test_mistake_is_named",
            "unit/config/test_config_uwsgi.py::test_a_protocol_that_nobody_speaks_is_an_error",
        ),
    ),
    Flaw(
        50,
        "`--check-config` looks at the app only, and not as it would be started",
        "also at worker class, logger, certificates, addresses; environment and path are applied",
        (
            "unit/test_cli.py::TestCheckConfig::test_addresses_are_checked",
            "unit/test_cli.py::TestCheckConfig::test_the_worker_class_is_asked",
            "unit/test_cli.py::TestCheckConfig::test_logs_are_checked",
            "unit/test_cli.py::TestCheckConfig::"
            "test_python_path_folder_and_environment_are_applied",
        ),
    ),
    Flaw(
        51,
        "`--http-parser fast` without its package answers 500 to everything",
        "it means the parser that is there",
        (f"{_FLAWS}::test_every_parser_is_there",),
    ),
    Flaw(
        52,
        "a config module is not read anew by HUP; HUP takes TTIN and TTOU back",
        "it is; it does not, unless `workers` has changed",
        (
            "unit/config/test_config_files.py::TestReadingAgain::test_a_module",
            f"{_RELOAD}::test_scaling_survives_a_reload_unless_the_configuration_changes",
        ),
    ),
    Flaw(
        53,
        "`gunicornc` shows wrong values, and fails around forks",
        "it shows what there is; the master's loop answers, whatever is forked; what was not done "
        "is exit status 1",
        (
            f"{_CONTROL}::test_workers",
            f"{_CONTROL}::test_commands_during_reloads",
            f"{_CONTROL}::test_kill",
        ),
    ),
    Flaw(
        54,
        "`asgi` hides errors of a start",
        "an exception in a start is a warning with its traceback; with `asgi_lifespan = on` the "
        "worker does not boot; `boot_timeout` bounds it",
        (
            f"{_LIFE}::test_an_exception_in_the_start_is_told_with_auto",
            f"{_LIFE}::test_an_exception_in_the_start_ends_the_server_with_on",
        ),
    ),
    Flaw(55, "the scope of `asgi` has wrong addresses and paths", _NO_ASGI, (_NO_CLASS,)),
    Flaw(
        56,
        "refused requests leave no line in the access log",
        "they are in both logs, with the reason",
        ("integration/test_refused_requests.py::test_refused_requests_are_in_both_logs",),
    ),
    Flaw(57, "WebSocket frames are unmasked byte by byte in Python", _NO_ASGI, (_NO_CLASS,)),
    Flaw(
        58,
        "an IPv6 Host over a unix socket gives a wrong name and port; IPv6 listeners are logged "
        "as http",
        "right; https where it is",
        (
            "integration/test_environ.py::test_unix_socket",
            "integration/test_tls_configuration.py::test_ipv6_and_unix",
        ),
    ),
    Flaw(59, "cookies of several fields are joined with commas", "with `; `", (_GOLDEN,)),
    Flaw(
        60,
        "INT and QUIT wait for running threads in `gthread`",
        "they do not",
        ("integration/test_stop.py::test_quick_stop_does_not_wait_for_requests",),
    ),
    Flaw(
        61,
        "`ssl_version` has no effect",
        "it sets the lowest version",
        ("integration/test_tls_connections.py::test_floor",),
    ),
    Flaw(
        62,
        "connections are spread unevenly, and a herd wakes for each",
        "one worker wakes, each in its turn",
        ("integration/test_listeners.py::test_connections_spread_over_workers",),
    ),
    Flaw(
        63,
        "no health or metrics address",
        "not there yet; statsd has the metrics, the log explains",
        ("integration/test_statsd.py::test_metrics_of_requests_workers_and_the_log",),
    ),
)
