"""JSON access lines of Python: valid, one line, and nothing lost of what a client has sent."""

import json
import logging
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from monoceros.logging import Logger, json_lines
from monoceros.logging.json_lines import utc


class Source:
    """Stands for the logger."""

    user: str | None = None

    def now(self) -> str:
        return "now"

    def _get_user(self, environ: Any) -> str | None:
        return self.user


def line_of(environ: dict[str, Any], **changes: Any) -> str:
    resp = SimpleNamespace(**{"status": "200 OK", "sent": 13, "headers": [], **changes})
    return json_lines.line(Source(), resp, environ, timedelta(seconds=1, microseconds=42))


# An environ's strings are bytes in disguise, unless a middleware has put others there.
texts = st.one_of(st.text(), st.binary().map(lambda data: data.decode("latin-1")))


@given(agent=texts, path=texts)
def test_whatever_a_client_sends_is_one_line_of_json(agent: str, path: str) -> None:
    line = line_of({"HTTP_USER_AGENT": agent, "PATH_INFO": path})
    assert line.splitlines() == [line]
    # No order to a terminal, of C1 neither.
    assert not any(ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0 for letter in line)
    found = json.loads(line)
    for name, sent in (("user_agent", agent), ("path", path)):
        try:
            expected: str | None = sent.encode("latin-1").decode()
        except UnicodeError:
            expected = sent
        if sent != "-" and not any(0xD800 <= ord(letter) < 0xE000 for letter in sent):
            assert found[name] == expected


def test_what_is_missing_is_null() -> None:
    found = json.loads(line_of({}, status=503, sent=None))
    assert [name for name, value in found.items() if value is not None] == [
        "time",
        "status",
        "duration",
        "pid",
    ]
    assert (found["status"], found["duration"]) == (503, 1.000042)
    assert json.loads(line_of({"HTTP_REFERER": "-"}, status="oops"))["status"] is None


def test_the_time_is_that_of_the_second() -> None:
    assert utc(0) == "1970-01-01T00:00:00"
    assert utc(1_795_651_200) == "2026-11-26T00:00:00"


def test_a_handler_of_somebody_elses_gets_the_line_as_its_message(settings: Any) -> None:
    """A log configuration or syslog decides where it goes; a percent sign in it stays one."""
    log = Logger(settings(accesslog="-", access_log_json=True))
    records: list[logging.LogRecord] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    log.access_log.addHandler(Keeper())
    resp = SimpleNamespace(status="200 OK", sent=13, headers=[])
    log.access(resp, SimpleNamespace(headers=[]), {"RAW_URI": "/100%s"}, timedelta(0))
    assert json.loads(records[0].getMessage())["target"] == "/100%s"
