"""Access lines: the same as Gunicorn's, cheap where nobody looks, and not forgeable."""

import base64
import copy
import io
import json
import logging
import pickle
import queue
import time
from datetime import timedelta
from logging.handlers import QueueHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.glogging import Logger as GunicornLogger
from gunicorn.glogging import SafeAtoms as GunicornSafeAtoms
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from monoceros.logging import Logger, SafeAtoms
from monoceros.logging.atoms import AccessFormat, LazyAtoms

NOON = "[23/Nov/2026:12:00:00 +0000]"

EVERY_ATOM = (
    "%(h)s|%(l)s|%(u)s|%(t)s|%(r)s|%(s)s|%(m)s|%(U)s|%(q)s|%(H)s|%(b)s|%(B)s|%(f)s|%(a)s|%(T)s|"
    "%(D)s|%(M)s|%(L)s|%(p)s|%({X-Trace}i)s|%({x-trace}i)s|%({Content-Type}o)s|%({set-cookie}O)s|"
    "%({REMOTE_ADDR}e)s|%({wsgi.url_scheme}e)s|%({absent}i)s|%({absent}o)s|%({absent}e)s|"
    "%(unknown)s|%({odd}z)s|%%|%(D)09d|%(h)20s|%(L).3s"
)


def exchange(**changes: Any) -> tuple[Any, Any, dict[str, Any], timedelta]:
    """The arguments of one access line."""
    environ = {
        "REQUEST_METHOD": "GET",
        "RAW_URI": "/x?y=1",
        "PATH_INFO": "/x",
        "QUERY_STRING": "y=1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_USER_AGENT": 'u"a',
        "HTTP_REFERER": "r",
        "HTTP_AUTHORIZATION": "Basic " + base64.b64encode(b"joe:secret").decode(),
        "wsgi.url_scheme": "https",
    }
    environ.update(changes.pop("environ", {}))
    for name in changes.pop("without", ()):
        environ.pop(name, None)
    resp = SimpleNamespace(
        status=changes.pop("status", "200 OK"),
        sent=changes.pop("sent", 1035),
        headers=changes.pop("response_headers", [("Content-Type", "text/plain")]),
    )
    req = SimpleNamespace(headers=changes.pop("request_headers", [("X-TRACE", "abc")]))
    elapsed = changes.pop("elapsed", timedelta(seconds=2, microseconds=345_678))
    assert not changes, changes
    return resp, req, environ, elapsed


class _Gunicorn(GunicornLogger):
    """Gunicorn's logger with no logging behind it: its atoms and its wrapper."""

    def __init__(self) -> None:
        self.error_log = logging.getLogger("gunicorn.error")

    def now(self) -> str:
        return NOON

    def line(self, text: str, *args: Any) -> str:
        line: str = text % GunicornSafeAtoms(self.atoms(*args))
        return line


class _Noon:
    """The source of atoms of our logger, at a fixed time."""

    _get_user = Logger._get_user

    def debug(self, *args: Any) -> None:
        pass

    def now(self) -> str:
        return NOON


def ours(text: str, *args: Any) -> str:
    source: Any = _Noon()
    return AccessFormat(text).line(source, *args)


