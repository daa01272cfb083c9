"""Access lines of the engine and of Python: the same for the same request, and never forgeable."""

import base64
import json
import random
import re
from pathlib import Path

import pytest

from support.serving import Serve
from support.waiting import wait_for

#: Nothing here is measured: a bound that a busy machine keeps.
BOUND = 20.0

#: Makes Python write the lines: a logger with a say in them.
OUR_OWN_LOGGER = """
from monoceros.logging import Logger

class Own(Logger):
    def access(self, resp, req, environ, request_time):
        super().access(resp, req, environ, request_time)

logger_class = Own
"""

FORMATS = {
    "combined": '%(h)s %(l)s %(u)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"',
    "others": "100%% %(m)s|%(U)s|%(q)s|%(H)s|%(s)s|%(B)s|%(T)s|%(unknown)s|end",
    "json": None,
}

Request = tuple[str, str, list[tuple[str, str]], bytes]

#: (method, target, fields, body): what could be escaped, missing, large or refused by the app.
REQUESTS: list[Request] = [
    ("GET", "/", [], b""),
    ("GET", "/a%0ab%22c%00%7f?x=%0a", [("User-Agent", 'say "hi"'), ("Referer", "tab\there")], b""),
    ("GET", "/%c3%a9", [("User-Agent", "na\xefve")], b""),
    ("GET", "/%c2%85%e2%80%a8%ff", [("User-Agent", "\xc3\xa9\x85\x9b31m")], b""),
    ("POST", "/echo", [("Authorization", "Basic am9lOng=")], b"x" * 300),
    ("POST", "/echo", [("Authorization", "Basic ???")], b""),
    ("HEAD", "/", [("Authorization", "Bearer token")], b""),
    ("GET", "/nowhere", [("User-Agent", ""), ("Referer", "-")], b""),
    ("GET", "/stream?pieces=30&size=65536", [], b""),
    ("GET", "/large?bytes=1000000", [], b""),
]


def generated(count: int) -> list[Request]:
    """Requests of all kinds, the same ones in every run."""
    source = random.Random(2026)
    # What a field may hold (RFC 9110, 5.5), the awkward ones more often than others.
    letters = [*"abcXYZ019 -_\t", *"\"\\\\%(){}'|<>&", *map(chr, range(0x80, 0x100))]

    def text(most: int) -> str:
        return "".join(source.choices(letters, k=source.randrange(most))).strip()

    def target() -> str:
        path = "".join(
            source.choice(["a", "%22", "%5c", "%0d", "%1b", "%85", "%c3%a9", "/", "."])
            for _ in range(source.randrange(8))
        )
        return f"/{path}?{source.choice(['', 'q=1', 'a=%22&b', '?'])}"

    requests: list[Request] = []
    for _ in range(count):
        user = base64.b64encode(text(12).encode("latin-1") + b":secret").decode()
        fields = [
            ("User-Agent", text(30)),
            ("Referer", text(30)),
            ("Authorization", source.choice(["Basic ", "basic ", "Bearer "]) + user),
        ]
        chosen = source.sample(fields, source.randrange(4))
        requests.append((source.choice(["GET", "POST", "PUT"]), target(), chosen, b""))
    return requests


def without_what_differs(line: str) -> str:
    """The time, the process and how long it took are those of each request."""
    if not line.startswith("{"):
        return line
    line = re.sub(r'^{"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",', "{", line)
    line = re.sub(r'"duration":\d+\.\d{6},', "", line)
    return re.sub(r'"pid":\d+}$', "}", line)


