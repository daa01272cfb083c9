"""Values that settings are tried with: by kind of validator, as an operator may write them.

`FILE` holds expressions of a config file, `COMMAND` texts that follow a flag. A kind is the name
of Gunicorn's validator. Each list has what is meant, what is common, and what is wrong.
"""

import shlex
from collections.abc import Iterator
from typing import Any

#: A probe: the setting, where its value stands, the value.
Probe = tuple[str, str, Any]

_BOOL = ["True", "False", "None", "'true'", "'FALSE'", "' true '", "'yes'", "'1'", "1", "''", "[]"]
_NUMBER = [
    "0",
    "1",
    "10",
    "True",
    "'10'",
    "'0x10'",
    "'022'",
    "' 7 '",
    "-1",
    "'-1'",
    "1.5",
    "'1.5'",
    "None",
    "''",
    "'many'",
    "[1]",
    "10 ** 10",
]
_TEXT = ["None", "''", "'x'", "'  x '", "5", "b'x'", "['x']", "True"]
_LIST = ["None", "''", "[]", "'a'", "['a', 'b']", "('a', 'b')", "[' a ']", "[1]", "5", "[None]"]
_NETWORKS = [
    "None",
    "''",
    "'*'",
    "'127.0.0.1'",
    "'10.0.0.0/8'",
    "'10.0.0.1/8'",
    "'::1'",
    "'127.0.0.1, ::1'",
    "'a.host'",
    "['127.0.0.1']",
    "','",
    "5",
]
_ARITIES = {
    1: [
        *("lambda a: None", "lambda a, b: None", "lambda: None", "lambda *a: None"),
        "lambda a, b=0: None",
    ],
    2: ["lambda a, b: None", "lambda a: None", "lambda a, b, c: None", "lambda a, b, c=0: None"],
    3: ["lambda a, b, c: None", "lambda a, b: None", "lambda a, b, c, d: None"],
}
_NO_HOOKS = ["None", "''", "5", "'no_such_module.name'", "'os.path.no_such_name'", "'nodot'"]

FILE: dict[str, list[str]] = {
    "validate_bool": _BOOL,
    "validate_pos_int": _NUMBER,
    "validate_string": _TEXT,
    "validate_list_string": _LIST,
    "validate_list_of_files_or_patterns": ["None", "[]", "'/etc/passwd'", "['/no/such']", "5"],
    "validate_string_to_addr_list": _NETWORKS,
    "validate_string_to_list": ["None", "''", "'A,B'", "'A, B'", "['A']", "'*'", "5", "'A,,B'"],
    "validate_dict": ["{}", "{'A': 'b'}", "None", "'x'", "[]"],
    "validate_class": ["'sync'", "'a.b.C'", "None", "''", "5", "type('K', (), {})", "[]"],
    "validate_user": ["None", "0", "'0'", "'root'", "'no-such-user-here'", "-1", "1.5", "''"],
    "validate_group": ["None", "0", "'0'", "'root'", "'no-such-group-here'", "-1", "1.5", "''"],
    "validate_post_request": [
        "lambda a: None",
        "lambda a, b: None",
        "lambda a, b, c: None",
        "lambda a, b, c, d: None",
        "lambda a, b, c, d, e: None",
        "lambda *a: None",
        *_NO_HOOKS,
    ],
    "validate_chdir": ["'.'", "'/'", "'/no/such/folder'", "None", "5", "''", "'/etc/passwd'"],
    "validate_statsd_address": ["None", "'h:1'", "'h'", "'unix:8125'", "'unix:///x'", "5", "'h:x'"],
    "validate_reload_engine": ["'auto'", "'poll'", "'inotify'", "'none-such'", "None", "5"],
    "validate_ssl_version": ["2", "5", "'TLSv1_2'", "None", "'none-such'", "99"],
    "validate_http_protocols": ["None", "''", "'h1'", "'h1,h1'", "'h3'", "5"],
    "validate_http2_cleartext": ["'off'", "'both'", "True", "False", "'none-such'", "5", "None"],
    "validate_http2_stream_limit": [*_NUMBER],
    "validate_http2_window_size": [*_NUMBER, "2 ** 31 - 1", "2 ** 31"],
    "validate_http2_frame_size": [*_NUMBER, "16384", "16383", "16777215", "16777216"],
    "validate_proxy_protocol": [
        *("'off'", "'v1'", "'v2'", "'auto'", "'V1'", "' auto '", "True", "False", "None"),
        *("'true'", "'false'", "'none'", "'0'", "'1'", "''", "'v3'", "5"),
    ],
    "validate_header_map_behaviour": [
        *("'drop'", "'refuse'", "'dangerous'", "'DROP'", "' drop '", "None", "''", "'x'", "5"),
    ],
    "validate_http_parser": [
        *("'auto'", "'fast'", "'python'", "' Fast '", "None", "''", "'x'", "5", "True"),
    ],
    "validate_asgi_loop": ["'auto'", "'asyncio'", "'uvloop'", "' Auto '", "None", "''", "'x'", "5"],
    "validate_asgi_lifespan": ["'auto'", "'on'", "'off'", "' ON '", "None", "''", "'x'", "5"],
}

