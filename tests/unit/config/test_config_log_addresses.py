"""The grammars of `syslog_addr` and `statsd_host`, and the settings that have them."""

import socket
from typing import Any

import pytest
from gunicorn.config import validate_statsd_address as gunicorn_statsd
from gunicorn.glogging import parse_syslog_address as gunicorn_syslog
from gunicorn.instrument.statsd import Statsd as GunicornStatsd

from monoceros.config import Config
from monoceros.config.log_addresses import parse_statsd_address, parse_syslog_address
from monoceros.logging.statsd import Statsd

SYSLOG = [
    "udp://localhost:514",
    "udp://Localhost",
    "udp://10.0.0.1:5140",
    "udp://:9",
    "udp://[::1]:514",
    "udp://[::1]",
    "tcp://logs.example:601",
    "unix:///dev/log",
    "unix:///dev/log#dgram",
]


@pytest.mark.parametrize("text", SYSLOG)
def test_syslog_addresses_are_read_as_by_gunicorn(text: str) -> None:
    kind, place = gunicorn_syslog(text)
    if text == "udp://:9":
        place = ("localhost", 9)  # Gunicorn's "" means the same to the resolver
    assert parse_syslog_address(text) == (kind, place)


def test_a_stream_can_be_asked_for() -> None:
    """Gunicorn ignores the word."""
    assert parse_syslog_address("unix:///s#stream") == (socket.SOCK_STREAM, "/s")


STATSD = ["localhost:8125", "localhost", "10.0.0.1:9125", "[::1]:8125", "unix:///s", "unix:8125"]


@pytest.mark.parametrize("text", STATSD)
def test_statsd_addresses_are_read_as_by_gunicorn(text: str) -> None:
    found = gunicorn_statsd(text)
    if isinstance(found, tuple):
        found = found[0], int(found[1])
    assert parse_statsd_address(text) == found


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("syslog_addr", "localhost:514", "must be udp://HOST:PORT, tcp://HOST:PORT or unix://PATH"),
        ("syslog_addr", "", "must be udp://"),
        ("syslog_addr", "udp://localhost:x", "'x' is no port number"),
        ("syslog_addr", "udp://localhost:0", "'0' is no port number"),
        ("syslog_addr", "udp://::1:514", "stands in brackets"),
        ("syslog_addr", "unix://", "the path is missing"),
        ("syslog_addr", "unix:///dev/log#seqpacket", "#dgram or #stream"),
        ("syslog_facility", "loca3", "did you mean 'local3'?"),
        ("syslog_facility", None, "must be one of"),
        ("statsd_host", "http://localhost", "must be HOST:PORT or unix://PATH"),
        ("statsd_host", "localhost:99999", "is no port number"),
        ("statsd_host", "[::1", "stands as [ADDRESS]:PORT"),
        ("statsd_host", "a b", "is no host name"),
        ("statsd_host", "unix://", "the path is missing"),
    ],
)
def test_what_cannot_be_used_is_named(name: str, value: Any, complaint: str, cfg: Config) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        cfg.set(name, value)
    assert str(caught.value).startswith(f"{name}: ")
    assert complaint in str(caught.value)


def test_a_statsd_host_can_be_taken_over(cfg: Config) -> None:
    """What a setting has validated it takes again: code copies settings from one to the other."""
    for text in ("unix:///run/statsd.sock", "[::1]:9", "localhost:8125"):
        cfg.set("statsd_host", text)
        value = cfg.statsd_host
        cfg.set("statsd_host", value)
        assert cfg.statsd_host == value
    cfg.set("statsd_host", "")
    assert cfg.statsd_host is None


def test_statsd_makes_the_default_logger_send_metrics(cfg: Config) -> None:
    assert cfg.logger_class.__name__ == "Logger"
    cfg.set("statsd_host", "localhost:8125")
    assert cfg.logger_class is Statsd
    cfg.set("logger_class", "gunicorn.glogging.Logger")
    assert cfg.logger_class is Statsd
    cfg.set("logger_class", "simple")
    assert cfg.logger_class.__name__ == "Logger"
    cfg.set("logger_class", "gunicorn.instrument.statsd.Statsd")
    assert cfg.logger_class is Statsd


def test_no_name_of_gunicorns_class_is_missing() -> None:
    assert {name for name in dir(GunicornStatsd) if not hasattr(Statsd, name)} <= {
        "_compute_access_log_enabled",
        "_get_gunicorn_handler",
    }