CASES = {
    "plain": {},
    "no user": {"without": ["HTTP_AUTHORIZATION"]},
    "bearer": {"environ": {"HTTP_AUTHORIZATION": "Bearer abc"}},
    "basic without credentials": {"environ": {"HTTP_AUTHORIZATION": "Basic"}},
    "basic, not base64": {"environ": {"HTTP_AUTHORIZATION": "Basic a"}},
    "basic, not UTF-8": {"environ": {"HTTP_AUTHORIZATION": "basic /w=="}},
    "basic, no colon": {"environ": {"HTTP_AUTHORIZATION": "BASIC am9l"}},
    "basic, empty user": {"environ": {"HTTP_AUTHORIZATION": "Basic OnB3"}},
    "unix socket": {"without": ["REMOTE_ADDR"]},
    "empty address": {"environ": {"REMOTE_ADDR": ""}},
    "no referer, no agent": {"without": ["HTTP_REFERER", "HTTP_USER_AGENT"]},
    "status number": {"status": 404},
    "status without reason": {"status": "204"},
    "long reason": {"status": "418 I'm a teapot"},
    "nothing sent": {"sent": 0},
    "sent unknown": {"sent": None},
    "headers as mapping": {
        "request_headers": {"X-Trace": "m"},
        "response_headers": {"content-type": "c"},
    },
    "repeated header": {"request_headers": [("X-Trace", "1"), ("x-trace", "2")]},
    "quotes": {"request_headers": [("X-Trace", 'a"b"')], "environ": {"RAW_URI": '/"'}},
    "latin-1": {"environ": {"PATH_INFO": "/\u00c3\u00a9", "HTTP_USER_AGENT": "\u00a0\u00ff"}},
    "values that are no text": {"environ": {"REMOTE_ADDR": None, "HTTP_USER_AGENT": 5}},
    "no time": {"elapsed": timedelta(0)},
    "under a millisecond": {"elapsed": timedelta(microseconds=999)},
    "almost a day": {"elapsed": timedelta(hours=23, minutes=59, microseconds=1)},
    "stand-in for a timedelta": {"elapsed": SimpleNamespace(seconds=3, microseconds=4)},
}


@pytest.mark.parametrize("case", CASES)
def test_every_atom_reads_as_in_gunicorn(case: str) -> None:
    args = exchange(**copy.deepcopy(CASES[case]))
    assert ours(EVERY_ATOM, *args) == _Gunicorn().line(EVERY_ATOM, *args)


@pytest.mark.parametrize("case", CASES)
def test_lazy_atoms_equal_the_full_ones(case: str) -> None:
    args = exchange(**copy.deepcopy(CASES[case]))
    source: Any = _Noon()
    lazy = LazyAtoms(source, *args)
    expected = GunicornSafeAtoms(_Gunicorn().atoms(*args))
    assert EVERY_ATOM % lazy == EVERY_ATOM % expected
    assert {**lazy} == expected


# Control characters are where we differ on purpose; surrogates are in neither log.
visible = st.text(
    st.characters(
        min_codepoint=0x20,
        max_codepoint=0x2FF,
        exclude_characters="".join(map(chr, range(0x7F, 0xA0))),
    ),
    max_size=20,
)
tokens = st.text(st.sampled_from("abcXYZ-_0189"), min_size=1, max_size=8)
headers = st.lists(st.tuples(tokens, visible), max_size=5)
extra = st.sampled_from("abcdefghijkl").flatmap(
    lambda letter: st.sampled_from([f"HTTP_X_{letter.upper()}", f"own.{letter}"])
)


@given(
    request_headers=headers,
    response_headers=headers,
    environ=st.dictionaries(extra, visible, max_size=5),
    path=visible,
    agent=visible,
    user=visible,
    status=st.one_of(
        st.integers(100, 599),
        st.tuples(st.integers(100, 599), visible).map(lambda pair: f"{pair[0]} {pair[1]}"),
    ),
    sent=st.one_of(st.none(), st.integers(0, 2**63)),
    elapsed=st.timedeltas(timedelta(0), timedelta(hours=23)),
    names=st.lists(st.tuples(tokens, st.sampled_from("ioeIOE")), max_size=6),
    data=st.data(),
)
@hypothesis_settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_exchange_reads_as_in_gunicorn(
    request_headers: list[tuple[str, str]],
    response_headers: list[tuple[str, str]],
    environ: dict[str, str],
    path: str,
    agent: str,
    user: str,
    status: int | str,
    sent: int | None,
    elapsed: timedelta,
    names: list[tuple[str, str]],
    data: st.DataObject,
) -> None:
    credentials = base64.b64encode(f"{user}:x".encode()).decode()
    args = exchange(
        request_headers=request_headers,
        response_headers=response_headers,
        environ={
            **environ,
            "PATH_INFO": path,
            "HTTP_USER_AGENT": agent,
            "HTTP_AUTHORIZATION": f"Basic {credentials}",
        },
        status=status,
        sent=sent,
        elapsed=elapsed,
    )
    known = [(name, "i") for name, _ in request_headers]
    known += [(name, "o") for name, _ in response_headers]
    known += [(name, "e") for name in environ]
    if known:
        names = names + data.draw(st.lists(st.sampled_from(known), max_size=6))
    text = EVERY_ATOM + "".join(f"|%({{{name}}}{kind})s" for name, kind in names)
    assert ours(text, *args) == _Gunicorn().line(text, *args)