_NUMBER_TEXTS = ["0", "10", "0x10", "022", " 7", "-1", "1.5", "many", ""]

COMMAND: dict[str, list[str]] = {
    "validate_pos_int": _NUMBER_TEXTS,
    "validate_string": ["x", " x ", ""],
    "validate_list_string": ["a", " a ", ""],
    "validate_list_of_files_or_patterns": ["/etc/passwd", "/no/such"],
    "validate_string_to_addr_list": [eval(each) for each in _NETWORKS[1:9]],
    "validate_string_to_list": ["A,B", "", "*"],
    "validate_class": ["sync", "a.b.C", ""],
    "validate_user": ["0", "root", "no-such-user-here", ""],
    "validate_group": ["0", "root", "no-such-group-here", ""],
    "validate_chdir": [".", "/no/such/folder", ""],
    "validate_statsd_address": ["h:1", "h", "unix:8125", "h:x", ""],
    "validate_reload_engine": ["auto", "poll", "none-such"],
    "validate_ssl_version": ["2", "TLSv1_2", "none-such"],
    "validate_http_protocols": ["h1", "h3", ""],
    "validate_http2_cleartext": ["off", "both", "none-such"],
    "validate_http2_stream_limit": _NUMBER_TEXTS,
    "validate_http2_window_size": _NUMBER_TEXTS,
    "validate_http2_frame_size": _NUMBER_TEXTS,
    "validate_proxy_protocol": ["off", "v1", "v2", "auto", "true", "0", "v3", ""],
    "validate_header_map_behaviour": ["drop", "refuse", "dangerous", "x", ""],
    "validate_http_parser": ["auto", "fast", "python", "x", ""],
    "validate_asgi_loop": ["auto", "uvloop", "x", ""],
    "validate_asgi_lifespan": ["auto", "on", "x", ""],
}

#: Environment variables that set defaults, and the settings that show it.
ENVIRONMENTS: list[tuple[dict[str, str], list[str]]] = [
    ({"PORT": "8080"}, ["bind", "address"]),
    ({"PORT": ""}, ["bind", "address"]),
    ({"PORT": "http"}, ["bind"]),
    ({"WEB_CONCURRENCY": "3"}, ["workers"]),
    ({"WEB_CONCURRENCY": "0"}, ["workers"]),
    ({"WEB_CONCURRENCY": ""}, ["workers"]),
    ({"WEB_CONCURRENCY": "many"}, ["workers"]),
    ({"WEB_CONCURRENCY": "-1"}, ["workers"]),
    ({"FORWARDED_ALLOW_IPS": "*"}, ["forwarded_allow_ips"]),
    ({"FORWARDED_ALLOW_IPS": "10.0.0.0/8,::1"}, ["forwarded_allow_ips"]),
    ({"FORWARDED_ALLOW_IPS": "a.host"}, ["forwarded_allow_ips"]),
    ({"FORWARDED_ALLOW_IPS": ""}, ["forwarded_allow_ips"]),
    ({"SENDFILE": "yes"}, ["sendfile"]),
    ({"SENDFILE": "0"}, ["sendfile"]),
    ({"SENDFILE": ""}, ["sendfile"]),
]


def probes(settings: dict[str, dict[str, Any]]) -> Iterator[Probe]:
    """All probes of these settings, as the runner describes them.

    Raises KeyError for a kind of validator that has no probes: a new one needs some.
    """
    for name, setting in settings.items():
        yield from ((name, "file", expression) for expression in expressions(setting))
        if not setting["cli"]:
            continue
        flag = setting["cli"][-1]
        if setting["action"] in ("store_true", "store_const"):
            words = [[flag], [f"{flag}=true"], []]
        else:
            texts = COMMAND[setting["validator"]]
            words = [[f"{flag}={text}"] for text in texts]
            words += [[flag], [flag, "x1", flag, "x2"]] if setting["action"] == "append" else []
        for line in words:
            yield name, "command", line
            yield name, "environment", quoted(line)


def expressions(setting: dict[str, Any]) -> list[str]:
    """What a config file may say for this setting."""
    if setting["validator"] == "_validate_callable":
        return [*_ARITIES[setting["arity"]], *_NO_HOOKS]
    return FILE[setting["validator"]]


def shown(probe: Probe) -> str:
    """The value of a probe as a config file would have it; a switch's flag as it is."""
    _, source, value = probe
    if source == "file":
        return str(value)
    words = value if source == "command" else shlex.split(value)
    if len(words) == 1:
        _, equals, text = words[0].partition("=")
        return repr(text) if equals else words[0]
    return repr(words[1::2]) if words else "nothing"


def quoted(words: list[str]) -> str:
    """Words as they stand in GUNICORN_CMD_ARGS."""
    return " ".join(f'"{word}"' if word else "''" for word in words)