@pytest.mark.parametrize("name", FORMATS)
def test_lines_of_the_engine_are_those_of_python(serve: Serve, name: str) -> None:
    """Whoever writes it, a line says the same; and it is one line, whatever the client sends."""
    text = FORMATS[name]
    requests = REQUESTS + generated(150)
    written = []
    for own in ("", OUR_OWN_LOGGER):
        config = f"loglevel = 'warning'\naccesslog = 'access.log'\n{own}"
        config += "access_log_json = True" if text is None else f"access_log_format = {text!r}"
        server = serve("probes:app", config=config, probe=None)
        for method, target, fields, body in requests:
            server.exchange(method, target, fields, body=body)
        path = server.directory / "access.log"

        def whole(path: Path = path) -> bool:
            return path.exists() and path.read_text().count("\n") >= len(requests)

        wait_for(whole, BOUND, "all lines")
        written.append(path.read_text())
    engine, python = (text.split("\n") for text in written)
    # Whatever a reader holds to be the end of a line, there is one for each request.
    assert all(len(text.splitlines()) == len(requests) for text in written)
    for mine, other, request in zip(engine, python, [*requests, None], strict=True):
        assert without_what_differs(mine) == without_what_differs(other), request
    if text is None:
        assert all(isinstance(json.loads(line)["status"], int) for line in engine[:-1])


def test_fields_of_a_json_line(serve: Serve) -> None:
    server = serve("probes:app", "--access-logfile", "access.log", "--access-log-json", probe=None)
    path = server.directory / "access.log"
    user = base64.b64encode(b"jo\xc3\xa9:secret").decode()
    fields = [("Authorization", f"Basic {user}"), ("User-Agent", "caf\xc3\xa9"), ("Referer", "-")]
    server.exchange("GET", "/sleep?seconds=0.05", fields)
    server.exchange("GET", "/nowhere")
    wait_for(lambda: path.exists() and path.read_text().count("\n") == 2, BOUND, "two lines")
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("time"))
    assert 0.05 <= first.pop("duration") < 30
    assert first == {
        "remote_addr": "127.0.0.1",
        "user": "jo\xe9",
        "method": "GET",
        "target": "/sleep?seconds=0.05",
        "path": "/sleep",
        "protocol": "HTTP/1.1",
        "status": 200,
        "bytes": 6,
        "referer": None,
        "user_agent": "caf\xe9",
        "pid": server.workers()[0],
    }
    assert list(second) == ["time", *list(first)[:7], "bytes", "duration", *list(first)[8:]]
    assert (second["user"], second["user_agent"], second["status"]) == (None, None, 404)


def test_atoms_of_a_logger_class_are_fields_of_json(serve: Serve) -> None:
    """And what it makes of the known ones counts."""
    config = """
accesslog = "access.log"
access_log_json = True

from monoceros.logging import Logger

class logger_class(Logger):
    def atoms(self, resp, req, environ, request_time):
        found = super().atoms(resp, req, environ, request_time)
        return {**found, "h": "hidden", "tenant": 'a "b"', "share": 0.5, "nothing": None}
"""
    server = serve("probes:app", config=config, probe=None)
    server.get("/pid")
    path = server.directory / "access.log"
    wait_for(lambda: path.exists() and path.read_text().endswith("\n"), BOUND, "a line")
    found = json.loads(path.read_text())
    assert (found["remote_addr"], found["target"], found["user"]) == ("hidden", "/pid", None)
    assert (found["tenant"], found["share"], found["nothing"]) == ('a "b"', 0.5, None)


def test_json_goes_wherever_the_access_log_goes(serve: Serve) -> None:
    """To standard output, and through a log configuration."""
    server = serve("probes:app", "--access-log-json", "--access-logfile", "-", probe=None)
    server.get("/pid")
    wait_for(lambda: server.stdout.endswith("}\n"), BOUND, "the line")
    assert json.loads(server.stdout)["target"] == "/pid"
    config = """
access_log_json = True
logconfig_dict = {
    "handlers": {"file": {"class": "logging.FileHandler", "filename": "own.log"}},
    "loggers": {"gunicorn.access": {"level": "INFO", "handlers": ["file"], "propagate": False}},
    "root": {"level": "INFO", "handlers": []},
}
"""
    server = serve("probes:app", config=config, probe=None)
    server.get("/pid")
    own = server.directory / "own.log"
    wait_for(lambda: own.read_text().endswith("}\n"), BOUND, "the line in the file")
    assert json.loads(own.read_text())["target"] == "/pid"
