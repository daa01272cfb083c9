"""The handler for syslog: what becomes of records while syslog is away, changes or is slow."""

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from monoceros.config.log_addresses import parse_syslog_address
from monoceros.logging import datagrams, syslog
from monoceros.logging.syslog import PatientSyslogHandler
from support.daemons import BOUND, Daemon
from support.waiting import wait_for


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to wait for an attempt to connect."""
    for module, name in ((syslog, "FIRST_PAUSE"), (syslog, "LONGEST_PAUSE"), (datagrams, "PAUSE")):
        monkeypatch.setattr(module, name, 0.0)


@pytest.fixture
def handlers() -> Iterator[list[logging.Handler]]:
    made: list[logging.Handler] = []
    yield made
    for handler in made:
        handler.close()


def make(address: str, handlers: list[logging.Handler]) -> PatientSyslogHandler:
    handler = PatientSyslogHandler(address, parse_syslog_address(address))
    handlers.append(handler)
    return handler


def say(handler: logging.Handler, text: str) -> None:
    handler.handle(logging.LogRecord("shop", logging.INFO, "", 0, text, (), None))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (socket.SOCK_DGRAM, socket.SOCK_STREAM),
        (socket.SOCK_STREAM, socket.SOCK_DGRAM),
        (socket.SOCK_STREAM, socket.SOCK_STREAM),
        (socket.SOCK_DGRAM, socket.SOCK_DGRAM),
    ],
)
def test_a_restarted_syslog_may_have_the_other_kind_of_socket(
    tmp_path: Path,
    handlers: list[logging.Handler],
    first: socket.SocketKind,
    second: socket.SocketKind,
) -> None:
    path = str(tmp_path / "log.sock")
    with Daemon(path, first) as daemon:
        handler = make(f"unix://{path}", handlers)
        say(handler, "one")
        daemon.wait_for("<14>one\0")
    with Daemon(path, second) as daemon:
        say(handler, "two")
        say(handler, "three")
        daemon.wait_for("<14>two\0<14>three\0")


def test_records_wait_for_a_stream_and_come_in_order(
    tmp_path: Path, handlers: list[logging.Handler]
) -> None:
    path = str(tmp_path / "log.sock")
    handler = make(f"unix://{path}#stream", handlers)
    for number in range(5):
        say(handler, f"early {number}")
    with Daemon(path, socket.SOCK_STREAM) as daemon:
        say(handler, "late")
        expected = "".join(f"<14>early {number}\0" for number in range(5)) + "<14>late\0"
        assert daemon.wait_for("late") == expected


def test_what_waits_is_bounded(
    tmp_path: Path, handlers: list[logging.Handler], caplog: pytest.LogCaptureFixture
) -> None:
    path = str(tmp_path / "log.sock")
    handler = make(f"unix://{path}#stream", handlers)
    record = "x" * 1000
    with caplog.at_level(logging.INFO, "gunicorn.error"):
        for _ in range(1000):
            say(handler, record)
        assert [found.getMessage() for found in caplog.records] == [
            f"syslog at unix://{path}#stream does not take records: No such file or directory; "
            "records lost: 0"
        ]
        with Daemon(path, socket.SOCK_STREAM) as daemon:
            say(handler, "makes room")

            def told() -> bool:
                # What the socket has no room for goes out with a later record.
                say(handler, "later")
                return "takes records again" in caplog.records[-1].getMessage()

            wait_for(told, BOUND, "the queue to be empty")
            text = daemon.wait_for("later")
    kept = text.count(record)
    assert syslog.QUEUE_BYTES * 0.9 < kept * 1005 <= syslog.QUEUE_BYTES
    again = caplog.records[-1].getMessage()
    assert "takes records again; records lost: " in again
    # What was dropped is told: all but those that were kept.
    assert int(again.rsplit(" ", 1)[1]) == 1000 - kept


def test_a_child_has_a_stream_of_its_own(tmp_path: Path, handlers: list[logging.Handler]) -> None:
    """Two processes that write to one stream would tear each other's records."""
    path = str(tmp_path / "log.sock")
    with Daemon(path, socket.SOCK_STREAM) as daemon:
        handler = make(f"unix://{path}#stream", handlers)
        say(handler, "parent")
        child = os.fork()
        if child == 0:
            try:
                say(handler, "child")
                handler.close()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        say(handler, "parent again")
        text = daemon.wait_for("again")
        daemon.wait_for("<14>child\0")
        assert daemon.connections == 2
    assert "<14>parent\0" in text


def test_a_record_that_is_too_large_is_cut(tmp_path: Path, handlers: list[logging.Handler]) -> None:
    path = str(tmp_path / "log.sock")
    with Daemon(path, socket.SOCK_DGRAM) as daemon:
        handler = make(f"unix://{path}", handlers)
        say(handler, "large " + "x" * (8 << 20))
        say(handler, "after")
        text = daemon.wait_for("after")
    assert text.startswith("<14>large xxx")
    assert len(text) < 3000


def test_records_about_syslog_do_not_go_there(
    tmp_path: Path, handlers: list[logging.Handler]
) -> None:
    path = str(tmp_path / "log.sock")
    with Daemon(path, socket.SOCK_DGRAM) as daemon:
        handler = make(f"unix://{path}", handlers)
        record = logging.LogRecord("shop", logging.INFO, "", 0, "about", (), None)
        record.about_syslog = True
        handler.handle(record)
        say(handler, "other")
        assert daemon.wait_for("other") == "<14>other\0"