def test_both_loggers_write_the_same_file(
    tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "strftime", lambda *args: NOON)
    written = []
    for number, kind in enumerate((GunicornLogger, Logger)):
        path = tmp_path / f"access{number}"
        log = kind(settings(accesslog=str(path), access_log_format=EVERY_ATOM))
        for case in CASES.values():
            log.access(*exchange(**copy.deepcopy(case)))
        written.append(path.read_text())
    assert written[0].count("\n") == len(CASES)
    assert written[1] == written[0]


@pytest.mark.parametrize("atom", ["%(U)s", "%(u)s", "%({x-trace}i)s", "%({own}e)s"])
def test_a_client_cannot_forge_a_line(atom: str) -> None:
    evil = 'a\n127.0.0.1 - "GET" \x1b[2J\x00\x7f\r\t'
    credentials = base64.b64encode(evil.replace(":", "").encode()).decode()
    line = ours(
        atom,
        *exchange(
            environ={
                "PATH_INFO": evil,
                "own": evil,
                "HTTP_AUTHORIZATION": f"Basic {credentials}",
            },
            request_headers=[("X-Trace", evil)],
        ),
    )
    assert line == r"a\n127.0.0.1 - \"GET\" \x1b[2J\x00\x7f\r\t"


def test_a_day_is_not_forgotten() -> None:
    args = exchange(elapsed=timedelta(days=1, seconds=2, microseconds=3))
    assert ours("%(T)s %(M)s %(D)s %(L)s", *args) == "86402 86402000 86402000003 86402.000003"


def test_an_exchange_without_a_target_still_has_a_line() -> None:
    args = exchange(without=["RAW_URI", "PATH_INFO"])
    assert ours("%(r)s %(U)s", *args) == "GET - HTTP/1.1 -"


def test_bytes_headers_read_as_text() -> None:
    args = exchange(request_headers=[(b"x-trace", b"\xe9")])
    assert ours("%({X-Trace}i)s", *args) == "\u00e9"


