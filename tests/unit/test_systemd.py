"""What a service manager hands over and hears: the small print."""

import socket
from pathlib import Path

import pytest

from monoceros.systemd import NotifySocket, take_descriptors, watchdog_interval


def test_descriptors_for_us_are_taken_once() -> None:
    environ = {"LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b", "OTHER": "x"}
    assert take_descriptors(environ, 7) == [3, 4]
    assert environ == {"OTHER": "x"}
    assert take_descriptors(environ, 7) == []


def test_descriptors_for_somebody_else_are_left() -> None:
    environ = {"LISTEN_PID": "8", "LISTEN_FDS": "2"}
    assert take_descriptors(environ, 7) == []
    assert environ == {"LISTEN_PID": "8", "LISTEN_FDS": "2"}


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5"])
def test_a_count_that_is_none_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="LISTEN_FDS"):
        take_descriptors({"LISTEN_PID": "7", "LISTEN_FDS": text}, 7)


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": ""}, None),
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "7"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "8"}, None),
    ],
)
def test_the_watchdog(environ: dict[str, str], interval: float | None) -> None:
    assert watchdog_interval(environ, 7) == interval


@pytest.mark.parametrize("text", ["0", "x", "-5"])
def test_a_watchdog_that_is_none_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="WATCHDOG_USEC"):
        watchdog_interval({"WATCHDOG_USEC": text}, 7)


@pytest.mark.parametrize("abstract", [False, True])
def test_notifications_arrive(tmp_path: Path, abstract: bool) -> None:
    path = str(tmp_path / "notify")
    address = "@" + path if abstract else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + path if abstract else path)
        notify = NotifySocket(address)
        notify.send("READY=1", "STATUS=x")
        assert manager.recv(1024) == b"READY=1\nSTATUS=x"
        notify.close()
        notify.close()


def test_without_a_manager_nothing_is_sent() -> None:
    notify = NotifySocket("")
    assert not notify
    notify.send("READY=1")


def test_a_manager_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        NotifySocket(str(tmp_path / "nobody")).send("READY=1")