class TestQuickWay:
    """The quick way computes what the format names, and steps aside for anybody who looks."""

    def lines(self, settings: Any, path: Path, make: Any = Logger, **changes: Any) -> list[str]:
        log = make(settings(accesslog=str(path), **changes))
        log.access(*exchange())
        return path.read_text().splitlines()

    def test_only_named_atoms_are_computed(self, settings: Any, tmp_path: Path) -> None:
        class Untouchable(dict[str, Any]):
            asked: set[str]

            def get(self, key: str, default: Any = None) -> Any:
                self.asked.add(key)
                return super().get(key, default)

            def items(self) -> Any:
                raise AssertionError("the whole environ was read")

        log = Logger(settings(accesslog=str(tmp_path / "a"), access_log_format="%(m)s %(s)s"))
        resp, _, environ, elapsed = exchange()
        guarded = Untouchable(environ)
        guarded.asked = set()
        log.access(resp, None, guarded, elapsed)
        assert (tmp_path / "a").read_text() == "GET 200\n"
        assert guarded.asked == {"REQUEST_METHOD"}

    def test_no_record_is_made(
        self, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log = Logger(settings(accesslog=str(tmp_path / "a")))
        monkeypatch.setattr(log.access_log, "makeRecord", None)
        log.access(*exchange())
        assert len((tmp_path / "a").read_text().splitlines()) == 1
        assert log.direct_access_handler() is log.access_log.handlers[0]
        assert log.has_standard_access_lines()

    def test_the_time_is_that_of_now(self, settings: Any, tmp_path: Path) -> None:
        before = int(time.time())
        (line,) = self.lines(settings, tmp_path / "a", access_log_format="%(t)s")
        stamp = time.mktime(time.strptime(line, "[%d/%b/%Y:%H:%M:%S " + time.strftime("%z") + "]"))
        assert before <= stamp <= time.time()

    def test_the_time_moves_on(self, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        log = Logger(settings())
        clock = [1_795_435_200.9]
        monkeypatch.setattr(time, "time", lambda: clock[0])
        first = log.now()
        clock[0] += 0.05
        assert log.now() is first
        clock[0] += 0.1
        assert log.now() != first

    @pytest.mark.parametrize("name", ["now", "atoms", "_get_user", "access_fmt", "wrapper"])
    def test_a_subclass_has_its_say(self, name: str, settings: Any, tmp_path: Path) -> None:
        def atoms(self: Any, *args: Any) -> dict[str, Any]:
            return {**Logger.atoms(self, *args), "h": "mine"}

        class Shouting(SafeAtoms):
            def __getitem__(self, key: str) -> Any:
                return str(super().__getitem__(key)).upper()

        override: dict[str, Any] = {
            "now": {"now": lambda self: "then"},
            "atoms": {"atoms": atoms},
            "_get_user": {"_get_user": lambda self, environ: "nobody"},
            "access_fmt": {"access_fmt": "%(levelname)s>%(message)s"},
            "wrapper": {"atoms_wrapper_class": Shouting},
        }[name]
        kind = type("Custom", (Logger,), override)
        (line,) = self.lines(
            settings,
            tmp_path / "a",
            kind,
            access_log_format="%(t)s %(h)s %(u)s %(H)s %({x-trace}i)s",
        )
        expected = {
            "now": "then 127.0.0.1 joe HTTP/1.1 abc",
            "atoms": "mine joe HTTP/1.1 abc",
            "_get_user": "127.0.0.1 nobody HTTP/1.1 abc",
            "access_fmt": "127.0.0.1 joe HTTP/1.1 abc",
            "wrapper": "127.0.0.1 JOE HTTP/1.1 ABC",
        }[name]
        assert line.endswith(expected)
        assert line.startswith("INFO>") == (name == "access_fmt")
        # A format is no content: whoever asks for the content asks for the handler as well.
        assert kind(settings()).has_standard_access_lines() == (name == "access_fmt")

    def test_methods_replaced_on_the_class_count(
        self, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Logger, "atoms", lambda self, *args: {"h": "patched"})
        assert self.lines(settings, tmp_path / "a", access_log_format="%(h)s %(u)s") == [
            "patched -"
        ]

    def test_a_filter_sees_the_record(self, settings: Any, tmp_path: Path) -> None:
        class NoHealth(logging.Filter):
            def filter(self, record: logging.LogRecord) -> bool:
                args: Any = record.args
                return args["U"] != "/healthz"

        log = Logger(settings(accesslog=str(tmp_path / "a"), access_log_format="%(U)s"))
        log.access_log.addFilter(NoHealth())
        log.access(*exchange(environ={"PATH_INFO": "/healthz"}))
        log.access(*exchange())
        assert (tmp_path / "a").read_text() == "/x\n"
        assert log.direct_access_handler() is None

    def test_a_formatter_finds_every_atom(self, settings: Any, tmp_path: Path) -> None:
        class Json(logging.Formatter):
            def format(self, record: logging.LogRecord) -> str:
                args: Any = record.args
                assert isinstance(args, dict)
                return json.dumps(
                    {
                        "took": args["D"],
                        "trace": args["{X-Trace}i"],
                        "agent": args.get("a"),
                        "has": "{absent}i" in args,
                        "all": len(args) > 20,
                        "copied": dict(args)["m"],
                    }
                )

        log = Logger(settings(accesslog=str(tmp_path / "a"), access_log_format="%(h)s"))
        log.access_log.handlers[0].setFormatter(Json())
        log.access(*exchange())
        assert json.loads((tmp_path / "a").read_text()) == {
            "took": 2345678,
            "trace": "abc",
            "agent": 'u\\"a',
            "has": False,
            "all": True,
            "copied": "GET",
        }

    def test_a_second_handler_gets_the_line_too(self, settings: Any, tmp_path: Path) -> None:
        log = Logger(settings(accesslog=str(tmp_path / "a"), access_log_format="%(r)s"))
        second = io.StringIO()
        log.access_log.addHandler(logging.StreamHandler(second))
        log.access(*exchange())
        assert (tmp_path / "a").read_text() == second.getvalue() == "GET /x?y=1 HTTP/1.1\n"

    def test_a_queue_gets_a_finished_line(self, settings: Any) -> None:
        log = Logger(settings(logconfig_dict={"version": 1, "root": {}, "loggers": {}}))
        waiting: queue.Queue[logging.LogRecord] = queue.Queue()
        log.access_log.handlers[:] = [QueueHandler(waiting)]
        log.access(*exchange())
        assert '"GET /x?y=1 HTTP/1.1" 200 1035' in waiting.get_nowait().getMessage()

    def test_a_format_of_the_whole(self, settings: Any, tmp_path: Path) -> None:
        (line,) = self.lines(settings, tmp_path / "a", access_log_format="%s")
        assert "'{x-trace}i': 'abc'" in line

    def test_nothing_is_written_when_off(self, settings: Any) -> None:
        log = Logger(settings())
        assert not log.access_log_enabled
        log.access(None, None, {}, None)  # would fail if it looked at anything

    def test_the_levels_of_logging_hold(self, settings: Any, tmp_path: Path) -> None:
        log = Logger(settings(accesslog=str(tmp_path / "a")))
        log.access_log.setLevel(logging.ERROR)
        log.access(*exchange())
        assert (tmp_path / "a").read_text() == ""


class TestFaults:
    @pytest.mark.parametrize(
        "text", ["%h %l", "%(h)", "%(h)y", "100%", "%(s)d", "%(h)s %s"], ids=lambda text: text
    )
    def test_a_wrong_format_costs_no_line(self, text: str, settings: Any, tmp_path: Path) -> None:
        log = Logger(
            settings(
                accesslog=str(tmp_path / "a"), errorlog=str(tmp_path / "e"), access_log_format=text
            )
        )
        log.access(*exchange())
        log.access(*exchange())
        lines = (tmp_path / "a").read_text().splitlines()
        assert len(lines) == 2
        assert all('"GET /x?y=1 HTTP/1.1" 200 1035' in line for line in lines)
        errors = (tmp_path / "e").read_text()
        assert errors.count("access_log_format") == 1
        assert repr(text) in errors

    def test_a_failing_subclass_breaks_no_request(self, settings: Any, tmp_path: Path) -> None:
        class Broken(Logger):
            def atoms(self, *args: Any) -> dict[str, Any]:
                raise RuntimeError("no atoms today")

        log = Broken(settings(accesslog=str(tmp_path / "a"), errorlog=str(tmp_path / "e")))
        log.access(*exchange())
        errors = (tmp_path / "e").read_text()
        assert "The access line of GET /x?y=1 cannot be written" in errors
        assert "no atoms today" in errors

    def test_lazy_atoms_survive_pickling(self) -> None:
        source: Any = _Noon()
        lazy = LazyAtoms(source, *exchange())
        thawed = pickle.loads(pickle.dumps(lazy))
        assert type(thawed) is SafeAtoms
        assert thawed == lazy
        assert thawed["a"] == 'u\\"a'


@example('"')
@given(st.text())
def test_safe_atoms_escape_once_and_answer_for_anything(text: str) -> None:
    atoms = SafeAtoms({"a": text, "n": 5, "{x}i": text})
    assert atoms["n"] == 5
    assert atoms["{X}i"] == atoms["a"]
    assert atoms["b"] == atoms["{y}i"] == "-"
    assert not any(ord(character) < 0x20 or character == "\x7f" for character in atoms["a"])
